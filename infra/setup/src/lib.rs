//! Builds what the local stack runs on, each part once: a Python environment, a `MongoDB` server, the functions' zips
//! and tools from crates.io.
//!
//! Its binary, which `cargo local` runs, builds all of them at the same time as `landfall-local`, and then becomes
//! `landfall-local`.

mod cache;
pub mod functions;
pub mod mongodb;
pub mod processes;
pub mod progress;
pub mod python;
pub mod tools;
pub mod watcher;
mod workspace;

pub use workspace::{target_directory, workspace};
