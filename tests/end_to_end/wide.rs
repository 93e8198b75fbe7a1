//! Surveys with hundreds of text fields: rows that fit a page of the SQL database are stored, wider ones are reported.

use std::path::Path;

use landfall_domain::{DeadCode, JobState, ProblemCode};
use landfall_local::{Sql, Stack};
use sqlx::{Connection, MySqlConnection, PgConnection, Row};

use crate::failing::dead_letters;
use crate::support::{documents, land, start};

/// So small that each wide row is a chunk.
pub const CHUNK_BYTES: (&str, &str) = ("ChunkBytes", "4096");
/// Answers of a row that fits a page. All 499 do not fit.
const ANSWERS: usize = 250;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_too_wide_for_the_database_fails_its_job_at_once() {
    let stack = start(Sql::Mysql, &[]).await;
    wide_rows_are_reported_and_the_others_stored(&stack, "mysql", false).await;
}

/// Loads the files of case 07 on a stack with this SQL database. Each of their rows is a chunk, or each file.
pub async fn wide_rows_are_reported_and_the_others_stored(stack: &Stack, sql: &str, is_cut: bool) {
    let read = |name: &str| {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/07-wide-text-tables");
        std::fs::read_to_string(case.join(name)).unwrap()
    };
    for dataset in ["survey200", "survey500"] {
        let definition = read(&format!("{dataset}.toml"));
        stack.put_dataset(dataset, &definition).await.unwrap();
    }
    // Many fields with short answers.
    let narrow = land(stack, "survey200/a.csv", read("survey200.csv").into_bytes()).await;
    assert_eq!((narrow.state, narrow.problem), (JobState::Succeeded, None));
    let respondents = ["r0", "r1", "r2"];
    let answers = respondents.map(|name| (name.to_owned(), "agree".to_owned()));
    assert_eq!(in_sql(stack, "survey200", "q200").await, answers);
    assert_eq!(in_mongodb(stack, "survey200", "q200").await, answers);

    // The rows of the case among others with half of the answers.
    let case = read("survey500.csv");
    let (header, wide) = case.split_once('\n').unwrap();
    let columns = header.split(',').count();
    let fitting = |name: &str| {
        let answers = (1..=ANSWERS).map(|answer| format!("somewhat agree {answer:05}"));
        let mut cells: Vec<_> = [name.to_owned()].into_iter().chain(answers).collect();
        cells.resize(columns, String::new());
        format!("{}\n", cells.join(","))
    };
    let fits = ["h0", "h1", "h2", "h3"];
    let [first, second, third, last] = fits.map(fitting);
    let file = format!("{header}\n{first}{second}{wide}{third}{last}");
    let event = land(stack, "survey500/a.csv", file.clone().into_bytes()).await;
    let problem = event.problem.unwrap();
    let found = (event.state, problem.code);
    assert_eq!(found, (JobState::Failed, ProblemCode::SchemaMismatch));
    let reason = format!("{sql} cannot hold a row or table this wide");
    assert!(problem.message.contains(&reason), "{}", problem.message);

    let place = |(line, record): (u64, &str)| {
        let start = file.find(record).unwrap() as u64;
        (format!("line {line} (byte {start})"), start, record.len())
    };
    let places: Vec<_> = (4..).zip(wide.lines()).map(place).collect();
    let mut dead = event.dead_chunks.first;
    dead.sort_by_key(|chunk| chunk.ordinal);
    for chunk in &dead {
        assert_eq!(chunk.code, DeadCode::SchemaMismatch);
        assert!(chunk.reason.contains(&reason), "{}", chunk.reason);
    }
    if is_cut {
        assert_eq!((event.chunks, event.dead), (7, 3));
        for (chunk, (place, start, length)) in dead.iter().zip(&places) {
            assert!(chunk.reason.starts_with(place), "{}", chunk.reason);
            let end = start + *length as u64;
            assert_eq!((chunk.range.start, chunk.range.end), (*start, end));
        }
        assert_eq!(event.counts.rows, fits.len() as u64);
        for (store, counts) in &event.counts.stores {
            assert_eq!(counts.inserted, fits.len() as u64, "{store}");
        }
    } else {
        assert_eq!((event.chunks, event.dead), (1, 1));
        let places: Vec<_> = places.into_iter().map(|(place, ..)| place).collect();
        let places = places.join(", ");
        assert!(dead[0].reason.starts_with(&places), "{}", dead[0].reason);
    }
    assert_eq!(dead_letters(stack).await, "0");

    let column = format!("q{ANSWERS:03}");
    let answer = format!("somewhat agree {ANSWERS:05}");
    let expected = fits.map(|name| (name.to_owned(), answer.clone()));
    assert_eq!(in_sql(stack, "survey500", &column).await, expected);
    // It has room for the wide rows, too.
    let mut found = in_mongodb(stack, "survey500", &column).await;
    found.retain(|(name, _)| !respondents.contains(&name.as_str()));
    assert_eq!(found, expected);
}

/// Returns the respondents, and their answers to one question.
async fn in_sql(stack: &Stack, dataset: &str, column: &str) -> Vec<(String, String)> {
    let select = format!("SELECT respondent, {column} FROM {dataset} ORDER BY respondent");
    let select = sqlx::AssertSqlSafe(select);
    let url = stack.sql_url();
    if url.starts_with("mysql://") {
        let mut connection = MySqlConnection::connect(url).await.unwrap();
        let rows = sqlx::query(select).fetch_all(&mut connection).await;
        let rows = rows.unwrap().into_iter();
        return rows.map(|row| (row.get(0), row.get(1))).collect();
    }
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = sqlx::query(select).fetch_all(&mut connection).await;
    let rows = rows.unwrap().into_iter();
    rows.map(|row| (row.get(0), row.get(1))).collect()
}

async fn in_mongodb(stack: &Stack, dataset: &str, column: &str) -> Vec<(String, String)> {
    let found = documents(stack.mongodb_uri(), dataset).await;
    let text = |row: &mongodb::bson::Document, name| row.get_str(name).unwrap().to_owned();
    let mut rows: Vec<_> = found
        .iter()
        .map(|row| (text(row, "_id"), text(row, column)))
        .collect();
    rows.sort();
    rows
}
