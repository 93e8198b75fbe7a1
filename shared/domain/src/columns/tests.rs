//! Any order and any repetition of changes leaves what the definition of a merge says.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::dataset::Dataset;
use crate::fold::fold_by_key;
use crate::job::JobId;
use crate::row::Row;
use crate::value::Value;
use crate::version::ObjectOrder;

/// The columns that the definitions of the tests have at most.
const COLUMNS: usize = 4;

/// A record of a key: its version, and the values of the columns that it has, or none if it deletes the key.
#[derive(Clone, Debug, PartialEq)]
struct Record {
    version: u8,
    columns: Option<BTreeMap<usize, u8>>,
}

/// What a store has for a key.
#[derive(Clone, Debug, Default)]
struct Key {
    stored: StoredKey,
    values: [Option<u8>; COLUMNS],
}

/// Versions of different lengths, as datasets with an order have them.
fn bytes(version: u8) -> Vec<u8> {
    vec![version; 1 + usize::from(version % 3)]
}

impl Record {
    fn change(&self) -> Change {
        match &self.columns {
            None => Change {
                delete: Some(bytes(self.version)),
                ..Change::default()
            },
            Some(columns) => Change {
                row: Some(bytes(self.version)),
                columns: vec![(bytes(self.version), columns.keys().copied().collect())],
                delete: None,
            },
        }
    }

    /// Returns the number of columns that the registry must have for the record.
    fn registered(&self) -> usize {
        let last = self
            .columns
            .as_ref()
            .and_then(|columns| columns.keys().last());
        last.map_or(0, |last| last + 1)
    }
}

impl Key {
    /// Merges a change whose values these are. Returns whether it is stored or changes something.
    fn merge(&mut self, change: &Change, values: &BTreeMap<usize, u8>, count: usize) -> Merged {
        let merged = merge(&self.stored, change, count).unwrap();
        match &merged {
            Merged::Unchanged | Merged::Stale => {}
            Merged::Delete(version) => {
                *self = Self::default();
                self.stored.tombstone = Some(version.clone());
            }
            Merged::Write(update) => {
                for column in 0..COLUMNS {
                    if update.taken.contains(column) {
                        self.values[column] = Some(values[&column]);
                    } else if update.nulls.contains(column) {
                        self.values[column] = None;
                    }
                }
                let row = (update.version.clone(), Some(update.versions.clone()));
                self.stored = StoredKey {
                    row: Some(row),
                    tombstone: None,
                };
            }
        }
        merged
    }
}

/// Returns the row that records leave, by definition: its version and values, if there is one.
fn expected(records: &[Record]) -> Option<(u8, [Option<u8>; COLUMNS])> {
    let deleted = records.iter().filter(|record| record.columns.is_none());
    let deleted = deleted.map(|record| record.version).max();
    let live = records.iter().filter(|record| record.columns.is_some());
    let live = live.filter(|record| Some(record.version) > deleted);
    let newest = live.clone().map(|record| record.version).max()?;
    let values = std::array::from_fn(|column| {
        let have = live.clone().filter_map(|record| {
            let value = record.columns.as_ref()?.get(&column)?;
            Some((record.version, *value))
        });
        have.max().map(|(_, value)| value)
    });
    Some((newest, values))
}

prop_compose! {
    fn records()(
        columns in prop::collection::vec(
            prop_oneof![
                1 => Just(None),
                4 => prop::collection::btree_map(0..COLUMNS, any::<u8>(), 0..=COLUMNS).prop_map(Some),
            ],
            0..8,
        ),
    ) -> Vec<Record> {
        (1..).zip(columns).map(|(version, columns)| Record { version, columns }).collect()
    }
}

prop_compose! {
    /// Records, and the order in which they arrive, some of them several times.
    fn deliveries()(records in records())(
        order in Just((0..records.len()).collect::<Vec<_>>()).prop_shuffle(),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        records in Just(records),
    ) -> (Vec<Record>, Vec<usize>) {
        let mut order = order;
        if !records.is_empty() {
            order.extend(again.iter().map(|index| index.index(records.len())));
        }
        (records, order)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn each_column_ends_with_its_greatest_version_in_any_order((records, order) in deliveries()) {
        let mut key = Key::default();
        let mut seen = Vec::new();
        // Columns are registered when the first record needs them.
        let mut count = 0;
        for place in order {
            let record = &records[place];
            count = count.max(record.registered());
            let values = record.columns.clone().unwrap_or_default();
            let before = key.clone();
            let merged = key.merge(&record.change(), &values, count);
            let was_seen = seen.contains(record);
            if was_seen {
                prop_assert!(matches!(merged, Merged::Unchanged | Merged::Stale), "{merged:?}");
            }
            seen.push(record.clone());
            let row = key.stored.row.as_ref().map(|(version, _)| (version.clone(), key.values));
            let expected = expected(&seen).map(|(version, values)| (bytes(version), values));
            prop_assert_eq!(row, expected, "{:?} after {:?}", record, before);
        }
    }

    #[test]
    fn a_row_that_was_written_as_a_whole_has_one_version((records, order) in deliveries()) {
        // The whole row is in the middle of the records.
        let whole = Record { version: 100, columns: Some((0..COLUMNS).map(|column| (column, 9)).collect()) };
        let mut key = Key {
            stored: StoredKey { row: Some((bytes(100), None)), tombstone: None },
            values: [Some(9); COLUMNS],
        };
        let mut seen = vec![whole];
        for place in order {
            let mut record = records[place].clone();
            record.version += if record.version % 2 == 0 { 100 } else { 50 };
            let values = record.columns.clone().unwrap_or_default();
            key.merge(&record.change(), &values, COLUMNS);
            seen.push(record);
        }
        let row = key.stored.row.map(|(version, _)| (version, key.values));
        prop_assert_eq!(row, expected(&seen).map(|(version, values)| (bytes(version), values)));
    }

    #[test]
    fn a_chunk_that_is_folded_leaves_the_same(
        (records, cuts) in (records(), prop::collection::vec(any::<bool>(), 8)),
    ) {
        let dataset = "name = \"t\"\nkey = [\"k\"]\nmode = \"merge\"\nfields = [\
            { name = \"k\", type = \"text\" }, { name = \"a\", type = \"integer\" }, \
            { name = \"b\", type = \"integer\" }, { name = \"c\", type = \"integer\" }]";
        let dataset = Dataset::from_toml("t", dataset).unwrap();
        let order = ObjectOrder::new(1, "", JobId::for_object("b", "k", "1")).unwrap();
        // The key is column 0 of the dataset, and unknown columns are its column 4.
        let row = |record: &Record| {
            let columns = record.columns.as_ref();
            let value = |column: usize| {
                let value = columns.and_then(|columns| columns.get(&column));
                value.map_or(Value::Null, |value| Value::Integer((*value).into()))
            };
            let has = |columns: &BTreeMap<usize, u8>| columns.keys().map(|column| column + 1).collect();
            Row {
                offset: record.version.into(),
                deleted: columns.is_none(),
                values: vec![Value::Text("k".into()), value(0), value(1), value(2)].into(),
                extra: columns.and_then(|columns| columns.get(&3)).map(u8::to_string),
                parts: columns.map(|columns| Parts { own: has(columns), ..Parts::default() }.into()),
            }
        };
        let mut key = Key::default();
        let mut chunks: Vec<Vec<Row>> = vec![Vec::new()];
        for (record, cut) in records.iter().zip(cuts) {
            if cut {
                chunks.push(Vec::new());
            }
            chunks.last_mut().unwrap().push(row(record));
        }
        // The last chunk comes first.
        for rows in chunks.into_iter().rev() {
            let count = rows.len() as u64;
            let folded = fold_by_key(rows, &dataset, |row| order.at(row.offset));
            prop_assert_eq!(folded.rows.len() as u64 + folded.merged + folded.superseded, count);
            for row in &folded.rows {
                let columns: Vec<Option<usize>> = vec![None, Some(0), Some(1), Some(2), Some(3)];
                let change = row.change(&order.at(row.offset), &columns);
                let values = (0..COLUMNS).filter_map(|column| match (column, &row.values.get(column + 1)) {
                    (3, _) => Some((3, row.extra.as_ref()?.parse().unwrap())),
                    (_, Some(Value::Integer(value))) => Some((column, u8::try_from(*value).unwrap())),
                    _ => None,
                });
                key.merge(&change, &values.collect(), COLUMNS);
            }
        }
        let row = key.stored.row.map(|(version, _)| (version, key.values));
        let expected = expected(&records);
        let expected = expected.map(|(version, values)| (order.at(version.into()).as_bytes()[..].to_vec(), values));
        prop_assert_eq!(row, expected);
    }

    #[test]
    fn changed_versions_do_not_panic(versions in prop::collection::vec(any::<u8>(), 0..40), count in 0_usize..20) {
        let stored = StoredKey { row: Some((vec![1], Some(versions))), tombstone: None };
        let _ = merge(&stored, &Change { row: Some(vec![2]), ..Change::default() }, count);
    }
}

#[test]
fn a_row_of_one_version_needs_few_bytes() {
    let change = Change {
        row: Some(vec![7; 26]),
        columns: vec![(vec![7; 26], ColumnSet::first(COLUMNS))],
        delete: None,
    };
    let Ok(Merged::Write(update)) = merge(&StoredKey::default(), &change, COLUMNS) else {
        panic!("a new row is written");
    };
    assert_eq!(update.versions.len(), 5);
}
