//! Debian packages.

use landfall_setup::processes::find;
use landfall_setup::python;

use crate::{mariadb, postgres};

/// Returns the Debian packages that `cargo verify` needs and this machine lacks.
pub fn missing_packages() -> Vec<&'static str> {
    let has = |program: &str| find(program, &[]).is_some();
    let mut missing = Vec::new();
    if !has("cc") || !has("c++") {
        missing.push("build-essential");
    }
    if python::find().is_err() {
        missing.extend(["python3", "python3-venv"]);
    }
    if !postgres::is_installed() {
        missing.push("postgresql");
    }
    if !mariadb::is_installed() {
        missing.push("mariadb-server");
    }
    if !has("chromium") {
        missing.push("chromium");
    }
    missing
}
