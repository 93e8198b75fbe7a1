//! Search: every SQL store finds the rows that a scan finds.

use std::time::Duration;

use landfall_domain::{Dataset, Filter, Row, RowQuery, Search, Sort, Value};
use landfall_stores::{Current, Maintenance, Prepared, ReadOptions, StoreError, StoreOptions};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng, SeedableRng};

use crate::databases::{Database, redefined};
use crate::evolution::assert_refused;
use crate::merge::partial;
use crate::posts::{POSTS, Posts, apply_to, post, random_post, random_query, scan, texts};
use crate::reads::{query, walk};
use crate::rows::{counts, deletion, order, text};
use crate::worker::Worker;

fn searching(text: &str, limit: u32) -> RowQuery {
    RowQuery {
        search: Some(Search::parse(text).unwrap()),
        ..query(None, limit)
    }
}

async fn found(worker: &Worker<'_>, query: RowQuery) -> Vec<i64> {
    let reader = worker.database.reader().await;
    let rows = walk(&*reader, &worker.dataset, query).await;
    let id = |values: Vec<Value>| match values[0] {
        Value::Integer(id) => id,
        _ => panic!("the key is an integer"),
    };
    rows.into_iter().map(id).collect()
}

/// Compares so many random queries with a scan.
async fn assert_searches(worker: &Worker<'_>, posts: &Posts, queries: usize, random: &mut StdRng) {
    let mut hits = 0;
    for _ in 0..queries {
        let text = random_query(random);
        let search = Search::parse(&text).unwrap();
        let expected = scan(posts, &search);
        hits += expected.len();
        let limit = *[3, 50, 1000].choose(random).unwrap();
        assert_eq!(
            found(worker, searching(&text, limit)).await,
            expected,
            "{text:?}"
        );
    }
    assert!(hits > queries, "few rows are found");
}

pub(crate) async fn searches_equal_a_scan(database: &Database) {
    let mut random = StdRng::seed_from_u64(27);
    let worker = Worker::of(database, POSTS).await;
    let mut posts = Posts::new();
    for moment in 1..=6 {
        let mut rows = Vec::new();
        for id in 0..200 {
            match random.random_range(0..10) {
                0..3 if moment > 1 => {}
                3 if moment > 1 => rows.push(gone(id)),
                _ => rows.push(random_post(id, &mut random)),
            }
        }
        apply_to(&mut posts, &rows);
        worker.apply(moment, rows).await;
        assert_searches(&worker, &posts, 25, &mut random).await;
    }
    // Beside conditions, and in other orders.
    let dataset = &worker.dataset;
    for text in ["garden", "a", "東京"] {
        let search = Search::parse(text).unwrap();
        let expected = scan(&posts, &search);
        let filtered = RowQuery {
            filters: vec![Filter::parse(dataset, "place:eq:3").unwrap()],
            ..searching(text, 2)
        };
        let of_place: Vec<i64> = expected.iter().copied().filter(|id| id % 7 == 3).collect();
        assert_eq!(found(&worker, filtered).await, of_place, "{text}");
        let sorted = RowQuery {
            sort: Some(Sort::parse(dataset, "-place").unwrap()),
            ..searching(text, 5)
        };
        let mut by_place = expected;
        by_place.sort_by_key(|id| std::cmp::Reverse((id % 7, *id)));
        assert_eq!(found(&worker, sorted).await, by_place, "{text}");
    }
    // The best matches come first.
    for text in ["gard", "gard* a", "an"] {
        let search = Search::parse(text).unwrap();
        let mut expected = scan(&posts, &search);
        let rank = |id: &i64| {
            let texts = texts(&posts[id]);
            search.rank(texts.iter().map(String::as_str))
        };
        expected.sort_by_key(|id| (std::cmp::Reverse(rank(id)), *id));
        let ranked = RowQuery {
            by_relevance: true,
            ..searching(text, 4)
        };
        assert_eq!(found(&worker, ranked).await, expected, "{text}");
    }
    worker.drop_table().await;
}

pub(crate) async fn common_words_are_found_in_order(database: &Database) {
    let worker = Worker::of(database, POSTS).await;
    let rows = |ids: std::ops::Range<i64>| {
        let post = |id| post(id, text(&format!("common number{id}")), Value::Null);
        ids.map(post).collect::<Vec<_>>()
    };
    // The first chunk is big enough for lanes.
    worker.apply(1, rows(0..2_500)).await;
    worker
        .applies(2, rows(2_400..4_500), counts(2_000, 0, 100, 0))
        .await;
    assert_eq!(
        found(&worker, searching("common", 1000)).await,
        (0..4_500).collect::<Vec<_>>()
    );
    let some = found(&worker, searching("common number44*", 1000)).await;
    let expected: Vec<i64> = (0..4_500)
        .filter(|id| id.to_string().starts_with("44"))
        .collect();
    assert_eq!(some, expected);
    assert_eq!(
        found(&worker, searching("\"number3999\"", 10)).await,
        [3_999]
    );
    worker.drop_table().await;
}

pub(crate) async fn a_search_follows_merged_columns(database: &Database) {
    let mut random = StdRng::seed_from_u64(28);
    let worker = Worker::of(
        database,
        &format!("mode = \"merge\"\nunknown_columns = \"drop\"\n{POSTS}"),
    )
    .await;
    let mut posts = Posts::new();
    let mut chunks = Vec::new();
    for moment in 1..=8 {
        let mut rows = Vec::new();
        for id in 0..60 {
            let row = random_post(id, &mut random);
            let [title, body] = [random.random_bool(0.5), random.random_bool(0.5)];
            let stored = posts.entry(id).or_insert([Value::Null, Value::Null]);
            let mut columns = vec![2];
            if title {
                stored[0] = row.values[1].clone();
                columns.push(1);
            }
            if body {
                stored[1] = row.values[3].clone();
                columns.push(3);
            }
            rows.push(partial(row, &columns));
        }
        chunks.push((moment, rows));
    }
    // Files arrive in another order than they were written.
    chunks.rotate_left(3);
    chunks.swap(0, 5);
    for (moment, rows) in chunks {
        worker.apply(moment, rows).await;
    }
    assert_searches(&worker, &posts, 60, &mut random).await;
    worker.apply(9, (0..30).map(gone).collect()).await;
    posts.retain(|id, _| *id >= 30);
    assert_searches(&worker, &posts, 30, &mut random).await;
    worker.drop_table().await;
}

pub(crate) async fn pruned_rows_are_not_found(database: &Database) {
    let mut random = StdRng::seed_from_u64(29);
    let worker = Worker::of(database, &format!("mode = \"snapshot\"\n{POSTS}")).await;
    let mut posts = Posts::new();
    worker
        .apply(1, (0..100).map(|id| random_post(id, &mut random)).collect())
        .await;
    let rows: Vec<Row> = (50..120).map(|id| random_post(id, &mut random)).collect();
    apply_to(&mut posts, &rows);
    worker.apply(2, rows).await;
    assert_eq!(worker.prune(2).await, 50);
    assert_searches(&worker, &posts, 40, &mut random).await;
    worker.drop_table().await;
}

pub(crate) async fn a_small_table_gains_search(database: &Database) {
    let mut random = StdRng::seed_from_u64(30);
    let plain = POSTS.replace("search = [\"title\", \"body\"]\n", "");
    let old = Worker::of(database, &plain).await;
    let mut posts = Posts::new();
    let rows: Vec<Row> = (0..100).map(|id| random_post(id, &mut random)).collect();
    apply_to(&mut posts, &rows);
    old.apply(1, rows.clone()).await;
    let other = old.other().await;
    let worker = other.redefined(POSTS).await;
    assert_searches(&worker, &posts, 20, &mut random).await;
    // The same values are no change.
    worker.applies(2, rows, counts(0, 0, 100, 0)).await;
    // A process that has prepared the older definition goes on, and so does a new one.
    for (moment, late) in [(3, old), (4, worker.redefined(&plain).await)] {
        let rows: Vec<Row> = (40..60 + moment)
            .map(|id| random_post(id, &mut random))
            .collect();
        apply_to(&mut posts, &rows);
        late.apply(moment, rows).await;
        assert_searches(&worker, &posts, 20, &mut random).await;
    }
    let changed = redefined(
        &worker.dataset,
        &POSTS.replace("[\"title\", \"body\"]", "[\"body\"]"),
    );
    assert_refused(database, &changed, &["title, body", "keep the old fields"]).await;
    worker.drop_table().await;
}

/// Steps of few rows, and tables that are soon not small.
const OPTIONS: StoreOptions = StoreOptions {
    connections: 2,
    timeout: Duration::from_mins(1),
    step_rows: 30,
    small_table_rows: 50,
};

async fn search(database: &Database, dataset: &Dataset) -> Result<usize, StoreError> {
    let reader = database.reader_with(ReadOptions::default()).await;
    let page = reader.rows(dataset, &searching("garden", 1000)).await;
    page.map(|page| page.rows.len())
}

pub(crate) async fn a_big_table_gains_search_in_steps(database: &Database) {
    let mut random = StdRng::seed_from_u64(31);
    let plain = POSTS.replace("search = [\"title\", \"body\"]\n", "");
    let old = Worker::of(database, &plain).await;
    let mut posts = Posts::new();
    let rows: Vec<Row> = (0..400).map(|id| random_post(id, &mut random)).collect();
    apply_to(&mut posts, &rows);
    old.apply(1, rows).await;
    let dataset = redefined(&old.dataset, POSTS);
    let store = database.store_with(OPTIONS).await;
    assert_eq!(
        store.prepare(&dataset).await.unwrap(),
        Prepared::NeedsMaintenance
    );
    let mut moment = 2;
    loop {
        let early = search(database, &dataset).await;
        assert!(matches!(early, Err(StoreError::Indexing(_))), "{early:?}");
        // Other definitions of the dataset are loaded meanwhile.
        let rows: Vec<Row> = (0..20)
            .map(|n| random_post(moment * 20 + n, &mut random))
            .collect();
        apply_to(&mut posts, &rows);
        let writer = if moment % 2 == 0 {
            &old.dataset
        } else {
            &dataset
        };
        store
            .apply(writer, &order(moment), &rows.into())
            .await
            .unwrap();
        moment += 1;
        match store.maintain(&dataset, &Current::default()).await.unwrap() {
            Maintenance::Continues if search(database, &dataset).await.is_ok() => break,
            Maintenance::Continues => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(moment > 3 || database.is_sqlite());
    assert_eq!(
        store.maintain(&dataset, &Current::default()).await.unwrap(),
        Maintenance::Done
    );
    let worker = Worker::with_store(database, dataset, store).await;
    assert_searches(&worker, &posts, 60, &mut random).await;
    worker.drop_table().await;
}

/// Rows that stay are found by every search while others are written, changed and deleted, and in the end, searches
/// equal a scan.
pub(crate) async fn searches_beside_writers(database: &Database) {
    const MOMENTS: i64 = 24;
    let mut random = StdRng::seed_from_u64(32);
    let worker = Worker::of(database, POSTS).await;
    let stays = |id| post(id, text(&format!("unchanged garden{id}")), Value::Null);
    let rows: Vec<Row> = (1_000..1_020).map(stays).collect();
    let mut posts = Posts::new();
    apply_to(&mut posts, &rows);
    worker.apply(1, rows).await;
    let mut files = Vec::new();
    for moment in 2..=MOMENTS {
        let rows: Vec<Row> = (0..300)
            .filter_map(|id| match random.random_range(0..4) {
                0 => None,
                1 if moment > MOMENTS / 2 => Some(gone(id)),
                _ => Some(random_post(id, &mut random)),
            })
            .collect();
        apply_to(&mut posts, &rows);
        files.push((moment, rows));
    }
    files.shuffle(&mut random);
    let write = async |files: Vec<(i64, Vec<Row>)>| {
        let worker = worker.other().await;
        for (moment, rows) in files {
            worker.apply(moment, rows).await;
        }
    };
    let read = async |queries: [&str; 3]| {
        for _ in 0..10 {
            for text in queries {
                let found = found(&worker, searching(text, 7)).await;
                let stayed = found.into_iter().filter(|id| *id >= 1_000);
                assert_eq!(
                    stayed.collect::<Vec<_>>(),
                    (1_000..1_020).collect::<Vec<_>>()
                );
            }
        }
    };
    let rest = files.split_off(files.len() / 2);
    tokio::join!(
        write(files),
        write(rest),
        read(["unchanged", "gard", "\"unchanged\" garden*"]),
        read(["garden", "unchan*", "nchang arden"]),
    );
    assert_searches(&worker, &posts, 60, &mut random).await;
    worker
        .apply(MOMENTS + 1, (0..1_020).map(gone).collect())
        .await;
    assert_eq!(found(&worker, searching("a*", 10)).await, [0; 0]);
    worker.drop_table().await;
}

fn gone(id: i64) -> Row {
    deletion(vec![
        Value::Integer(id),
        Value::Null,
        Value::Null,
        Value::Null,
    ])
}

pub(crate) async fn mongodb_is_not_searched(database: &Database) {
    let worker = Worker::of(database, POSTS).await;
    worker
        .apply(1, vec![post(1, text("garden"), Value::Null)])
        .await;
    let error = search(database, &worker.dataset).await.unwrap_err();
    assert!(
        error.to_string().contains("leave out store=mongodb"),
        "{error}"
    );
    worker.drop_table().await;
}
