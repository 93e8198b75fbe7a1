//! The commands of `landfall` as a library: sample files, checks of definitions, tokens, and rebuilding of
//! totals.

mod check;
pub mod seed;
pub mod tokens;
pub mod totals;

pub use check::{Definitions, check};
