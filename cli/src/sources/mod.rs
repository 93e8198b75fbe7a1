//! Sources: checks of their definitions, and a look at what they fetch.

mod attempt;
mod check;

pub(crate) use attempt::{Attempt, attempt};
pub(crate) use check::check;
