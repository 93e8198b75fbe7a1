//! Programs from crates.io and from Debian.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::progress::Progress;
use crate::{cache, mariadb, postgres, processes};

/// A program from crates.io, at one version.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Name of the crate.
    pub name: &'static str,
    /// Version of the crate.
    pub version: &'static str,
    /// What `cargo install` is told besides.
    pub flags: &'static [&'static str],
}

/// The `bin` directory of a tool, which is built once into the cache.
pub async fn tool(tool: Tool, progress: &dyn Progress) -> Result<PathBuf> {
    let Tool { name, version, .. } = tool;
    let directory = cache::directory()?.join(format!("{name}-{version}"));
    cache::make_once(&directory, name, progress, async || {
        if processes::find("cc", &[]).is_none() || processes::find("c++", &[]).is_none() {
            bail!("no C compiler: apt-get install -y build-essential");
        }
        progress.note(&format!(
            "building {name} {version} from crates.io into {}; this takes some minutes, once for this machine",
            directory.display()
        ));
        install(tool, &directory, None, progress).await
    })
    .await
    .with_context(|| format!("cannot make {name}"))?;
    Ok(directory.join("bin"))
}

/// Builds a tool into `root`, with `path` in place of the `PATH` where it is given.
pub(crate) async fn install(
    tool: Tool,
    root: &Path,
    path: Option<OsString>,
    progress: &dyn Progress,
) -> Result<()> {
    let target = tempfile::tempdir_in(root)?;
    let cargo_path = processes::find("cargo", &[]).context("cargo is not on the PATH")?;
    let mut cargo = processes::cargo(&cargo_path);
    cargo
        .args(["install", tool.name, "--version", tool.version, "--locked"])
        .args(tool.flags)
        .arg("--root")
        .arg(root)
        .env("CARGO_TARGET_DIR", target.path())
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // Outside of the workspace, whose .cargo/config.toml is not meant for it.
        .current_dir(root);
    if let Some(path) = path {
        cargo.env("PATH", path);
    }
    processes::run("cargo install", cargo, |line| {
        if let Some(count) = processes::bar(line) {
            progress.doing(&format!("building {}: {count} crates", tool.name));
        }
    })
    .await
}

/// The Debian packages that a verification needs and this machine lacks.
pub fn missing_packages() -> Vec<&'static str> {
    let has = |program: &str| processes::find(program, &[]).is_some();
    let mut missing = Vec::new();
    if !has("cc") || !has("c++") {
        missing.push("build-essential");
    }
    let venv = processes::find("python3", &[]).is_some_and(|python| {
        std::process::Command::new(python)
            .args(["-c", "import venv, ensurepip"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    if !venv {
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
