//! Unusual object keys, and every format.

use landfall_domain::JobState;
use landfall_local::Sql;
use serde_json::json;

use crate::support::{documents, land, start};

#[tokio::test(flavor = "multi_thread")]
async fn objects_with_special_characters_in_their_keys_are_ingested() {
    let stack = start(Sql::Sqlite, &[]).await;
    let keys = [
        "products/a file.csv",
        "products/1+1=2.csv",
        "products/100%.csv",
        "products/%2B %20.csv",
        "products/it's \"quoted\".csv",
        "products/größe/日本語 ❤.csv",
        "products/a&b;c=d?e#f.csv",
        "products/back\\slash (1) [2].csv",
        "products/no extension",
    ];
    for (index, key) in keys.iter().enumerate() {
        let file = format!(
            "sku,name,description\nk{index},{},\n",
            key.replace(['"', ','], "")
        );
        let event = land(&stack, key, file.into_bytes()).await;
        assert_eq!(
            event.state,
            JobState::Succeeded,
            "{key}: {:?}",
            event.problem
        );
        assert_eq!(event.object.key, *key);
        assert_eq!(event.counts.rows, 1, "{key}");
    }
    assert_eq!(
        documents(stack.mongodb_uri(), "products").await.len(),
        keys.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_yields_the_same_rows() {
    let stack = start(Sql::Sqlite, &[("ChunkBytes", "64")]).await;
    let orders = (1..=9).map(|id| {
        let order = json!({
            "order_id": id,
            "customer": { "name": format!("Zoë \"{id}\"") },
            "items": [id],
            "total": format!("{id}.50"),
            "placed_at": format!("2026-11-20T08:30:0{id}Z"),
        });
        order.to_string()
    });
    let lines: Vec<_> = orders.collect();
    let ndjson = lines.join("\n");
    let array = format!("[{}]", lines.join(",\n"));
    let event = land(&stack, "orders/a.ndjson", ndjson.into_bytes()).await;
    assert_eq!(event.counts.rows, 9);
    assert!(event.chunks > 3);
    let first = documents(stack.mongodb_uri(), "orders").await;

    let event = land(&stack, "orders/b.json", array.into_bytes()).await;
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    for counts in event.counts.stores.values() {
        assert_eq!(counts.unchanged, 9);
    }
    let sorted = |documents: Vec<mongodb::bson::Document>| {
        let mut texts: Vec<_> = documents
            .into_iter()
            .map(|mut document| {
                document.remove("_version");
                document.to_string()
            })
            .collect();
        texts.sort();
        texts
    };
    assert_eq!(
        sorted(first),
        sorted(documents(stack.mongodb_uri(), "orders").await)
    );

    // Tabs, a header in another order, a byte order mark, CRLF, a dropped column, and texts that mean null.
    let readings = "\u{feff}battery\ttime\tsensor\tnote\ttemperature (°C)\tcalibrated\r\n\
        90\t2026-11-20T08:30:00Z\ts1\t\"two\r\nlines\"\t21.5\t2026-01-31\r\n\
        -\t2026-11-20T08:31:00Z\ts1\tx\tNaN\t-\r\n";
    let event = land(&stack, "readings/today.txt", readings.as_bytes().to_vec()).await;
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    assert_eq!((event.counts.rows, event.counts.rejected), (2, 0));
    let path = stack.sql_url().strip_prefix("sqlite://").unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    let rows: Vec<(String, Option<f64>, Option<i64>)> = connection
        .prepare("SELECT sensor, celsius, battery FROM readings ORDER BY at")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        rows,
        [
            ("s1".to_owned(), Some(21.5), Some(90)),
            ("s1".to_owned(), None, None)
        ]
    );
}
