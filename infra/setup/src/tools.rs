//! Programs from crates.io.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::progress::Progress;
use crate::{cache, processes};

/// A program from crates.io, at one version.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Name of the crate.
    pub name: &'static str,
    /// Version of the crate.
    pub version: &'static str,
    /// Further arguments of `cargo install`.
    pub arguments: &'static [&'static str],
}

/// Returns the `bin` directory of a tool. Builds the tool into the cache if it is missing.
pub async fn tool(tool: Tool, progress: &dyn Progress) -> Result<PathBuf> {
    let directory = directory(tool)?;
    cache::build_once(&directory, tool.name, progress, async || {
        install(tool, tool.name, &directory, None, progress).await
    })
    .await
    .with_context(|| format!("cannot build {}", tool.name))?;
    Ok(directory.join("bin"))
}

pub(crate) fn directory(tool: Tool) -> Result<PathBuf> {
    Ok(cache::directory()?.join(format!("{}-{}", tool.name, tool.version)))
}

/// Builds a tool into `root`. `title` is its name in the progress; `path` replaces the `PATH`.
pub(crate) async fn install(
    tool: Tool,
    title: &str,
    root: &Path,
    path: Option<OsString>,
    progress: &dyn Progress,
) -> Result<()> {
    if processes::find("cc", &[]).is_none() || processes::find("c++", &[]).is_none() {
        bail!("no C compiler: apt-get install -y build-essential");
    }
    progress.step(title);
    let target = root.join("target");
    let cargo = processes::find("cargo", &[]).context("cargo is not on the PATH")?;
    let mut cargo = processes::cargo(&cargo);
    cargo
        .args(["install", tool.name, "--version", tool.version, "--locked"])
        .args(tool.arguments)
        .arg("--root")
        .arg(root)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        // Link-time optimization would make the first run longer for little gain.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // Outside the workspace, whose .cargo/config.toml is not meant for other projects.
        .current_dir(root);
    if let Some(path) = path {
        cargo.env("PATH", path);
    }
    processes::run_cargo("cargo install", cargo, title, progress).await?;
    std::fs::remove_dir_all(&target).with_context(|| format!("cannot remove {}", target.display()))
}
