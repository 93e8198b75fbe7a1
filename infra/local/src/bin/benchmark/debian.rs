//! Programs from Debian.

use std::process::Stdio;

use anyhow::Result;
use landfall_local::{Lines, Progress};
use tokio::process::Command;

/// Installs a program by the package of its name, where that is allowed, and says whether it is there.
pub(crate) async fn provide(program: &str, progress: &Lines) -> Result<bool> {
    let is_there = async || {
        Command::new(program)
            .arg("--version")
            .output()
            .await
            .is_ok()
    };
    if is_there().await || !rustix::process::geteuid().is_root() {
        return Ok(is_there().await);
    }
    progress.doing(&format!("installing {program}"));
    let install = format!("apt-get update && apt-get install -y --no-install-recommends {program}");
    let output = Command::new("sh")
        .args(["-c", &install])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .await?;
    if !output.status.success() {
        progress.note(&format!("could not be installed: {install}"));
    }
    Ok(is_there().await)
}
