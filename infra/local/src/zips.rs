//! The functions' zips, made by cargo-lambda as they are for AWS, for this machine's processor.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::progress::Progress;
use crate::run::workspace;
use crate::{processes, python};

/// The functions of the template, by the names of their binaries.
pub const FUNCTIONS: [&str; 4] = ["splitter", "worker", "api", "socket"];

/// Environment variable that names a directory of zips, so that none are built.
pub const ZIPS: &str = "LANDFALL_ZIPS";

/// The directory of the functions' zips, as `<function>/bootstrap.zip`: the one that [`ZIPS`] names, or a
/// built one.
pub async fn provide(progress: &dyn Progress) -> Result<PathBuf> {
    match std::env::var_os(ZIPS) {
        Some(zips) => Ok(PathBuf::from(zips)),
        None => build(&workspace()?, progress).await,
    }
}

/// Builds the zips and says in which directory they are.
async fn build(workspace: &Path, progress: &dyn Progress) -> Result<PathBuf> {
    let bin = python::environment(python::Requirements::Run, progress).await?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), |own| workspace.join(own));
    let zips = target.join("lambda");

    progress.doing("building the functions");
    let mut cargo = processes::cargo(&bin.join("cargo-lambda"));
    cargo
        .env("PATH", processes::path_with(&bin)?)
        .args(["lambda", "build", "--release", "--output-format", "zip"])
        // Its own would abort on panics, and so end a process that other messages still need.
        .arg("--disable-optimizations")
        .arg(architecture_flag())
        .arg("--lambda-dir")
        .arg(&zips)
        // cargo-lambda hands a --target-dir on to cargo metadata, which does not know it.
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(workspace);
    for function in FUNCTIONS {
        // By package, so that only what a function asks for is compiled into it.
        cargo.args(["--package", function]);
    }
    processes::run("cargo lambda build", cargo, |line| {
        if let Some(count) = processes::bar(line) {
            progress.doing(&format!("building the functions: {count} crates"));
        }
    })
    .await?;
    for function in FUNCTIONS {
        let zip = zip(&zips, function);
        ensure!(zip.is_file(), "cargo-lambda left no {}", zip.display());
    }
    Ok(zips)
}

/// Where the zip of a function is.
pub fn zip(zips: &Path, function: &str) -> PathBuf {
    zips.join(function).join("bootstrap.zip")
}

/// This machine's processor, as Lambda calls it.
pub(crate) fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x86_64"
    }
}

fn architecture_flag() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "--arm64"
    } else {
        "--x86-64"
    }
}

/// The zip's content, and a name that changes with it.
pub(crate) fn read(zips: &Path, function: &str) -> Result<(String, Vec<u8>)> {
    let path = zip(zips, function);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hash = blake3::hash(&bytes).to_hex();
    Ok((format!("{function}-{}.zip", &hash.as_str()[..16]), bytes))
}
