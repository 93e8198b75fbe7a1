//! `cargo verify`: everything that must hold before a change is taken. All that CI does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use landfall_local::{
    Databases, Lines, Requirements, Tool, ZIPS, as_from_a_shell, functions, missing_packages,
    python_environment, tool, workspace,
};

/// These take seconds at most: optimizing them would take minutes.
const QUICKLY: &str = "--debug";
const NEXTEST: Tool = Tool {
    name: "cargo-nextest",
    version: "0.9.151",
    flags: &["--no-default-features", QUICKLY],
};
const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    flags: &[QUICKLY],
};

#[tokio::main]
async fn main() -> ExitCode {
    let progress = Lines::default();
    let mut steps = Steps::new(&progress);
    let verified = verify(&mut steps, &progress).await;
    steps.print();
    match verified {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn verify(steps: &mut Steps<'_>, progress: &Lines) -> Result<()> {
    let shell = Shell::new(workspace()?)?;

    steps.take("packages", async || packages()).await?;
    steps
        .take("format", async || shell.cargo(&["fmt", "--all", "--check"]))
        .await?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    steps.take("clippy", async || shell.cargo(&clippy)).await?;

    let python = async || python_environment(Requirements::Verify, progress).await;
    let python = steps.take("python", python).await?;
    steps
        .take("template", async || shell.template(&python))
        .await?;

    let deny = async || shell.with_tool(DENY, progress).await;
    let deny = steps.take("cargo-deny", deny).await?;
    steps
        .take("dependencies", async || deny.dependencies())
        .await?;

    let zips = steps
        .take("zips", async || functions(progress).await)
        .await?;
    let tests = async || python_environment(Requirements::Tests, progress).await;
    steps.take("python of the tests", tests).await?;
    let nextest = async || shell.with_tool(NEXTEST, progress).await;
    let nextest = steps.take("cargo-nextest", nextest).await?;
    let databases = async || Databases::start(progress).await;
    let databases = steps.take("databases", databases).await?;
    steps
        .take("tests", async || {
            let mut tests = nextest.command("cargo");
            tests
                .args(["nextest", "run", "--workspace"])
                .env(ZIPS, &zips);
            databases.give_to(&mut tests);
            check(tests)
        })
        .await
}

/// Installs what is missing of the system's, where that is allowed.
fn packages() -> Result<()> {
    for component in ["fmt", "clippy"] {
        let there = Command::new("cargo")
            .args([component, "--version"])
            .output()?;
        ensure!(
            there.status.success(),
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
        "packages are missing; as root: {install}"
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &install])
        .env("DEBIAN_FRONTEND", "noninteractive");
    check(shell)
}

/// How commands are run: in the workspace, with tools of the cache before the `PATH`.
struct Shell {
    workspace: PathBuf,
    path: OsString,
}

impl Shell {
    fn new(workspace: PathBuf) -> Result<Self> {
        let path = std::env::var_os("PATH").context("there is no PATH")?;
        Ok(Self { workspace, path })
    }

    /// One that has the tool: the installed one, or one that is made.
    async fn with_tool(&self, wanted: Tool, progress: &Lines) -> Result<Self> {
        let path = if has(wanted) {
            self.path.clone()
        } else {
            let bin = tool(wanted, progress).await?;
            std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&self.path)))?
        };
        Ok(Self {
            workspace: self.workspace.clone(),
            path,
        })
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.workspace).env("PATH", &self.path);
        as_from_a_shell(&mut command);
        command
    }

    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command("cargo");
        command.args(arguments);
        check(command)
    }

    fn template(&self, python: &Path) -> Result<()> {
        let mut lint = self.command(python.join("cfn-lint"));
        lint.arg("infra/template.yaml");
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
                "NOT CHECKED: known vulnerabilities, because their list cannot be fetched ({error})"
            );
            return Ok(());
        }
        self.cargo(&["deny", "check", "--disable-fetch", "advisories"])
    }
}

/// Whether cargo has the subcommand already, at whatever version.
fn has(tool: Tool) -> bool {
    let subcommand = tool.name.trim_start_matches("cargo-");
    Command::new("cargo")
        .args([subcommand, "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

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

/// What was done, and how long it took.
struct Steps<'a> {
    taken: Vec<(&'static str, Duration, bool)>,
    progress: &'a Lines,
}

impl<'a> Steps<'a> {
    fn new(progress: &'a Lines) -> Self {
        Self {
            taken: Vec::new(),
            progress,
        }
    }

    async fn take<T>(
        &mut self,
        name: &'static str,
        step: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<T> {
        eprintln!("== {name}");
        let start = Instant::now();
        let result = step().await;
        self.progress.done();
        self.taken.push((name, start.elapsed(), result.is_ok()));
        result.with_context(|| name.to_owned())
    }

    fn print(&self) {
        eprintln!();
        for (name, took, passed) in &self.taken {
            let result = if *passed { "ok" } else { "FAILED" };
            eprintln!("{name:<16} {:>7.1} s  {result}", took.as_secs_f64());
        }
        let all: Duration = self.taken.iter().map(|(_, took, _)| *took).sum();
        eprintln!("{:<16} {:>7.1} s", "all", all.as_secs_f64());
    }
}
