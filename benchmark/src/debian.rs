//! Programs from Debian.

use std::process::Stdio;

use anyhow::Result;
use landfall_local::{Lines, Progress};
use tokio::process::Command;

/// Installs the package named like the program if this runs as root, and returns whether the program is available.
pub(crate) async fn install(program: &str, progress: &Lines) -> Result<bool> {
    let is_available = async || {
        Command::new(program)
            .arg("--version")
            .output()
            .await
            .is_ok()
    };
    if is_available().await || !rustix::process::geteuid().is_root() {
        return Ok(is_available().await);
    }
    progress.step(&format!("installing {program}"));
    let command = format!("apt-get update && apt-get install -y --no-install-recommends {program}");
    let output = Command::new("sh")
        .args(["-c", &command])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .await?;
    if !output.status.success() {
        progress.note(&format!("cannot install {program}: {command}"));
    }
    Ok(is_available().await)
}
