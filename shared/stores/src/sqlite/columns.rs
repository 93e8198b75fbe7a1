//! Applies a chunk of a dataset that is merged by column: each key is looked up, decided, and written as a whole row.

use landfall_domain::{Dataset, Merged, Row, RowUpdate, RowVersions, StoreCounts, StoredKey};
use rusqlite::Transaction;
use rusqlite::types::{Value, ValueRef};

use super::error::{STORE, refused, unavailable};
use super::recorder::Recorder;
use super::statement::{Prepared, extra};
use super::table::quote;
use super::tombstones::Tombstones;
use super::totals::Totals;
use super::values::Values;
use crate::columns::{self, Columns, Place};
use crate::error::Result;
use crate::registry::Entry;
use crate::schema::{Table, VERSION, VERSIONS, list};

pub(super) fn rows(
    transaction: &Transaction<'_>,
    table: &Table,
    dataset: &Dataset,
    entry: &Entry,
    versions: RowVersions,
    rows: &[Row],
) -> Result<StoreCounts> {
    let mut merge = Merge::new(transaction, table, dataset, entry)?;
    for row in rows {
        merge.values.set(row);
        let stored = merge.find(row)?;
        let version = versions.of(row);
        let merged = merge.columns.merge(row, &version, &stored.key);
        match merged.map_err(|error| columns::unreadable(STORE, error))? {
            Merged::Unchanged => merge.counts.unchanged += 1,
            Merged::Stale => merge.counts.stale += 1,
            Merged::Delete(version) => merge.delete(row, &stored, &version)?,
            Merged::Write(update) => merge.write(row, &stored, &update)?,
        }
        merge.totals.write_if_many(transaction)?;
    }
    merge.totals.write(transaction)?;
    merge.tombstones.finish(transaction, table, entry)?;
    Ok(merge.counts)
}

/// What the table has for a key.
struct Stored {
    key: StoredKey,
    /// The row id, if there is a row.
    id: Option<i64>,
    /// The values of the registered columns.
    values: Vec<Value>,
}

struct Merge<'t> {
    key: &'t [usize],
    columns: Columns,
    totals: Totals,
    total_columns: TotalColumns,
    values: Values,
    counts: StoreCounts,
    tombstones: Tombstones<'t>,
    recorder: Recorder<'t>,
    find: Prepared<'t>,
    insert: Prepared<'t>,
    update: Prepared<'t>,
    delete: Prepared<'t>,
}

impl<'t> Merge<'t> {
    fn new(
        transaction: &'t Transaction<'_>,
        table: &Table,
        dataset: &'t Dataset,
        entry: &Entry,
    ) -> Result<Self> {
        let prepare = |sql: String| Prepared::new(transaction, &sql);
        let target = quote(&table.name);
        let columns = entry.registered.merged_columns();
        let names: &Vec<String> = &columns.map(|column| column.name).collect();
        let keys = list(&table.key, ", ", quote);
        let key_places = vec!["?"; table.key.len()].join(", ");
        let is_key = list(&table.key, " AND ", |name| format!("{} = ?", quote(name)));
        let each = |piece: &dyn Fn(String) -> String| list(names, "", |name| piece(quote(name)));
        let totals = Totals::new(&table.name, &entry.registered);
        Ok(Self {
            key: dataset.key_indexes(),
            columns: Columns::new(dataset, &entry.registered),
            total_columns: TotalColumns::new(&totals, names, dataset)?,
            totals,
            values: Values::default(),
            counts: StoreCounts::default(),
            tombstones: Tombstones::new(transaction, table, dataset.key_indexes())?,
            recorder: Recorder::new(transaction, table, dataset.key_indexes(), entry)?,
            find: prepare(format!(
                "SELECT _rowid_, {VERSION}, {VERSIONS}{} FROM {target} WHERE {is_key}",
                each(&|name| format!(", {name}"))
            ))?,
            insert: prepare(format!(
                "INSERT INTO {target} ({keys}{}, {VERSION}, {VERSIONS}) VALUES ({key_places}{}, ?, ?) \
                 ON CONFLICT ({keys}) DO NOTHING",
                each(&|name| format!(", {name}")),
                each(&|_| ", ?".to_owned()),
            ))?,
            update: prepare(format!(
                "UPDATE {target} SET {}{VERSION} = ?, {VERSIONS} = ? WHERE _rowid_ = ?",
                each(&|name| format!("{name} = ?, "))
            ))?,
            delete: prepare(format!("DELETE FROM {target} WHERE _rowid_ = ?"))?,
        })
    }

    fn find(&mut self, row: &Row) -> Result<Stored> {
        self.find.bind_key(self.key, &self.values, row)?;
        let mut found = self.find.0.raw_query();
        if let Some(old) = found.next()? {
            let values = (0..self.columns.count()).map(|column| old.get(3 + column));
            return Ok(Stored {
                key: StoredKey {
                    row: Some((old.get(1)?, old.get(2)?)),
                    tombstone: None,
                },
                id: Some(old.get(0)?),
                values: values.collect::<rusqlite::Result<_>>()?,
            });
        }
        drop(found);
        Ok(Stored {
            key: StoredKey {
                row: None,
                tombstone: self.tombstones.find(&self.values, row)?,
            },
            id: None,
            values: vec![Value::Null; self.columns.count()],
        })
    }

    fn delete(&mut self, row: &Row, stored: &Stored, version: &[u8]) -> Result<()> {
        if let Some(id) = stored.id {
            let old: Vec<_> = stored.values.iter().map(ValueRef::from).collect();
            let old = self.total_columns.of(&self.values, row, &old);
            self.totals.change(Some(&old), None)?;
            self.delete.execute([ValueRef::Integer(id)])?;
            self.recorder.record(&self.values, row, version)?;
            self.counts.deleted += 1;
        } else {
            self.counts.unchanged += 1;
        }
        self.tombstones.put(&self.values, row, version)
    }

    fn write(&mut self, row: &Row, stored: &Stored, update: &RowUpdate) -> Result<()> {
        let old: Vec<_> = stored.values.iter().map(ValueRef::from).collect();
        let new = old.iter().enumerate().map(|(column, old)| {
            if update.nulls.contains(column) {
                return ValueRef::Null;
            }
            let place = self.columns.place(column);
            match place.filter(|_| update.taken.contains(column)) {
                Some(Place::Field(field)) => self.values.get(row, field),
                Some(Place::Extra) => extra(row),
                None => *old,
            }
        });
        let new: Vec<_> = new.collect();
        let versions = [
            ValueRef::Blob(&update.version),
            ValueRef::Blob(&update.versions),
        ];
        let now = self.total_columns.of(&self.values, row, &new);
        let values = new.iter().copied().chain(versions);
        if let Some(id) = stored.id {
            self.update.execute(values.chain([ValueRef::Integer(id)]))?;
            if new == old {
                self.counts.unchanged += 1;
                return Ok(());
            }
            let was = self.total_columns.of(&self.values, row, &old);
            self.totals.change(Some(&was), Some(&now))?;
            self.recorder.record(&self.values, row, &update.version)?;
            self.counts.updated += 1;
            return Ok(());
        }
        let key = || self.key.iter().map(|index| self.values.get(row, *index));
        if self.insert.execute(key().chain(values))? == 0 {
            return Err(refused("a trigger of the table keeps rows out"));
        }
        if stored.key.tombstone.is_some() {
            self.tombstones.delete(&self.values, row)?;
        }
        self.totals.change(None, Some(&now))?;
        self.recorder.record(&self.values, row, &update.version)?;
        self.counts.inserted += 1;
        Ok(())
    }
}

/// The columns that totals use.
struct TotalColumns(Vec<Source>);

/// Where the value of a column is.
enum Source {
    /// In the field of the key with this index.
    Key(usize),
    /// In the registered column of this number.
    Column(usize),
}

impl TotalColumns {
    fn new(totals: &Totals, registered: &[String], dataset: &Dataset) -> Result<Self> {
        let source = |name: &String| {
            let column = registered.iter().position(|column| column == name);
            let field = || dataset.fields.iter().position(|field| field.name == *name);
            column
                .map(Source::Column)
                .or_else(|| field().map(Source::Key))
        };
        let sources = totals.columns().iter().map(source);
        let sources = sources.collect::<Option<_>>();
        sources
            .map(Self)
            .ok_or_else(|| unavailable("a column of totals is not registered"))
    }

    /// Returns the values of the columns in a row. `columns` are those of the registered ones.
    fn of<'r>(
        &self,
        values: &'r Values,
        row: &'r Row,
        columns: &[ValueRef<'r>],
    ) -> Vec<ValueRef<'r>> {
        let values = self.0.iter().map(|source| match source {
            Source::Key(field) => values.get(row, *field),
            Source::Column(column) => columns[*column],
        });
        values.collect()
    }
}
