//! The commands in `docs/sources.md` and `docs/orders.md`, in their order, as a reader runs them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use landfall_local::{remove_cargo_variables, workspace};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than each command takes on a slow machine, with everything compiled.
const WITHIN: Duration = Duration::from_mins(5);

/// Returns the blocks of commands in a text.
fn commands(text: &str) -> Vec<&str> {
    let blocks = text.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("\n```").next().unwrap());
    blocks.collect()
}

fn shell(commands: &str, directory: &Path) -> Command {
    let mut command = std::process::Command::new("bash");
    remove_cargo_variables(&mut command);
    command
        .args(["-euo", "pipefail", "-c", commands])
        .current_dir(directory);
    let mut command = Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The first command, which runs until it is interrupted like by Ctrl-C.
struct Demo(Child);

impl Demo {
    async fn start(command: &str, directory: &Path) -> Self {
        let mut command = shell(command, directory);
        command.process_group(0).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let demo = Self(child);
        let is_running = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                println!("{line}");
                if line.starts_with("Running until Ctrl-C") {
                    return true;
                }
            }
            false
        };
        assert!(timeout(WITHIN, is_running).await.unwrap(), "it has ended");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        demo
    }

    fn interrupt(&self) {
        if let Some(id) = self.0.id() {
            let group = format!("-{id}");
            let kill = std::process::Command::new("kill")
                .args(["-INT", "--", &group])
                .status();
            assert!(kill.unwrap().success());
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.interrupt();
    }
}

/// Runs the first block, with more options, and the others as one script beside it. Returns what they print.
async fn run(blocks: &[&str], options: &str) -> String {
    let workspace = workspace().unwrap();
    let (first, rest) = blocks.split_first().unwrap();
    let mut demo = Demo::start(&format!("{first} {options}"), &workspace).await;
    // Each command is printed before it runs.
    let script = format!("set -x\n{}", rest.join("\n"));
    let run = shell(&script, &workspace).output();
    let run = timeout(WITHIN, run).await.unwrap().unwrap();
    let output = String::from_utf8_lossy(&run.stdout).into_owned();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{output}\n{errors}");

    demo.interrupt();
    let ended = timeout(WITHIN, demo.0.wait()).await.unwrap();
    assert!(ended.unwrap().success());
    assert!(!workspace.join("target/demo.env").exists());
    output
}

fn document(name: &str) -> String {
    std::fs::read_to_string(workspace().unwrap().join("docs").join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_show_sources_at_work() {
    let document = document("sources.md");
    let (_, section) = document.split_once("\n## Try it\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let printed = run(&commands(section), "").await;
    for part in [
        "shop_orders: dataset shop_orders, every 1 minute, ",
        "GET http://127.0.0.1:8701/orders?after=100",
        "succeeded, started ",
        "\n304\n",
        "cache-status: landfall; ",
        "\"status\":\"sent\"",
        "\"schedule\":\"every 2 minutes\"",
        "stock is not paused",
    ] {
        assert!(printed.contains(part), "{part:?} is missing: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_show_how_a_service_follows_orders() {
    let document = document("orders.md");
    let printed = run(&commands(&document), "--rows 300").await;
    for part in [
        "\"orders\":300",
        "\"status\":\"created\"",
        "\"status\":\"paid\"",
        "\"orders\":[]",
        "erp: dataset orders, circuit closed",
        "\"answer\":\"status 422",
        "1 keys made due, finished",
        "erp: dataset orders, paused by ",
        "the service has failed since",
        "orders of earlier seedings that are deleted: 300",
        "created 200, updated ",
        "\"overlapping_calls\":0",
        "{\"order_id\":900002}: missing",
    ] {
        assert!(printed.contains(part), "{part:?} is missing: {printed}");
    }
}
