//! Destinations: checks of their definitions, and those of a stack.

mod check;
mod command;
mod lines;
mod stack;

pub(crate) use command::{Command, act};
