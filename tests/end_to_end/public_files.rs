//! Public files from the npm package vega-datasets.

use std::path::Path;

use landfall_domain::{CompletionEvent, JobState, RejectCode};
use landfall_local::{Sql, Stack};
use mongodb::bson::Document;

use crate::support::{documents, fetch, rejects, start_with};

pub const PACKAGE: &str = "https://registry.npmjs.org/vega-datasets/-/vega-datasets-3.2.1.tgz";
pub const SHA512: &str = "9534b0640eb2abaa925366199bee9ba882e222f4cf3f19f88ad8abee33c61661c874fbd47d0f690b3cdcae4958cb030980b51b68879291941d88977ac01c4fba";

const FILES: [&str; 5] = [
    "movies.json",
    "stocks.csv",
    "unemployment.tsv",
    "earthquakes.json",
    "zipcodes.csv",
];

async fn land(stack: &Stack, directory: &Path, file: &str) -> (CompletionEvent, Vec<Document>) {
    let dataset = file.split('.').next().unwrap();
    let body = std::fs::read(directory.join(file)).unwrap();
    let event = crate::support::land(stack, &format!("{dataset}/{file}"), body).await;
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    for counts in event.counts.stores.values() {
        assert_eq!(event.counts.rows, event.counts.rejected + counts.total());
    }
    (event, documents(stack.mongodb_uri(), dataset).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn public_files_are_ingested_and_their_rejects_explained() {
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("end_to_end/datasets");
    let stack = start_with(
        Sql::Postgres,
        &[("ChunkBytes", "100000")],
        vec![definitions],
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    fetch(&stack, PACKAGE, SHA512, directory.path(), &FILES);

    // Of 3,201 films, one has no title and is rejected. Nine titles are numbers, which are valid.
    let (event, movies) = land(&stack, directory.path(), "movies.json").await;
    assert_eq!((event.counts.rows, event.counts.rejected), (3_201, 1));
    let rejected = rejects(&stack, &event).await;
    assert_eq!(rejected[0].code, RejectCode::Required);
    assert_eq!(rejected[0].column.as_deref(), Some("Title"));
    assert!(rejected[0].raw.contains("\"Title\": null"));
    assert_eq!(movies.len(), 3_200);
    assert!(
        movies
            .iter()
            .any(|movie| movie.get_str("title").is_ok_and(|title| title == "1776"))
    );
    // Properties that belong to no field are kept.
    assert!(movies.iter().all(|movie| movie.contains_key("_extra")));

    let (event, stocks) = land(&stack, directory.path(), "stocks.csv").await;
    assert_eq!((event.counts.rows, event.counts.rejected), (560, 0));
    assert_eq!(stocks.len(), 560);

    let (event, rates) = land(&stack, directory.path(), "unemployment.tsv").await;
    assert_eq!((event.counts.rows, event.counts.rejected), (3_218, 0));
    assert_eq!(rates.len(), 3_218);

    let (event, earthquakes) = land(&stack, directory.path(), "earthquakes.json").await;
    assert_eq!((event.counts.rows, event.counts.rejected), (1_707, 0));
    let place = |quake: &Document| {
        quake
            .get_document("properties")
            .unwrap()
            .get_str("place")
            .map(str::to_owned)
    };
    assert!(
        earthquakes
            .iter()
            .any(|quake| place(quake).is_ok_and(|place| place == "4km W of Castaic, CA"))
    );

    let (event, codes) = land(&stack, directory.path(), "zipcodes.csv").await;
    assert_eq!((event.counts.rows, event.counts.rejected), (42_049, 0));
    assert!(
        codes
            .iter()
            .any(|code| code.get_str("_id").is_ok_and(|code| code == "00501"))
    );

    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(stack.sql_url())
        .await
        .unwrap();
    let sum: String = sqlx::query_scalar("SELECT sum(price)::text FROM stocks")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(sum, sum_of_prices(&directory.path().join("stocks.csv")));
}

/// Sums the prices in hundredths, without the decimal type of the project.
fn sum_of_prices(path: &Path) -> String {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let hundredths: i64 = reader
        .records()
        .map(|record| {
            let price = record.unwrap()[2].to_owned();
            let (whole, fraction) = price.split_once('.').unwrap_or((&price, ""));
            whole.parse::<i64>().unwrap() * 100 + format!("{fraction:0<2}").parse::<i64>().unwrap()
        })
        .sum();
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
