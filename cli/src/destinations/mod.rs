//! Destinations: checks of their definitions, those of a stack, and what services have of rows.

mod check;
mod command;
mod diff;
mod lines;
mod stack;

pub(crate) use command::{Command, act};
