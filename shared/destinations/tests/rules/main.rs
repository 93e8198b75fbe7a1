//! What definitions mean: their mistakes, which calls they lead to, and what replies mean.

#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod calls;
mod definitions;
mod service;
