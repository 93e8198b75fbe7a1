//! Rows: records whose values have been checked against their dataset.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::{Dataset, Value};

/// Values of a row. Those of few fields lie in the row itself: rows are read in the order of their keys,
/// and a way to elsewhere for each would take longer than all else that is done with them.
pub type Values = SmallVec<[Value; 4]>;

/// One record, typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Byte offset of the record in its object; with the object's order it is the row's version.
    pub offset: u64,
    /// Whether it says that its key is to be deleted; it then has the values of the key alone.
    pub deleted: bool,
    /// One value for each field of the dataset, in its order.
    pub values: Values,
    /// The columns that the dataset does not name, where it keeps them: text of a JSON object.
    pub extra: Option<String>,
}

impl Row {
    /// Bytes of memory that a row of so many fields takes beside its text.
    pub fn bytes(fields: usize) -> usize {
        let apart = if fields > Values::new().inline_size() {
            fields * size_of::<Value>()
        } else {
            0
        };
        size_of::<Self>() + apart
    }

    /// Order by key.
    pub fn cmp_key(&self, other: &Self, dataset: &Dataset) -> Ordering {
        dataset
            .key_indexes()
            .iter()
            .map(|index| self.values[*index].cmp_key(&other.values[*index]))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// The last row of each key, sorted by key, and how many rows another one of the same rows superseded.
///
/// Stores rely on both: a key stands once in a batch, and all writers touch keys in one order.
pub fn latest_by_key(mut rows: Vec<Row>, dataset: &Dataset) -> (Vec<Row>, u64) {
    let mut order = by_key(&rows, dataset);
    let before = order.len();
    let mut superseded = Vec::new();
    order.dedup_by(|later, kept| {
        let same = later.0 == kept.0 && rows[later.1].cmp_key(&rows[kept.1], dataset).is_eq();
        if same {
            superseded.push(*later);
        }
        same
    });
    let kept = order.len();
    order.append(&mut superseded);
    let order = order.into_iter().map(|(_, index)| index).collect();
    arrange(&mut rows, order);
    rows.truncate(kept);
    (rows, (before - kept) as u64)
}

/// Beginnings and indexes of the rows in the order of their keys, of one key the last row first.
fn by_key(rows: &[Row], dataset: &Dataset) -> Vec<(u64, usize)> {
    let shared = shared_bytes(rows, dataset);
    let mut order: Vec<(u64, usize)> = rows
        .iter()
        .map(|row| beginning(row, dataset, shared))
        .zip(0..)
        .collect();
    order.sort_unstable();
    // The beginning decides nearly always, without a look at the row.
    for same in order.chunk_by_mut(|one, other| one.0 == other.0) {
        same.sort_unstable_by(|(_, one), (_, other)| {
            let (one, other) = (&rows[*one], &rows[*other]);
            one.cmp_key(other, dataset)
                .then_with(|| other.offset.cmp(&one.offset))
        });
    }
    order
}

/// A number for the beginning of a row's key, in the order of keys; equal for keys that it can't tell apart.
/// `shared` bytes, with which all texts begin, are left out.
fn beginning(row: &Row, dataset: &Dataset, shared: usize) -> u64 {
    match leading(row, dataset) {
        Some(Value::Text(text)) => {
            let mut bytes = [0; 8];
            for (byte, of_text) in bytes.iter_mut().zip(&text.as_bytes()[shared..]) {
                *byte = *of_text;
            }
            u64::from_be_bytes(bytes)
        }
        Some(Value::Integer(number)) => number.cast_unsigned() ^ (1 << 63),
        _ => 0,
    }
}

/// With how many same bytes the first texts of all keys begin.
fn shared_bytes(rows: &[Row], dataset: &Dataset) -> usize {
    let mut texts = rows.iter().map(|row| match leading(row, dataset) {
        Some(Value::Text(text)) => text.as_bytes(),
        _ => &[],
    });
    let Some(first) = texts.next() else {
        return 0;
    };
    texts.fold(first.len(), |shared, text| {
        let same = first[..shared].iter().zip(text);
        same.take_while(|(one, other)| one == other).count()
    })
}

fn leading<'r>(row: &'r Row, dataset: &Dataset) -> Option<&'r Value> {
    row.values.get(*dataset.key_indexes().first()?)
}

/// Moves the row at `order[i]` to `i`, for all of them, in place.
fn arrange(rows: &mut [Row], mut order: Vec<usize>) {
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

    fn rows_of(keys: Vec<(String, i64)>, key: &str) -> (Dataset, Vec<Row>) {
        let text = format!(
            "name = \"t\"\nkey = {key}\n[[fields]]\nname = \"a\"\ntype = \"text\"\n\
             [[fields]]\nname = \"b\"\ntype = \"integer\"\n"
        );
        let dataset = Dataset::from_toml("t.toml", &text).unwrap();
        let rows = keys.into_iter().zip(0..).map(|((a, b), offset)| Row {
            offset,
            deleted: false,
            values: vec![Value::Text(a.into()), Value::Integer(b)].into(),
            extra: None,
        });
        (dataset, rows.collect())
    }

    proptest! {
        #[test]
        fn the_last_row_of_each_key_in_the_order_of_keys(
            beginning in "[ab€]{0,12}",
            keys in prop::collection::vec(("[ab€]{0,9}", -2_i64..3), 0..60),
            key in prop::sample::select(vec![r#"["a"]"#, r#"["b"]"#, r#"["a", "b"]"#, r#"["b", "a"]"#]),
        ) {
            let keys = keys.into_iter().map(|(a, b)| (format!("{beginning}{a}"), b));
            let (dataset, rows) = rows_of(keys.collect(), key);
            let mut expected = std::collections::BTreeMap::new();
            for row in &rows {
                let parts = dataset.key_indexes().iter().map(|index| &row.values[*index]);
                let key: Vec<_> = parts.map(|part| match part {
                    Value::Text(text) => (text.to_string(), 0),
                    Value::Integer(number) => (String::new(), *number),
                    other => panic!("no key: {other:?}"),
                }).collect();
                expected.insert(key, row.clone());
            }
            let superseded = (rows.len() - expected.len()) as u64;
            let expected: Vec<_> = expected.into_values().collect();
            prop_assert_eq!(latest_by_key(rows, &dataset), (expected, superseded));
        }
    }
}
