//! What the command line does, for other programs: sample files, and checks of datasets' definitions.

mod check;
pub mod seed;

pub use check::{Definitions, check};
