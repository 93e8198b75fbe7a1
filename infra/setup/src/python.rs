//! Python environments with pinned packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::Progress;
use crate::{cache, processes};

const INSTALL: &str = "apt-get install -y python3 python3-venv";

/// The packages of an environment.
#[derive(Debug, Clone, Copy)]
pub struct Requirements {
    /// What the packages are for, such as "the tests".
    pub purpose: &'static str,
    /// The content of a requirements file that pins every package.
    pub pins: &'static str,
}

/// The packages of the local stack: the AWS endpoint, cargo-lambda and cmake.
pub const LOCAL_STACK: Requirements = Requirements {
    purpose: "the local stack",
    pins: include_str!("../requirements.txt"),
};

impl Requirements {
    fn directory(self) -> Result<PathBuf> {
        let hash = blake3::hash(self.pins.as_bytes()).to_hex();
        Ok(cache::directory()?.join(format!("python-{}", &hash.as_str()[..16])))
    }
}

/// Returns the `bin` directory of the environment with these packages. Creates the environment if it is missing.
pub async fn environment(requirements: Requirements, progress: &dyn Progress) -> Result<PathBuf> {
    let directory = requirements.directory()?;
    let what = format!("the Python environment of {}", requirements.purpose);
    cache::build_once(&directory, &what, progress, async || {
        create(&directory, requirements, progress).await
    })
    .await
    .with_context(|| format!("cannot create {what}"))?;
    Ok(directory.join("bin"))
}

async fn create(
    directory: &Path,
    requirements: Requirements,
    progress: &dyn Progress,
) -> Result<()> {
    let python = find()?;
    progress.step("Python packages");
    let mut venv = processes::command(&python);
    venv.args(["-m", "venv"]).arg(directory);
    processes::run("python3 -m venv", venv, |_| {})
        .await
        .with_context(|| format!("if venv is missing: {INSTALL}"))?;

    let file = directory.join("requirements.txt");
    std::fs::write(&file, requirements.pins)?;
    let total = requirements.pins.matches("==").count();
    let mut pip = processes::command(directory.join("bin/python"));
    pip.args(["-m", "pip", "install", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar", "off"])
        // Python compiles a module when it is first imported; most never are.
        .args(["--no-compile", "--only-binary", ":all:", "-r"])
        .arg(&file);
    let mut collected = 0;
    processes::run("pip install", pip, |line| {
        if line.starts_with("Collecting ") {
            collected += 1;
            progress.step(&format!("Python packages: {collected}/{total}"));
        } else if line.starts_with("Installing ") {
            progress.step("Python packages: unpacking");
        }
    })
    .await
}

/// Finds a Python of at least version 3.10 that can create environments.
pub fn find() -> Result<PathBuf> {
    let Some(python) = processes::find("python3", &[]) else {
        bail!("python3 is missing: {INSTALL}");
    };
    let check = "import sys, venv, ensurepip; sys.exit(0 if sys.version_info >= (3, 10) else 10)";
    let status = Command::new(&python).args(["-c", check]).output()?.status;
    match status.code() {
        Some(0) => Ok(python),
        Some(10) => bail!("{} is older than Python 3.10", python.display()),
        _ => bail!("Python has no venv module: {INSTALL}"),
    }
}
