//! Applies a chunk.
//!
//! Values are bound by reference. While keys are absent, rows are inserted directly. Otherwise, each row is looked
//! up, compared in Rust, and written by its row id. Every count is therefore exact.

use std::cmp::Ordering;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use landfall_domain::{Dataset, Row, RowVersion, RowVersions, StoreCounts};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Transaction};

use super::error::{refused, unavailable};
use super::table::{DELETED_AT, quote, tombstones};
use super::totals::Totals;
use super::values::Values;
use super::{columns, registry};
use crate::error::{Result, StoreError};
use crate::registry::{Entry, SWEPT_AT_ONCE, TOMBSTONE_DAYS, all_stale};
use crate::schema::{ColumnKind, Table, VERSION, list};
use crate::text::timestamp_text;

pub(super) fn rows(
    transaction: &Transaction<'_>,
    table: &Table,
    dataset: &Dataset,
    versions: RowVersions,
    rows: &[Row],
) -> Result<StoreCounts> {
    let entry = registry::prepared(transaction, &table.name)?;
    if entry.has_floor_above(versions.first()) {
        return Ok(all_stale(rows.len()));
    }
    if entry.registered.is_merged() {
        return columns::rows(transaction, table, dataset, &entry, versions, rows);
    }
    let (key, totals) = (
        dataset.key_indexes(),
        Totals::new(&table.name, &entry.registered),
    );
    let mut merge = Merge::new(transaction, table, key, totals, entry.tombstones)?;
    let mut counts = StoreCounts::default();
    for row in rows {
        merge.values.set(row);
        let version = versions.of(row);
        let count = match merge.apply(row, version)? {
            Outcome::Inserted => &mut counts.inserted,
            Outcome::Updated => &mut counts.updated,
            Outcome::Unchanged => &mut counts.unchanged,
            Outcome::Stale => &mut counts.stale,
            Outcome::Deleted => &mut counts.deleted,
        };
        *count += 1;
        merge.totals.write_if_many(transaction)?;
    }
    merge.totals.write(transaction)?;
    finish(transaction, table, &entry, merge.new_tombstones)?;
    Ok(counts)
}

/// Sweeps expired tombstones after new ones, and registers whether there are any.
pub(super) fn finish(
    transaction: &Transaction<'_>,
    table: &Table,
    entry: &Entry,
    new_tombstones: usize,
) -> Result<()> {
    if new_tombstones > 0 {
        sweep(transaction, table)?;
    }
    if new_tombstones > 0 || entry.tombstones {
        let select = format!("SELECT EXISTS (SELECT 1 FROM {})", tombstones(&table.name));
        let has_tombstones = transaction.query_row(&select, [], |row| row.get(0))?;
        if has_tombstones != entry.tombstones {
            registry::set_tombstones(transaction, &table.name, has_tombstones)?;
        }
    }
    Ok(())
}

fn sweep(transaction: &Transaction<'_>, table: &Table) -> rusqlite::Result<()> {
    let tombstones = tombstones(&table.name);
    let sweep = format!(
        "DELETE FROM {tombstones} WHERE _rowid_ IN (SELECT _rowid_ FROM {tombstones} \
         WHERE {DELETED_AT} < ? ORDER BY {DELETED_AT} LIMIT {SWEPT_AT_ONCE})"
    );
    let kept = SignedDuration::from_hours(i64::from(TOMBSTONE_DAYS) * 24);
    let before = timestamp_text(now() - kept, 'T', "Z");
    transaction.execute(&sweep, [before]).map(drop)
}

/// Returns the time in UTC.
pub(super) fn now() -> DateTime {
    TimeZone::UTC.to_datetime(jiff::Timestamp::now())
}

enum Outcome {
    Inserted,
    Updated,
    Unchanged,
    Stale,
    Deleted,
}

struct Merge<'t> {
    /// Indexes of the key's values in a row.
    key: &'t [usize],
    others: Vec<usize>,
    has_extra: bool,
    /// For each column that totals use, the index of its value in a row of this definition.
    total_columns: Vec<Option<usize>>,
    totals: Totals,
    values: Values,
    /// Whether there were tombstones before this chunk, whose keys are all different.
    tombstones: bool,
    /// Number of tombstones that this chunk leaves.
    new_tombstones: usize,
    /// Whether the previous row's key was absent. Then the next one is likely absent too, and is inserted without a
    /// look-up.
    expect_absent: bool,
    now: String,
    /// The parameters of the statements are a row's values, `_extra` if kept, and `_version`, in this order; or the
    /// key's values; or both.
    insert: Prepared<'t>,
    find: Prepared<'t>,
    update: Prepared<'t>,
    advance: Prepared<'t>,
    delete: Prepared<'t>,
    find_tombstone: Prepared<'t>,
    insert_tombstone: Prepared<'t>,
    delete_tombstone: Prepared<'t>,
}

impl<'t> Merge<'t> {
    fn new(
        transaction: &'t Transaction<'_>,
        table: &Table,
        key: &'t [usize],
        totals: Totals,
        has_tombstones: bool,
    ) -> rusqlite::Result<Self> {
        let prepare = |sql: String| transaction.prepare_cached(&sql).map(Prepared);
        let (target, tombstones) = (quote(&table.name), tombstones(&table.name));
        let names = list(&table.columns, ", ", |column| quote(&column.name));
        let places = vec!["?"; table.columns.len()].join(", ");
        let keys = list(&table.key, ", ", quote);
        let key_places = vec!["?"; table.key.len()].join(", ");
        let is_key = list(&table.key, " AND ", |name| format!("{} = ?", quote(name)));
        let compared = list(table.values(), "", |column| {
            format!(", {}", quote(&column.name))
        });
        let set = list(table.values(), "", |column| {
            format!("{} = ?, ", quote(&column.name))
        });
        let is_field = |index: &usize| matches!(table.columns[*index].kind, ColumnKind::Field(_));
        let total_columns = totals.columns().iter().map(|name| {
            let columns = &mut table.columns.iter();
            columns.position(|column| column.name == *name)
        });
        Ok(Self {
            key,
            others: (0..table.columns.len()).filter(is_field).collect(),
            has_extra: table.has_extra(),
            total_columns: total_columns.collect(),
            values: Values::default(),
            tombstones: has_tombstones,
            new_tombstones: 0,
            expect_absent: true,
            now: timestamp_text(now(), 'T', "Z"),
            insert: prepare(format!(
                "INSERT INTO {target} ({names}) VALUES ({places}) ON CONFLICT ({keys}) DO NOTHING"
            ))?,
            find: prepare(format!(
                "SELECT {VERSION}, _rowid_{compared}{} FROM {target} WHERE {is_key}",
                totals.select()
            ))?,
            update: prepare(format!(
                "UPDATE {target} SET {set}{VERSION} = ? WHERE _rowid_ = ?"
            ))?,
            advance: prepare(format!("UPDATE {target} SET {VERSION} = ? WHERE _rowid_ = ?"))?,
            delete: prepare(format!("DELETE FROM {target} WHERE _rowid_ = ?"))?,
            find_tombstone: prepare(format!("SELECT {VERSION} FROM {tombstones} WHERE {is_key}"))?,
            insert_tombstone: prepare(format!(
                "INSERT INTO {tombstones} ({keys}, {VERSION}, {DELETED_AT}) VALUES ({key_places}, ?, ?)
                 ON CONFLICT ({keys}) DO UPDATE SET
                 {VERSION} = excluded.{VERSION}, {DELETED_AT} = excluded.{DELETED_AT}"
            ))?,
            delete_tombstone: prepare(format!("DELETE FROM {tombstones} WHERE {is_key}"))?,
            totals,
        })
    }

    /// Applies the row that the values were set to.
    fn apply(&mut self, row: &Row, version: RowVersion) -> Result<Outcome> {
        if self.expect_absent && !self.tombstones && !row.deleted {
            if self.insert(row, version)? {
                return Ok(Outcome::Inserted);
            }
            self.expect_absent = false;
        }
        self.find.bind_key(self.key, &self.values, row)?;
        let mut found = self.find.0.raw_query();
        let Some(old) = found.next()? else {
            drop(found);
            return self.apply_absent(row, version);
        };
        self.expect_absent = false;
        let existing = old.get_ref(0)?.as_blob().map_err(|_| unreadable())?;
        match existing.cmp(version.as_bytes()) {
            Ordering::Greater => return Ok(Outcome::Stale),
            Ordering::Equal => return Ok(Outcome::Unchanged),
            Ordering::Less => {}
        }
        let id = ValueRef::Integer(old.get(1)?);
        let mut is_same = !row.deleted;
        let mut next = 2;
        for value in self.others.iter().map(|index| self.values.get(row, *index)) {
            is_same = is_same && old.get_ref(next)? == value;
            next += 1;
        }
        if self.has_extra {
            is_same = is_same && old.get_ref(next)? == extra(row);
            next += 1;
        }
        if is_same {
            drop(found);
            self.advance.execute([version_value(&version), id])?;
            return Ok(Outcome::Unchanged);
        }
        if !self.totals.is_empty() {
            let was = self.totals.values_for_totals(old, next)?;
            // A column that an older definition lacks keeps its value.
            let now = self.total_columns.iter().zip(&was);
            let now =
                now.map(|(index, was)| index.map_or(*was, |index| self.values.get(row, index)));
            let now: Vec<_> = now.collect();
            let now = (!row.deleted).then_some(now.as_slice());
            self.totals.change(Some(&was), now)?;
        }
        drop(found);
        if row.deleted {
            self.delete.execute([id])?;
            self.leave_tombstone(row, version)?;
            return Ok(Outcome::Deleted);
        }
        let others = self.others.iter().map(|index| self.values.get(row, *index));
        let extra = self.has_extra.then(|| extra(row));
        self.update
            .execute(others.chain(extra).chain([version_value(&version), id]))?;
        Ok(Outcome::Updated)
    }

    fn apply_absent(&mut self, row: &Row, version: RowVersion) -> Result<Outcome> {
        if self.tombstones {
            self.find_tombstone.bind_key(self.key, &self.values, row)?;
            let mut found = self.find_tombstone.0.raw_query();
            if let Some(tombstone) = found.next()? {
                let existing = tombstone.get_ref(0)?.as_blob().map_err(|_| unreadable())?;
                let compared = existing.cmp(version.as_bytes());
                drop(found);
                match compared {
                    Ordering::Greater => return Ok(Outcome::Stale),
                    Ordering::Equal => return Ok(Outcome::Unchanged),
                    Ordering::Less if row.deleted => {}
                    Ordering::Less => {
                        let key = self.key.iter().map(|index| self.values.get(row, *index));
                        self.delete_tombstone.execute(key)?;
                    }
                }
            }
        }
        if row.deleted {
            self.leave_tombstone(row, version)?;
            return Ok(Outcome::Unchanged);
        }
        if !self.insert(row, version)? {
            return Err(refused("a trigger of the table keeps rows out"));
        }
        self.expect_absent = true;
        Ok(Outcome::Inserted)
    }

    fn insert(&mut self, row: &Row, version: RowVersion) -> Result<bool> {
        let fields = (0..row.values.len()).map(|index| self.values.get(row, index));
        let extra = self.has_extra.then(|| extra(row));
        let values = fields.chain(extra).chain([version_value(&version)]);
        if self.insert.execute(values)? == 0 {
            return Ok(false);
        }
        if !self.totals.is_empty() {
            let now = self.total_columns.iter();
            let now =
                now.map(|index| index.map_or(ValueRef::Null, |index| self.values.get(row, index)));
            self.totals.change(None, Some(&now.collect::<Vec<_>>()))?;
        }
        Ok(true)
    }

    fn leave_tombstone(&mut self, row: &Row, version: RowVersion) -> Result<()> {
        let key = self.key.iter().map(|index| self.values.get(row, *index));
        let rest = [version_value(&version), ValueRef::Text(self.now.as_bytes())];
        self.insert_tombstone.execute(key.chain(rest))?;
        self.new_tombstones += 1;
        Ok(())
    }
}

pub(super) struct Prepared<'t>(pub(super) CachedStatement<'t>);

impl Prepared<'_> {
    /// Executes it with these parameters, and returns the number of changed rows.
    pub(super) fn execute<'v>(
        &mut self,
        values: impl IntoIterator<Item = ValueRef<'v>>,
    ) -> Result<usize> {
        for (value, place) in values.into_iter().zip(1..) {
            self.bind(place, value)?;
        }
        Ok(self.0.raw_execute()?)
    }

    pub(super) fn bind_key(&mut self, key: &[usize], values: &Values, row: &Row) -> Result<()> {
        for (index, place) in key.iter().zip(1..) {
            self.bind(place, values.get(row, *index))?;
        }
        Ok(())
    }

    fn bind(&mut self, place: usize, value: ValueRef<'_>) -> Result<()> {
        Ok(self
            .0
            .raw_bind_parameter(place, ToSqlOutput::Borrowed(value))?)
    }
}

fn version_value(version: &RowVersion) -> ValueRef<'_> {
    ValueRef::Blob(version.as_bytes())
}

pub(super) fn extra(row: &Row) -> ValueRef<'_> {
    let text = row.extra.as_deref();
    text.map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()))
}

fn unreadable() -> StoreError {
    unavailable("a stored version cannot be read")
}
