//! `SQLite`: a chunk is one immediate transaction, row by row with prepared statements.
//!
//! Decimals are text in their shortest form; dates and timestamps are ISO 8601 text of one length
//! (`2026-11-20`, `2026-11-20T08:30:00.000000Z`), so that their order is that of time. JSON stays
//! the text that it was.
//!
//! Tables have row ids, and the key is an index beside them: rows of a chunk then lie together
//! whatever their keys are, and a change touches no index. With the rows in the key's own tree
//! (`WITHOUT ROWID`) a chunk of a file in another order rewrites nearly every page of the table.
//!
//! `SQLite` lets writers wait by sleeping, up to 100 ms at a time and the newest as likely as the
//! oldest. So writers of Landfall take a lock of the system first, on a file beside the
//! database's, which wakes the next one at once.

mod changes;
mod error;
mod extreme;
mod merge;
mod prune;
mod read;
mod registry;
mod table;
mod totals;
mod values;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use landfall_domain::{Dataset, ObjectOrder, Row, StoreCounts, StoreKind};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tracing::warn;

use crate::retry::{bounded, retried};
use crate::schema::{Prepared, Table};
use crate::{Store, StoreError, StoreOptions};
use error::{Failure, unavailable};
pub(crate) use read::ReadSqlite;

/// How long `SQLite` itself waits for writers that are not Landfall's; after that the attempt is made anew.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page size of a file that Landfall makes: a quarter of the default's pages to log, check and copy.
const PAGE_BYTES: u32 = 16 << 10;
/// Bytes of the write-ahead log from which on a writer empties it.
const LOG_BYTES: u64 = 128 << 20;

/// A `SQLite` file.
pub(crate) struct Sqlite {
    inner: Arc<Inner>,
    timeout: Duration,
}

struct Inner {
    path: PathBuf,
    opened: Mutex<Option<Opened>>,
    prepared: Prepared,
}

struct Opened {
    connection: Connection,
    /// Locked by the one writer among Landfall's.
    writers: File,
}

impl Sqlite {
    /// Opens the file when first used, and makes it where it is missing.
    pub(crate) fn new(path: &str, options: StoreOptions) -> Result<Self, StoreError> {
        Ok(Self {
            inner: Arc::new(Inner {
                path: absolute(path)?,
                opened: Mutex::new(None),
                prepared: Prepared::default(),
            }),
            timeout: options.timeout,
        })
    }

    /// Runs `work` in a transaction, on a thread that may block; again where others were in the way.
    async fn transact<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Fn(&Transaction<'_>) -> error::Result<T> + Send + Sync + 'static,
    {
        // The thread outlives a caller that stops waiting.
        let work = Arc::new(work);
        let attempts = retried(|| {
            let (inner, work) = (Arc::clone(&self.inner), Arc::clone(&work));
            let attempt = tokio::task::spawn_blocking(move || inner.transact(work.as_ref()));
            async { attempt.await.unwrap_or_else(|_| Err(cut_off())) }
        });
        bounded(StoreKind::Sqlite, self.timeout, attempts).await
    }
}

fn absolute(path: &str) -> Result<PathBuf, StoreError> {
    let path = PathBuf::from(path);
    if !path.is_absolute() {
        let message = "the SQLite URL must be sqlite:// and an absolute path";
        return Err(StoreError::Config(message.to_owned()));
    }
    Ok(path)
}

/// `SQLite` counts with a sign.
fn count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or_default()
}

fn cut_off() -> StoreError {
    unavailable("the transaction was cut off")
}

impl Inner {
    fn transact<T>(
        &self,
        work: impl Fn(&Transaction<'_>) -> error::Result<T>,
    ) -> Result<T, StoreError> {
        let mut slot = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match slot.as_mut() {
            Some(opened) => opened,
            None => slot.insert(Opened::at(&self.path)?),
        };
        let _turn = Turn::await_on(&opened.writers)?;
        let result = write(&mut opened.connection, work)?;
        self.empty_log(&opened.connection);
        Ok(result)
    }

    /// Empties the write-ahead log once it is long: among readers that never pause, the checkpoints
    /// that `SQLite` makes by itself do not come to its end, and it grows without bound.
    fn empty_log(&self, connection: &Connection) {
        let log = beside(&self.path, "-wal");
        if std::fs::metadata(log).is_ok_and(|log| log.len() > LOG_BYTES) {
            let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            if let Err(error) = emptied {
                // The rows are committed all the same; the next writer tries again.
                warn!(%error, "the write-ahead log could not be emptied");
            }
        }
    }
}

impl Opened {
    fn at(path: &Path) -> Result<Self, StoreError> {
        let connection = connect(path).map_err(Failure::from)?;
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let writers = options.open(beside(path, "-writers")).map_err(io)?;
        Ok(Self {
            connection,
            writers,
        })
    }
}

/// The writers' lock, while it lives: also a panic lets the next one in.
struct Turn<'a>(&'a File);

impl<'a> Turn<'a> {
    fn await_on(writers: &'a File) -> Result<Self, StoreError> {
        writers.lock().map_err(io)?;
        Ok(Self(writers))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            warn!(%error, "the writers' lock could not be given up");
        }
    }
}

/// The file's name with this at its end.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(end);
    name.into()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands where errors are mapped"
)]
fn io(error: std::io::Error) -> StoreError {
    unavailable(&format!("I/O: {}", error.kind()))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Of a new file; before the log, which fixes it.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // NORMAL may lose the last commits with the power, after the ledger has counted them.
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

fn write<T>(
    connection: &mut Connection,
    work: impl Fn(&Transaction<'_>) -> error::Result<T>,
) -> error::Result<T> {
    // Immediate: a transaction that reads first can't wait for the lock it needs to write.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = work(&transaction)?;
    transaction.commit()?;
    Ok(result)
}

#[async_trait]
impl Store for Sqlite {
    fn kind(&self) -> StoreKind {
        StoreKind::Sqlite
    }

    async fn prepare(&self, dataset: &Dataset) -> Result<(), StoreError> {
        let table = Table::of(dataset, StoreKind::Sqlite)?;
        let make = || {
            let (dataset, table) = (dataset.clone(), table.clone());
            self.transact(move |transaction| table::make(transaction, &dataset, &table))
        };
        self.inner.prepared.once(&table, self.timeout, make).await
    }

    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<Vec<Row>>,
    ) -> Result<StoreCounts, StoreError> {
        let table = Table::of(dataset, StoreKind::Sqlite)?;
        let name = table.name.clone();
        let key = dataset.key_indexes().to_vec();
        let (order, rows) = (*order, Arc::clone(rows));
        self.transact(move |transaction| merge::rows(transaction, &table, &key, &order, &rows))
            .await
            .inspect_err(|_| self.inner.prepared.forget(&name))
    }

    async fn prune(&self, dataset: &Dataset, order: &ObjectOrder) -> Result<u64, StoreError> {
        let table = Table::of(dataset, StoreKind::Sqlite)?;
        let name = table.name.clone();
        let floor = order.at(0);
        self.transact(move |transaction| prune::older(transaction, &table, floor))
            .await
            .inspect_err(|_| self.inner.prepared.forget(&name))
    }

    async fn rebuild_totals(&self, dataset: &Dataset) -> Result<Vec<(String, u64)>, StoreError> {
        let table = Table::of(dataset, StoreKind::Sqlite)?;
        let dataset = dataset.clone();
        let groups =
            self.transact(move |transaction| table::rebuild_totals(transaction, &dataset, &table));
        let groups = groups.await?.into_iter();
        Ok(groups.map(|(name, groups)| (name, count(groups))).collect())
    }
}
