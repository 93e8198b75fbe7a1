//! The functions' zips, compiled for this machine's processor.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::progress::Progress;
use crate::workspace::{target_directory, workspace};
use crate::{processes, python};

/// The functions of the template, by the names of their binaries.
pub const FUNCTIONS: [&str; 8] = [
    "splitter",
    "worker",
    "maintenance",
    "api",
    "socket",
    "janitor",
    "puller",
    "relay",
];

/// Environment variable: a directory of prebuilt function zips. If set, nothing is built.
pub const ZIPS: &str = "LANDFALL_ZIPS";

/// How the functions are compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Build {
    /// For the local stack: with the same dependencies as `cargo local` and the tests, so that a change takes
    /// seconds. The features of all workspace members are unified, so a function may contain code it never calls.
    #[default]
    Quick,
    /// As deployed: by cargo-lambda, optimized, each function with only the features it asks for.
    Release,
    /// Packaged as deployed, but compiled with the optimizations of the local stack, because those of a release take
    /// minutes for each function.
    Verify,
}

/// Returns the directory of the functions' zips, which contains `<function>/bootstrap.zip`: the one that [`ZIPS`]
/// names, or a built one.
pub async fn zips(build: Build, progress: &dyn Progress) -> Result<PathBuf> {
    if let Some(zips) = std::env::var_os(ZIPS) {
        return Ok(PathBuf::from(zips));
    }
    match build {
        Build::Quick => quick(progress).await,
        Build::Release => packaged("release", progress).await,
        Build::Verify => packaged("verify", progress).await,
    }
}

/// Returns the path of a function's zip.
pub fn zip(zips: &Path, function: &str) -> PathBuf {
    zips.join(function).join("bootstrap.zip")
}

/// Compiles binaries of the workspace with the `dev` profile.
pub async fn compile(binaries: &[&str], progress: &dyn Progress) -> Result<()> {
    let cargo = processes::find("cargo", &[]).context("cargo is not on the PATH")?;
    let mut cargo = processes::cargo(&cargo);
    cargo.arg("build").current_dir(workspace()?);
    for binary in binaries {
        // Without --package, so that features are unified as they are for `cargo local` itself.
        cargo.args(["--bin", binary]);
    }
    processes::run_cargo("cargo build", cargo, "building Landfall", progress).await
}

async fn quick(progress: &dyn Progress) -> Result<PathBuf> {
    compile(&FUNCTIONS, progress).await?;
    let python = python::environment(python::LOCAL_STACK, progress).await?;
    let binaries = target_directory()?.join("debug");
    let zips = binaries.join("lambda");
    for function in FUNCTIONS {
        let zip = zip(&zips, function);
        pack(&python, &binaries.join(function), &zip).await?;
    }
    Ok(zips)
}

/// Puts a binary into a zip as `bootstrap`, unless the zip is newer.
async fn pack(python: &Path, binary: &Path, zip: &Path) -> Result<()> {
    // Uncompressed: the zip only travels to a process on this machine.
    const PROGRAM: &str = "import sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[1], 'w') as zip: zip.write(sys.argv[2], 'bootstrap')";
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let built = modified(binary).with_context(|| format!("no {}", binary.display()))?;
    if modified(zip).is_ok_and(|packed| packed > built) {
        return Ok(());
    }
    let directory = zip.parent().context("a zip without a directory")?;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    // Other runs may read and write the same zip, so it is replaced when complete.
    let process = std::process::id().to_string();
    let stripped = directory.join(format!("bootstrap.{process}"));
    let unfinished = zip.with_added_extension(process);
    // Half of an unoptimized binary is symbols.
    let mut strip = processes::command("strip");
    strip.arg("-o").arg(&stripped).arg(binary);
    processes::run("strip", strip, |_| {}).await?;
    let mut write_zip = processes::command(python.join("python"));
    write_zip
        .args(["-c", PROGRAM])
        .args([&unfinished, &stripped]);
    processes::run("python", write_zip, |_| {}).await?;
    fs::remove_file(&stripped).with_context(|| format!("cannot remove {}", stripped.display()))?;
    fs::rename(&unfinished, zip).with_context(|| format!("cannot write {}", zip.display()))
}

/// Compiles the functions with a profile of the workspace by cargo-lambda, which puts them into zips.
async fn packaged(profile: &str, progress: &dyn Progress) -> Result<PathBuf> {
    let bin = python::environment(python::LOCAL_STACK, progress).await?;
    let target = target_directory()?;
    let zips = target.join("lambda").join(profile);

    progress.step("building the functions");
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "--arm64",
        _ => "--x86-64",
    };
    let mut cargo = processes::cargo(&bin.join("cargo-lambda"));
    cargo
        .env("PATH", processes::path_with(&bin)?)
        .args(["lambda", "build", "--profile", profile])
        .args(["--output-format", "zip"])
        // Its optimizations include panic=abort, which would end a process that other messages still need.
        .arg("--disable-optimizations")
        .arg(architecture)
        .arg("--lambda-dir")
        .arg(&zips)
        // cargo-lambda passes a --target-dir on to `cargo metadata`, which does not support it.
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(workspace()?);
    for function in FUNCTIONS {
        // By package, so that a function contains only the features it asks for.
        cargo.args(["--package", function]);
    }
    let title = "building the functions";
    processes::run_cargo("cargo lambda build", cargo, title, progress).await?;
    for function in FUNCTIONS {
        let zip = zip(&zips, function);
        ensure!(zip.is_file(), "cargo-lambda built no {}", zip.display());
    }
    Ok(zips)
}
