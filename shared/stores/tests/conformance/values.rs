//! Values are read as they were written: types, keys, columns.

use landfall_domain::{Row, Value, latest_by_key};

use crate::databases::{Database, dataset};
use crate::generated::in_milliseconds;
use crate::reads::{query, walk};
use crate::rows::{PAIRS, TYPES, counts, note, order, pair, parsed, row, text};
use crate::worker::Worker;

fn split(texts: &str) -> [&str; 6] {
    let mut texts = texts.split(' ');
    std::array::from_fn(|_| texts.next().unwrap())
}

pub(crate) async fn every_type_comes_back(database: &Database) {
    let long = "ü".repeat(100_000);
    let instants = "2026-11-20T08:30:00Z 9999-12-31T23:59:59.999999Z 0001-01-01T00:00:00.000001Z \
        1969-12-31T23:59:59.999Z 2000-01-01T00:00:00Z 2024-02-29T12:00:00.5Z";
    // The values of six rows, by field.
    let columns = [
        [
            "plain",
            "",
            " \t\n\r\\.\\N'\"`;--\u{1}\u{7f}\u{2028}😀 ",
            "\\N",
            "NULL",
            &long,
        ],
        split("0 9223372036854775807 -9223372036854775808 -1 1 10000"),
        split(
            "0 9999999999999999999999999999 -0.0000000000000000000000000001 \
             1234567890.123456789012345678 10000 -100.0001",
        ),
        split("0 1.7976931348623157e308 -2.2250738585072014e-308 0.1 5e-324 123456789.123"),
        split("false true true false false true"),
        split("2026-11-20 9999-12-31 0001-01-01 1969-12-31 2000-01-01 2024-02-29"),
        split(instants),
        [
            r#"{"b": [1, 2.5, null, {"a": "x"}], "a": "y"}"#,
            "[]",
            "\"\\\\ \\u00e9 '\"",
            "null",
            "7",
            "true",
        ],
    ];
    let texts: [[&str; 8]; 6] = std::array::from_fn(|row| columns.map(|column| column[row]));
    // PostgreSQL writes few rows differently from many.
    for rows in [6, 120] {
        assert_round_trip(database, &texts, rows).await;
    }
}

/// Applies so many rows of these values, repeatedly with other keys, and one of nulls.
async fn assert_round_trip(database: &Database, texts: &[[&str; 8]], rows: usize) {
    let worker = Worker::of(database, TYPES).await;
    let dataset = &worker.dataset;
    let texts = texts.iter().cycle().take(rows);
    let mut rows: Vec<Row> = (0..)
        .zip(texts)
        .map(|(id, texts)| Row {
            offset: id,
            ..parsed(dataset, Value::Integer(id.cast_signed()), texts)
        })
        .collect();
    let mut nulls = vec![Value::Null; 9];
    nulls[0] = Value::Integer(-1);
    rows.push(row(999, nulls));
    let total = rows.len() as u64;
    worker
        .applies(1, rows.clone(), counts(total, 0, 0, 0))
        .await;

    let mut found = worker.read().await;
    found.sort_by(|a, b| a.values[0].cmp_key(&b.values[0]));
    let (rows, _) = latest_by_key(rows, dataset);
    assert_eq!(found.len(), rows.len());
    for (found, row) in found.iter().zip(&rows) {
        assert_eq!(found.version, order(1).at(row.offset).to_string());
        for ((found, value), field) in found.values.iter().zip(&row.values).zip(&dataset.fields) {
            match (found, value) {
                (Value::Json(found), Value::Json(text)) => {
                    let parse = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
                    assert_eq!(parse(found), parse(text));
                }
                (found, Value::Timestamp(instant)) if database.is_mongodb() => {
                    assert_eq!(found, &Value::Timestamp(in_milliseconds(*instant)));
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
    worker.applies(2, rows, counts(0, 0, total, 0)).await;
    worker.drop_table().await;
}

pub(crate) async fn json_that_a_store_cannot_hold_is_counted_once(database: &Database) {
    let definition = r#"
key = ["id"]
fields = [{ name = "id", type = "integer" }, { name = "json", type = "json" }]
"#;
    let worker = Worker::of(database, definition).await;
    let tiny = format!(r#"{{"tiny": 0.{}1}}"#, "0".repeat(1_100));
    let deep = format!("{}{}", "[".repeat(90), "]".repeat(90));
    let wide = format!("[{}1]", "1,".repeat(1_400_000));
    let texts = [
        tiny.as_str(),
        r#"{"precise": 0.1234567890123456789012345678901234567890}"#,
        r#"{"$set": {"a.b": 18446744073709551615, "": 2}, "50%": {"$oid": "5f"}, "%2E": {"$date": 1}}"#,
        r#"{"twice": 1, "twice": 2}"#,
        deep.as_str(),
        wide.as_str(),
    ];
    let rows = (0..).zip(texts).map(|(id, text)| {
        let values = vec![Value::Integer(id), Value::json(text).unwrap()];
        Row {
            extra: Some(format!("{{\"other\":{text}}}")),
            ..row(0, values)
        }
    });
    let rows: Vec<Row> = rows.collect();
    worker.applies(1, rows.clone(), counts(6, 0, 0, 0)).await;
    worker.applies(2, rows, counts(0, 0, 6, 0)).await;
    // Through Landfall's own reader: names and numbers have another form in MongoDB.
    let reader = database.reader().await;
    let found = walk(&*reader, &worker.dataset, query(None, 2)).await;
    let text_at = |index: usize| match &found[index][1] {
        Value::Json(text) => text.as_str(),
        other => panic!("{other:?}"),
    };
    let as_text = serde_json::from_str::<String>(text_at(0));
    let tiny = as_text.as_deref().unwrap_or(text_at(0));
    assert!([texts[0], r#"{"tiny":1E-1101}"#].contains(&tiny), "{tiny}");
    for index in [2, 4] {
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(text_at(index)), parse(texts[index]));
    }
    worker.drop_table().await;
}

pub(crate) async fn columns_outside_the_dataset_are_kept_or_dropped(database: &Database) {
    let kept = Worker::of(database, PAIRS).await;
    let colour = r#"{"colour":"red"}"#;
    let with = |extra: Option<&str>| {
        vec![Row {
            extra: extra.map(str::to_owned),
            ..pair("a", "b")
        }]
    };
    kept.applies(1, with(Some(colour)), counts(1, 0, 0, 0))
        .await;
    kept.applies(2, with(Some(colour)), counts(0, 0, 1, 0))
        .await;
    let found = kept.read().await[0].extra.clone().unwrap();
    assert_eq!(found.replace(' ', ""), colour);
    kept.applies(3, with(None), counts(0, 1, 0, 0)).await;
    assert_eq!(kept.read().await[0].extra, None);
    let dropped = dataset(&format!("unknown_columns = \"drop\"\n{PAIRS}"));
    let dropped = Worker::new(database, dropped).await;
    dropped.applies(1, with(None), counts(1, 0, 0, 0)).await;
    assert_eq!(dropped.read().await[0].extra, None);
    kept.drop_table().await;
    dropped.drop_table().await;
}

pub(crate) async fn keys_differ_by_their_bytes(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let long = "k".repeat(512);
    let keys = [
        "a", "A", "a ", " a", "a  ", "a\t", "", "e", "é", "e\u{301}", "ß", "ss", "😀", "\u{ffff}",
        "i", "ı", "1", "01", "1.0", "$a", "a.b", &long,
    ];
    let rows: Vec<Row> = keys.iter().map(|key| pair(key, key)).collect();
    let all = keys.len() as u64;
    worker.applies(1, rows.clone(), counts(all, 0, 0, 0)).await;
    worker.applies(2, rows, counts(0, 0, all, 0)).await;
    let expected = keys.map(|key| (key.to_owned(), note(key, 2)));
    assert_eq!(worker.notes().await, expected.into());
    worker.drop_table().await;
}

pub(crate) async fn keys_of_several_fields(database: &Database) {
    let definition = r#"
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
"#;
    let worker = Worker::of(database, definition).await;
    let long = "x".repeat(500);
    let (day, at) = ("2026-11-20", "2026-11-20T00:00:00.000001Z");
    let key = ["c", "ab", "1", "1", day, at, "true"];
    // Each differs from the first key in some fields.
    let changes: [&[(usize, &str)]; 10] = [
        &[],
        &[(5, "2026-11-20T00:00:00.000002Z")],
        &[(5, "2026-11-20T00:00:00.000002Z"), (6, "false")],
        &[(0, "bc"), (1, "a")],
        &[(2, "-1")],
        &[(3, "1.5")],
        &[(4, "2026-11-21")],
        &[(0, "c ")],
        &[(0, ""), (1, "")],
        &[(0, &long), (1, "")],
    ];
    let rows = |note: &str| -> Vec<Row> {
        let row = |changes: &&[(usize, &str)]| {
            let mut key = key;
            for (field, text) in *changes {
                key[*field] = text;
            }
            parsed(&worker.dataset, text(note), &key)
        };
        changes.iter().map(row).collect()
    };
    worker.applies(1, rows("a"), counts(10, 0, 0, 0)).await;
    worker.applies(2, rows("b"), counts(0, 10, 0, 0)).await;
    worker.applies(1, rows("c"), counts(0, 0, 0, 10)).await;
    let found = worker.read().await;
    assert!(found.iter().all(|found| found.values[0] == text("b")));
    assert_eq!(found.len(), 10);
    worker.drop_table().await;
}
