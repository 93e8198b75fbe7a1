//! Readers of the databases, and what tests of reading need of these.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use landfall_domain::Dataset;
use landfall_stores::{ReadOptions, Reader, read_mongodb, read_sql};
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::databases::{Database, collection};

impl Database {
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
        let reader = match self {
            Self::Sqlite(directory) => {
                let url = format!("sqlite://{}", Self::file(directory).display());
                read_sql(&url, options).await
            }
            Self::Postgres(url) | Self::Mysql(url) => read_sql(url, options).await,
            Self::Mongodb(uri) => read_mongodb(uri, options).await,
        };
        reader.unwrap()
    }

    /// Locks a table against readers until the result is dropped.
    pub(crate) async fn lock_table(&self, dataset: &Dataset) -> Box<dyn Any> {
        let name = &dataset.name;
        match self {
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let lock = format!("BEGIN; LOCK TABLE {name}");
                connection
                    .execute(sqlx::raw_sql(AssertSqlSafe(lock)))
                    .await
                    .unwrap();
                Box::new(connection)
            }
            Self::Mysql(url) => {
                let mut connection = MySqlConnection::connect(url).await.unwrap();
                let lock = format!("LOCK TABLES {name} WRITE");
                connection
                    .execute(sqlx::raw_sql(AssertSqlSafe(lock)))
                    .await
                    .unwrap();
                Box::new(connection)
            }
            Self::Sqlite(_) | Self::Mongodb(_) => panic!("it has no such lock"),
        }
    }

    /// Returns the number of indexes of the dataset's table.
    pub(crate) async fn indexes(&self, dataset: &Dataset) -> usize {
        let name = &dataset.name;
        let count = match self {
            Self::Sqlite(directory) => {
                let connection = rusqlite::Connection::open(Self::file(directory)).unwrap();
                let count = "SELECT count(*) FROM pragma_index_list(?)";
                connection
                    .query_row(count, [name], |row| row.get(0))
                    .unwrap()
            }
            Self::Postgres(url) => {
                let pool = PgPool::connect(url).await.unwrap();
                sqlx::query_scalar("SELECT count(*) FROM pg_indexes WHERE tablename = $1")
                    .bind(name)
                    .fetch_one(&pool)
                    .await
                    .unwrap()
            }
            Self::Mysql(url) => {
                let pool = MySqlPool::connect(url).await.unwrap();
                let count = "SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics \
                     WHERE table_schema = DATABASE() AND table_name = ?";
                sqlx::query_scalar(count)
                    .bind(name)
                    .fetch_one(&pool)
                    .await
                    .unwrap()
            }
            Self::Mongodb(uri) => {
                let names = collection(uri, dataset).await.list_index_names().await;
                i64::try_from(names.unwrap().len()).unwrap()
            }
        };
        usize::try_from(count).unwrap()
    }
}
