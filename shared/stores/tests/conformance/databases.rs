//! The databases of the suite, and how to connect to them.

use std::any::Any;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use landfall_domain::Dataset;
use landfall_stores::{
    ChangeReader, ChangeStore, ReadOptions, Reader, Store, StoreOptions, connect_changes,
    connect_mongodb, connect_sql, read_changes, read_mongodb, read_sql,
};
use mongodb::bson::{Document, doc};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;

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

    fn url(&self) -> String {
        match self {
            Self::Sqlite(directory) => format!("sqlite://{}", Self::file(directory).display()),
            Self::Postgres(url) | Self::Mysql(url) | Self::Mongodb(url) => url.clone(),
        }
    }

    /// Returns a store with its own pool, like another process.
    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        self.store_with(StoreOptions::default()).await
    }

    /// Returns a store of a stack.
    pub(crate) async fn store_of(&self, owner: &str) -> Arc<dyn Store> {
        self.connect(StoreOptions::default(), Some(owner)).await
    }

    pub(crate) async fn store_with(&self, options: StoreOptions) -> Arc<dyn Store> {
        self.connect(options, None).await
    }

    async fn connect(&self, options: StoreOptions, owner: Option<&str>) -> Arc<dyn Store> {
        let url = self.url();
        let store = if self.is_mongodb() {
            connect_mongodb(&url, options, owner).await
        } else {
            connect_sql(&url, options, owner).await
        };
        store.unwrap()
    }

    /// Returns the store of changes, with its own pool, like another process.
    pub(crate) async fn changes(&self, options: StoreOptions) -> Arc<dyn ChangeStore> {
        let url = self.url();
        let (mongodb, sql) = if self.is_mongodb() {
            (Some(url.as_str()), None)
        } else {
            (None, Some(url.as_str()))
        };
        connect_changes(mongodb, sql, options, None).await.unwrap()
    }

    /// Returns a reader of what the store of changes has recorded.
    pub(crate) async fn change_reader(&self) -> Arc<dyn ChangeReader> {
        let url = self.url();
        let (mongodb, sql) = if self.is_mongodb() {
            (Some(url.as_str()), None)
        } else {
            (None, Some(url.as_str()))
        };
        let options = ReadOptions {
            timeout: Duration::from_mins(10),
            ..ReadOptions::default()
        };
        read_changes(mongodb, sql, options).await.unwrap()
    }

    /// Returns a reader with its own pool, like another process.
    pub(crate) async fn reader(&self) -> Arc<dyn Reader> {
        self.reader_with(ReadOptions {
            // The tests wait longer than a client does.
            timeout: Duration::from_mins(10),
            ..ReadOptions::default()
        })
        .await
    }

    pub(crate) async fn reader_with(&self, options: ReadOptions) -> Arc<dyn Reader> {
        let url = self.url();
        let reader = if self.is_mongodb() {
            read_mongodb(&url, options).await
        } else {
            read_sql(&url, options).await
        };
        reader.unwrap()
    }

    /// Returns a reader that connects as another user; for PostgreSQL.
    pub(crate) async fn reader_as(&self, user: &str, password: &str) -> Arc<dyn Reader> {
        let url = self.url();
        let (_, server) = url.split_once('@').unwrap();
        let url = format!("postgres://{user}:{password}@{server}");
        read_sql(&url, ReadOptions::default()).await.unwrap()
    }

    /// Runs statements like a person at a console, and returns the connection, which keeps their locks; not for
    /// `MongoDB`.
    pub(crate) async fn execute(&self, statements: &str) -> Box<dyn Any> {
        let raw = sqlx::raw_sql(AssertSqlSafe(statements));
        match self {
            Self::Sqlite(directory) => {
                let connection = rusqlite::Connection::open(Self::file(directory)).unwrap();
                connection.execute_batch(statements).unwrap();
                Box::new(connection)
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                connection.execute(raw).await.unwrap();
                Box::new(connection)
            }
            Self::Mysql(url) => {
                let mut connection = MySqlConnection::connect(url).await.unwrap();
                connection.execute(raw).await.unwrap();
                Box::new(connection)
            }
            Self::Mongodb(_) => panic!("MongoDB has no SQL"),
        }
    }

    /// Returns the booleans that a query selects; for PostgreSQL.
    pub(crate) async fn booleans(&self, query: &str) -> Vec<bool> {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        let found = sqlx::query_scalar(AssertSqlSafe(query));
        found.fetch_all(&mut connection).await.unwrap()
    }

    /// Removes what a test has created.
    pub(crate) async fn drop_table(&self, dataset: &Dataset) {
        let name = &dataset.name;
        match self {
            Self::Mongodb(uri) => {
                let [rows, tombstones, registry] = collections(uri, dataset).await;
                rows.drop().await.unwrap();
                keys_of_destinations(uri, dataset)
                    .await
                    .drop()
                    .await
                    .unwrap();
                tombstones.drop().await.unwrap();
                registry.delete_one(doc! { "_id": name }).await.unwrap();
            }
            Self::Postgres(_) | Self::Mysql(_) => {
                let mut more = vec![
                    format!("_deleted_{name}"),
                    format!("_changed_{name}"),
                    format!("_keys_{name}"),
                    format!("_search_{name}"),
                    format!("_words_{name}"),
                ];
                more.extend(dataset.totals.iter().map(|total| total.name.clone()));
                let drop = format!(
                    "DROP TABLE {name}; DROP TABLE IF EXISTS {more}; \
                     DELETE FROM _landfall WHERE dataset = '{name}'",
                    more = more.join(", ")
                );
                self.execute(&drop).await;
            }
            Self::Sqlite(_) => drop(self.execute(&format!("DROP TABLE {name}")).await),
        }
    }
}

/// Returns the collections of a dataset's rows, of its tombstones, and of the registry.
pub(crate) async fn collections(
    uri: &str,
    dataset: &Dataset,
) -> [mongodb::Collection<Document>; 3] {
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    let database = client
        .default_database()
        .unwrap_or_else(|| client.database("landfall"));
    let tombstones = format!("_deleted_{}", dataset.name);
    [&dataset.name, &tombstones, "_landfall"].map(|name| database.collection(name))
}

/// Returns the collection of the keys that destinations of a dataset follow.
async fn keys_of_destinations(uri: &str, dataset: &Dataset) -> mongodb::Collection<Document> {
    let [rows, ..] = collections(uri, dataset).await;
    let database = rows.client().database(&rows.namespace().db);
    database.collection(&format!("_keys_{}", dataset.name))
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
    defined(&name, &definition(&name))
}

/// Returns another definition of the same dataset.
pub(crate) fn redefined(dataset: &Dataset, definition: &str) -> Dataset {
    defined(&dataset.name, definition)
}

fn defined(name: &str, definition: &str) -> Dataset {
    Dataset::from_toml("test.toml", &format!("name = \"{name}\"\n{definition}")).unwrap()
}
