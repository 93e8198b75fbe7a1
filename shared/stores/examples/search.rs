//! Search in a table of texts, beside scans and, in PostgreSQL, beside its own index of words.
//!
//! `cargo run --release -p landfall-stores --example search -- FILE` with one text per line, and the database in
//! `LANDFALL_SEARCH_URL`. Loads the texts without and with search. Then compares 500 random queries with a scan in
//! Rust, and prints how long pages of 20 rows take, in milliseconds: forty words that are in fewer than one text of a
//! hundred, in turn, one query after the other.

#![expect(clippy::unwrap_used, reason = "a measurement, not a program")]
#![allow(clippy::print_stdout, reason = "its output")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use landfall_domain::{
    Dataset, JobId, ObjectOrder, Row, RowQuery, Search, Start, Value, searched_words,
};
use landfall_stores::{ReadOptions, Reader, StoreOptions, connect_sql, read_sql};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, PgConnection};

const PLAIN: &str = r#"
name = "texts_plain"
key = ["id"]
unknown_columns = "drop"
fields = [{ name = "id", type = "integer" }, { name = "body", type = "text" }]
"#;
const CHUNK: usize = 20_000;
const QUERIES: usize = 500;
const WORDS: usize = 40;
const ROUNDS: usize = 20;

fn searched() -> Dataset {
    let text = PLAIN.replace("texts_plain", "texts_searched");
    Dataset::from_toml("d.toml", &text.replace("key", "search = [\"body\"]\nkey")).unwrap()
}

/// Loads the texts, and returns how long that takes.
async fn load(url: &str, dataset: &Dataset, lines: &[String]) -> Duration {
    let store = connect_sql(url, StoreOptions::default(), None)
        .await
        .unwrap();
    store.prepare(dataset).await.unwrap();
    let started = Instant::now();
    for (number, chunk) in lines.chunks(CHUNK).enumerate() {
        let row = |(place, line): (usize, &String)| Row {
            offset: place as u64,
            deleted: false,
            values: vec![
                Value::Integer(i64::try_from(number * CHUNK + place).unwrap()),
                Value::Text(line.as_str().into()),
            ]
            .into(),
            extra: None,
            parts: None,
        };
        let rows: Arc<Vec<Row>> = Arc::new(chunk.iter().enumerate().map(row).collect());
        let job = JobId::for_object("inbox", "k", "1");
        let order = ObjectOrder::new(i64::try_from(number).unwrap() + 1, "", job).unwrap();
        store.apply(dataset, &order, &rows).await.unwrap();
    }
    started.elapsed()
}

fn query(text: &str, start: Start, limit: u32) -> RowQuery {
    RowQuery {
        filters: Vec::new(),
        search: Some(Search::parse(text).unwrap()),
        sort: None,
        by_relevance: false,
        start,
        limit,
    }
}

/// Returns the ids of all rows that a query finds.
async fn found(reader: &dyn Reader, dataset: &Dataset, text: &str) -> Vec<i64> {
    let (mut all, mut start) = (Vec::new(), Start::First);
    loop {
        let page = reader
            .rows(dataset, &query(text, start, 1000))
            .await
            .unwrap();
        all.extend(page.rows.iter().map(|row| match row.values[0] {
            Value::Integer(id) => id,
            _ => unreachable!("the key is an integer"),
        }));
        match page.next {
            Some(next) => start = Start::After(next),
            None => return all,
        }
    }
}

fn part_of(text: &str, random: &mut StdRng) -> String {
    let chars: Vec<char> = text.chars().collect();
    let start = random.random_range(0..chars.len());
    let length = random.random_range(1..=12);
    chars[start..].iter().take(length).collect()
}

fn random_query(lines: &[String], random: &mut StdRng) -> String {
    let line = lines.choose(random).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let word = *words.choose(random).unwrap();
    match random.random_range(0..6) {
        0 => word.chars().take(40).collect(),
        1 => format!("{}*", part_of(word, random)),
        2 => format!(
            "\"{}\"",
            words
                .iter()
                .take(3)
                .flat_map(|word| word.chars().take(20).chain([' ']))
                .collect::<String>()
        ),
        3 => part_of(word, random),
        4 => part_of(line, random),
        _ => (*["🎉", "?!", "\"", "…", "*"].choose(random).unwrap()).to_owned(),
    }
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!("{name:<40} p50 {:8.2}  p99 {:8.2}", at(50), at(99));
}

#[tokio::main]
async fn main() {
    let path = std::env::args().nth(1).unwrap();
    let url = std::env::var("LANDFALL_SEARCH_URL").unwrap();
    let lines: Vec<String> = std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let (plain, dataset) = (Dataset::from_toml("d.toml", PLAIN).unwrap(), searched());
    for dataset in [&plain, &dataset] {
        let took = load(&url, dataset, &lines).await;
        println!(
            "{}: {} rows in {:.1} s",
            dataset.name,
            lines.len(),
            took.as_secs_f64()
        );
    }
    let options = ReadOptions {
        timeout: Duration::from_mins(1),
        ..ReadOptions::default()
    };
    let reader = read_sql(&url, options).await.unwrap();

    // Words in fewer than one text of a hundred, and whole words to other indexes, too.
    let words: Vec<String> = lines.iter().map(|line| searched_words(line)).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in words.iter().flat_map(|words| words.split_whitespace()) {
        if word.len() > 4 && word.chars().all(char::is_alphabetic) {
            *counts.entry(word).or_default() += 1;
        }
    }
    let mut random = StdRng::seed_from_u64(27);
    let is_rare = |count: &usize| (5..lines.len() / 200).contains(count);
    let rare: Vec<&str> = counts
        .iter()
        .filter(|(_, count)| is_rare(count))
        .map(|(word, _)| *word)
        .collect();
    let rare: Vec<&str> = rare.choose_multiple(&mut random, WORDS).copied().collect();

    // First, as the server is still busy with the load for a while.
    if url.starts_with("postgres") {
        beside_postgres(&url, &rare).await;
    } else if url.starts_with("mysql") {
        beside_mysql(&url, &rare).await;
    }
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        for word in &rare {
            let started = Instant::now();
            reader
                .rows(&dataset, &query(word, Start::First, 20))
                .await
                .unwrap();
            times.push(started.elapsed());
        }
    }
    print("search", times);

    let mut hits = 0;
    for number in 0..QUERIES {
        let text = random_query(&lines, &mut random);
        let search = Search::parse(&text).unwrap();
        let clauses = search.clauses().iter();
        let needles: Vec<String> = clauses.map(|clause| clause.needle().to_owned()).collect();
        let is_found = |words: &String| needles.iter().all(|needle| words.contains(needle));
        let expected = (0_i64..)
            .zip(&words)
            .filter(|(_, words)| !needles.is_empty() && is_found(words));
        let expected: Vec<i64> = expected.map(|(id, _)| id).collect();
        hits += expected.len();
        assert_eq!(
            found(&*reader, &dataset, &text).await,
            expected,
            "query {number}: {text:?}"
        );
    }
    println!("{QUERIES} queries find what a scan finds, {hits} rows");
}

/// Prints how long scans take, and the sizes of the tables.
async fn beside_mysql(url: &str, rare: &[&str]) {
    let mut connection = MySqlConnection::connect(url).await.unwrap();
    for (table, condition) in [
        ("texts_plain", "body LIKE CONCAT('%', ?, '%')"),
        ("texts_searched", "LOCATE(?, _search_body) > 0"),
    ] {
        let select = format!("SELECT id, body FROM {table} WHERE {condition} ORDER BY id LIMIT 21");
        let mut times = Vec::new();
        for word in rare {
            let started = Instant::now();
            let rows = sqlx::query(AssertSqlSafe(select.as_str())).bind(*word);
            rows.fetch_all(&mut connection).await.unwrap();
            times.push(started.elapsed());
        }
        print(condition, times);
    }
    let tables = [
        "texts_plain",
        "texts_searched",
        "_search_texts_searched",
        "_words_texts_searched",
    ];
    let analyze = format!("ANALYZE TABLE {}", tables.join(", "));
    let analyze = sqlx::raw_sql(AssertSqlSafe(analyze));
    analyze.fetch_all(&mut connection).await.unwrap();
    for table in tables {
        let size = "SELECT CAST(data_length / 1000000 AS SIGNED) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = ?";
        let size = sqlx::query_scalar(size).bind(table);
        let size: i64 = size.fetch_one(&mut connection).await.unwrap();
        println!("{table}: {size} MB");
    }
}

/// Prints how long a scan takes, and the server's own index of words.
async fn beside_postgres(url: &str, rare: &[&str]) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let index = "CREATE INDEX IF NOT EXISTS texts_plain_words ON texts_plain \
         USING gin (to_tsvector('simple', body)); ANALYZE texts_plain";
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(index)))
        .await
        .unwrap();
    for (name, condition, rounds) in [
        ("body ILIKE '%word%'", "body ILIKE '%' || $1 || '%'", 1),
        (
            "to_tsvector('simple', body) @@ 'word'",
            "to_tsvector('simple', body) @@ plainto_tsquery('simple', $1)",
            ROUNDS,
        ),
    ] {
        let select =
            format!("SELECT id, body FROM texts_plain WHERE {condition} ORDER BY id LIMIT 21");
        let mut times = Vec::new();
        for _ in 0..rounds {
            for word in rare {
                let started = Instant::now();
                let rows = sqlx::query(AssertSqlSafe(select.as_str())).bind(*word);
                rows.fetch_all(&mut connection).await.unwrap();
                times.push(started.elapsed());
            }
        }
        print(name, times);
    }
}
