//! What the command line does, for other programs: sample files, checks of datasets' definitions, tokens, and
//! totals made anew.

mod check;
pub mod seed;
pub mod tokens;
pub mod totals;

pub use check::{Definitions, check};
