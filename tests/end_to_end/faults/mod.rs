//! Functions that are killed at a precise point, replies that are lost, and databases that go away in the middle of a
//! load, on one stack.
//!
//! A worker is held at a point by what it waits for next: a lock in PostgreSQL before the commit, a MongoDB that does
//! not respond after it, and a lock on a row that a prune deletes after the last mark. Then it is killed like a
//! function that runs out of memory. Its message returns within 60 seconds, so the jobs of all killed workers are
//! awaited together.

mod databases;
mod kills;
mod long;
mod replies;
mod workers;

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_domain::{CompletionEvent, JobId};
use landfall_ledger::{DynamoTable, JobHead, LedgerTable, Progress};
use landfall_local::{Database, Silent, Sql, Stack, StackOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::failing::dead_letters;
use crate::support::completions;

/// Longer than any step takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(1);
/// How long no completion must arrive to be sure that there is no other one.
const SILENCE: Duration = Duration::from_secs(1);

/// A stack whose databases can be stopped.
struct Faults {
    // Dropped before the databases.
    stack: Stack,
    sql: Database,
    mongodb: Database,
    _directory: TempDir,
}

impl Faults {
    async fn start(mariadb: bool, chunk_bytes: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let at = |name| directory.path().join(name);
        // The servers run as users of their own.
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), permissions).unwrap();
        let sql = if mariadb {
            std::fs::create_dir(at("sockets")).unwrap();
            Database::mariadb(&at("mariadb"), at("sockets")).await
        } else {
            Database::postgres(&at("postgres")).await
        };
        let (sql, mongodb) = (
            sql.unwrap(),
            Database::mongodb(&at("mongodb"), &Silent).await,
        );
        let mongodb = mongodb.unwrap();
        let options = StackOptions {
            sql: Sql::Url(sql.url().to_owned()),
            mongodb: Some(mongodb.url().to_owned()),
            parameters: vec![("ChunkBytes".to_owned(), chunk_bytes.to_owned())],
            ..StackOptions::default()
        };
        Self {
            stack: Stack::start(options, &Silent).await.unwrap(),
            sql,
            mongodb,
            _directory: directory,
        }
    }

    /// Kills the processes of the worker. Returns how many ran.
    fn kill_workers(&self) -> usize {
        let processes = self
            .stack
            .processes_of(&self.stack.outputs().worker_function);
        let killed = processes.iter().filter(|process| process.kill().unwrap());
        killed.count()
    }

    /// Opens a transaction that holds what these statements lock, until it is dropped.
    async fn hold(&self, statements: &str) -> PgConnection {
        let mut connection = PgConnection::connect(self.sql.url()).await.unwrap();
        let statements = AssertSqlSafe(format!("BEGIN; {statements}"));
        sqlx::raw_sql(statements)
            .execute(&mut connection)
            .await
            .unwrap();
        connection
    }

    /// Returns the single number that a query of PostgreSQL returns.
    async fn count(&self, query: &str) -> i64 {
        let mut connection = PgConnection::connect(self.sql.url()).await.unwrap();
        let query = AssertSqlSafe(query.to_owned());
        let row = sqlx::raw_sql(query)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        row.get(0)
    }

    /// Waits until so many connections of workers wait for a lock.
    async fn wait_for_blocked(&self, connections: i64) {
        let query = "SELECT count(*) FROM pg_stat_activity \
             WHERE application_name = 'landfall' AND wait_event_type = 'Lock'";
        wait_until("workers wait for a lock", async || {
            self.count(query).await >= connections
        })
        .await;
    }

    /// Waits for the completions of jobs, none of which may have another one, and checks that no message is lost.
    async fn close(&self, jobs: &[JobId]) -> BTreeMap<JobId, CompletionEvent> {
        let events = completions(&self.stack, jobs).await;
        assert_eq!(dead_letters(&self.stack).await, "0");
        events.into_iter().collect()
    }

    /// Checks that no completions arrive but duplicates of these, until there are none for a while.
    async fn assert_no_other_completion(&self, known: &[&CompletionEvent], silence: Duration) {
        while let Some(late) = self.stack.next_event(silence).await.unwrap() {
            assert!(known.contains(&&late.detail), "{late:?}");
        }
    }

    async fn head(&self, job: JobId) -> Option<JobHead> {
        self.ledger().head(job).await.unwrap()
    }

    async fn progress(&self, head: &JobHead) -> Progress {
        Progress::read(&self.ledger(), head).await.unwrap()
    }

    /// Waits until a job has some of its chunks behind it, and some ahead.
    async fn wait_for_the_middle(&self, job: JobId) {
        wait_until("the job is in the middle", async || {
            let Some(head) = self.head(job).await else {
                return false;
            };
            let Some(chunks) = head.chunks else {
                return false;
            };
            let done = self.progress(&head).await.done;
            assert!(done < chunks, "the job was too fast");
            done > 1
        })
        .await;
    }

    fn ledger(&self) -> DynamoTable {
        let client = aws_sdk_dynamodb::Client::new(self.stack.sdk_config());
        DynamoTable::new(client, &self.stack.outputs().ledger_table)
    }
}

async fn wait_until(what: &str, is_reached: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !is_reached().await {
        assert!(Instant::now() < deadline, "not reached: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Returns a products file of so many rows, whose keys start with a prefix.
fn products(prefix: &str, rows: u32) -> Vec<u8> {
    let lines = (0..rows).map(|row| format!("{prefix}{row:06},name {row},\n"));
    format!("sku,name,description\n{}", lines.collect::<String>()).into_bytes()
}
