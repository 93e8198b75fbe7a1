//! The command that generates sample data.

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use landfall_cli::api::Api;
use landfall_cli::seed::{Kind, Seeding, Way, seed_orders, write_revision};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What is generated
    kind: Kind,
    /// Number of rows in the file
    #[arg(long, default_value_t = 10_000)]
    rows: u64,
    /// Seed of the random content; the same seed generates the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Revision of the file, from 1. A later one has the same keys in the same order, with other values
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    revision: u32,
    /// File to write; standard output by default
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    orders: Orders,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Orders of a running stack")]
struct Orders {
    /// Instead of a file, write so many orders to the dataset `orders` of a stack. They have the keys from 1 on, also
    /// if there are such orders already. The dataset must be as in infra/datasets/orders.toml
    #[arg(long, value_name = "N", conflicts_with_all = ["rows", "revision", "out"])]
    #[arg(value_parser = clap::value_parser!(u64).range(..=10_000_000))]
    count: Option<u64>,
    /// Then change random ones so many times: they are updated, and some are deleted
    #[arg(long, value_name = "N", default_value_t = 0, requires = "count")]
    changes: u64,
    /// First delete the orders of all earlier seedings. Other orders stay
    #[arg(long, requires = "count")]
    clean: bool,
    /// How orders and changes reach the stack
    #[arg(long = "as", value_enum, default_value_t = Way::Files, requires = "count")]
    way: Way,
    /// Requests that are sent at a time
    #[arg(long, default_value_t = 16, requires = "count", value_parser = clap::value_parser!(u8).range(1..=64))]
    concurrency: u8,
    /// Address of the HTTP API, the output `ApiUrl` of the stack
    #[arg(long = "api", env = "LANDFALL_API_URL")]
    url: Option<String>,
    /// Token with the scopes read and write
    #[arg(long, env = "LANDFALL_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Writes a file, or orders to a stack.
pub(crate) async fn act(arguments: Arguments) -> Result<()> {
    if let Some(count) = arguments.orders.count {
        ensure!(arguments.kind == Kind::Orders, "--count is only for orders");
        let orders = arguments.orders;
        let url = orders.url.context("set LANDFALL_API_URL, or pass --api")?;
        let token = orders
            .token
            .context("set LANDFALL_TOKEN, or pass --token")?;
        let seeding = Seeding {
            orders: count,
            changes: orders.changes,
            seed: arguments.seed,
            cleans: orders.clean,
            way: orders.way,
            concurrency: orders.concurrency.into(),
        };
        let bar = ProgressBar::new(0);
        println!(
            "{}",
            seed_orders(&Api::new(&url, &token)?, &seeding, &bar).await?
        );
        return Ok(());
    }
    let out: Box<dyn Write> = match &arguments.out {
        None => Box::new(stdout().lock()),
        Some(path) => Box::new(
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?,
        ),
    };
    write_revision(
        arguments.kind,
        arguments.rows,
        arguments.seed,
        arguments.revision,
        BufWriter::new(out),
    )
    .context("cannot write the file")
}
