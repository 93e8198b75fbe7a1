//! Random columns in random order, against the definition of a merge by column: each column ends with the value of the
//! greatest version that had it, unless a delete is newer.

use std::collections::BTreeMap;

use landfall_domain::{Dataset, Row, Value, fold_by_key};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::databases::{Database, dataset_of};
use crate::generated::{Rows, assert_rows, key_texts, value_of};
use crate::merge::partial;
use crate::random::{Repeat, seed};
use crate::rows::{apply_at_once, deletion, order, row, text};
use crate::totals;
use crate::worker::Worker;

/// A record of a random key.
#[derive(Clone)]
struct Record {
    version: String,
    /// The values of the columns that it has, the last one being unknown columns; none if it deletes the key.
    columns: Option<BTreeMap<usize, Value>>,
}

/// What records leave, by definition.
fn expected(dataset: &Dataset, records: &BTreeMap<Vec<String>, (Value, Vec<Record>)>) -> Rows {
    let fields = dataset.fields.len();
    let mut rows = Rows::new();
    for (key, (first, records)) in records {
        let deletes = records.iter().filter(|record| record.columns.is_none());
        let deleted = deletes.map(|record| record.version.as_str()).max();
        let live =
            |record: &&Record| record.columns.is_some() && Some(record.version.as_str()) > deleted;
        let live: Vec<&Record> = records.iter().filter(live).collect();
        let Some(version) = live.iter().map(|record| &record.version).max() else {
            continue;
        };
        let value = |column: usize| {
            let have = live.iter().filter_map(|record| {
                let value = record.columns.as_ref()?.get(&column)?;
                Some((&record.version, value))
            });
            let last = have.max_by_key(|(version, _)| *version);
            last.map_or(Value::Null, |(_, value)| value.clone())
        };
        let mut values: Vec<Value> = (0..fields).map(value).collect();
        values[0] = first.clone();
        let extra = match value(fields) {
            Value::Text(text) => Some(text.to_string()),
            _ => None,
        };
        rows.insert(key.clone(), (values, extra, version.clone()));
    }
    rows
}

/// Rows with random columns, in chunks that come in any order and more than once, compared with the definition; then
/// the same by several workers at once.
pub(crate) async fn random_columns_in_any_order(database: &Database) {
    for case in 0..6 {
        let seed = if case < 4 { case } else { seed() };
        let repeat = Repeat(seed);
        random_case(database, &mut StdRng::seed_from_u64(seed)).await;
        drop(repeat);
    }
}

async fn random_case(database: &Database, random: &mut StdRng) {
    let (deletes, has_totals) = (random.random_bool(0.5), random.random_bool(0.5));
    let dataset = || dataset_of(|name| definition(name, deletes, has_totals));
    let first = dataset();
    let chunks = random_chunks(&first, deletes, random);
    let worker = Worker::new(database, first).await;
    let mut records = BTreeMap::new();
    for (step, (moment, rows)) in chunks.iter().enumerate() {
        let before = expected(&worker.dataset, &records);
        for row in rows {
            add_record(&worker.dataset, *moment, row, &mut records);
        }
        let after = expected(&worker.dataset, &records);
        let versions = order(*moment);
        let folded = fold_by_key(rows.clone(), &worker.dataset, |row| versions.at(row.offset));
        let count = folded.rows.len() as u64;
        let rows = folded.rows.into();
        let counted = worker.store.apply(&worker.dataset, &versions, &rows);
        let counted = counted.await.unwrap();
        let place = format!("step {step}, {count} rows of {moment}");
        let both = before
            .iter()
            .filter_map(|(key, row)| Some((row, after.get(key)?)));
        let is_changed = |(old, new): &(&_, &_)| {
            let (old, new): (&crate::generated::Expected, &crate::generated::Expected) = (old, new);
            (&old.0, &old.1) != (&new.0, &new.1)
        };
        let updated = both.filter(is_changed).count() as u64;
        let only = |some: &Rows, others: &Rows| {
            some.keys().filter(|key| !others.contains_key(*key)).count() as u64
        };
        assert_eq!(counted.updated, updated, "updated, {place}");
        assert_eq!(counted.inserted, only(&after, &before), "inserted, {place}");
        assert_eq!(counted.deleted, only(&before, &after), "deleted, {place}");
        assert_eq!(counted.total(), count, "{place}");
        if step % 8 == 0 || step + 1 == chunks.len() {
            check(database, &worker.dataset, &after, &place).await;
        }
    }
    let last = expected(&worker.dataset, &records);
    worker.drop_table().await;
    // The same records, in chunks of several workers at once.
    let second = dataset();
    let folded = |(moment, rows): &(i64, Vec<Row>)| {
        let versions = order(*moment);
        let folded = fold_by_key(rows.clone(), &second, |row| versions.at(row.offset));
        (*moment, folded.rows.into())
    };
    let chunks: Vec<_> = chunks.iter().map(folded).collect();
    apply_at_once(database, &second, 4, &chunks).await;
    check(database, &second, &last, "workers at once").await;
    database.drop_table(&second).await;
}

async fn check(database: &Database, dataset: &Dataset, expected: &Rows, after: &str) {
    assert_rows(database, dataset, expected, after).await;
    if !database.is_mongodb() {
        totals::check(database, dataset).await;
    }
}

fn definition(name: &str, deletes: bool, has_totals: bool) -> String {
    let operation = if deletes {
        "operation = { column = \"op\" }\n"
    } else {
        ""
    };
    let totals = if has_totals {
        format!(
            "[[totals]]\nname = \"{name}_totals\"\nby = [\"f1\"]\n\
             columns = {{ n = \"count\", s = \"sum(f2)\", least = \"min(f2)\", most = \"max(f3)\" }}\n"
        )
    } else {
        String::new()
    };
    let fields = [
        "text", "text", "integer", "decimal", "json", "date", "boolean",
    ];
    let fields = fields.iter().enumerate();
    let fields =
        fields.map(|(index, kind)| format!("{{ name = \"f{index}\", type = \"{kind}\" }}"));
    let fields: Vec<_> = fields.collect();
    format!(
        "mode = \"merge\"\nkey = [\"f0\"]\n{operation}fields = [{}]\n{totals}",
        fields.join(", ")
    )
}

/// Returns the rows of objects, in chunks that come in any order, some of them twice.
fn random_chunks(dataset: &Dataset, deletes: bool, random: &mut StdRng) -> Vec<(i64, Vec<Row>)> {
    let fields = dataset.fields.len();
    let keys = *[3, 30].get(random.random_range(0..2)).unwrap_or(&3);
    let mut chunks = Vec::new();
    for moment in 1..=12 {
        // Like files, some objects have the same columns in all rows.
        let same: Vec<usize> = columns(fields, random);
        let is_file = random.random_bool(0.5);
        let mut rows = Vec::new();
        for offset in 0..random.random_range(1..40) {
            let key = text(&format!("key {}", random.random_range(0..keys)));
            if deletes && random.random_ratio(1, 6) {
                let mut values = vec![Value::Null; fields];
                values[0] = key;
                let mut deleted = deletion(values);
                deleted.offset = offset;
                rows.push(deleted);
                continue;
            }
            let others = dataset.fields[1..].iter();
            let others: Vec<_> = others
                .map(|field| match random.random_range(0..5) {
                    0 => Value::Null,
                    _ => value_of(field.kind, random.random_range(0..3)),
                })
                .collect();
            let mut whole = row(offset, [key].into_iter().chain(others).collect());
            whole.extra = Some(format!("{{\"more\":{}}}", random.random_range(0..3)));
            let some = if is_file {
                same.clone()
            } else {
                columns(fields, random)
            };
            rows.push(partial(whole, &some));
        }
        let rest = rows.split_off(random.random_range(0..rows.len()));
        chunks.extend([(moment, rows), (moment, rest)]);
    }
    chunks.retain(|(_, rows)| !rows.is_empty());
    let again: Vec<_> = chunks
        .iter()
        .filter(|_| random.random_ratio(1, 4))
        .cloned()
        .collect();
    chunks.extend(again);
    chunks.shuffle(random);
    chunks
}

/// Returns random columns outside the key.
fn columns(fields: usize, random: &mut StdRng) -> Vec<usize> {
    let share = *[0.2, 0.5, 1.0]
        .get(random.random_range(0..3))
        .unwrap_or(&1.0);
    (1..=fields).filter(|_| random.random_bool(share)).collect()
}

fn add_record(
    dataset: &Dataset,
    moment: i64,
    row: &Row,
    records: &mut BTreeMap<Vec<String>, (Value, Vec<Record>)>,
) {
    let fields = dataset.fields.len();
    let value = |column: usize| match row.values.get(column) {
        Some(value) => value.clone(),
        None => row.extra.as_deref().map_or(Value::Null, text),
    };
    let has = (1..=fields).filter(|column| row.has(*column));
    let columns = (!row.deleted).then(|| has.map(|column| (column, value(column))).collect());
    let record = Record {
        version: order(moment).at(row.offset).to_string(),
        columns,
    };
    let key = key_texts(dataset, &row.values);
    let known = records
        .entry(key)
        .or_insert_with(|| (row.values[0].clone(), Vec::new()));
    known.1.push(record);
}
