//! The routes as clients see them, over fakes of stores, buckets and ledger.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

mod access;
mod buckets;
mod cancel;
mod changes;
mod children;
mod datasets;
mod destinations;
mod fakes;
mod files;
mod fixed;
mod jobs;
mod notifications;
mod origin;
mod pause;
mod prune;
mod reader;
mod redrive;
mod rows;
mod shape;
mod sources;
mod writes;
