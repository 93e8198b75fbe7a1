//! Applies a chunk.
//!
//! Values are bound by reference. While keys are absent, rows are inserted directly. Otherwise, each row is looked
//! up, compared in Rust, and written by its row id. Every count is therefore exact.

use std::cmp::Ordering;

use landfall_domain::{Dataset, Row, RowVersion, RowVersions, StoreCounts};
use rusqlite::Transaction;
use rusqlite::types::ValueRef;

use super::error::{refused, unavailable};
use super::recorder::Recorder;
use super::statement::{Prepared, extra};
use super::table::quote;
use super::tombstones::Tombstones;
use super::totals::Totals;
use super::values::Values;
use super::{columns, registry, search};
use crate::error::{Result, StoreError};
use crate::registry::all_stale;
use crate::schema::{ColumnKind, Table, VERSION, list};

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
    search::check(table, &entry)?;
    if entry.registered.is_merged() {
        return columns::rows(transaction, table, dataset, &entry, versions, rows);
    }
    let (key, totals) = (
        dataset.key_indexes(),
        Totals::new(&table.name, &entry.registered),
    );
    let mut merge = Merge::new(transaction, table, key, totals, entry.tombstones)?;
    let mut recorder = Recorder::new(transaction, table, key, &entry)?;
    let mut counts = StoreCounts::default();
    for row in rows {
        merge.values.set(row);
        let version = versions.of(row);
        let outcome = merge.apply(row, version)?;
        if !matches!(outcome, Outcome::Unchanged | Outcome::Stale) {
            recorder.record(&merge.values, row, version.as_bytes())?;
        }
        let count = match outcome {
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
    merge.tombstones.finish(transaction, table, &entry)?;
    Ok(counts)
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
    tombstones: Tombstones<'t>,
    /// Whether there were tombstones before this chunk, whose keys are all different.
    has_tombstones: bool,
    /// Whether the previous row's key was absent. Then the next one is likely absent too, and is inserted without a
    /// look-up.
    expect_absent: bool,
    /// The parameters of the statements are a row's values, `_extra` if kept, and `_version`, in this order; or the
    /// key's values; or both.
    insert: Prepared<'t>,
    find: Prepared<'t>,
    update: Prepared<'t>,
    advance: Prepared<'t>,
    delete: Prepared<'t>,
}

impl<'t> Merge<'t> {
    fn new(
        transaction: &'t Transaction<'_>,
        table: &Table,
        key: &'t [usize],
        totals: Totals,
        has_tombstones: bool,
    ) -> rusqlite::Result<Self> {
        let prepare = |sql: String| Prepared::new(transaction, &sql);
        let target = quote(&table.name);
        let names = list(&table.columns, ", ", |column| quote(&column.name));
        let places = vec!["?"; table.columns.len()].join(", ");
        let keys = list(&table.key, ", ", quote);
        let is_key = list(&table.key, " AND ", |name| format!("{} = ?", quote(name)));
        let compared = list(table.values(), "", |column| {
            format!(", {}", quote(&column.name))
        });
        let set = list(table.values(), "", |column| {
            format!("{} = ?, ", quote(&column.name))
        });
        let is_field = |index: &usize| {
            let kind = table.columns[*index].kind;
            matches!(kind, ColumnKind::Field(_) | ColumnKind::Search)
        };
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
            tombstones: Tombstones::new(transaction, table, key)?,
            has_tombstones,
            expect_absent: true,
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
            advance: prepare(format!(
                "UPDATE {target} SET {VERSION} = ? WHERE _rowid_ = ?"
            ))?,
            delete: prepare(format!("DELETE FROM {target} WHERE _rowid_ = ?"))?,
            totals,
        })
    }

    /// Applies the row that the values were set to.
    fn apply(&mut self, row: &Row, version: RowVersion) -> Result<Outcome> {
        if self.expect_absent && !self.has_tombstones && !row.deleted {
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
            self.tombstones.put(&self.values, row, version.as_bytes())?;
            return Ok(Outcome::Deleted);
        }
        let others = self.others.iter().map(|index| self.values.get(row, *index));
        let extra = self.has_extra.then(|| extra(row));
        self.update
            .execute(others.chain(extra).chain([version_value(&version), id]))?;
        Ok(Outcome::Updated)
    }

    fn apply_absent(&mut self, row: &Row, version: RowVersion) -> Result<Outcome> {
        if self.has_tombstones
            && let Some(existing) = self.tombstones.find(&self.values, row)?
        {
            match existing.as_slice().cmp(version.as_bytes()) {
                Ordering::Greater => return Ok(Outcome::Stale),
                Ordering::Equal => return Ok(Outcome::Unchanged),
                Ordering::Less if row.deleted => {}
                Ordering::Less => self.tombstones.delete(&self.values, row)?,
            }
        }
        if row.deleted {
            self.tombstones.put(&self.values, row, version.as_bytes())?;
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
}

fn version_value(version: &RowVersion) -> ValueRef<'_> {
    ValueRef::Blob(version.as_bytes())
}

fn unreadable() -> StoreError {
    unavailable("a stored version cannot be read")
}
