//! The whole stack on one machine, without Docker and without an AWS account.
//!
//! [`Stack::start`] builds what is missing (a Python environment, the local `MongoDB`, the functions' zips), starts an
//! AWS endpoint, a `MongoDB` and an SQL database on free loopback ports, and deploys `infra/template.yaml` through
//! `CloudFormation`. [`Stack::stop`], or dropping the [`Stack`], stops everything it started. Stacks are independent:
//! any number can run at the same time.

mod accounts;
mod aws;
mod databases;
mod datasets;
mod deploy;
mod endpoint;
mod environment;
mod events;
mod logs;
mod mariadb;
mod memory;
mod mongodb;
mod options;
mod packages;
mod pages;
mod postgres;
mod processes;
pub mod requirements;
mod run;
mod servers;
mod stack;
mod stores;
mod tokens;

pub use databases::{Database, Databases};
pub use datasets::{Definition, definitions};
pub use deploy::Outputs;
pub use events::{Event, sent_at};
pub use landfall_setup::functions::{Build, FUNCTIONS, ZIPS, zip, zips};
pub use landfall_setup::processes::remove_cargo_variables;
pub use landfall_setup::progress::{Lines, Progress, Silent};
pub use landfall_setup::python::{Requirements, environment as python_environment};
pub use landfall_setup::tools::{Tool, tool};
pub use landfall_setup::{target_directory, workspace};
pub use memory::{MemoryWatch, Peak};
pub use options::{Sql, StackOptions, Stores, workers};
pub use packages::missing_packages;
pub use pages::PageServer;
pub use postgres::program as postgres_program;
pub use processes::FunctionProcess;
pub use stack::Stack;
