//! Sources: checks of their definitions, a look at what they fetch, and those of a stack.

mod attempt;
mod check;
mod command;
mod stack;

pub(crate) use command::{Command, act};
