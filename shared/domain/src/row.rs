//! Rows: records whose values have been checked against their dataset.
//!
//! The values of a row with few fields are stored inline, and rows are sorted by key in place. Stores read the rows
//! in key order several times; with values elsewhere, every row would cost a cache miss each time.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::civil::Date;
use smallvec::SmallVec;

use crate::columns::{Change, ColumnSet, Parts};
use crate::dataset::Dataset;
use crate::value::Value;
use crate::version::RowVersion;

/// The values of a row. Up to four are stored inline: rows are read in the order of their keys, and a
/// cache miss per row would cost more than everything else done with it.
pub type Values = SmallVec<[Value; 4]>;

/// One record with typed values.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Byte offset of the record in its object. Together with the order of the object, and the value of the dataset's
    /// `order`, it is the version of the row.
    pub offset: u64,
    /// Whether the row deletes its key. All values but those of the key and of the dataset's `order` are
    /// then null.
    pub deleted: bool,
    /// One value for each field of the dataset, in the same order.
    pub values: Values,
    /// The columns that belong to no field, as the text of a JSON object, if the dataset keeps them.
    pub extra: Option<String>,
    /// Which columns the row has, if the dataset is merged by column; otherwise it has all of them.
    pub parts: Option<Arc<Parts>>,
}

impl Row {
    /// Returns whether the row has a column: that of the field with this index, or that of unknown columns, which
    /// follows the fields.
    pub fn has(&self, column: usize) -> bool {
        let Some(parts) = &self.parts else {
            return true;
        };
        let mut older = parts.older.iter();
        parts.own.contains(column) || older.any(|(_, columns)| columns.contains(column))
    }

    /// Returns the memory in bytes of a row with this number of fields, without its texts.
    pub fn bytes(fields: usize) -> usize {
        let heap = if fields > Values::new().inline_size() {
            fields * size_of::<Value>()
        } else {
            0
        };
        size_of::<Self>() + heap
    }

    /// Compares two rows by key.
    pub fn cmp_key(&self, other: &Self, dataset: &Dataset) -> Ordering {
        dataset
            .key_indexes()
            .iter()
            .map(|index| self.values[*index].cmp_key(&other.values[*index]))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// Returns what the row, of this version, brings to its key. `columns` are the registered numbers of the columns of
    /// its dataset: of its fields, none for those of the key, then of unknown columns.
    pub fn change(&self, version: &RowVersion, columns: &[Option<usize>]) -> Change {
        let bytes = |version: &RowVersion| version.as_bytes()[..].to_vec();
        if self.deleted {
            return Change {
                delete: Some(bytes(version)),
                ..Change::default()
            };
        }
        let numbers = |has: &dyn Fn(usize) -> bool| -> ColumnSet {
            let columns = columns.iter().enumerate();
            let has = columns.filter(|(column, _)| has(*column));
            has.filter_map(|(_, number)| *number).collect()
        };
        let (own, rest) = match self.parts.as_deref() {
            None => (numbers(&|_| true), Change::default()),
            Some(parts) => {
                let older = parts.older.iter().map(|(version, columns)| {
                    let columns = numbers(&|column| columns.contains(column));
                    (bytes(version), columns)
                });
                let rest = Change {
                    row: None,
                    delete: parts.deleted.as_ref().map(bytes),
                    columns: older.collect(),
                };
                (numbers(&|column| parts.own.contains(column)), rest)
            }
        };
        let mut change = rest;
        change.columns.push((bytes(version), own));
        change.row = Some(bytes(version));
        change
    }

    /// Returns a number that is ordered as the values of this field, which is an integer, date or timestamp. It is 0,
    /// as for the least integer, without a field and for null.
    pub(crate) fn rank(&self, field: Option<usize>) -> u64 {
        let number = match field.and_then(|field| self.values.get(field)) {
            Some(Value::Integer(number)) => *number,
            Some(Value::Date(day)) => (*day - Date::ZERO).get_days().into(),
            Some(Value::Timestamp(instant)) => instant.as_microsecond(),
            _ => i64::MIN,
        };
        number.cast_unsigned() ^ (1 << 63)
    }
}

/// Returns the row of the greatest version of each key, sorted by key, and the number of rows that were superseded.
///
/// Stores rely on both: a batch contains each key once, and all writers lock keys in the same order.
pub fn latest_by_key(mut rows: Vec<Row>, dataset: &Dataset) -> (Vec<Row>, u64) {
    let mut order = key_order(&rows, dataset);
    let before = order.len();
    let mut superseded = Vec::new();
    order.dedup_by(|(prefix, row), (kept_prefix, kept)| {
        let is_same_key =
            prefix == kept_prefix && rows[*row].cmp_key(&rows[*kept], dataset).is_eq();
        if is_same_key {
            superseded.push((*prefix, *row));
        }
        is_same_key
    });
    let kept = order.len();
    order.append(&mut superseded);
    let order = order.into_iter().map(|(_, index)| index).collect();
    arrange(&mut rows, order);
    rows.truncate(kept);
    (rows, (before - kept) as u64)
}

/// Returns the key prefixes and the indexes of the rows in the order of their keys. Rows of one key are in
/// descending order of their versions.
pub(crate) fn key_order(rows: &[Row], dataset: &Dataset) -> Vec<(u64, usize)> {
    let skip = common_prefix(rows, dataset);
    let mut order: Vec<(u64, usize)> = rows
        .iter()
        .map(|row| key_prefix(row, dataset, skip))
        .zip(0..)
        .collect();
    order.sort_unstable();
    // Nearly all prefixes differ, so few rows have to be read.
    for equal in order.chunk_by_mut(|a, b| a.0 == b.0) {
        equal.sort_unstable_by(|(_, at_a), (_, at_b)| {
            let (a, b) = (&rows[*at_a], &rows[*at_b]);
            let rank = |row: &Row| row.rank(dataset.order);
            // Of fixed rejects with the same place, the last one counts.
            a.cmp_key(b, dataset)
                .then_with(|| rank(b).cmp(&rank(a)))
                .then_with(|| (b.offset, at_b).cmp(&(a.offset, at_a)))
        });
    }
    order
}

/// Returns a number that is ordered as the keys are, but equal for some keys that differ.
///
/// It holds the first bytes of a text after `skip` bytes, which all rows have in common.
fn key_prefix(row: &Row, dataset: &Dataset, skip: usize) -> u64 {
    match first_of_key(row, dataset) {
        Some(Value::Text(text)) => {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(&text.as_bytes()[skip..]) {
                *to = *from;
            }
            u64::from_be_bytes(bytes)
        }
        Some(Value::Integer(number)) => number.cast_unsigned() ^ (1 << 63),
        _ => 0,
    }
}

/// Returns the length in bytes of the prefix that the first texts of all keys have in common.
fn common_prefix(rows: &[Row], dataset: &Dataset) -> usize {
    let mut texts = rows.iter().map(|row| match first_of_key(row, dataset) {
        Some(Value::Text(text)) => text.as_bytes(),
        _ => &[],
    });
    let Some(first) = texts.next() else {
        return 0;
    };
    texts.fold(first.len(), |length, text| {
        let pairs = first[..length].iter().zip(text);
        pairs.take_while(|(a, b)| a == b).count()
    })
}

fn first_of_key<'r>(row: &'r Row, dataset: &Dataset) -> Option<&'r Value> {
    row.values.get(*dataset.key_indexes().first()?)
}

/// Permutes the rows in place so that the row at `order[i]` moves to `i`.
pub(crate) fn arrange(rows: &mut [Row], mut order: Vec<usize>) {
    for start in 0..order.len() {
        let mut at = start;
        while order[at] != start {
            let from = std::mem::replace(&mut order[at], at);
            rows.swap(at, from);
            at = from;
        }
        order[at] = at;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::FieldType;

    fn rows_of(keys: Vec<(String, i64)>, settings: &str) -> (Dataset, Vec<Row>) {
        let text = format!(
            "name = \"t\"\n{settings}\n[[fields]]\nname = \"a\"\ntype = \"text\"\n\
             [[fields]]\nname = \"b\"\ntype = \"integer\"\nrequired = true\n"
        );
        let dataset = Dataset::from_toml("t.toml", &text).unwrap();
        let rows = keys.into_iter().zip(0..).map(|((a, b), offset)| Row {
            offset,
            deleted: false,
            values: vec![Value::Text(a.into()), Value::Integer(b)].into(),
            extra: None,
            parts: None,
        });
        (dataset, rows.collect())
    }

    proptest! {
        #[test]
        fn the_last_row_of_each_key_is_kept_in_key_order(
            prefix in "[ab€]{0,12}",
            keys in prop::collection::vec(("[ab€]{0,9}", -2_i64..3), 0..60),
            key in prop::sample::select(vec![r#"["a"]"#, r#"["b"]"#, r#"["a", "b"]"#, r#"["b", "a"]"#]),
        ) {
            let keys = keys.into_iter().map(|(a, b)| (format!("{prefix}{a}"), b));
            let (dataset, rows) = rows_of(keys.collect(), &format!("key = {key}"));
            let mut expected = std::collections::BTreeMap::new();
            for row in &rows {
                let parts = dataset.key_indexes().iter().map(|index| &row.values[*index]);
                let key: Vec<_> = parts.map(|part| match part {
                    Value::Text(text) => (text.to_string(), 0),
                    Value::Integer(number) => (String::new(), *number),
                    other => panic!("not a key value: {other:?}"),
                }).collect();
                expected.insert(key, row.clone());
            }
            let superseded = (rows.len() - expected.len()) as u64;
            let expected: Vec<_> = expected.into_values().collect();
            prop_assert_eq!(latest_by_key(rows, &dataset), (expected, superseded));
        }

        #[test]
        fn the_row_of_the_greatest_value_is_kept_where_one_decides(
            keys in prop::collection::vec(("[ab]", -3_i64..3), 0..40),
        ) {
            let (dataset, rows) = rows_of(keys, "key = [\"a\"]\norder = \"b\"");
            let mut expected = std::collections::BTreeMap::<String, Row>::new();
            for row in &rows {
                let (Value::Text(key), Value::Integer(value)) = (&row.values[0], &row.values[1]) else {
                    panic!("not the values of {row:?}");
                };
                let kept = expected.get(&**key).map(|kept| &kept.values[1]);
                if !matches!(kept, Some(Value::Integer(kept)) if kept > value) {
                    expected.insert(key.to_string(), row.clone());
                }
            }
            let expected: Vec<_> = expected.into_values().collect();
            prop_assert_eq!(latest_by_key(rows, &dataset).0, expected);
        }
    }

    #[test]
    fn dates_and_timestamps_rank_by_time() {
        let rank = |value| {
            let row = Row {
                offset: 0,
                deleted: true,
                values: vec![value].into(),
                extra: None,
                parts: None,
            };
            row.rank(Some(0))
        };
        for kind in [FieldType::Date, FieldType::Timestamp] {
            let mut last = 0;
            for text in [
                "0001-01-02",
                "1969-12-31",
                "1970-01-01",
                "2026-11-20",
                "9999-12-30",
            ] {
                let next = rank(Value::from_text(kind, text).unwrap());
                assert!(last < next, "{text}");
                last = next;
            }
        }
    }
}
