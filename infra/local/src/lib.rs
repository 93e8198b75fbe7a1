//! The whole stack on one machine, without Docker and without an account.
//!
//! [`Stack::start`] makes what is missing (a Python environment, the local `MongoDB`, the functions'
//! zips), starts an AWS endpoint, a `MongoDB` and an SQL database on free loopback ports, and deploys
//! `infra/template.yaml` through `CloudFormation`. Everything it started ends with [`Stack::stop`], or
//! when the [`Stack`] is dropped. Stacks are independent: any number run at once.

mod accounts;
mod cache;
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
mod postgres;
mod processes;
mod progress;
mod python;
mod run;
mod stack;
mod tokens;
mod tools;
mod zips;

pub use databases::Databases;
pub use datasets::{Definition, definitions};
pub use deploy::Outputs;
pub use events::{Event, sent};
pub use memory::{MemoryWatch, Peak};
pub use postgres::program as postgres_program;
pub use processes::as_from_a_shell;
pub use progress::{Lines, Progress, Silent};
pub use python::{Requirements, environment as python_environment};
pub use run::workspace;
pub use stack::{Sql, Stack, StackOptions, Stores, workers};
pub use tools::{Tool, missing_packages, tool};
pub use zips::{FUNCTIONS, ZIPS, provide as functions, zip};
