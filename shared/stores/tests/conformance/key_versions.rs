//! What readers return of a single key: the versions of its row, its tombstone, and the floor.

use jiff::{SignedDuration, Timestamp};
use landfall_domain::{Row, RowVersion, Value};
use landfall_stores::{KeyVersions, Reader, StoredVersions, Tombstone};

use crate::databases::{Database, dataset};
use crate::merge::{CATALOG, partial, product};
use crate::rows::{PAIRS, deletion, order, pair, row, text};
use crate::worker::Worker;

async fn of(reader: &dyn Reader, worker: &Worker<'_>, key: &[Value]) -> KeyVersions {
    reader.versions(&worker.dataset, key).await.unwrap()
}

fn whole(version: RowVersion) -> StoredVersions {
    StoredVersions {
        version: version.as_bytes().to_vec(),
        columns: Vec::new(),
    }
}

fn at(mut row: Row, offset: u64) -> Row {
    row.offset = offset;
    row
}

/// Asserts that a tombstone has this version and is about as old as the test.
#[track_caller]
fn assert_tombstone(found: Option<Tombstone>, version: RowVersion) {
    let found = found.expect("a tombstone");
    assert_eq!(found.version, version.as_bytes());
    let deleted_at: Timestamp = found.deleted_at.parse().unwrap();
    let age = Timestamp::now().duration_since(deleted_at).abs();
    assert!(age < SignedDuration::from_hours(1), "{}", found.deleted_at);
}

pub(crate) async fn versions_of_a_key(database: &Database) {
    let reader = database.reader().await;
    let reader = reader.as_ref();
    let pairs = dataset(PAIRS);
    // Without a table.
    let none = reader.versions(&pairs, &[text("a")]).await.unwrap();
    assert_eq!(none, KeyVersions::default());
    let worker = Worker::new(database, pairs).await;
    let key = |id: &str| [text(id)];
    let delete = |id: &str, offset| at(deletion(vec![text(id), Value::Null]), offset);
    worker
        .apply(10, vec![at(pair("a", "1"), 7), at(pair("b", "1"), 9)])
        .await;
    for (id, offset) in [("a", 7), ("b", 9)] {
        let found = of(reader, &worker, &key(id)).await;
        assert_eq!(found.row, Some(whole(order(10).at(offset))), "{id}");
        assert_eq!((found.tombstone, found.floor), (None, None), "{id}");
    }
    // The same values, and other ones.
    worker
        .apply(20, vec![at(pair("a", "1"), 1), at(pair("b", "2"), 2)])
        .await;
    for (id, offset) in [("a", 1), ("b", 2)] {
        let found = of(reader, &worker, &key(id)).await;
        assert_eq!(found.row, Some(whole(order(20).at(offset))), "{id}");
    }
    // A key that is deleted, one that never came, and one that comes back.
    worker.apply(30, vec![delete("a", 3), delete("c", 4)]).await;
    for (id, offset) in [("a", 3), ("c", 4)] {
        let found = of(reader, &worker, &key(id)).await;
        assert_eq!(found.row, None, "{id}");
        assert_tombstone(found.tombstone, order(30).at(offset));
    }
    worker.apply(40, vec![at(pair("a", "3"), 5)]).await;
    let back = of(reader, &worker, &key("a")).await;
    assert_eq!(
        (back.row, back.tombstone),
        (Some(whole(order(40).at(5))), None)
    );
    assert_eq!(of(reader, &worker, &key("z")).await, KeyVersions::default());
    // Texts are no patterns, and compare by their bytes.
    for other in ["A", "a ", "", "%", "a\u{301}"] {
        assert_eq!(
            of(reader, &worker, &key(other)).await.row,
            None,
            "{other:?}"
        );
    }
    assert!(reader.versions(&worker.dataset, &[]).await.is_err());
    // A snapshot that lacks everything.
    worker.prune(50).await;
    for id in ["a", "b", "z"] {
        let found = of(reader, &worker, &key(id)).await;
        let floor = worker.dataset.versions(order(50)).first();
        assert_eq!(found.row, None, "{id}");
        assert_eq!(found.floor.as_deref(), Some(floor.as_bytes()), "{id}");
    }
    worker.drop_table().await;
}

const SHOPS: &str = r#"
key = ["day", "shop", "number", "at", "price"]
order = "changed"
fields = [
    { name = "changed", type = "integer", required = true },
    { name = "shop", type = "text" },
    { name = "number", type = "integer" },
    { name = "day", type = "date" },
    { name = "at", type = "timestamp" },
    { name = "price", type = "decimal" },
]
"#;

/// Rows and tombstones of a key of every type that a key mostly has, with the value of a field in their versions.
pub(crate) async fn versions_of_keys_of_several_fields(database: &Database) {
    let worker = Worker::of(database, SHOPS).await;
    let reader = database.reader().await;
    let instant: Timestamp = "2026-11-20T08:30:00.123456Z".parse().unwrap();
    let instant = landfall_domain::Timestamp::from_microsecond(instant.as_microsecond());
    let sale = |shop: &str, number| {
        vec![
            Value::Integer(3),
            text(shop),
            Value::Integer(number),
            Value::Date(jiff::civil::date(2026, 11, 20)),
            Value::Timestamp(instant.unwrap()),
            Value::Decimal("1.5".parse().unwrap()),
        ]
    };
    let rows = vec![
        row(8, sale("x", 1)),
        at(deletion(sale("x, y", 2)), 9),
        row(10, sale("x, y", 1)),
    ];
    let versions = worker.dataset.versions(order(5));
    let expected: Vec<RowVersion> = rows.iter().map(|row| versions.of(row)).collect();
    worker.apply(5, rows.clone()).await;
    for (row, version) in rows.iter().zip(expected) {
        let key = worker.dataset.key_indexes().iter();
        let key: Vec<Value> = key.map(|field| row.values[*field].clone()).collect();
        let found = of(reader.as_ref(), &worker, &key).await;
        if row.deleted {
            assert_eq!(found.row, None);
            assert_tombstone(found.tombstone, version);
        } else {
            assert_eq!((found.row, found.tombstone), (Some(whole(version)), None));
        }
        let read = RowVersion::from_bytes(version.as_bytes()).unwrap();
        assert_eq!((read.object(), read.offset()), (order(5), row.offset));
    }
    worker.drop_table().await;
}

pub(crate) async fn versions_of_columns(database: &Database) {
    let worker = Worker::of(database, CATALOG).await;
    let reader = database.reader().await;
    let group = |moment, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        (order(moment).at(0).as_bytes().to_vec(), names)
    };
    let groups = async |sku: &str| {
        let found = of(reader.as_ref(), &worker, &[text(sku)]).await;
        found.row.map(|row| row.columns)
    };
    worker
        .apply(1, vec![product("a", "one", "1"), product("b", "two", "2")])
        .await;
    worker
        .apply(2, vec![partial(product("a", "", "3"), &[3])])
        .await;
    worker
        .apply(3, vec![partial(product("c", "", "4"), &[3])])
        .await;
    let found = of(reader.as_ref(), &worker, &[text("a")])
        .await
        .row
        .unwrap();
    assert_eq!(found.version, order(2).at(0).as_bytes());
    let expected = [group(2, &["price"]), group(1, &["title", "description"])];
    assert_eq!(groups("a").await.unwrap(), expected);
    // A column that no record has set is in no group.
    assert_eq!(groups("c").await.unwrap(), [group(3, &["price"])]);
    // The columns that a delete made null are from it.
    worker
        .apply(4, vec![deletion(product("a", "", "0").values.into_vec())])
        .await;
    let deleted = of(reader.as_ref(), &worker, &[text("a")]).await;
    assert_eq!(deleted.row, None);
    assert_tombstone(deleted.tombstone, order(4).at(0));
    worker
        .apply(5, vec![partial(product("a", "new", "0"), &[1])])
        .await;
    let expected = [group(5, &["title"]), group(4, &["description", "price"])];
    assert_eq!(groups("a").await.unwrap(), expected);
    worker.drop_table().await;
}
