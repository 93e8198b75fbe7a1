//! Pages of rows: every order, every start, beside writers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use landfall_domain::{Dataset, Filter, Row, RowQuery, Sort, Start, Value, latest_by_key};
use landfall_stores::{ReadOptions, Reader, StoreError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::databases::{Database, dataset, redefined};
use crate::goods::{GOODS, compare_rows, goods};
use crate::rows::{PAIRS, deletion, order, pair, row, text};
use crate::worker::Worker;

/// [`PAIRS`] with an index of the notes.
fn indexed_pairs() -> String {
    PAIRS.replace(" }]", ", index = true }]")
}

pub(crate) fn query(sort: Option<Sort>, limit: u32) -> RowQuery {
    RowQuery {
        filters: Vec::new(),
        search: None,
        sort,
        by_relevance: false,
        start: Start::First,
        limit,
    }
}

/// Returns all rows of a query, page by page.
pub(crate) async fn walk(
    reader: &dyn Reader,
    dataset: &Dataset,
    mut query: RowQuery,
) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    loop {
        let page = reader.rows(dataset, &query).await.unwrap();
        assert!(page.rows.len() <= query.limit as usize);
        all.extend(page.rows.into_iter().map(|row| row.values));
        match page.next {
            Some(next) => query.start = Start::After(next),
            None => return all,
        }
        assert!(all.len() < 100_000, "the pages go in circles");
    }
}

pub(crate) fn by(field: usize, descending: bool) -> Sort {
    Sort { field, descending }
}

fn all_sorts(dataset: &Dataset) -> Vec<Option<Sort>> {
    let fields = (0..dataset.fields.len()).filter(|field| dataset.can_sort_by(*field));
    let sorts = fields.flat_map(|field| [by(field, false), by(field, true)].map(Some));
    [None].into_iter().chain(sorts).collect()
}

pub(crate) async fn pages_in_every_order(database: &Database) {
    let worker = Worker::of(database, GOODS).await;
    let dataset = &worker.dataset;
    let rows = goods(dataset);
    worker.apply(1, rows.clone()).await;
    let reader = database.reader().await;
    let mut expected: Vec<Vec<Value>> = rows.into_iter().map(|row| row.values.into_vec()).collect();
    let sorts = all_sorts(dataset);
    assert_eq!(sorts.len(), 1 + 2 * 9);
    for sort in sorts {
        expected.sort_by(|one, other| compare_rows(dataset, sort, one, other));
        for limit in [7, 1000] {
            let found = walk(reader.as_ref(), dataset, query(sort, limit)).await;
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(found, expected, "row {at}, {sort:?}, {limit}");
            }
            assert_eq!(found.len(), expected.len(), "{sort:?}, {limit}");
        }
        for skip in [0, 3, 100, 170, 180, 500] {
            let page = RowQuery {
                start: Start::Skip(skip as u64),
                ..query(sort, 20)
            };
            let page = reader.rows(dataset, &page).await.unwrap();
            let found: Vec<_> = page.rows.into_iter().map(|row| row.values).collect();
            let rest = expected.get(skip..).unwrap_or_default();
            assert_eq!(found.len(), rest.len().min(20), "{sort:?}, {skip}");
            // A number of rows to skip does not determine which of the rows with a common beginning comes first.
            if sort.is_none_or(|sort| sort.field != 0) {
                assert_eq!(found, rest[..found.len()], "{sort:?}, {skip}");
            }
            assert_eq!(page.next.is_some(), rest.len() > 20);
        }
    }
    for expected in &expected {
        let key: Vec<Value> = dataset
            .key_indexes()
            .iter()
            .map(|at| expected[*at].clone())
            .collect();
        let found = reader.row(dataset, &key).await.unwrap().unwrap();
        assert_eq!(&found.values, expected);
    }
    let absent = [text("nobody"), Value::Integer(1)];
    assert_eq!(reader.row(dataset, &absent).await.unwrap(), None);
    worker.drop_table().await;
}

pub(crate) async fn a_reader_needs_no_more_than_select(database: &Database) {
    let worker = Worker::of(database, &indexed_pairs()).await;
    worker.apply(1, vec![pair("a", "1"), pair("b", "2")]).await;
    let dataset = &worker.dataset;
    let (table, user) = (&dataset.name, format!("reader_{}", dataset.name));
    let create = format!("CREATE ROLE {user} LOGIN PASSWORD 'reader'");
    database.execute(&create).await;
    let reader = database.reader_as(&user, "reader").await;
    let first = query(Some(by(1, true)), 10);
    assert!(reader.rows(dataset, &first).await.is_err(), "no grant yet");
    let grant = format!("GRANT SELECT ON {table} TO {user}");
    database.execute(&grant).await;
    let found = walk(reader.as_ref(), dataset, first).await;
    assert_eq!(found, [["b", "2"], ["a", "1"]].map(|row| row.map(text)));
    let drop = format!("DROP OWNED BY {user}; DROP ROLE {user}");
    database.execute(&drop).await;
    worker.drop_table().await;
}

pub(crate) async fn pages_while_writers_load(database: &Database) {
    const ROWS: u32 = 300;
    let worker = Worker::of(database, &indexed_pairs()).await;
    let stays = |at: u32| pair(&format!("key {at:04}"), &format!("note {}", at % 9));
    let mut rows: Vec<Row> = (0..ROWS).map(|at| stays(at * 2)).collect();
    rows.extend((0..60).map(|at| row(0, vec![text(&format!("null {at:04}")), Value::Null])));
    let lasting: BTreeMap<String, u32> = rows.iter().map(|row| (id_of(&row.values), 0)).collect();
    worker.apply(1, rows.clone()).await;

    let dataset = &worker.dataset;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..2_u32 {
        let (dataset, rows) = (dataset.clone(), rows.clone());
        let (store, is_over) = (Arc::clone(&worker.store), Arc::clone(&is_over));
        writers.spawn(async move {
            let mut random = StdRng::seed_from_u64(u64::from(writer));
            let mut moment = i64::from(writer) + 2;
            while !is_over.load(Relaxed) {
                // The lasting rows get newer versions; others come and go around them.
                let first = random.random_range(0..200);
                let mut chunk = rows[first..first + 40].to_vec();
                for _ in 0..40 {
                    let id = random.random_range(0..ROWS * 2) | 1;
                    let come = pair(&format!("key {id:04}"), &format!("note {}", id % 11));
                    let go = deletion(vec![come.values[0].clone(), Value::Null]);
                    chunk.push(if random.random_bool(0.5) { come } else { go });
                }
                for (at, row) in chunk.iter_mut().enumerate() {
                    row.offset = at as u64;
                }
                let (chunk, _) = latest_by_key(chunk, &dataset);
                let applied = store.apply(&dataset, &order(moment), &chunk.into()).await;
                applied.unwrap();
                moment += 2;
            }
        });
    }
    let reader = database.reader().await;
    for sort in all_sorts(dataset) {
        for limit in [10, 37] {
            let mut seen = lasting.clone();
            for values in walk(reader.as_ref(), dataset, query(sort, limit)).await {
                if let Some(times) = seen.get_mut(&id_of(&values)) {
                    *times += 1;
                }
            }
            let wrong: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
            assert!(wrong.is_empty(), "{sort:?}, {limit}: {wrong:?}");
        }
    }
    is_over.store(true, Relaxed);
    writers.join_all().await;
    worker.drop_table().await;
}

fn id_of(values: &[Value]) -> String {
    match &values[0] {
        Value::Text(id) => id.to_string(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn nothing_there_reads_as_empty(database: &Database) {
    let small = dataset(PAIRS);
    let grown = PAIRS.replace(
        "{ name = \"note\"",
        "{ name = \"pieces\", type = \"decimal\", index = true }, { name = \"note\"",
    );
    let reader = database.reader().await;
    let empty = reader.rows(&small, &query(None, 10)).await.unwrap();
    assert_eq!((empty.rows, empty.next), (Vec::new(), None));
    assert_eq!(reader.row(&small, &[text("a")]).await.unwrap(), None);
    let worker = Worker::new(database, small).await;
    worker.apply(1, vec![pair("a", "1"), pair("b", "2")]).await;
    // The definition grows before its first file comes.
    let with = |id, pieces, note| vec![text(id), pieces, text(note)];
    let expected = [with("a", Value::Null, "1"), with("b", Value::Null, "2")];
    let by_pieces = Some(by(1, false));
    for sort in [None, by_pieces] {
        let grown = redefined(&worker.dataset, &grown);
        let found = walk(reader.as_ref(), &grown, query(sort, 1)).await;
        assert_eq!(found, expected);
    }
    let grown = worker.redefined(&grown).await;
    let row_of_b = with("b", Value::Decimal("2.5".parse().unwrap()), "2");
    grown.apply(2, vec![row(0, row_of_b.clone())]).await;
    let found = walk(reader.as_ref(), &grown.dataset, query(by_pieces, 1)).await;
    assert_eq!(found, [row_of_b, with("a", Value::Null, "1")]);
    worker.drop_table().await;
    // The reader has just seen it.
    let gone = reader.rows(&grown.dataset, &query(None, 10)).await;
    if gone.is_err() {
        let empty = reader.rows(&grown.dataset, &query(None, 10)).await;
        assert_eq!(empty.unwrap().rows, []);
    }
}

/// Asserts that the rows have these ids, in this order.
async fn assert_order(reader: &dyn Reader, dataset: &Dataset, query: RowQuery, ids: [&str; 3]) {
    let found = walk(reader, dataset, query).await;
    let found: Vec<_> = found.iter().map(|row| id_of(row)).collect();
    assert_eq!(found, ids);
}

pub(crate) async fn a_field_becomes_indexed(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(1, vec![pair("a", "2"), pair("b", "1")]).await;
    let before = database.indexes(&worker.dataset).await;
    let indexed = worker.redefined(&indexed_pairs()).await;
    assert_eq!(database.indexes(&worker.dataset).await, before + 1);
    // Neither an older definition nor another worker changes it, and it accepts long texts too.
    worker.other().await;
    indexed.other().await;
    assert_eq!(database.indexes(&worker.dataset).await, before + 1);
    let long = (0..20_000).map(|at| char::from(b'a' + u8::try_from(at * 7 % 26).unwrap()));
    indexed
        .apply(2, vec![pair("c", &long.collect::<String>())])
        .await;
    let reader = database.reader().await;
    let query = query(Some(by(1, false)), 1);
    assert_order(reader.as_ref(), &indexed.dataset, query, ["b", "a", "c"]).await;
    worker.drop_table().await;
}

pub(crate) async fn an_index_that_does_not_exist_yet(database: &Database) {
    let plain = PAIRS.replace("\"note\", type = \"text\"", "\"note\", type = \"integer\"");
    let indexed = plain.replace("\"integer\"", "\"integer\", index = true");
    let worker = Worker::of(database, &plain).await;
    let rows = [("a", 2), ("b", 1), ("c", 3)];
    let rows = rows.map(|(id, note)| row(0, vec![text(id), Value::Integer(note)]));
    worker.apply(1, rows.into()).await;
    let reader = database.reader().await;
    // The definition has an index before its first file comes, which creates it.
    let redefined = redefined(&worker.dataset, &indexed);
    for is_made in [false, true] {
        if is_made {
            worker.redefined(&indexed).await;
        }
        let query = query(Some(by(1, true)), 1);
        assert_order(reader.as_ref(), &redefined, query, ["c", "a", "b"]).await;
    }
    worker.drop_table().await;
}

pub(crate) async fn readers_share_a_connection(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let rows = (0..500).map(|at| pair(&format!("{at:03}"), "x")).collect();
    worker.apply(1, rows).await;
    let options = ReadOptions {
        timeout: Duration::from_mins(10),
        connections: 1,
        ..ReadOptions::default()
    };
    let reader = database.reader_with(options).await;
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let (reader, dataset) = (Arc::clone(&reader), worker.dataset.clone());
        readers.spawn(async move {
            for _ in 0..50 {
                let page = reader.rows(&dataset, &query(None, 500)).await.unwrap();
                assert_eq!(page.rows.len(), 500);
            }
        });
    }
    readers.join_all().await;
    worker.drop_table().await;
}

pub(crate) async fn bounds_of_a_read(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let dataset = &worker.dataset;
    let long = "x".repeat(10_000);
    let rows = (0..20).map(|at| pair(&format!("{at:02}"), &long));
    worker.apply(1, rows.collect()).await;
    let reader_of = |page_bytes| {
        database.reader_with(ReadOptions {
            page_bytes,
            ..ReadOptions::default()
        })
    };
    let reader = reader_of(35_000).await;
    let page = reader.rows(dataset, &query(None, 20)).await.unwrap();
    assert_eq!(page.rows.len(), 3);
    for reader in [&reader, &reader_of(1).await] {
        let found = walk(reader.as_ref(), dataset, query(None, 20)).await;
        assert_eq!(found.len(), 20);
    }
    for wrong in [
        query(None, 0),
        query(None, 1001),
        query(Some(by(1, true)), 1),
    ] {
        let error = reader.rows(dataset, &wrong).await.unwrap_err();
        assert!(matches!(error, StoreError::Query(_)), "{error}");
    }
    worker.drop_table().await;
}

/// Only where a table can be locked against readers.
pub(crate) async fn a_read_ends_in_time(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let dataset = &worker.dataset;
    worker.apply(1, vec![pair("a", "1")]).await;
    let options = ReadOptions {
        timeout: Duration::from_secs(1),
        connections: 1,
        ..ReadOptions::default()
    };
    let reader = database.reader_with(options).await;
    let read = || async { reader.rows(dataset, &query(None, 20)).await };
    assert_eq!(read().await.unwrap().rows.len(), 1);
    let lock = match database {
        Database::Mysql(_) => format!("LOCK TABLES {} WRITE", dataset.name),
        _ => format!("BEGIN; LOCK TABLE {}", dataset.name),
    };
    let lock = database.execute(&lock).await;
    let late = read().await.unwrap_err();
    assert!(matches!(late, StoreError::Exceeded { .. }), "{late}");
    drop(lock);
    let other = database.reader().await;
    other.rows(dataset, &query(None, 20)).await.unwrap();
    assert_eq!(read().await.unwrap().rows.len(), 1);
    worker.drop_table().await;
}

/// Where no table can be locked, a filter that scans every row takes long.
pub(crate) async fn a_long_read_ends_in_time(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let dataset = &worker.dataset;
    let note = "x".repeat(400);
    let rows = (0..50_000).map(|at| pair(&format!("{at:05}"), &note));
    worker.apply(1, rows.collect()).await;
    let options = ReadOptions {
        timeout: Duration::from_millis(2),
        ..ReadOptions::default()
    };
    let mut narrow = query(None, 1);
    narrow.filters = vec![Filter::parse(dataset, "note:gt:y").unwrap()];
    let reader = database.reader_with(options).await;
    let late = reader.rows(dataset, &narrow).await.unwrap_err();
    assert!(matches!(late, StoreError::Exceeded { .. }), "{late}");
    let reader = database.reader().await;
    assert_eq!(reader.rows(dataset, &narrow).await.unwrap().rows, []);
    worker.drop_table().await;
}
