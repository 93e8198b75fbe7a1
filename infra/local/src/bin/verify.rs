//! `cargo verify`: every check that a change must pass. CI runs nothing else.

use std::ffi::{OsStr, OsString};
use std::iter;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use landfall_local::{
    Build, Databases, Lines, Tool, ZIPS, missing_packages, python_environment,
    remove_cargo_variables, requirements, target_directory, tool, workspace, zips,
};

/// Checks the whole workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo verify", bin_name = "cargo verify")]
struct Arguments {
    /// Only format, clippy, and the tests that need no servers.
    #[arg(long)]
    quick: bool,
}

/// The tools run for seconds, and an optimized build of them would take minutes.
const UNOPTIMIZED: &str = "--debug";
const NEXTEST: Tool = Tool {
    name: "cargo-nextest",
    version: "0.9.151",
    arguments: &["--no-default-features", UNOPTIMIZED],
};
const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    arguments: &[UNOPTIMIZED],
};
/// Tests that start no servers and need none.
const WITHOUT_SERVERS: &str = "not binary(end_to_end) and not binary(conformance)";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let progress = Lines::default();
    let mut steps = Steps {
        finished: Vec::new(),
        progress: &progress,
    };
    let result = verify(&arguments, &mut steps, &progress).await;
    steps.print();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn verify(arguments: &Arguments, steps: &mut Steps<'_>, progress: &Lines) -> Result<()> {
    std::env::set_current_dir(workspace()?)?;
    let shell = Shell {
        path: std::env::var_os("PATH").context("PATH is not set")?,
    };
    if !arguments.quick {
        steps.run("packages", async || install_packages()).await?;
    }
    steps
        .run("format", async || shell.cargo(&["fmt", "--all", "--check"]))
        .await?;
    let clippy = ["clippy", "--workspace", "--all-targets"];
    let clippy = [&clippy[..], &["--", "-D", "warnings"]].concat();
    steps.run("clippy", async || shell.cargo(&clippy)).await?;
    let nextest = async || shell.with_tool(NEXTEST, progress).await;
    let nextest = steps.run("cargo-nextest", nextest).await?;
    if arguments.quick {
        let tests = ["nextest", "run", "--workspace", "-E", WITHOUT_SERVERS];
        return steps.run("tests", async || nextest.cargo(&tests)).await;
    }

    steps.run("docs", async || shell.docs()).await?;
    steps
        .run("doctests", async || {
            shell.cargo(&["test", "--workspace", "--doc"])
        })
        .await?;
    steps.run("fuzz targets", async || shell.fuzz()).await?;

    let python = async || python_environment(requirements::VERIFY, progress).await;
    let python = steps.run("python", python).await?;
    steps
        .run("template", async || shell.template(&python))
        .await?;

    let deny = async || shell.with_tool(DENY, progress).await;
    let deny = steps.run("cargo-deny", deny).await?;
    steps
        .run("dependencies", async || deny.dependencies())
        .await?;

    let zips = async || zips(Build::Verify, progress).await;
    let zips = steps.run("zips", zips).await?;
    let python = async || python_environment(requirements::TESTS, progress).await;
    steps.run("python of the tests", python).await?;
    let databases = async || Databases::start(progress).await;
    let databases = steps.run("databases", databases).await?;
    steps
        .run("tests", async || {
            let mut tests = nextest.command("cargo");
            tests
                .args(["nextest", "run", "--workspace"])
                .env(ZIPS, &zips);
            databases.set_variables(&mut tests);
            check(tests)
        })
        .await
}

/// Installs missing Debian packages if this runs as root, and fails with the command to run otherwise.
fn install_packages() -> Result<()> {
    for component in ["fmt", "clippy"] {
        let version = Command::new("cargo")
            .args([component, "--version"])
            .output()?;
        ensure!(
            version.status.success(),
            "cargo {component} is missing: rustup component add rustfmt clippy"
        );
    }
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" ");
    let install = format!("apt-get update && apt-get install -y --no-install-recommends {missing}");
    ensure!(
        rustix::process::geteuid().is_root(),
        "packages are missing; run as root: {install}"
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &install])
        .env("DEBIAN_FRONTEND", "noninteractive");
    check(shell)
}

/// Runs commands in the workspace, with tools from the cache at the front of the `PATH`.
struct Shell {
    path: OsString,
}

impl Shell {
    /// Returns a shell that has the tool: the installed one, or one built into the cache.
    async fn with_tool(&self, wanted: Tool, progress: &Lines) -> Result<Self> {
        let mut path = self.path.clone();
        if !is_installed(wanted) {
            let bin = tool(wanted, progress).await?;
            path = std::env::join_paths(iter::once(bin).chain(std::env::split_paths(&path)))?;
        }
        Ok(Self { path })
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", &self.path);
        remove_cargo_variables(&mut command);
        command
    }

    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command("cargo");
        command.args(arguments);
        check(command)
    }

    fn docs(&self) -> Result<()> {
        let mut doc = self.command("cargo");
        doc.args(["doc", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings");
        check(doc)
    }

    /// Checks the fuzz targets with the stable compiler; only running them needs a nightly one.
    fn fuzz(&self) -> Result<()> {
        let mut fuzz = self.command("cargo");
        fuzz.args(["check", "--locked"])
            .current_dir("shared/formats/fuzz")
            .env("CARGO_TARGET_DIR", target_directory()?.join("fuzz"));
        check(fuzz)
    }

    fn template(&self, python: &Path) -> Result<()> {
        let mut lint = self.command(python.join("cfn-lint"));
        lint.args(["--append-rules", "infra/lint", "--"])
            .arg("infra/template.yaml");
        check(lint)?;
        let mut sam = self.command(python.join("sam"));
        sam.args(["validate", "--lint", "--template", "infra/template.yaml"])
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("SAM_CLI_TELEMETRY", "0");
        check(sam)
    }

    fn dependencies(&self) -> Result<()> {
        self.cargo(&["deny", "check", "bans", "licenses", "sources"])?;
        if let Err(error) = self.cargo(&["deny", "fetch", "db"]) {
            eprintln!(
                "NOT CHECKED: known vulnerabilities, because the database cannot be downloaded ({error})"
            );
            return Ok(());
        }
        self.cargo(&["deny", "check", "--disable-fetch", "advisories"])
    }
}

/// Whether cargo already has the subcommand, at any version.
fn is_installed(tool: Tool) -> bool {
    let subcommand = tool.name.trim_start_matches("cargo-");
    Command::new("cargo")
        .args([subcommand, "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Runs a command and fails if it does.
fn check(mut command: Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let arguments: Vec<_> = command.get_args().map(OsString::from).collect();
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !status.success() {
        let arguments = arguments.join(" ".as_ref());
        bail!(
            "{} {} failed ({status})",
            program.display(),
            arguments.display()
        );
    }
    Ok(())
}

/// The steps so far, with their durations and results.
struct Steps<'a> {
    finished: Vec<(&'static str, Duration, bool)>,
    progress: &'a Lines,
}

impl Steps<'_> {
    async fn run<T>(
        &mut self,
        name: &'static str,
        step: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<T> {
        eprintln!("== {name}");
        let start = Instant::now();
        let result = step().await;
        self.progress.clear();
        self.finished.push((name, start.elapsed(), result.is_ok()));
        result.with_context(|| name.to_owned())
    }

    fn print(&self) {
        eprintln!();
        for (name, duration, passed) in &self.finished {
            let result = if *passed { "ok" } else { "FAILED" };
            eprintln!("{name:<20} {:>7.1} s  {result}", duration.as_secs_f64());
        }
        let total: Duration = self.finished.iter().map(|(_, duration, _)| *duration).sum();
        eprintln!("{:<20} {:>7.1} s", "total", total.as_secs_f64());
    }
}
