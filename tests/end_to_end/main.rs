//! Scenarios on the local stack: files go through the inbox and the deployed zips into real databases.

#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod browser;
mod cases;
mod children;
mod compressed;
mod control;
mod delivery;
mod demo;
mod destinations;
mod document;
mod explain;
mod failing;
mod faults;
mod http;
mod inferred;
mod job_lists;
mod keys;
mod killed;
mod limits;
mod logs;
mod losing;
mod maintenance;
mod notifications;
mod objects;
mod outcomes;
mod paging;
mod products;
mod public_files;
mod snapshots;
mod sources;
mod splitting;
mod submissions;
mod subscribers;
mod support;
mod tables;
mod wide;
mod writes;
