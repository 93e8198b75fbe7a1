//! The program of a `MongoDB` server: a `mongod` on the `PATH`, else `secantusd-rs`, built once into the cache.
//!
//! `secantusd-rs` implements `MongoDB`'s wire protocol over the `WiredTiger` engine. Its licence is the GPL, so it only
//! runs as a separate process.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::progress::Progress;
use crate::tools::{self, Tool};
use crate::{cache, processes, python};

const SECANTUS: Tool = Tool {
    name: "secantus-mdb",
    version: "0.5.3-beta.193",
    arguments: &["--ignore-rust-version"],
};

/// The program of a server.
#[derive(Clone, Debug)]
pub enum Server {
    /// `MongoDB`'s own.
    Mongod(PathBuf),
    /// The stand-in.
    Secantus(PathBuf),
}

/// Finds a server, or builds one.
pub async fn find_or_build(progress: &dyn Progress) -> Result<Server> {
    if let Some(mongod) = processes::find("mongod", &[]) {
        return Ok(Server::Mongod(mongod));
    }
    let directory = tools::directory(SECANTUS)?;
    let title = "local MongoDB";
    cache::build_once(&directory, title, progress, async || {
        // The build needs cmake, which the environment has.
        let bin = python::environment(python::LOCAL_STACK, progress).await?;
        let path = processes::path_with(&bin)?;
        tools::install(SECANTUS, title, &directory, Some(path), progress).await
    })
    .await
    .context(
        "cannot build the local MongoDB; instead, put mongod on the PATH or pass --mongodb URI",
    )?;
    Ok(Server::Secantus(directory.join("bin/secantusd-rs")))
}
