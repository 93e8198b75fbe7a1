//! SQLite: a chunk is one immediate transaction of prepared statements, row by row.
//!
//! Decimals are text in their shortest form. Dates and timestamps are ISO 8601 text of fixed length (`2026-11-20`,
//! `2026-11-20T08:30:00.000000Z`), which sorts by time. JSON stays the text that it was.
//!
//! Tables have row ids, and the key is a separate index: the rows of a chunk lie together whatever their keys are,
//! and a change touches no index. With the rows in the key's own tree (`WITHOUT ROWID`), a chunk with keys spread
//! over the table rewrites nearly every page and costs much more; the exception is changed rows that come in
//! another order than the table's. New files have pages of 16 KiB.
//!
//! Rows of a dataset that is merged by column are looked up and decided one by one ([`columns`]).
//!
//! `synchronous` is FULL, because what the ledger has counted must survive.
//!
//! SQLite makes writers wait by sleeping, up to 100 ms at a time, and the newest is as likely to go next as the
//! oldest, so some wait long. Landfall's writers therefore first take a system lock on `<file>-writers`, which
//! admits them in turn and wakes the next one at once.

mod changes;
mod columns;
mod destinations;
mod error;
mod file;
mod merge;
mod prepare;
mod prune;
mod read;
mod recorder;
mod registry;
mod search;
mod statement;
mod table;
mod tombstones;
mod totals;
mod values;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use landfall_domain::{Dataset, PrunePreview, RowVersion, StoreCounts, StoreKind};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tracing::warn;

use crate::error::{Result, StoreError};
use crate::maintenance::{Current, Maintenance, Prepared};
use crate::retry::with_retries;
use crate::schema::Table;
use crate::store::{Backend, Load, StoreOptions};
use crate::walk::Step;
use error::cut_off;
use file::{BUSY_TIMEOUT, absolute};
pub(crate) use read::ReadSqlite;

/// Page size of new files: a quarter of the default's number of pages to log, checksum and copy.
const PAGE_BYTES: u32 = 16 << 10;
/// Bytes of the write-ahead log above which a writer truncates it.
const LOG_BYTES: u64 = 128 << 20;

pub(crate) struct Sqlite {
    file: Arc<Database>,
    step_rows: u64,
    small_table_rows: u64,
}

struct Database {
    path: PathBuf,
    opened: Mutex<Option<Opened>>,
}

struct Opened {
    connection: Connection,
    /// Locked by the one active writer among Landfall's.
    writers: File,
}

impl Sqlite {
    /// Opens the file when first used, and creates it if it is missing.
    pub(crate) fn new(path: &str, options: StoreOptions) -> Result<Self> {
        let file = Database {
            path: absolute(path)?,
            opened: Mutex::new(None),
        };
        Ok(Self {
            file: Arc::new(file),
            step_rows: options.step_rows,
            small_table_rows: options.small_table_rows,
        })
    }

    /// Runs `work` in a transaction, on a thread that may block. The thread outlives a caller that stops waiting.
    async fn transact<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        let attempt = tokio::task::spawn_blocking(move || file.transact(work));
        attempt.await.unwrap_or_else(|_| Err(cut_off()))
    }
}

impl Database {
    fn transact<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut slot = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match slot.as_mut() {
            Some(opened) => opened,
            None => slot.insert(Opened::at(&self.path)?),
        };
        let _lock = WriterLock::wait(&opened.writers)?;
        let result = write(&mut opened.connection, work)?;
        self.empty_log(&opened.connection);
        Ok(result)
    }

    /// Truncates the write-ahead log once it is long. With readers that never pause, the automatic checkpoints never
    /// reach its end, and it grows without bound.
    fn empty_log(&self, connection: &Connection) {
        let log = sibling_path(&self.path, "-wal");
        if std::fs::metadata(log).is_ok_and(|log| log.len() > LOG_BYTES) {
            let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            if let Err(error) = emptied {
                // The rows are committed; the next writer tries again.
                warn!(%error, "the write-ahead log could not be emptied");
            }
        }
    }
}

impl Opened {
    fn at(path: &Path) -> Result<Self> {
        let connection = connect(path)?;
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let writers = options.open(sibling_path(path, "-writers")).map_err(io)?;
        Ok(Self {
            connection,
            writers,
        })
    }
}

/// Holds the writers' lock. It is released also after a panic.
struct WriterLock<'a>(&'a File);

impl<'a> WriterLock<'a> {
    fn wait(writers: &'a File) -> Result<Self> {
        writers.lock().map_err(io)?;
        Ok(Self(writers))
    }
}

impl Drop for WriterLock<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            warn!(%error, "the writers' lock could not be released");
        }
    }
}

fn sibling_path(path: &Path, end: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(end);
    name.into()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands where errors are mapped"
)]
fn io(error: std::io::Error) -> StoreError {
    StoreError::down(StoreKind::Sqlite, format!("I/O: {}", error.kind()))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Affects new files only; must precede the log, which fixes it.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // NORMAL may lose the last commits in a power failure, after the ledger has counted them.
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

fn write<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<T> {
    // Immediate: a transaction that reads first cannot wait for the write lock.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = work(&transaction)?;
    transaction.commit()?;
    Ok(result)
}

#[async_trait]
impl Backend for Sqlite {
    const KIND: StoreKind = StoreKind::Sqlite;

    async fn prepare(&self, dataset: &Dataset, table: &Table) -> Result<Prepared> {
        let (dataset, table, small) = (dataset.clone(), table.clone(), self.small_table_rows);
        self.transact(move |transaction| prepare::make(transaction, &dataset, &table, small))
            .await
    }

    async fn maintain(
        &self,
        dataset: &Dataset,
        table: &Table,
        current: &Current,
    ) -> Result<Maintenance> {
        let (dataset, table, current) = (dataset.clone(), table.clone(), current.clone());
        self.transact(move |transaction| prepare::maintain(transaction, &dataset, &table, &current))
            .await
    }

    async fn searched(&self, dataset: &str) -> Result<Vec<String>> {
        let dataset = dataset.to_owned();
        self.transact(move |transaction| search::fields(transaction, &dataset))
            .await
    }

    async fn apply(&self, load: Load<'_>) -> Result<StoreCounts> {
        let attempt = || {
            let (table, dataset) = (load.table.clone(), load.dataset.clone());
            let (versions, rows) = (load.versions, Arc::clone(load.rows));
            self.transact(move |transaction| {
                merge::rows(transaction, &table, &dataset, versions, &rows)
            })
        };
        with_retries(attempt).await
    }

    async fn preview_prune(&self, table: &Table, floor: RowVersion) -> Result<Step<PrunePreview>> {
        let (table, rows) = (table.clone(), self.step_rows);
        self.transact(move |transaction| prune::preview(transaction, &table, floor, rows))
            .await
    }

    async fn prune(&self, table: &Table, floor: RowVersion) -> Result<Step<u64>> {
        let (table, rows) = (table.clone(), self.step_rows);
        self.transact(move |transaction| prune::step(transaction, &table, floor, rows))
            .await
    }

    async fn next_to_sweep(&self, after: &str) -> Result<Option<String>> {
        let after = after.to_owned();
        self.transact(move |transaction| registry::next_with_tombstones(transaction, &after))
            .await
    }

    async fn sweep(&self, dataset: &str) -> Result<u64> {
        let (dataset, rows) = (dataset.to_owned(), self.step_rows);
        self.transact(move |transaction| tombstones::sweep(transaction, &dataset, rows))
            .await
    }

    async fn rebuild_totals(&self, dataset: &Dataset, table: &Table) -> Result<Vec<(String, u64)>> {
        let (dataset, table) = (dataset.clone(), table.clone());
        self.transact(move |transaction| prepare::rebuild_totals(transaction, &dataset, &table))
            .await
    }
}
