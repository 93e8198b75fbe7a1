//! Filters on every type, and pages of totals.

use std::cmp::Ordering;

use landfall_domain::{Condition, FieldType, Filter, Row, RowQuery, Start, Value};

use crate::databases::{Database, dataset_of};
use crate::goods::{GOODS, compare, goods};
use crate::reads::{by, query, walk};
use crate::rows::{row, text};
use crate::worker::Worker;

fn holds(value: &Value, condition: &Condition) -> bool {
    let is = |wanted: &Value, orders: &[Ordering]| {
        !value.is_null() && orders.contains(&compare(value, wanted))
    };
    match condition {
        Condition::Equals(wanted) => is(wanted, &[Ordering::Equal]),
        Condition::AtLeast(wanted) => is(wanted, &[Ordering::Equal, Ordering::Greater]),
        Condition::Above(wanted) => is(wanted, &[Ordering::Greater]),
        Condition::AtMost(wanted) => is(wanted, &[Ordering::Equal, Ordering::Less]),
        Condition::Below(wanted) => is(wanted, &[Ordering::Less]),
        Condition::Prefix(prefix) => matches!(value, Value::Text(text) if text.starts_with(prefix)),
    }
}

pub(crate) async fn conditions_of_every_type(database: &Database) {
    let worker = Worker::of(database, GOODS).await;
    let dataset = &worker.dataset;
    let rows = goods(dataset);
    worker.apply(1, rows.clone()).await;
    let reader = database.reader().await;
    for (field, definition) in dataset.fields.iter().enumerate() {
        let mut wanted: Vec<Value> = Vec::new();
        for row in &rows {
            let value = &row.values[field];
            if !value.is_null() && !wanted.contains(value) {
                wanted.push(value.clone());
            }
        }
        // A sample of each is enough.
        let step = wanted.len().div_ceil(8);
        for value in wanted.into_iter().step_by(step) {
            let mut conditions = vec![
                Condition::Equals(value.clone()),
                Condition::AtLeast(value.clone()),
                Condition::Above(value.clone()),
                Condition::AtMost(value.clone()),
                Condition::Below(value.clone()),
            ];
            if let Value::Text(text) = &value {
                let first: String = text.chars().take(1).collect();
                conditions.extend([
                    Condition::Prefix(text.to_string()),
                    Condition::Prefix(first),
                ]);
            }
            for condition in conditions {
                let expected = rows
                    .iter()
                    .filter(|row| holds(&row.values[field], &condition));
                let query = RowQuery {
                    filters: vec![Filter {
                        field,
                        condition: condition.clone(),
                    }],
                    ..query(Some(by(0, true)), 50)
                };
                let mut found = walk(reader.as_ref(), dataset, query).await;
                let note = |row: &Vec<Value>| format!("{:?}", row[9]);
                found.sort_by_key(note);
                let mut expected: Vec<_> = expected.map(|row| row.values.to_vec()).collect();
                expected.sort_by_key(note);
                assert_eq!(found, expected, "{} {condition:?}", definition.name);
            }
        }
    }
    // Several at once.
    let filters = [
        "maker:prefix:a",
        "id:gt:-50",
        "id:lte:60",
        "is_open:eq:true",
    ];
    let several = RowQuery {
        filters: filters
            .map(|text| Filter::parse(dataset, text).unwrap())
            .into(),
        ..query(None, 2)
    };
    let all = |row: &&Row| {
        let mut filters = several.filters.iter();
        filters.all(|filter| holds(&row.values[filter.field], &filter.condition))
    };
    let expected = rows.iter().filter(all).count();
    assert!(expected > 0);
    let found = walk(reader.as_ref(), dataset, several).await;
    assert_eq!(found.len(), expected);
    worker.drop_table().await;
}

/// Only for SQL.
pub(crate) async fn pages_of_totals(database: &Database) {
    let dataset = dataset_of(|name| {
        format!(
            r#"
key = ["id"]
fields = [
    {{ name = "id", type = "integer" }},
    {{ name = "region", type = "text" }},
    {{ name = "day", type = "date" }},
    {{ name = "amount", type = "decimal" }},
    {{ name = "pieces", type = "integer" }},
]
[[totals]]
name = "{name}_by_day"
by = ["region", "day"]
columns = {{ number = "count", amount = "sum(amount)", pieces = "sum(pieces)", most = "max(amount)" }}
"#
        )
    });
    let total = &dataset.totals[0];
    let reader = database.reader().await;
    let empty = reader
        .totals(&dataset, total, &Start::First, 5)
        .await
        .unwrap();
    assert_eq!((empty.groups, empty.next), (Vec::new(), None));
    let long = "é".repeat(300);
    let longer = format!("{long}!");
    let regions = [
        None,
        Some(""),
        Some("B"),
        Some("a"),
        Some("é"),
        Some(long.as_str()),
        Some(longer.as_str()),
    ];
    let days = [None, Some("2026-01-01"), Some("2026-11-20")];
    let mut rows = Vec::new();
    let day_of = |text| Value::from_text(FieldType::Date, text).unwrap();
    let decimal = |text| Value::from_text(FieldType::Decimal, text).unwrap();
    for region in regions {
        for day in days {
            for amount in ["1.50", "-3"] {
                let values = vec![
                    Value::Integer(i64::try_from(rows.len()).unwrap()),
                    region.map_or(Value::Null, text),
                    day.map_or(Value::Null, day_of),
                    decimal(amount),
                    Value::Integer(i64::MAX),
                ];
                rows.push(row(rows.len() as u64, values));
            }
        }
    }
    let worker = Worker::new(database, dataset.clone()).await;
    worker.apply(1, rows).await;
    let page = async |start, limit| {
        let page = reader.totals(&dataset, total, &start, limit).await;
        page.unwrap()
    };
    let all = page(Start::First, 100).await;
    assert_eq!((all.groups.len(), all.next), (21, None));
    for group in &all.groups {
        let pieces = text("18446744073709551614");
        let measures = [Value::Integer(2), text("-1.5"), pieces, decimal("1.5")];
        assert_eq!(group[2..], measures);
    }
    let regions_in_order = all.groups.iter().step_by(3);
    let regions_in_order: Vec<Value> = regions_in_order.map(|group| group[0].clone()).collect();
    assert_eq!(regions_in_order[..4], ["", "B", "a", "é"].map(text));
    assert_eq!(regions_in_order[6], Value::Null);
    let days_of_first = all.groups[..3].iter().map(|group| group[1].clone());
    let days_in_order = [day_of("2026-01-01"), day_of("2026-11-20"), Value::Null];
    assert!(days_of_first.eq(days_in_order));
    for limit in [1, 2, 5] {
        let (mut found, mut start) = (Vec::new(), Start::First);
        loop {
            let page = page(start, limit).await;
            found.extend(page.groups);
            assert!(found.len() <= all.groups.len(), "the pages go in circles");
            match page.next {
                Some(next) => start = Start::After(next),
                None => break,
            }
        }
        assert_eq!(found, all.groups, "{limit}");
    }
    let skipped = page(Start::Skip(19), 5).await;
    assert_eq!(skipped.groups, all.groups[19..]);
    worker.drop_table().await;
}
