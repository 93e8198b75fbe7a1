//! The Python environments, with pinned packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::Progress;
use crate::{cache, processes};

const INSTALL: &str = "apt-get install -y python3 python3-venv";

/// Which packages an environment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirements {
    /// To run the stack: the AWS endpoint, cargo-lambda and cmake.
    Run,
    /// To verify the template: cfn-lint and the SAM command line.
    Verify,
    /// To test the page in a browser, and the HTTP API by its document.
    Tests,
    /// To compare with: other tools that load files into databases.
    Peers,
}

impl Requirements {
    fn pins(self) -> &'static str {
        match self {
            Self::Run => include_str!("../requirements.txt"),
            Self::Verify => include_str!("../requirements-verify.txt"),
            Self::Tests => include_str!("../requirements-tests.txt"),
            Self::Peers => include_str!("../requirements-peers.txt"),
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Run => "requirements.txt",
            Self::Verify => "requirements-verify.txt",
            Self::Tests => "requirements-tests.txt",
            Self::Peers => "requirements-peers.txt",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Run => "the local stack's Python environment",
            Self::Verify => "the verification's Python environment",
            Self::Tests => "the Python environment of the tests",
            Self::Peers => "the Python environment of the tools to compare with",
        }
    }
}

/// The `bin` directory of the environment with these packages, which is made in the cache when missing.
pub async fn environment(requirements: Requirements, progress: &dyn Progress) -> Result<PathBuf> {
    let pins = requirements.pins();
    let hash = blake3::hash(pins.as_bytes()).to_hex();
    let directory = cache::directory()?.join(format!("python-{}", &hash.as_str()[..16]));
    let what = requirements.what();
    cache::make_once(&directory, what, progress, async || {
        make(&directory, requirements, progress).await
    })
    .await
    .with_context(|| format!("cannot make {what}"))?;
    Ok(directory.join("bin"))
}

async fn make(directory: &Path, requirements: Requirements, progress: &dyn Progress) -> Result<()> {
    let python = find()?;
    progress.note(&format!(
        "making {} in {} (once for this machine)",
        requirements.what(),
        directory.display()
    ));
    let mut venv = Command::new(&python);
    venv.args(["-m", "venv"]).arg(directory);
    processes::run("python3 -m venv", venv, |_| {})
        .await
        .with_context(|| format!("if venv is missing: {INSTALL}"))?;

    let pins = requirements.pins();
    let file = directory.join(requirements.file());
    std::fs::write(&file, pins)?;
    let all = pins.lines().filter(|line| line.contains("==")).count();
    let mut pip = Command::new(directory.join("bin/python"));
    pip.args(["-m", "pip", "install", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar", "off"])
        .args(["--only-binary", ":all:", "-r"])
        .arg(&file);
    let mut collected = 0;
    processes::run("pip install", pip, |line| {
        if line.starts_with("Collecting ") {
            collected += 1;
            progress.doing(&format!("fetching Python packages: {collected}/{all}"));
        } else if line.starts_with("Installing ") {
            progress.doing("installing Python packages");
        }
    })
    .await
}

fn find() -> Result<PathBuf> {
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
