//! The parts about one store, or both: floors and Landfall alternate on the same servers.

use std::fs;

use anyhow::Result;
use landfall_local::{Lines, Progress, Sql, Stores};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::Plan;
use crate::data::Sample;
use crate::floors::{mariadb, mongodb, postgres, sqlite};
use crate::landfall::Landfall;
use crate::result::Part;
use crate::tables::{self, Database};

const FIRST: &str = "Landfall, first load";
const CHANGED: &str = "Landfall, all changed";
const UNCHANGED: &str = "Landfall, unchanged";
const WHAT_FIRST: &str = "put to completion event: no key is there yet";
const WHAT_CHANGED: &str = "put to completion event: every key is there, with other values";
const WHAT_UNCHANGED: &str = "put to completion event: every key is there, with the same values";

/// What PostgreSQL's first load is measured without.
const WITHOUT_HASHES: Without = Without {
    dataset: "without_hashes",
    first: (
        "Landfall, first load, without hashes of keys",
        "put to completion event: no key is there yet, and new keys are not known by their hashes",
    ),
    changed: (
        "Landfall, all changed, without hashes of keys",
        "put to completion event: every key is there, with other values",
    ),
    // Creates the table; the row and all hashes are deleted afterwards.
    file: "sku,name,description\n0,n,d\n",
    sql: "DELETE FROM {dataset}; DELETE FROM _landfall_keys WHERE dataset = '{dataset}'",
};
const WITHOUT_LANES: Without = Without {
    dataset: "without_lanes",
    first: (
        "Landfall, first load, without lanes",
        "put to completion event: no key is there yet, and a key was deleted before, so that merges run in turn",
    ),
    changed: (
        "Landfall, all changed, without lanes",
        "put to completion event: every key is there, with other values, and merges run in turn",
    ),
    file: "sku,name,description,op\n0,,,delete\n",
    sql: "",
};

/// A way to make Landfall go without one of its means.
struct Without {
    /// The beginning of the names of its datasets.
    dataset: &'static str,
    first: Described<'static>,
    changed: Described<'static>,
    /// A file that comes first.
    file: &'static str,
    /// Statements to run after it, with `{dataset}` for the name of the dataset.
    sql: &'static str,
}

/// Files, stack and results of one part.
struct Bench<'a> {
    plan: &'a Plan,
    progress: &'a Lines,
    landfall: Landfall,
    first: Sample,
    changed: Sample,
    part: Part,
}

type Described<'a> = (&'a str, &'a str);

impl<'a> Bench<'a> {
    async fn start(
        name: &str,
        title: &str,
        (stores, sql): (Stores, Sql),
        plan: &'a Plan,
        progress: &'a Lines,
    ) -> Result<Self> {
        progress.step(&format!("making {} rows", plan.rows));
        let first = Sample::make(plan.directory(), plan.rows, 1)?;
        let changed = Sample::make(plan.directory(), plan.rows, 2)?;
        let landfall = Landfall::start(stores, sql, progress).await?;
        let mut part = plan.part(name, title);
        for address in [landfall.stack.mongodb_uri(), landfall.stack.sql_url()] {
            if !address.is_empty() {
                part.versions
                    .extend([Database::at(address).version().await?]);
            }
        }
        part.figure("size of the file", as_megabytes(first.bytes), "MB", None);
        Ok(Self {
            plan,
            progress,
            landfall,
            first,
            changed,
            part,
        })
    }

    async fn first(&mut self, run: usize) -> Result<()> {
        self.step(run, FIRST);
        let dataset = dataset(run);
        self.landfall.dataset(&dataset).await?;
        self.ingest(&dataset, (FIRST, WHAT_FIRST), true).await
    }

    async fn changed(&mut self, run: usize) -> Result<()> {
        self.step(run, CHANGED);
        self.ingest(&dataset(run), (CHANGED, WHAT_CHANGED), false)
            .await
    }

    async fn unchanged(&mut self, run: usize) -> Result<()> {
        self.step(run, UNCHANGED);
        self.ingest(&dataset(run), (UNCHANGED, WHAT_UNCHANGED), false)
            .await?;
        self.landfall.drop_tables(&dataset(run)).await
    }

    /// Measures the first load and the change of all rows without one of Landfall's means.
    async fn without(&mut self, run: usize, without: &Without) -> Result<()> {
        // Each run has its own table: workers keep in mind which tables they have prepared.
        let dataset = format!("{}_{run}", without.dataset);
        let file = self.plan.directory().join(&dataset);
        fs::write(&file, without.file)?;
        self.landfall.dataset(&dataset).await?;
        self.landfall.put(&dataset, &file).await?;
        let url = self.landfall.stack.sql_url();
        let sql = without.sql.replace("{dataset}", &dataset);
        tables::postgres(url)
            .await?
            .execute(AssertSqlSafe(sql))
            .await?;
        for (what, is_first) in [(without.first, true), (without.changed, false)] {
            self.step(run, what.0);
            self.ingest(&dataset, what, is_first).await?;
        }
        self.landfall.drop_tables(&dataset).await
    }

    async fn ingest(&mut self, dataset: &str, what: Described<'_>, first: bool) -> Result<()> {
        let sample = if first { &self.first } else { &self.changed };
        let result = self.landfall.ingest(dataset, sample, sample.keyed).await?;
        self.part.add(what.0, what.1, sample.rows, result);
        Ok(())
    }

    fn step(&self, run: usize, what: &str) {
        let Plan { runs, .. } = self.plan;
        let name = &self.part.name;
        self.progress
            .step(&format!("{name}, run {} of {runs}: {what}", run + 1));
    }

    fn floor(&mut self, what: Described<'_>, run: crate::result::Run) {
        self.part.add(what.0, what.1, self.first.rows, run);
    }

    fn end(self) -> Part {
        self.landfall.stack.stop();
        self.part
    }
}

/// Returns the dataset of a run. Each run has its own table.
fn dataset(run: usize) -> String {
    format!("products_{run}")
}

fn as_megabytes(bytes: u64) -> f64 {
    crate::result::as_float(bytes) / 1e6
}

pub(crate) async fn postgres(plan: &Plan, progress: &Lines) -> Result<Part> {
    let stores = (Stores::Sql, Sql::Postgres);
    let mut bench = Bench::start("postgres", "PostgreSQL", stores, plan, progress).await?;
    let url = bench.landfall.stack.sql_url().to_owned();
    for run in 0..plan.runs {
        bench.step(run, postgres::KEYED.0);
        let keyed = postgres::keyed(&url, &bench.first).await?;
        bench.floor(postgres::KEYED, keyed);
        bench.first(run).await?;
        bench.step(run, postgres::REBUILD.0);
        let rebuilt = postgres::rebuild(&url, &bench.changed, false).await?;
        bench.floor(postgres::REBUILD, rebuilt);
        bench.step(run, postgres::REBUILD_KEY_LAST.0);
        let rebuilt = postgres::rebuild(&url, &bench.changed, true).await?;
        bench.floor(postgres::REBUILD_KEY_LAST, rebuilt);
        bench.changed(run).await?;
        bench.step(run, postgres::RAW.0);
        let raw = postgres::raw(&url, &bench.changed).await?;
        bench.floor(postgres::RAW, raw);
        bench.unchanged(run).await?;
        bench.step(run, "COPY + MERGE");
        let [first, changed] = postgres::merge(&url, &bench.first, &bench.changed).await?;
        bench.floor(postgres::MERGE_FIRST, first);
        bench.floor(postgres::MERGE_CHANGED, changed);
        bench.without(run, &WITHOUT_HASHES).await?;
        bench.without(run, &WITHOUT_LANES).await?;
    }
    let part = &mut bench.part;
    part.compare("first load", FIRST, &[postgres::KEYED.0], Some(0.70));
    part.compare("all changed", CHANGED, &[postgres::REBUILD.0], Some(0.49));
    let key_last = postgres::REBUILD_KEY_LAST.0;
    part.compare("all changed, key last", CHANGED, &[key_last], None);
    part.compare("unchanged", UNCHANGED, &[postgres::RAW.0], Some(0.36));
    for Without { first, changed, .. } in [WITHOUT_HASHES, WITHOUT_LANES] {
        part.compare("first load", FIRST, &[first.0], None);
        part.compare("all changed", CHANGED, &[changed.0], None);
    }
    Ok(bench.end())
}

pub(crate) async fn mariadb(plan: &Plan, progress: &Lines) -> Result<Part> {
    let stores = (Stores::Sql, Sql::Mysql);
    let mut bench = Bench::start("mariadb", "MariaDB", stores, plan, progress).await?;
    let url = bench.landfall.stack.sql_url().to_owned();
    for run in 0..plan.runs {
        bench.step(run, mariadb::RAW.0);
        let raw = mariadb::raw(&url, &bench.first).await?;
        bench.floor(mariadb::RAW, raw);
        bench.first(run).await?;
        bench.step(run, mariadb::VALUES.0);
        let values = mariadb::values(&url, &bench.first).await?;
        bench.floor(mariadb::VALUES, values);
        bench.changed(run).await?;
        bench.unchanged(run).await?;
    }
    let part = &mut bench.part;
    for (name, of, goal) in [
        ("first load", FIRST, 0.70),
        ("all changed", CHANGED, 0.29),
        ("unchanged", UNCHANGED, 0.60),
    ] {
        part.compare(name, of, &[mariadb::RAW.0], Some(goal));
    }
    Ok(bench.end())
}

pub(crate) async fn sqlite(plan: &Plan, progress: &Lines) -> Result<Part> {
    let stores = (Stores::Sql, Sql::Sqlite);
    let mut bench = Bench::start("sqlite", "SQLite", stores, plan, progress).await?;
    for run in 0..plan.runs {
        bench.step(run, sqlite::RAW.0);
        let raw = sqlite::raw(plan.directory(), &bench.first).await?;
        bench.floor(sqlite::RAW, raw);
        bench.first(run).await?;
        bench.changed(run).await?;
        bench.unchanged(run).await?;
    }
    let part = &mut bench.part;
    part.compare("first load", FIRST, &[sqlite::RAW.0], Some(0.45));
    part.compare("all changed", CHANGED, &[sqlite::RAW.0], Some(0.40));
    part.compare("unchanged", UNCHANGED, &[sqlite::RAW.0], None);
    Ok(bench.end())
}

pub(crate) async fn mongodb(plan: &Plan, progress: &Lines) -> Result<Part> {
    let stores = (Stores::Mongodb, Sql::default());
    let mut bench = Bench::start("mongodb", "MongoDB", stores, plan, progress).await?;
    let uri = bench.landfall.stack.mongodb_uri().to_owned();
    for run in 0..plan.runs {
        bench.step(run, mongodb::INSERT.0);
        let inserted = mongodb::insert(&uri, &bench.first).await?;
        bench.floor(mongodb::INSERT, inserted);
        bench.first(run).await?;
        bench.step(run, mongodb::UPDATE.0);
        let updated = mongodb::update(&uri, &bench.changed).await?;
        bench.floor(mongodb::UPDATE, updated);
        bench.changed(run).await?;
        bench.unchanged(run).await?;
    }
    let part = &mut bench.part;
    part.compare("first load", FIRST, &[mongodb::INSERT.0], Some(0.80));
    part.compare("all changed", CHANGED, &[mongodb::UPDATE.0], Some(0.80));
    part.compare("unchanged", UNCHANGED, &[mongodb::UPDATE.0], None);
    Ok(bench.end())
}

pub(crate) async fn both(plan: &Plan, progress: &Lines) -> Result<Part> {
    let stores = (Stores::Both, Sql::Postgres);
    let title = "MongoDB with PostgreSQL";
    let mut bench = Bench::start("both", title, stores, plan, progress).await?;
    let uri = bench.landfall.stack.mongodb_uri().to_owned();
    let url = bench.landfall.stack.sql_url().to_owned();
    for run in 0..plan.runs {
        bench.step(run, mongodb::INSERT.0);
        let inserted = mongodb::insert(&uri, &bench.first).await?;
        bench.floor(mongodb::INSERT, inserted);
        bench.step(run, postgres::KEYED.0);
        let keyed = postgres::keyed(&url, &bench.first).await?;
        bench.floor(postgres::KEYED, keyed);
        bench.first(run).await?;
        bench.step(run, mongodb::UPDATE.0);
        let updated = mongodb::update(&uri, &bench.changed).await?;
        bench.floor(mongodb::UPDATE, updated);
        bench.step(run, postgres::REBUILD.0);
        let rebuilt = postgres::rebuild(&url, &bench.changed, false).await?;
        bench.floor(postgres::REBUILD, rebuilt);
        bench.changed(run).await?;
        bench.unchanged(run).await?;
    }
    let part = &mut bench.part;
    let first = [mongodb::INSERT.0, postgres::KEYED.0];
    part.compare("first load", FIRST, &first, Some(0.80));
    let changed = [mongodb::UPDATE.0, postgres::REBUILD.0];
    part.compare("all changed", CHANGED, &changed, Some(0.80));
    Ok(bench.end())
}
