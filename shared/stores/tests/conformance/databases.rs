//! The databases of the suite, and how a plain client of each reads a table.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::TryStreamExt;
use landfall_domain::{Dataset, Field, FieldType, Value};
use landfall_stores::{Store, StoreOptions, connect_mongodb, connect_sql};
use mongodb::bson::{Bson, Document, doc};
use sqlx::mysql::MySqlPool;
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Row as _};
use tempfile::TempDir;

/// A row as a plain client reads it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) values: Vec<Value>,
    pub(crate) extra: Option<String>,
    pub(crate) version: Vec<u8>,
}

/// A database of the suite.
pub(crate) enum Database {
    Sqlite(TempDir),
    Postgres(String),
    Mysql(String),
    Mongodb(String),
}

/// The variables with the addresses of the databases that run as servers.
const VARIABLES: [&str; 3] = [
    "LANDFALL_TEST_MONGODB_URI",
    "LANDFALL_TEST_MYSQL_URL",
    "LANDFALL_TEST_POSTGRES_URL",
];

/// Returns the address of a database, or nothing if its tests are skipped. Fails under `cargo verify` and
/// `cargo conformance`, which start all databases.
fn variable(name: &str) -> Option<String> {
    let address = std::env::var(name).ok();
    assert!(
        address.is_some() || std::env::var_os("LANDFALL_REQUIRE_DATABASES").is_none(),
        "{name} is not set"
    );
    address
}

/// Reports which databases are skipped.
#[test]
fn skipped_databases() {
    let skipped: Vec<_> = VARIABLES
        .into_iter()
        .filter(|name| variable(name).is_none())
        .collect();
    if !skipped.is_empty() {
        let line = format!(
            "SKIPPED: the conformance tests that need {}; `cargo conformance` starts these databases\n",
            skipped.join(", ")
        );
        // Not with eprintln!, whose output the test harness hides.
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

impl Database {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "a server may be missing, unlike a file"
    )]
    pub(crate) fn sqlite() -> Option<Self> {
        Some(Self::Sqlite(TempDir::new().unwrap()))
    }

    pub(crate) fn postgres() -> Option<Self> {
        variable("LANDFALL_TEST_POSTGRES_URL").map(Self::Postgres)
    }

    pub(crate) fn mysql() -> Option<Self> {
        variable("LANDFALL_TEST_MYSQL_URL").map(Self::Mysql)
    }

    pub(crate) fn mongodb() -> Option<Self> {
        variable("LANDFALL_TEST_MONGODB_URI").map(Self::Mongodb)
    }

    pub(crate) fn is_mongodb(&self) -> bool {
        matches!(self, Self::Mongodb(_))
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    pub(crate) fn file(directory: &TempDir) -> PathBuf {
        directory.path().join("landfall.db")
    }

    /// Returns a store with its own pool, like another process.
    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        let options = StoreOptions::default();
        let store = match self {
            Self::Sqlite(directory) => {
                let url = format!("sqlite://{}", Self::file(directory).display());
                connect_sql(&url, options).await
            }
            Self::Postgres(url) | Self::Mysql(url) => connect_sql(url, options).await,
            Self::Mongodb(uri) => connect_mongodb(uri, options).await,
        };
        store.unwrap()
    }

    /// Returns all rows of the dataset, in the database's own order.
    pub(crate) async fn read(&self, dataset: &Dataset) -> Vec<Found> {
        match self {
            Self::Sqlite(directory) => read_sqlite(&Self::file(directory), dataset),
            Self::Postgres(url) => read_postgres(url, dataset).await,
            Self::Mysql(url) => read_mysql(url, dataset).await,
            Self::Mongodb(uri) => read_mongodb(uri, dataset).await,
        }
    }

    /// Runs a statement like a person at a console; not for `MongoDB`.
    pub(crate) async fn execute(&self, statement: &str) {
        match self {
            Self::Sqlite(directory) => {
                let connection = rusqlite::Connection::open(Self::file(directory)).unwrap();
                connection.execute_batch(statement).unwrap();
            }
            Self::Postgres(url) => {
                let pool = PgPool::connect(url).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(statement))
                    .execute(&pool)
                    .await
                    .unwrap();
            }
            Self::Mysql(url) => {
                let pool = MySqlPool::connect(url).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(statement))
                    .execute(&pool)
                    .await
                    .unwrap();
            }
            Self::Mongodb(_) => panic!("MongoDB has no SQL"),
        }
    }

    /// Removes what a test has created.
    pub(crate) async fn drop_table(&self, dataset: &Dataset) {
        match self {
            Self::Mongodb(uri) => {
                let rows = collection(uri, dataset).await;
                let database = rows.client().database(&rows.namespace().db);
                rows.drop().await.unwrap();
                let tombstones = format!("_deleted_{}", dataset.name);
                let tombstones = database.collection::<Document>(&tombstones);
                tombstones.drop().await.unwrap();
                let registry = database.collection::<Document>("_landfall");
                let registered = doc! { "_id": &dataset.name };
                registry.delete_one(registered).await.unwrap();
            }
            Self::Postgres(_) | Self::Mysql(_) => {
                let name = &dataset.name;
                let totals = dataset
                    .totals
                    .iter()
                    .map(|total| format!(", {}", total.name));
                let totals: String = totals.collect();
                let drop = format!(
                    "DROP TABLE {name}; DROP TABLE IF EXISTS _deleted_{name}{totals}; \
                     DELETE FROM _landfall WHERE dataset = '{name}'"
                );
                self.execute(&drop).await;
            }
            Self::Sqlite(_) => self.execute(&format!("DROP TABLE {}", dataset.name)).await,
        }
    }
}

/// Returns a definition whose name no other test uses, in this run or a concurrent one.
pub(crate) fn dataset(definition: &str) -> Dataset {
    dataset_of(|_| definition.to_owned())
}

/// Does the same for a definition that depends on the name.
pub(crate) fn dataset_of(definition: impl FnOnce(&str) -> String) -> Dataset {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("t_{}_{count}", std::process::id());
    let definition = definition(&name);
    Dataset::from_toml("test.toml", &format!("name = \"{name}\"\n{definition}")).unwrap()
}

/// Parses the text of a value; null if there is none.
fn parsed(field: &Field, text: Option<String>) -> Value {
    text.map_or(Value::Null, |text| field.parse(&text).unwrap())
}

fn read_sqlite(file: &std::path::Path, dataset: &Dataset) -> Vec<Found> {
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut statement = connection
        .prepare(&format!("SELECT * FROM {}", dataset.name))
        .unwrap();
    let rows = statement.query_map([], |row| {
        let value = |field: &Field| {
            let name = field.name.as_str();
            Ok(match field.kind {
                FieldType::Integer => row
                    .get::<_, Option<i64>>(name)?
                    .map_or(Value::Null, Value::Integer),
                FieldType::Float => row
                    .get::<_, Option<f64>>(name)?
                    .map_or(Value::Null, Value::Float),
                FieldType::Boolean => row
                    .get::<_, Option<bool>>(name)?
                    .map_or(Value::Null, Value::Boolean),
                _ => parsed(field, row.get(name)?),
            })
        };
        Ok(Found {
            values: dataset
                .fields
                .iter()
                .map(value)
                .collect::<rusqlite::Result<_>>()?,
            extra: row.get("_extra").unwrap_or_default(),
            version: row.get("_version")?,
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

async fn read_postgres(url: &str, dataset: &Dataset) -> Vec<Found> {
    let pool = PgPool::connect(url).await.unwrap();
    let columns: Vec<String> = dataset
        .fields
        .iter()
        .map(|field| {
            let name = format!("\"{}\"", field.name);
            match field.kind {
                FieldType::Decimal | FieldType::Date | FieldType::Json => format!("{name}::text"),
                FieldType::Timestamp => {
                    format!(
                        "to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
                    )
                }
                _ => name,
            }
        })
        .collect();
    let columns = columns.join(", ");
    let query = format!(
        "SELECT {columns}, _version, to_jsonb(t) ->> '_extra' FROM {} t",
        dataset.name
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .fetch_all(&pool)
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            let value = |(index, field): (usize, &Field)| match field.kind {
                FieldType::Integer => row
                    .get::<Option<i64>, _>(index)
                    .map_or(Value::Null, Value::Integer),
                FieldType::Float => row
                    .get::<Option<f64>, _>(index)
                    .map_or(Value::Null, Value::Float),
                FieldType::Boolean => row
                    .get::<Option<bool>, _>(index)
                    .map_or(Value::Null, Value::Boolean),
                _ => parsed(field, row.get(index)),
            };
            Found {
                values: dataset.fields.iter().enumerate().map(value).collect(),
                version: row.get(dataset.fields.len()),
                extra: row.get(dataset.fields.len() + 1),
            }
        })
        .collect()
}

async fn read_mysql(url: &str, dataset: &Dataset) -> Vec<Found> {
    let pool = MySqlPool::connect(url).await.unwrap();
    let columns: Vec<String> = dataset
        .fields
        .iter()
        .map(|field| {
            let name = format!("`{}`", field.name);
            match field.kind {
                FieldType::Text => format!("CONVERT({name} USING utf8mb4)"),
                FieldType::Decimal => {
                    format!("TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {name}))")
                }
                FieldType::Date => format!("DATE_FORMAT({name}, '%Y-%m-%d')"),
                FieldType::Timestamp => format!("DATE_FORMAT({name}, '%Y-%m-%dT%H:%i:%s.%fZ')"),
                _ => name,
            }
        })
        .collect();
    let columns = columns.join(", ");
    let query = format!("SELECT {columns}, t.* FROM {} t", dataset.name);
    let rows = sqlx::query(AssertSqlSafe(query))
        .fetch_all(&pool)
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            let value = |(index, field): (usize, &Field)| match field.kind {
                FieldType::Integer => row
                    .get::<Option<i64>, _>(index)
                    .map_or(Value::Null, Value::Integer),
                FieldType::Float => row
                    .get::<Option<f64>, _>(index)
                    .map_or(Value::Null, Value::Float),
                FieldType::Boolean => row
                    .get::<Option<bool>, _>(index)
                    .map_or(Value::Null, Value::Boolean),
                _ => parsed(field, row.get(index)),
            };
            Found {
                values: dataset.fields.iter().enumerate().map(value).collect(),
                version: row.get("_version"),
                extra: row.try_get("_extra").unwrap_or_default(),
            }
        })
        .collect()
}

pub(crate) async fn collection(uri: &str, dataset: &Dataset) -> mongodb::Collection<Document> {
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    let database = client
        .default_database()
        .unwrap_or_else(|| client.database("landfall"));
    database.collection(&dataset.name)
}

async fn read_mongodb(uri: &str, dataset: &Dataset) -> Vec<Found> {
    let documents = collection(uri, dataset).await.find(doc! {}).await.unwrap();
    let documents: Vec<Document> = documents.try_collect().await.unwrap();
    let version = |document: &Document| document.get_binary_generic("_version").unwrap().clone();
    documents
        .iter()
        .map(|document| Found {
            values: dataset
                .fields
                .iter()
                .map(|field| from_bson(field, document.get(&field.name).unwrap()))
                .collect(),
            extra: document.get_str("_extra").ok().map(str::to_owned),
            version: version(document),
        })
        .collect()
}

fn from_bson(field: &Field, bson: &Bson) -> Value {
    match (field.kind, bson) {
        (_, Bson::Null) => Value::Null,
        (FieldType::Text, Bson::String(text)) => Value::Text(text.as_str().into()),
        (FieldType::Integer, Bson::Int64(number)) => Value::Integer(*number),
        (FieldType::Float, Bson::Double(number)) => Value::Float(*number),
        (FieldType::Boolean, Bson::Boolean(boolean)) => Value::Boolean(*boolean),
        (FieldType::Decimal, Bson::Decimal128(number)) => parsed(field, Some(number.to_string())),
        (FieldType::Date, Bson::DateTime(date)) => {
            let text = date.try_to_rfc3339_string().unwrap();
            assert!(text.ends_with("T00:00:00Z"), "{text}");
            parsed(field, Some(text[..10].to_owned()))
        }
        (FieldType::Timestamp, Bson::DateTime(time)) => {
            parsed(field, Some(time.try_to_rfc3339_string().unwrap()))
        }
        (FieldType::Json, bson) => parsed(field, Some(serde_json::to_string(bson).unwrap())),
        (kind, bson) => panic!("{} as {bson:?}", kind.as_str()),
    }
}
