//! Scenarios on the local stack: the zips that are deployed, on real databases, through the inbox.

#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod browser;
mod delivery;
mod document;
mod handing_in;
mod http;
mod keys;
mod limits;
mod objects;
mod outcomes;
mod paging;
mod products;
mod public_files;
mod subscribers;
mod support;
mod tables;
