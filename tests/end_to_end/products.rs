//! Products in PostgreSQL or SQLite, and in `MongoDB`: with `LANDFALL_PRODUCTS=500000`, half a million of them.

use landfall_domain::{JobState, RejectCode};
use landfall_local::Sql;
use landfall_tests::Products;

use crate::support::{assert_counts, assert_products, land, products_file, rejects, start};

/// Products in the file, unless `LANDFALL_PRODUCTS` is set.
const PRODUCTS: u64 = 100_000;

async fn products_are_ingested(sql: Sql) {
    let rows = std::env::var("LANDFALL_PRODUCTS");
    let rows = rows.map_or(PRODUCTS, |rows| rows.parse().unwrap());
    let stack = start(sql, &[]).await;
    let file = products_file(rows, 11);
    let expected = Products::from_file(&file);
    assert_eq!(expected.records, rows);
    assert!(expected.rejected > 0);

    let event = land(&stack, "products/many products.csv", file.clone()).await;
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    assert_counts(&event, &expected);
    assert_products(&stack, &expected.rows).await;
    for counts in event.counts.stores.values() {
        assert_eq!(counts.inserted, expected.rows.len() as u64);
    }

    // The position of every reject is that of its record.
    let mut rejects = rejects(&stack, &event).await;
    assert_eq!(rejects.len() as u64, expected.rejected);
    rejects.sort_by_key(|reject| reject.offset);
    let (mut counted, mut line) = (0, 1);
    for reject in &rejects {
        let start = usize::try_from(reject.offset).unwrap();
        let bytes = &file[start..start + usize::try_from(reject.raw_bytes).unwrap()];
        assert_eq!(String::from_utf8_lossy(bytes), reject.raw);
        line += file[counted..start].split(|byte| *byte == b'\n').count() as u64 - 1;
        assert_eq!(reject.line, line);
        counted = start;
    }
    for code in [
        RejectCode::ColumnCount,
        RejectCode::Required,
        RejectCode::Encoding,
    ] {
        assert!(rejects.iter().any(|reject| reject.code == code), "{code:?}");
    }

    // The same file again creates another job and changes nothing.
    let again = land(&stack, "products/many products.csv", file).await;
    assert_ne!(again.id, event.id);
    assert_counts(&again, &expected);
    for counts in again.counts.stores.values() {
        assert_eq!(counts.inserted, 0);
    }
    assert_products(&stack, &expected.rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn products_are_ingested_into_postgres_and_mongodb() {
    products_are_ingested(Sql::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn products_are_ingested_into_sqlite_and_mongodb() {
    products_are_ingested(Sql::Sqlite).await;
}
