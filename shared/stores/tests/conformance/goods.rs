//! Rows to read, and the order in which they must be read.

use std::cmp::Ordering;

use landfall_domain::{Dataset, Row, SORTED_CHARS, Sort, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::rows::{row, text};

/// A key of two fields, and an index for every type that can have one.
pub(crate) const GOODS: &str = r#"
key = ["maker", "id"]
fields = [
    { name = "name", type = "text", index = true },
    { name = "maker", type = "text", index = true },
    { name = "id", type = "integer", index = true },
    { name = "price", type = "decimal", index = true },
    { name = "weight", type = "float", index = true },
    { name = "pieces", type = "integer", index = true },
    { name = "is_open", type = "boolean", index = true },
    { name = "day", type = "date", index = true },
    { name = "at", type = "timestamp", index = true },
    { name = "note", type = "text" },
]
"#;

/// Returns rows with many common values, nulls, and texts that compare differently elsewhere.
pub(crate) fn goods(dataset: &Dataset) -> Vec<Row> {
    let long = "ü".repeat(SORTED_CHARS);
    let (long_a, long_b) = (format!("{long}a"), format!("{long}b"));
    let longest = format!("{long}ü{long}");
    let mut texts: Vec<&str> =
        "a A ab aB b é e\u{301} ß ss 😀 \u{ffff} Z z % _ \\ ' \" $a a.b 0 10 9"
            .split(' ')
            .collect();
    texts.extend(["", " ", "a ", &long, &long_a, &long_b, &longest]);
    let numbers = "0 1 -1 1.5 -1.5 1.25 -1.55 10 9 -10 -9 \
        9999999999999999999999999999 -9999999999999999999999999999 \
        0.0000000000000000000000000001 -0.0000000000000000000000000001 \
        1234567890.123456789012345678 1234567890.123456789012345679";
    let instants = "0001-01-02T00:00:00Z 1969-12-31T23:59:59.999Z 2026-11-20T08:30:00Z \
        2026-11-20T08:30:00.001Z 9999-12-30T21:59:59.999Z";
    let mut random = StdRng::seed_from_u64(11);
    let mut one_of = |field: usize, choice: &[&str]| {
        let text = choice[random.random_range(0..choice.len())];
        if random.random_ratio(1, 5) {
            Value::Null
        } else {
            Value::from_text(dataset.fields[field].kind, text).unwrap()
        }
    };
    (0..180_i64)
        .map(|at| {
            let maker = texts[usize::try_from(at).unwrap() % texts.len()];
            let maker: String = maker.chars().take(120).collect();
            let name = one_of(0, &texts);
            let mut some =
                |field, texts: &str| one_of(field, &texts.split(' ').collect::<Vec<_>>());
            let values = vec![
                name,
                text(&maker),
                Value::Integer((at * 7) % 181 - 90),
                some(3, numbers),
                some(4, "0 -1.5 1e15 -1e15 0.00001 2 10 9"),
                some(5, "0 1 -1 10 9 9223372036854775807 -9223372036854775808"),
                some(6, "true false"),
                some(7, "0001-01-01 1969-12-31 1970-01-01 2026-11-20 9999-12-31"),
                some(8, instants),
                text(&format!("note {at}")),
            ];
            row(u64::try_from(at).unwrap(), values)
        })
        .collect()
}

/// Compares two values of one type.
pub(crate) fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Float(one), Value::Float(other)) => one.total_cmp(other),
        (Value::Null, Value::Null) => Ordering::Equal,
        (one, other) => one.cmp_key(other),
    }
}

/// Compares two rows.
pub(crate) fn compare_rows(
    dataset: &Dataset,
    sort: Option<Sort>,
    one: &[Value],
    other: &[Value],
) -> Ordering {
    let beginning = |field: usize, value: &Value| match value {
        Value::Text(whole) if !dataset.key_indexes().contains(&field) => {
            text(&whole.chars().take(SORTED_CHARS).collect::<String>())
        }
        other => other.clone(),
    };
    let sorted = sort.map_or(Ordering::Equal, |sort| {
        let (one, other) = (&one[sort.field], &other[sort.field]);
        let nulls = one.is_null().cmp(&other.is_null());
        nulls.then_with(|| compare(&beginning(sort.field, one), &beginning(sort.field, other)))
    });
    let key = dataset.key_indexes().iter();
    let mut key = key.map(|field| compare(&one[*field], &other[*field]));
    let ascending = sorted.then_with(|| key.find(|order| order.is_ne()).unwrap_or(Ordering::Equal));
    if sort.is_some_and(|sort| sort.descending) {
        ascending.reverse()
    } else {
        ascending
    }
}
