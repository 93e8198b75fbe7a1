//! Pages of rows: every order, every start, beside writers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use landfall_domain::{Dataset, Filter, Row, RowQuery, Sort, Start, Value, latest_by_key};
use landfall_stores::{ReadOptions, Reader, StoreError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::databases::{Database, dataset};
use crate::goods::{GOODS, compare_rows, goods};
use crate::rows::{PAIRS, apply, deletion, order, pair, row, text};

pub(crate) fn query(sort: Option<Sort>, limit: u32) -> RowQuery {
    RowQuery {
        filters: Vec::new(),
        sort,
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

fn all_sorts(dataset: &Dataset) -> Vec<Option<Sort>> {
    let fields = (0..dataset.fields.len()).filter(|field| dataset.can_sort_by(*field));
    let sorts =
        fields.flat_map(|field| [false, true].map(|descending| Some(Sort { field, descending })));
    [None].into_iter().chain(sorts).collect()
}

pub(crate) async fn pages_in_every_order(database: &Database) {
    let dataset = dataset(GOODS);
    let rows = goods(&dataset);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    apply(store.as_ref(), &dataset, 1, rows.clone()).await;
    let reader = database.reader().await;
    let mut expected: Vec<Vec<Value>> = rows.into_iter().map(|row| row.values.into_vec()).collect();
    let sorts = all_sorts(&dataset);
    assert_eq!(sorts.len(), 1 + 2 * 9);
    for sort in sorts {
        expected.sort_by(|one, other| compare_rows(&dataset, sort, one, other));
        for limit in [7, 1000] {
            let found = walk(reader.as_ref(), &dataset, query(sort, limit)).await;
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
            let page = reader.rows(&dataset, &page).await.unwrap();
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
        let found = reader.row(&dataset, &key).await.unwrap().unwrap();
        assert_eq!(&found.values, expected);
    }
    let absent = [text("nobody"), Value::Integer(1)];
    assert_eq!(reader.row(&dataset, &absent).await.unwrap(), None);
    database.drop_table(&dataset).await;
}

pub(crate) async fn pages_while_writers_load(database: &Database) {
    const ROWS: u32 = 300;
    let indexed = PAIRS.replace(
        "\"note\", type = \"text\"",
        "\"note\", type = \"text\", index = true",
    );
    let dataset = Arc::new(dataset(&indexed));
    let stays = |at: u32| pair(&format!("key {at:04}"), &format!("note {}", at % 9));
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let mut rows: Vec<Row> = (0..ROWS).map(|at| stays(at * 2)).collect();
    rows.extend((0..60).map(|at| row(0, vec![text(&format!("null {at:04}")), Value::Null])));
    let lasting: BTreeMap<String, u32> = rows.iter().map(|row| (id_of(&row.values), 0)).collect();
    apply(store.as_ref(), &dataset, 1, rows.clone()).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2_u32)
        .map(|writer| {
            let (dataset, is_over, rows) =
                (Arc::clone(&dataset), Arc::clone(&is_over), rows.clone());
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(u64::from(writer));
                let mut moment = i64::from(writer) + 2;
                while !is_over.load(Relaxed) {
                    // The lasting rows get newer versions; others come and go around them.
                    let mut chunk: Vec<Row> = rows
                        .iter()
                        .skip(random.random_range(0..200))
                        .take(40)
                        .cloned()
                        .collect();
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
                    store
                        .apply(&dataset, &order(moment), &chunk.into())
                        .await
                        .unwrap();
                    moment += 2;
                }
            })
        })
        .collect();
    let reader = database.reader().await;
    for sort in all_sorts(&dataset) {
        for limit in [10, 37] {
            let mut seen = lasting.clone();
            for values in walk(reader.as_ref(), &dataset, query(sort, limit)).await {
                if let Some(times) = seen.get_mut(&id_of(&values)) {
                    *times += 1;
                }
            }
            let wrong: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
            assert!(wrong.is_empty(), "{sort:?}, {limit}: {wrong:?}");
        }
    }
    is_over.store(true, Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    database.drop_table(&dataset).await;
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
    let grown = Dataset::from_toml("t", &format!("name = \"{}\"\n{grown}", small.name)).unwrap();
    let reader = database.reader().await;
    let empty = reader.rows(&small, &query(None, 10)).await.unwrap();
    assert_eq!((empty.rows, empty.next), (Vec::new(), None));
    assert_eq!(reader.row(&small, &[text("a")]).await.unwrap(), None);
    let store = database.store().await;
    store.prepare(&small).await.unwrap();
    apply(
        store.as_ref(),
        &small,
        1,
        vec![pair("a", "1"), pair("b", "2")],
    )
    .await;
    // The definition grows before its first file comes.
    let expected =
        [("a", "1"), ("b", "2")].map(|(id, note)| vec![text(id), Value::Null, text(note)]);
    let by_pieces = Sort {
        field: 1,
        descending: false,
    };
    for sort in [None, Some(by_pieces)] {
        assert_eq!(
            walk(reader.as_ref(), &grown, query(sort, 1)).await,
            expected
        );
    }
    store.prepare(&grown).await.unwrap();
    let pieces = Value::from_text(landfall_domain::FieldType::Decimal, "2.5").unwrap();
    let rows = vec![row(0, vec![text("b"), pieces.clone(), text("2")])];
    apply(store.as_ref(), &grown, 2, rows).await;
    let expected = [
        vec![text("b"), pieces, text("2")],
        vec![text("a"), Value::Null, text("1")],
    ];
    assert_eq!(
        walk(reader.as_ref(), &grown, query(Some(by_pieces), 1)).await,
        expected
    );
    database.drop_table(&small).await;
    // The reader has just seen it.
    let gone = reader.rows(&grown, &query(None, 10)).await;
    if gone.is_err() {
        let empty = reader.rows(&grown, &query(None, 10)).await.unwrap();
        assert_eq!(empty.rows, Vec::new());
    }
}

pub(crate) async fn a_field_becomes_indexed(database: &Database) {
    let plain = dataset(PAIRS);
    let indexed = PAIRS.replace(
        "\"note\", type = \"text\"",
        "\"note\", type = \"text\", index = true",
    );
    let indexed =
        Dataset::from_toml("t", &format!("name = \"{}\"\n{indexed}", plain.name)).unwrap();
    let store = database.store().await;
    store.prepare(&plain).await.unwrap();
    apply(
        store.as_ref(),
        &plain,
        1,
        vec![pair("a", "2"), pair("b", "1")],
    )
    .await;
    let before = database.indexes(&plain).await;
    store.prepare(&indexed).await.unwrap();
    assert_eq!(database.indexes(&plain).await, before + 1);
    // Neither an older definition nor another worker changes it, and it accepts long texts too.
    for definition in [&plain, &indexed] {
        database.store().await.prepare(definition).await.unwrap();
    }
    assert_eq!(database.indexes(&plain).await, before + 1);
    let long = (0..20_000).map(|at| char::from(b'a' + u8::try_from(at * 7 % 26).unwrap()));
    let long: String = long.collect();
    apply(store.as_ref(), &indexed, 2, vec![pair("c", &long)]).await;
    let reader = database.reader().await;
    let sort = Some(Sort {
        field: 1,
        descending: false,
    });
    let found = walk(reader.as_ref(), &indexed, query(sort, 1)).await;
    assert_eq!(
        found.iter().map(|row| id_of(row)).collect::<Vec<_>>(),
        ["b", "a", "c"]
    );
    database.drop_table(&plain).await;
}

pub(crate) async fn an_index_that_does_not_exist_yet(database: &Database) {
    let plain = PAIRS.replace("\"note\", type = \"text\"", "\"note\", type = \"integer\"");
    let indexed = plain.replace("\"integer\"", "\"integer\", index = true");
    let plain = dataset(&plain);
    let indexed =
        Dataset::from_toml("t", &format!("name = \"{}\"\n{indexed}", plain.name)).unwrap();
    let store = database.store().await;
    store.prepare(&plain).await.unwrap();
    let rows = [("a", 2), ("b", 1), ("c", 3)];
    let rows = rows.map(|(id, note)| row(0, vec![text(id), Value::Integer(note)]));
    apply(store.as_ref(), &plain, 1, rows.into()).await;
    let reader = database.reader().await;
    let by_note = query(
        Some(Sort {
            field: 1,
            descending: true,
        }),
        1,
    );
    // The definition has an index before its first file comes, which creates it.
    for is_made in [false, true] {
        if is_made {
            store.prepare(&indexed).await.unwrap();
        }
        let found = walk(reader.as_ref(), &indexed, by_note.clone()).await;
        let found: Vec<_> = found.iter().map(|row| id_of(row)).collect();
        assert_eq!(found, ["c", "a", "b"], "{is_made}");
    }
    database.drop_table(&plain).await;
}

pub(crate) async fn readers_share_a_connection(database: &Database) {
    let dataset = Arc::new(dataset(PAIRS));
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let rows = (0..500).map(|at| pair(&format!("{at:03}"), "x")).collect();
    apply(store.as_ref(), &dataset, 1, rows).await;
    let options = ReadOptions {
        timeout: Duration::from_mins(10),
        connections: 1,
        ..ReadOptions::default()
    };
    let reader = database.reader_with(options).await;
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (reader, dataset) = (Arc::clone(&reader), Arc::clone(&dataset));
            tokio::spawn(async move {
                for _ in 0..50 {
                    let page = reader.rows(&dataset, &query(None, 500)).await.unwrap();
                    assert_eq!(page.rows.len(), 500);
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    database.drop_table(&dataset).await;
}

pub(crate) async fn bounds_of_a_read(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let long = "x".repeat(10_000);
    let rows: Vec<Row> = (0..20).map(|at| pair(&format!("{at:02}"), &long)).collect();
    apply(store.as_ref(), &dataset, 1, rows).await;
    let options = ReadOptions {
        page_bytes: 35_000,
        ..ReadOptions::default()
    };
    let reader = database.reader_with(options).await;
    let page = reader.rows(&dataset, &query(None, 20)).await.unwrap();
    assert_eq!(page.rows.len(), 3);
    assert_eq!(
        walk(reader.as_ref(), &dataset, query(None, 20)).await.len(),
        20
    );
    let narrow = ReadOptions {
        page_bytes: 1,
        ..options
    };
    let narrow = database.reader_with(narrow).await;
    assert_eq!(
        walk(narrow.as_ref(), &dataset, query(None, 20)).await.len(),
        20
    );

    for wrong in [
        query(None, 0),
        query(None, 1001),
        query(
            Some(Sort {
                field: 1,
                descending: true,
            }),
            1,
        ),
    ] {
        let error = reader.rows(&dataset, &wrong).await.unwrap_err();
        assert!(matches!(error, StoreError::Query(_)), "{error}");
    }
    database.drop_table(&dataset).await;
}

/// Only where a table can be locked against readers.
pub(crate) async fn a_read_ends_in_time(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    apply(store.as_ref(), &dataset, 1, vec![pair("a", "1")]).await;
    let options = ReadOptions {
        timeout: Duration::from_secs(1),
        connections: 1,
        ..ReadOptions::default()
    };
    let reader = database.reader_with(options).await;
    let read = || async { reader.rows(&dataset, &query(None, 20)).await };
    assert_eq!(read().await.unwrap().rows.len(), 1);
    let lock = database.lock_table(&dataset).await;
    let late = read().await.unwrap_err();
    assert!(matches!(late, StoreError::Exceeded { .. }), "{late}");
    drop(lock);
    database
        .reader()
        .await
        .rows(&dataset, &query(None, 20))
        .await
        .unwrap();
    assert_eq!(read().await.unwrap().rows.len(), 1);
    database.drop_table(&dataset).await;
}

/// Where no table can be locked, a filter that scans every row takes long.
pub(crate) async fn a_long_read_ends_in_time(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let note = "x".repeat(400);
    let rows = (0..50_000).map(|at| pair(&format!("{at:05}"), &note));
    apply(store.as_ref(), &dataset, 1, rows.collect()).await;
    let options = ReadOptions {
        timeout: Duration::from_millis(2),
        ..ReadOptions::default()
    };
    let mut narrow = query(None, 1);
    narrow.filters = vec![Filter::parse(&dataset, "note:gt:y").unwrap()];
    let reader = database.reader_with(options).await;
    let late = reader.rows(&dataset, &narrow).await.unwrap_err();
    assert!(matches!(late, StoreError::Exceeded { .. }), "{late}");
    let reader = database.reader().await;
    assert_eq!(reader.rows(&dataset, &narrow).await.unwrap().rows, []);
    database.drop_table(&dataset).await;
}
