//! The steps of a chunk in a transaction.

use std::borrow::Cow;

use async_trait::async_trait;
use landfall_domain::{StoreCounts, StoredKey};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, MySql, MySqlConnection, Transaction};

use super::changes::{self, Changes};
use super::columns::Updates;
use super::dialect::Dialect;
use super::keys::{self, Keys};
use super::search::{self, Postings};
use super::statement::{error, run, unavailable};
use super::totals::{self, Totals};
use super::upsert::Upsert;
use super::{ranges, registry};
use crate::columns::{Columns, Plan};
use crate::error::Result;
use crate::registry::Entry;
use crate::schema::Table;
use crate::sql::lanes::LaneLock;
use crate::sql::{self, Below, Change, SqlTransaction};
use crate::walk::Range;

pub(super) type Chunk<'a> = sql::Chunk<'a, Statements>;

pub(crate) struct Statements {
    dialect: Dialect,
    upsert: Upsert,
    pub(super) keys: Keys,
    changes: Changes,
    /// Only for rows that are merged by column.
    updates: Option<Updates>,
}

impl Statements {
    pub(super) fn new(table: &Table, dialect: Dialect) -> Self {
        let keys = Keys::new(table, dialect);
        Self {
            dialect,
            upsert: Upsert::new(table),
            changes: Changes::new(table, dialect, &keys.name),
            keys,
            updates: table.is_merged().then(|| Updates::new(table, dialect)),
        }
    }

    fn updates(&self) -> Result<&Updates> {
        let updates = self.updates.as_ref();
        updates.ok_or_else(|| unavailable("the table is not merged by column"))
    }
}

/// A transaction, and what was staged for it.
pub(crate) struct Write {
    pub(super) transaction: Transaction<'static, MySql>,
    staged_for: Option<Entry>,
    pub(super) dialect: Dialect,
    totals: Vec<Totals>,
    /// The rows that are summed up again once they are written.
    written: Option<String>,
    /// For each row of the chunk, whether a newer row deleted its key; empty if there are no tombstones.
    has_deleted_key: Vec<bool>,
    /// Whether the dataset that is locked has destinations.
    tracks: bool,
    /// If the dataset has search.
    postings: Option<Postings>,
}

impl Write {
    /// Begins a transaction that nothing is staged for.
    pub(super) async fn begin(connection: PoolConnection<MySql>, dialect: Dialect) -> Result<Self> {
        Ok(Self {
            // Hidden in the docs of sqlx, whose other transactions borrow their connection, which has what was
            // staged.
            transaction: Transaction::begin(connection, None).await.map_err(error)?,
            staged_for: None,
            dialect,
            totals: Vec::new(),
            written: None,
            has_deleted_key: Vec::new(),
            tracks: false,
            postings: None,
        })
    }

    /// Stages a step of a walk, and begins its transaction.
    pub(super) async fn walk(
        mut connection: PoolConnection<MySql>,
        table: &Table,
        dialect: Dialect,
    ) -> Result<Self> {
        let entry = registry::registered(&mut connection, &table.name).await?;
        let totals = Totals::all(table, &entry, dialect)?;
        totals::stage(&mut connection, &totals).await?;
        let postings = postings(&mut connection, table, &entry, dialect).await?;
        Ok(Self {
            staged_for: Some(entry),
            totals,
            postings,
            ..Self::begin(connection, dialect).await?
        })
    }

    /// Stages the keys of a chunk if totals, search, deletes or tombstones need them, and begins its transaction.
    pub(super) async fn chunk(
        mut connection: PoolConnection<MySql>,
        chunk: &Chunk<'_>,
    ) -> Result<Self> {
        Upsert::start_count(&mut connection).await?;
        let entry = registry::registered(&mut connection, &chunk.table.name).await?;
        let Statements {
            dialect,
            keys,
            changes,
            updates,
            ..
        } = chunk.statements;
        let dialect = *dialect;
        let totals = Totals::all(chunk.table, &entry, dialect)?;
        totals::stage(&mut connection, &totals).await?;
        if let Some(updates) = updates {
            run(&mut connection, &updates.create).await?;
        }
        let tracks = entry.registered.tracking.is_on();
        if tracks && updates.is_none() {
            run(&mut connection, &changes.create).await?;
        }
        let postings = postings(&mut connection, chunk.table, &entry, dialect).await?;
        if postings.is_some() {
            let first = chunk.dataset.fields.len();
            search::add_words(&mut connection, &chunk.table.name, &chunk.rows, first).await?;
        }
        let has_changes = tracks || postings.is_some() || !totals.is_empty();
        let needs_keys = has_changes || entry.tombstones || chunk.deletes > 0;
        if needs_keys || updates.is_some() {
            keys.stage(&mut connection, chunk.key, chunk.versions, &chunk.rows)
                .await?;
            if chunk.deletes > 0 && !entry.tombstones {
                keys.create_tombstones(&mut connection).await?;
            }
        }
        Ok(Self {
            staged_for: Some(entry),
            totals,
            postings,
            ..Self::begin(connection, dialect).await?
        })
    }
}

/// Returns the statements for the words of a dataset, if it has search, with what they are staged in.
async fn postings(
    connection: &mut MySqlConnection,
    table: &Table,
    entry: &Entry,
    dialect: Dialect,
) -> Result<Option<Postings>> {
    let fields = &entry.registered.search;
    if fields.is_empty() {
        return Ok(None);
    }
    let postings = Postings::new(table, fields, dialect);
    run(connection, &postings.create_removed).await?;
    Ok(Some(postings))
}

#[async_trait]
impl SqlTransaction<Statements> for Write {
    async fn lock(&mut self, dataset: &str, lock: LaneLock) -> Result<Entry> {
        let entry = registry::lock(&mut self.transaction, dataset, lock).await?;
        self.tracks = entry.registered.tracking.is_on();
        Ok(entry)
    }

    async fn save(&mut self, dataset: &str, entry: &Entry) -> Result<()> {
        registry::save(&mut self.transaction, dataset, entry).await
    }

    fn is_outdated(&self, entry: &Entry) -> bool {
        let staged_for = self.staged_for.as_ref();
        staged_for.is_some_and(|staged| {
            staged.registered != entry.registered
                || staged.tombstones != entry.tombstones
                || !staged.walks.builds_same(&entry.walks)
        })
    }

    async fn drop_rows_of_deleted_keys(&mut self, chunk: &Chunk<'_>) -> Result<u64> {
        let keys = &chunk.statements.keys;
        let places = keys.rows_of_deleted_keys(&mut self.transaction).await?;
        self.has_deleted_key = vec![false; chunk.rows.len()];
        for place in &places {
            self.has_deleted_key[*place] = true;
        }
        Ok(places.len() as u64)
    }

    async fn sum_totals(
        &mut self,
        table: &Table,
        entry: &Entry,
        change: &Change<'_, Statements>,
    ) -> Result<()> {
        if !entry.walks.building.is_empty() {
            // More keys may be included than when they were staged.
            self.totals = Totals::all(table, entry, self.dialect)?;
        }
        let rows = match change {
            Change::Chunk(chunk) => chunk.statements.keys.rows(table),
            Change::Below(below) => totals::rows_below(table, below),
        };
        totals::stage_before(&mut self.transaction, &self.totals, &rows).await?;
        self.written = matches!(change, Change::Chunk(_)).then_some(rows);
        Ok(())
    }

    async fn stored_keys(&mut self, chunk: &Chunk<'_>, entry: &Entry) -> Result<Vec<StoredKey>> {
        let (keys, rows) = (&chunk.statements.keys, chunk.rows.len());
        keys.stored(&mut self.transaction, rows, entry.tombstones)
            .await
    }

    async fn stage_updates(
        &mut self,
        chunk: &Chunk<'_>,
        columns: &Columns,
        plan: &Plan<'_>,
    ) -> Result<()> {
        let updates = chunk.statements.updates()?;
        let fields = 0..chunk.dataset.fields.len();
        let key: Vec<usize> = fields.filter(|field| chunk.key.contains(field)).collect();
        updates
            .stage(&mut self.transaction, &key, columns, plan)
            .await
    }

    async fn delete_outlived_tombstones(&mut self, chunk: &Chunk<'_>) -> Result<()> {
        let keys = &chunk.statements.keys;
        keys.delete_outlived_tombstones(&mut self.transaction).await
    }

    async fn write_updates(&mut self, chunk: &Chunk<'_>, _: &Plan<'_>) -> Result<u64> {
        let (updates, changes) = (chunk.statements.updates()?, &chunk.statements.changes);
        if self.tracks {
            for changed in &updates.changed {
                changes.record(&mut self.transaction, "u", changed).await?;
            }
        }
        if let Some(postings) = &self.postings {
            postings.update(&mut self.transaction, updates).await?;
        }
        updates.write(&mut self.transaction).await
    }

    async fn upsert(&mut self, chunk: &Chunk<'_>, rows: u64) -> Result<StoreCounts> {
        let Statements {
            upsert, changes, ..
        } = chunk.statements;
        if self.tracks {
            changes.copy_stored(&mut self.transaction).await?;
        }
        if let Some(postings) = &self.postings {
            let has_deleted_key = &self.has_deleted_key;
            postings
                .upsert(&mut self.transaction, chunk, has_deleted_key)
                .await?;
        }
        let mut upserts = Cow::Borrowed(chunk.rows.as_slice());
        if rows < upserts.len() as u64 {
            let has_deleted_key = |place| self.has_deleted_key.get(place) == Some(&true);
            let some = chunk.rows.iter().copied().enumerate();
            let some = some.filter(|(place, row)| !row.deleted && !has_deleted_key(*place));
            upserts = some.map(|(_, row)| row).collect();
        }
        debug_assert_eq!(upserts.len() as u64, rows, "the others are not upserted");
        let counts = upsert
            .run(&mut self.transaction, chunk.versions, &upserts)
            .await?;
        if self.tracks {
            changes.record_upserts(&mut self.transaction).await?;
        }
        Ok(counts)
    }

    async fn delete(&mut self, chunk: &Chunk<'_>) -> Result<StoreCounts> {
        let Statements { keys, changes, .. } = chunk.statements;
        if self.tracks {
            changes.record_deletes(&mut self.transaction).await?;
        }
        if let Some(postings) = &self.postings {
            postings.delete(&mut self.transaction, chunk).await?;
        }
        keys.delete(&mut self.transaction, chunk.deletes).await
    }

    async fn range(
        &mut self,
        table: &Table,
        name: &str,
        place: Option<&str>,
        rows: u64,
    ) -> Result<Range> {
        ranges::next(&mut self.transaction, table, name, place, rows).await
    }

    async fn count_below(&mut self, table: &Table, below: &Below<'_>) -> Result<[u64; 2]> {
        ranges::count_below(&mut self.transaction, &table.name, below).await
    }

    async fn delete_below(&mut self, table: &Table, name: &str, below: &Below<'_>) -> Result<u64> {
        if self.tracks && *name == table.name {
            changes::record_prune(&mut self.transaction, table, below).await?;
        }
        if let Some(postings) = self.postings.as_ref().filter(|_| *name == table.name) {
            postings.prune(&mut self.transaction, below).await?;
        }
        ranges::delete_below(&mut self.transaction, name, below).await
    }

    async fn sweep(&mut self, dataset: &str, rows: u64) -> Result<u64> {
        run(&mut self.transaction, &keys::sweep(dataset, rows)).await
    }

    async fn has_tombstones(&mut self, dataset: &str) -> Result<bool> {
        let any = format!("SELECT 1 FROM {} LIMIT 1", keys::tombstones(dataset));
        let any = sqlx::query(AssertSqlSafe(any)).fetch_optional(&mut *self.transaction);
        Ok(any.await.map_err(error)?.is_some())
    }

    async fn update_totals(&mut self) -> Result<()> {
        let rows = self.written.as_deref();
        totals::update(&mut self.transaction, &self.totals, rows).await
    }

    async fn commit(self) -> Result<()> {
        self.transaction.commit().await.map_err(error)
    }

    async fn rollback(self) -> Result<()> {
        self.transaction.rollback().await.map_err(error)
    }
}
