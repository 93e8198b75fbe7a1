//! Sample data: files of any size, and the life of orders on a running stack.

mod delivery;
mod files;
mod life;
mod orders;

pub use files::{Kind, write, write_revision};
pub use life::{Change, Life, Order};
pub use orders::{Seeding, Summary, Way, seed_orders};
