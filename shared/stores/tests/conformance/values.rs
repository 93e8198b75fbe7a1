//! Values are read as they were written: types, keys, columns.

use landfall_domain::{Dataset, Row, Value, latest_by_key};

use crate::databases::{Database, dataset};
use crate::rows::{PAIRS, TYPES, apply, counts, note, notes, order, pair, row, text};

pub(crate) async fn every_type_comes_back(database: &Database) {
    let dataset = dataset(TYPES);
    let long = "ü".repeat(100_000);
    let texts: [[&str; 8]; 6] = [
        [
            "plain",
            "0",
            "0",
            "0",
            "false",
            "2026-11-20",
            "2026-11-20T08:30:00Z",
            r#"{"b": [1, 2.5, null, {"a": "x"}], "a": "y"}"#,
        ],
        [
            "",
            "9223372036854775807",
            "9999999999999999999999999999",
            "1.7976931348623157e308",
            "true",
            "9999-12-31",
            "9999-12-30T21:59:59.999999Z",
            "[]",
        ],
        [
            " \t\n\r\\.\\N'\"`;--\u{1}\u{7f}\u{2028}😀 ",
            "-9223372036854775808",
            "-0.0000000000000000000000000001",
            "-2.2250738585072014e-308",
            "true",
            "0001-01-01",
            "0001-01-02T00:00:00.000001Z",
            "\"\\\\ \\u00e9 '\"",
        ],
        [
            "\\N",
            "-1",
            "1234567890.123456789012345678",
            "0.1",
            "false",
            "1969-12-31",
            "1969-12-31T23:59:59.999Z",
            "null",
        ],
        [
            "NULL",
            "1",
            "10000",
            "5e-324",
            "false",
            "2000-01-01",
            "2000-01-01T00:00:00Z",
            "7",
        ],
        [
            &long,
            "10000",
            "-100.0001",
            "123456789.123",
            "true",
            "2024-02-29",
            "2024-02-29T12:00:00.5Z",
            "true",
        ],
    ];
    // PostgreSQL writes few rows differently from many.
    for rows in [6, 120] {
        assert_round_trip(database, &dataset, &texts, rows).await;
    }
}

/// Applies so many rows of these values, repeatedly with other keys, and one of nulls.
async fn assert_round_trip(
    database: &Database,
    dataset: &Dataset,
    texts: &[[&str; 8]],
    rows: usize,
) {
    let mut rows: Vec<Row> = texts
        .iter()
        .cycle()
        .take(rows)
        .enumerate()
        .map(|(id, texts)| {
            let mut values = vec![Value::Integer(i64::try_from(id).unwrap())];
            for (field, text) in dataset.fields[1..].iter().zip(texts) {
                values.push(field.parse(text).unwrap());
            }
            row(id as u64, values)
        })
        .collect();
    let mut nulls = vec![Value::Null; 9];
    nulls[0] = Value::Integer(-1);
    rows.push(row(999, nulls));
    let total = rows.len() as u64;
    let store = database.store().await;
    store.prepare(dataset).await.unwrap();
    let inserted = apply(store.as_ref(), dataset, 1, rows.clone()).await;
    assert_eq!(inserted, counts(total, 0, 0, 0));

    let mut found = database.read(dataset).await;
    found.sort_by(|a, b| a.values[0].cmp_key(&b.values[0]));
    let (rows, _) = latest_by_key(rows, dataset);
    assert_eq!(found.len(), rows.len());
    for (found, row) in found.iter().zip(&rows) {
        assert_eq!(found.version, order(1).at(row.offset).as_bytes());
        for ((found, value), field) in found.values.iter().zip(&row.values).zip(&dataset.fields) {
            match (found, value) {
                (Value::Json(found), Value::Json(text)) => {
                    let parse = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
                    assert_eq!(parse(found), parse(text));
                }
                (found, Value::Timestamp(instant)) if database.is_mongodb() => {
                    let milliseconds = instant.as_microsecond().div_euclid(1000);
                    let cut = jiff::Timestamp::from_millisecond(milliseconds).unwrap();
                    assert_eq!(found, &Value::Timestamp(cut));
                }
                // There, JSON null is null.
                (Value::Null, Value::Json(text)) if database.is_mongodb() => {
                    assert_eq!(text, "null");
                }
                (found, value) => assert_eq!(found, value, "{}", field.name),
            }
        }
    }
    // The same values in a newer object are the same in the database's types too.
    assert_eq!(
        apply(store.as_ref(), dataset, 2, rows).await,
        counts(0, 0, total, 0)
    );
    database.drop_table(dataset).await;
}

pub(crate) async fn json_that_a_store_cannot_hold_stays_text(database: &Database) {
    let dataset = dataset(
        r#"
key = ["id"]
fields = [{ name = "id", type = "integer" }, { name = "json", type = "json" }]
"#,
    );
    let tiny = format!(r#"{{"tiny": 0.{}1}}"#, "0".repeat(1_100));
    let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
    let wide = format!("[{}1]", "1,".repeat(1_400_000));
    let texts = [
        tiny.as_str(),
        r#"{"precise": 0.1234567890123456789012345678901234567890}"#,
        r#"{"$set": {"a.b": 1, "": 2}}"#,
        r#"{"twice": 1, "twice": 2}"#,
        deep.as_str(),
        wide.as_str(),
    ];
    let rows = texts.iter().enumerate().map(|(id, text)| Row {
        extra: Some(format!("{{\"other\":{text}}}")),
        ..row(
            0,
            vec![
                Value::Integer(i64::try_from(id).unwrap()),
                Value::json(text).unwrap(),
            ],
        )
    });
    let rows: Vec<Row> = rows.collect();
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    assert_eq!(
        apply(store.as_ref(), &dataset, 1, rows.clone()).await,
        counts(6, 0, 0, 0)
    );
    assert_eq!(
        apply(store.as_ref(), &dataset, 2, rows).await,
        counts(0, 0, 6, 0)
    );
    let found = database.read(&dataset).await;
    let first = found
        .iter()
        .find(|found| found.values[0] == Value::Integer(0))
        .unwrap();
    let Value::Json(found) = &first.values[1] else {
        panic!("{first:?}");
    };
    let as_text = serde_json::from_str::<String>(found);
    assert_eq!(as_text.as_deref().unwrap_or(found), texts[0]);
    database.drop_table(&dataset).await;
}

pub(crate) async fn columns_outside_the_dataset_are_kept_or_dropped(database: &Database) {
    let kept = dataset(PAIRS);
    let dropped = dataset(&format!("unknown_columns = \"drop\"\n{PAIRS}"));
    let store = database.store().await;
    let with = |extra: Option<&str>| Row {
        extra: extra.map(str::to_owned),
        ..pair("a", "b")
    };
    store.prepare(&kept).await.unwrap();
    let colour = r#"{"colour":"red"}"#;
    let extra = Some(colour);
    assert_eq!(
        apply(store.as_ref(), &kept, 1, vec![with(extra)]).await,
        counts(1, 0, 0, 0)
    );
    assert_eq!(
        apply(store.as_ref(), &kept, 2, vec![with(extra)]).await,
        counts(0, 0, 1, 0)
    );
    let found = database.read(&kept).await[0].extra.clone().unwrap();
    assert_eq!(found.replace(' ', ""), colour);
    assert_eq!(
        apply(store.as_ref(), &kept, 3, vec![with(None)]).await,
        counts(0, 1, 0, 0)
    );
    assert_eq!(database.read(&kept).await[0].extra, None);
    store.prepare(&dropped).await.unwrap();
    assert_eq!(
        apply(store.as_ref(), &dropped, 1, vec![with(None)]).await,
        counts(1, 0, 0, 0)
    );
    assert_eq!(database.read(&dropped).await[0].extra, None);
    database.drop_table(&kept).await;
    database.drop_table(&dropped).await;
}

pub(crate) async fn keys_differ_by_their_bytes(database: &Database) {
    let dataset = dataset(PAIRS);
    let long = "k".repeat(512);
    let keys = [
        "a", "A", "a ", " a", "a  ", "a\t", "", "e", "é", "e\u{301}", "ß", "ss", "😀", "\u{ffff}",
        "i", "ı", "1", "01", "1.0", "$a", "a.b", &long,
    ];
    let rows: Vec<Row> = keys.iter().map(|key| pair(key, key)).collect();
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let all = keys.len() as u64;
    assert_eq!(
        apply(store.as_ref(), &dataset, 1, rows.clone()).await,
        counts(all, 0, 0, 0)
    );
    assert_eq!(
        apply(store.as_ref(), &dataset, 2, rows).await,
        counts(0, 0, all, 0)
    );
    let found = notes(&database.read(&dataset).await);
    let expected = keys
        .iter()
        .map(|key| ((*key).to_owned(), note(key, 2)))
        .collect();
    assert_eq!(found, expected);
    database.drop_table(&dataset).await;
}

pub(crate) async fn keys_of_several_fields(database: &Database) {
    let dataset = dataset(
        r#"
key = ["at", "region", "shop", "number", "amount", "day", "open"]
fields = [
    { name = "note", type = "text" },
    { name = "shop", type = "text" },
    { name = "region", type = "text" },
    { name = "number", type = "integer" },
    { name = "amount", type = "decimal" },
    { name = "day", type = "date" },
    { name = "at", type = "timestamp" },
    { name = "open", type = "boolean" },
]
"#,
    );
    let long = "x".repeat(500);
    let keys = [
        [
            "c",
            "ab",
            "1",
            "1",
            "2026-11-20",
            "2026-11-20T00:00:00.000001Z",
            "true",
        ],
        [
            "c",
            "ab",
            "1",
            "1",
            "2026-11-20",
            "2026-11-20T00:00:00.000002Z",
            "true",
        ],
        [
            "c",
            "ab",
            "1",
            "1",
            "2026-11-20",
            "2026-11-20T00:00:00.000002Z",
            "false",
        ],
        [
            "bc",
            "a",
            "1",
            "1",
            "2026-11-20",
            "2026-11-20T00:00:00.000001Z",
            "true",
        ],
        [
            "c",
            "ab",
            "-1",
            "1",
            "2026-11-20",
            "2026-11-20T00:00:00.000001Z",
            "true",
        ],
        [
            "c",
            "ab",
            "1",
            "1.5",
            "2026-11-20",
            "2026-11-20T00:00:00.000001Z",
            "true",
        ],
        [
            "c",
            "ab",
            "1",
            "1",
            "2026-11-21",
            "2026-11-20T00:00:00.000001Z",
            "true",
        ],
        [
            "c ",
            "ab",
            "1",
            "1",
            "2026-11-20",
            "2026-11-20T00:00:00.000001Z",
            "true",
        ],
        [
            "",
            "",
            "1",
            "1",
            "2026-11-20",
            "2026-11-20T00:00:00.000001Z",
            "true",
        ],
        [
            &long,
            "",
            "1",
            "1",
            "2026-11-20",
            "2026-11-20T00:00:00.000001Z",
            "true",
        ],
    ];
    let rows = |note: &str| -> Vec<Row> {
        let values = keys.iter().map(|key| {
            let rest = dataset.fields[1..].iter().zip(key);
            let rest = rest.map(|(field, text)| field.parse(text).unwrap());
            std::iter::once(text(note)).chain(rest).collect()
        });
        values.map(|values| row(0, values)).collect()
    };
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    assert_eq!(
        apply(store.as_ref(), &dataset, 1, rows("a")).await,
        counts(10, 0, 0, 0)
    );
    assert_eq!(
        apply(store.as_ref(), &dataset, 2, rows("b")).await,
        counts(0, 10, 0, 0)
    );
    assert_eq!(
        apply(store.as_ref(), &dataset, 1, rows("c")).await,
        counts(0, 0, 0, 10)
    );
    let found = database.read(&dataset).await;
    assert!(found.iter().all(|found| found.values[0] == text("b")));
    assert_eq!(found.len(), 10);
    database.drop_table(&dataset).await;
}
