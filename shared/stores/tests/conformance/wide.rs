//! Tables with many texts: what fits, and how the rest is refused.

use landfall_domain::{Dataset, Row, Value};
use landfall_stores::{StoreError, check_row_size};

use crate::databases::{Database, dataset};
use crate::rows::{counts, row, text};
use crate::worker::Worker;

/// A dataset of an integer as key, and so many texts.
fn texts(number: usize) -> Dataset {
    let field = |n| format!("{{ name = \"f{n}\", type = \"text\" }}, ");
    let fields: String = (0..number).map(field).collect();
    dataset(&format!(
        "key = [\"id\"]\nunknown_columns = \"drop\"\n\
         fields = [{{ name = \"id\", type = \"integer\" }}, {fields}]\n"
    ))
}

/// A row whose first `full` texts are `value`, and the others null.
fn filled(dataset: &Dataset, id: i64, full: usize, value: &str) -> Row {
    let values =
        (1..dataset.fields.len()).map(|n| if n <= full { text(value) } else { Value::Null });
    row(
        0,
        std::iter::once(Value::Integer(id)).chain(values).collect(),
    )
}

/// As many as fit in a dataset beside the key.
const MOST: usize = 499;
const TWENTY: &str = "20 characters, about";

pub(crate) async fn texts_that_fit_in_every_store(database: &Database) {
    // Full rows of 200 texts, and rows of as many as a dataset may have with few values.
    for (number, full) in [(200, 200), (MOST, 100)] {
        let worker = Worker::new(database, texts(number)).await;
        let rows: Vec<Row> = (0..50)
            .map(|id| filled(&worker.dataset, id, full, TWENTY))
            .collect();
        worker.applies(1, rows.clone(), counts(50, 0, 0, 0)).await;
        worker.applies(2, rows.clone(), counts(0, 0, 50, 0)).await;
        let expected: Vec<_> = rows.into_iter().map(|row| row.values.into_vec()).collect();
        assert_eq!(worker.values_by(0).await, expected, "{number} texts");
        worker.drop_table().await;
    }
}

/// Whatever the length of its values, a row fits if the definition passes the check.
pub(crate) async fn the_widest_rows_that_pass_the_check(database: &Database) {
    let kind = database.store().await.kind();
    let mut number = MOST;
    while check_row_size(&texts(number), kind).is_err() {
        number -= 1;
    }
    assert!(number > 180, "{number}");
    let worker = Worker::new(database, texts(number)).await;
    for (id, length) in (0..).zip([20, 22, 23, 24, 25, 39, 40, 41, 300]) {
        let row = filled(&worker.dataset, id, number, &"x".repeat(length));
        worker.applies(1, vec![row], counts(1, 0, 0, 0)).await;
    }
    worker.drop_table().await;
}

/// A row that does not fit is refused for good, so that its job can close.
pub(crate) async fn full_rows_of_500_texts(database: &Database) {
    let dataset = texts(MOST);
    let worker = Worker::new(database, dataset).await;
    let small = filled(&worker.dataset, 1, 10, TWENTY);
    worker.applies(1, vec![small], counts(1, 0, 0, 0)).await;
    let full = vec![filled(&worker.dataset, 2, MOST, TWENTY)];
    let applied = worker.try_apply(2, full).await;
    if check_row_size(&worker.dataset, worker.store.kind()).is_ok() {
        assert_eq!(applied.unwrap(), counts(1, 0, 0, 0));
    } else {
        let error = applied.unwrap_err();
        assert!(matches!(error, StoreError::TooWide { .. }), "{error}");
        assert!(error.needs_other_definition() && !error.is_retryable());
        assert_eq!(worker.read().await.len(), 1);
    }
    worker.drop_table().await;
}

/// Each text of a key has the length that records may have.
pub(crate) async fn keys_of_eight_texts(database: &Database) {
    const KEY: usize = 8;
    let field = |n| format!("{{ name = \"f{n}\", type = \"text\" }}, ");
    let fields: String = (0..KEY).map(field).collect();
    let names: Vec<String> = (0..KEY).map(|n| format!("\"f{n}\"")).collect();
    let definition = format!("key = [{}]\nfields = [{fields}]\n", names.join(", "));
    let worker = Worker::of(database, &definition).await;
    let long = "k".repeat(landfall_domain::key_text_bytes(KEY));
    let rows: Vec<Row> = (0..KEY)
        .map(|place| {
            let values = (0..KEY).map(|n| text(if n == place { &long } else { "k" }));
            row(0, values.collect())
        })
        .collect();
    worker.applies(1, rows, counts(8, 0, 0, 0)).await;
    worker.drop_table().await;
}
