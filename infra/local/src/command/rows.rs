//! Shows rows, read from the databases with ordinary clients.

use anyhow::{Context, Result, bail};
use comfy_table::{ContentArrangement, Table, presets};
use landfall_domain::{Dataset, StoreKind};
use landfall_local::Stack;
use mongodb::bson::{Document, doc};
use sqlx::{ConnectOptions, Row};

const ROWS: i64 = 3;
/// Limits on what is shown: columns of a table, characters of a cell and of a document.
const COLUMNS: usize = 6;
const CELL: usize = 60;
const DOCUMENT: usize = 200;

/// Returns the kind of SQL database that a URL points to.
pub(crate) fn sql_kind(url: &str) -> Result<StoreKind> {
    match url.split(':').next() {
        Some("postgres" | "postgresql") => Ok(StoreKind::Postgres),
        Some("mysql" | "mariadb") => Ok(StoreKind::Mysql),
        Some("sqlite") => Ok(StoreKind::Sqlite),
        _ => {
            bail!("the URL of the SQL database must start with postgres://, mysql:// or sqlite://")
        }
    }
}

/// Returns the path in an `sqlite://` URL.
pub(crate) fn sqlite_path(url: &str) -> &str {
    let rest = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = rest.strip_prefix("//").unwrap_or(rest);
    path.split('?').next().unwrap_or(path)
}

/// Prints a few rows of a dataset's collection and table.
pub(crate) async fn show(stack: &Stack, dataset: &Dataset) -> Result<()> {
    eprintln!("\n{} in MongoDB:", dataset.name);
    for document in documents(stack.mongodb_uri(), dataset).await? {
        eprintln!("  {}", truncate(&document.to_string(), DOCUMENT));
    }
    let kind = sql_kind(stack.sql_url())?;
    eprintln!("{} in {kind}:", dataset.name);
    let fields = dataset.fields.iter().take(COLUMNS);
    let columns: Vec<_> = fields.map(|field| field.name.as_str()).collect();
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(&columns);
    for row in sql_rows(kind, stack.sql_url(), dataset, &columns).await? {
        table.add_row(row.iter().map(|cell| {
            cell.as_deref().map_or_else(
                || "NULL".to_owned(),
                |text| truncate(&text.replace('\n', "⏎"), CELL),
            )
        }));
    }
    eprintln!("{table}");
    Ok(())
}

async fn documents(uri: &str, dataset: &Dataset) -> Result<Vec<Document>> {
    let client = mongodb::Client::with_uri_str(uri)
        .await
        .context("cannot connect to MongoDB")?;
    let database = client
        .default_database()
        .unwrap_or_else(|| client.database("landfall"));
    let mut cursor = database
        .collection::<Document>(&dataset.name)
        .find(doc! {})
        .limit(ROWS)
        .await
        .context("cannot read from MongoDB")?;
    let mut found = Vec::new();
    while cursor.advance().await.context("cannot read from MongoDB")? {
        found.push(cursor.deserialize_current()?);
    }
    Ok(found)
}

type Cells = Vec<Option<String>>;

async fn sql_rows(
    kind: StoreKind,
    url: &str,
    dataset: &Dataset,
    columns: &[&str],
) -> Result<Vec<Cells>> {
    let query = query(kind, &dataset.name, columns);
    let count = columns.len();
    match kind {
        StoreKind::Postgres => {
            let options: sqlx::postgres::PgConnectOptions = url.parse()?;
            let mut connection = options
                .connect()
                .await
                .context("cannot connect to PostgreSQL")?;
            let rows = sqlx::query(sqlx::AssertSqlSafe(query))
                .fetch_all(&mut connection)
                .await
                .context("cannot read from PostgreSQL")?;
            rows.iter()
                .map(|row| (0..count).map(|index| Ok(row.try_get(index)?)).collect())
                .collect()
        }
        StoreKind::Mysql => {
            let url = url.replacen("mariadb:", "mysql:", 1);
            let options: sqlx::mysql::MySqlConnectOptions = url.parse()?;
            let mut connection = options.connect().await.context("cannot connect to MySQL")?;
            let rows = sqlx::query(sqlx::AssertSqlSafe(query))
                .fetch_all(&mut connection)
                .await
                .context("cannot read from MySQL")?;
            rows.iter()
                .map(|row| (0..count).map(|index| Ok(row.try_get(index)?)).collect())
                .collect()
        }
        StoreKind::Sqlite => {
            let connection = rusqlite::Connection::open(sqlite_path(url))?;
            let mut statement = connection.prepare(&query)?;
            let rows =
                statement.query_map([], |row| (0..count).map(|index| row.get(index)).collect())?;
            rows.collect::<Result<_, _>>()
                .context("cannot read from SQLite")
        }
        StoreKind::Mongodb => bail!("MongoDB is not an SQL database"),
    }
}

/// Returns a query for the first rows, with all cells as text. Dataset names are safe to use in quotes.
fn query(kind: StoreKind, table: &str, columns: &[&str]) -> String {
    let (quote, text) = match kind {
        StoreKind::Mysql => ('`', "CHAR"),
        _ => ('"', "TEXT"),
    };
    let columns: Vec<_> = columns
        .iter()
        .map(|name| format!("CAST({quote}{name}{quote} AS {text})"))
        .collect();
    format!(
        "SELECT {} FROM {quote}{table}{quote} LIMIT {ROWS}",
        columns.join(", ")
    )
}

fn truncate(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_gets_its_own_dialect() {
        assert_eq!(
            query(StoreKind::Mysql, "orders", &["id", "note"]),
            "SELECT CAST(`id` AS CHAR), CAST(`note` AS CHAR) FROM `orders` LIMIT 3"
        );
        assert_eq!(
            query(StoreKind::Sqlite, "orders", &["id"]),
            "SELECT CAST(\"id\" AS TEXT) FROM \"orders\" LIMIT 3"
        );
    }

    #[test]
    fn the_path_of_an_sqlite_url_has_no_scheme_and_no_options() {
        assert_eq!(sqlite_path("sqlite:///a/b.db?mode=rw"), "/a/b.db");
        assert_eq!(sqlite_path("sqlite:/a/b.db"), "/a/b.db");
        assert!(sql_kind("oracle://x").is_err());
    }

    #[test]
    fn text_is_truncated_between_characters() {
        assert_eq!(truncate("äöü", 2), "äö…");
        assert_eq!(truncate("äöü", 3), "äöü");
    }
}
