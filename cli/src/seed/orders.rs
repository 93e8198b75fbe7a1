//! Seeds the dataset `orders` of a running stack.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use landfall_domain::JobId;
use reqwest::Method;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::delivery::Delivery;
use super::life::CHANNEL;
use super::{Change, Life, Order};
use crate::api::{Api, Request};

/// The time between two looks at the rows.
const POLL: Duration = Duration::from_secs(1);
/// How long the rows may stay as they are although they are not as expected.
const STALLED: Duration = Duration::from_mins(5);

/// How changes reach the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// As files, which is fast
    Files,
    /// As requests, each of which writes or deletes one row
    Requests,
    /// New orders as files, then the changes of half of them as files and those of the others as requests
    Both,
}

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Seeding {
    /// Number of orders.
    pub orders: u64,
    /// Number of changes after the orders are created.
    pub changes: u64,
    /// Seed of the random content.
    pub seed: u64,
    /// Whether the orders of earlier seedings are deleted first.
    pub cleans: bool,
    /// How changes reach the stack.
    pub way: Way,
    /// Requests that are sent at a time.
    pub concurrency: usize,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Orders of earlier seedings that were deleted first.
    pub cleaned: u64,
    /// Orders that were created.
    pub created: u64,
    /// Updates of orders.
    pub updated: u64,
    /// Orders that were deleted again.
    pub deleted: u64,
}

impl Summary {
    /// Returns the number of orders that are left.
    pub fn orders(&self) -> u64 {
        self.created.saturating_sub(self.deleted)
    }

    fn count(&mut self, change: &Change) {
        match change {
            Change::Create(_) => self.created += 1,
            Change::Update(_) => self.updated += 1,
            Change::Delete(_) => self.deleted += 1,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cleaned,
            created,
            updated,
            deleted,
        } = self;
        if *cleaned > 0 {
            writeln!(
                formatter,
                "orders of earlier seedings that are deleted: {cleaned}"
            )?;
        }
        writeln!(
            formatter,
            "created {created}, updated {updated}, deleted {deleted}"
        )?;
        write!(formatter, "orders in the dataset: {}", self.orders())
    }
}

/// A row of the dataset, as far as it is checked.
#[derive(Deserialize)]
struct Row {
    order_id: u64,
    status: String,
    total: String,
}

#[derive(Deserialize)]
struct Page {
    rows: Vec<Row>,
    next: Option<String>,
}

/// Writes orders and their changes to a stack, and waits until the dataset holds what it must hold.
pub async fn seed_orders(api: &Api, seeding: &Seeding, bar: &ProgressBar) -> Result<Summary> {
    // Not repeated, so that a wrong address is reported at once.
    let dataset = api
        .send(&Method::GET, "datasets/orders", Request::default())
        .await;
    dataset.context("cannot read the dataset orders")?;
    let delivery = Delivery::new(api, bar, seeding.concurrency);
    let mut summary = Summary::default();
    let mut jobs = Vec::new();
    if seeding.cleans {
        spin(bar, "looking for orders of earlier seedings");
        let mut found = Vec::new();
        read(api, |row| found.push(row.order_id)).await?;
        summary.cleaned = found.len() as u64;
        count(bar, "deleting", summary.cleaned);
        let deletes = found.into_iter().map(Change::Delete);
        jobs = delivery.deliver(deletes, first_way(seeding.way)).await?;
    }
    let mut life = Life::new(seeding.orders, seeding.changes, seeding.seed);
    let new = usize::try_from(seeding.orders)?;
    count(bar, "creating", seeding.orders);
    let creates = life.by_ref().take(new);
    let creates = creates.inspect(|change| summary.count(change));
    jobs.extend(delivery.deliver(creates, first_way(seeding.way)).await?);
    if seeding.way == Way::Both {
        // A request that is sent later writes what is later than the file.
        wait(&delivery, &mut jobs).await?;
    }
    count(bar, "changing", seeding.changes);
    let changes = life.by_ref().inspect(|change| summary.count(change));
    jobs.extend(delivery.deliver(changes, seeding.way).await?);
    wait(&delivery, &mut jobs).await?;
    wait_for_rows(api, seeding, life.into_orders(), bar).await?;
    bar.finish_and_clear();
    Ok(summary)
}

/// Returns how new orders and deletes of old ones reach the stack.
fn first_way(way: Way) -> Way {
    match way {
        Way::Both => Way::Files,
        way => way,
    }
}

async fn wait(delivery: &Delivery<'_>, jobs: &mut Vec<JobId>) -> Result<()> {
    spin(delivery.bar, "waiting for the jobs of the files");
    delivery.wait(jobs).await?;
    jobs.clear();
    Ok(())
}

/// Waits until the dataset holds the orders.
async fn wait_for_rows(
    api: &Api,
    seeding: &Seeding,
    orders: Vec<Order>,
    bar: &ProgressBar,
) -> Result<()> {
    let orders: HashMap<u64, Order> = orders.into_iter().map(|order| (order.id, order)).collect();
    let (mut least, mut improved_at) = (u64::MAX, Instant::now());
    loop {
        let differing = differing(api, seeding, &orders).await?;
        if differing == 0 {
            return Ok(());
        }
        if differing < least {
            (least, improved_at) = (differing, Instant::now());
        }
        ensure!(
            improved_at.elapsed() < STALLED,
            "{differing} orders of the dataset are not as they were written. Perhaps others write them too, or the \
             dataset is paused"
        );
        spin(bar, &format!("waiting for {differing} orders"));
        sleep(POLL).await;
    }
}

/// Returns how many orders of the dataset are not as they must be.
async fn differing(api: &Api, seeding: &Seeding, orders: &HashMap<u64, Order>) -> Result<u64> {
    let (mut equal, mut wrong) = (0, 0);
    let check = |row: Row| match orders.get(&row.order_id) {
        Some(order) => equal += u64::from(is_equal(&row, order)),
        // Without the orders of earlier seedings, there are only those of this one.
        None => wrong += u64::from(seeding.cleans || row.order_id <= seeding.orders),
    };
    read(api, check).await?;
    Ok(orders.len() as u64 - equal + wrong)
}

fn is_equal(row: &Row, order: &Order) -> bool {
    row.status == order.status() && cents(&row.total) == Some(order.cents())
}

/// Reads an amount, in which a store may have left out zeros at the end.
fn cents(total: &str) -> Option<u64> {
    let (whole, part) = total.split_once('.').unwrap_or((total, ""));
    format!("{whole}{part:0<2}").parse().ok()
}

/// Reads the orders of all seedings.
async fn read(api: &Api, mut found: impl FnMut(Row)) -> Result<()> {
    let mut cursor = String::new();
    loop {
        let path = format!("datasets/orders/rows?where=channel:eq:{CHANNEL}&limit=1000{cursor}");
        let page = api.get::<Page>(&path).await;
        let page = page.context("cannot read the orders")?;
        page.rows.into_iter().for_each(&mut found);
        let Some(next) = page.next else { return Ok(()) };
        cursor = format!("&cursor={next}");
    }
}

fn count(bar: &ProgressBar, step: &'static str, length: u64) {
    if length > 0 {
        set_style(bar, "{msg} {bar:30} {human_pos}/{human_len}, {eta} left");
        bar.set_length(length);
        bar.set_message(step);
        bar.reset();
    }
}

fn spin(bar: &ProgressBar, step: &str) {
    set_style(bar, "{spinner} {msg}");
    bar.set_message(step.to_owned());
    bar.tick();
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

#[cfg(test)]
mod tests {
    use super::cents;

    #[test]
    fn an_amount_is_read_with_and_without_its_zeros() {
        for (text, expected) in [("12.30", 1230), ("12.3", 1230), ("12", 1200), ("0.05", 5)] {
            assert_eq!(cents(text), Some(expected), "{text}");
        }
        assert_eq!(cents("n/a"), None);
    }
}
