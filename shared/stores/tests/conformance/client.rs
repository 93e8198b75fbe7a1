//! What a plain client reads: rows, totals and the number of indexes.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use landfall_domain::{Dataset, Field, FieldType, Measure, Total, Value};
use mongodb::bson::{Bson, Document, doc};
use rusqlite::types::ValueRef;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column as _, Connection as _, Executor as _, Row, TypeInfo as _};

use crate::databases::{Database, collections};

/// A row of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) values: Vec<Value>,
    pub(crate) extra: Option<String>,
    /// In hexadecimal.
    pub(crate) version: String,
}

/// Rows as values of columns.
pub(crate) type Table = Vec<Vec<Value>>;

/// What one transaction reads.
pub(crate) struct Snapshot {
    /// The rows: fields in the order of the dataset.
    pub(crate) rows: Table,
    /// Each of the totals: its groups' values of `by`, its columns, and `_rows`.
    pub(crate) totals: Vec<Table>,
}

/// A row as texts by column; bytes are in hexadecimal.
type Texts = BTreeMap<String, Option<String>>;

impl Database {
    /// Returns all rows of the dataset, in the database's own order.
    pub(crate) async fn read(&self, dataset: &Dataset) -> Vec<Found> {
        if let Self::Mongodb(uri) = self {
            return read_mongodb(uri, dataset).await;
        }
        let rows = self
            .select(&[format!("SELECT * FROM {}", dataset.name)])
            .await;
        let found = |row: &Texts| Found {
            values: values(&dataset.fields, row),
            extra: row.get("_extra").cloned().flatten(),
            version: row["_version"].as_deref().unwrap().replace("\\x", ""),
        };
        rows[0].iter().map(found).collect()
    }

    /// Reads the dataset's rows and totals in one transaction; not for `MongoDB`.
    pub(crate) async fn snapshot(&self, dataset: &Dataset) -> Snapshot {
        let mut tables = vec![(&dataset.name, dataset.fields.clone())];
        for total in &dataset.totals {
            tables.push((&total.name, columns(dataset, total)));
        }
        let queries = tables
            .iter()
            .map(|(name, _)| format!("SELECT * FROM {name}"));
        let found = self.select(&queries.collect::<Vec<_>>()).await;
        let mut found = found.iter().zip(&tables).map(|(rows, (_, fields))| {
            let rows = rows.iter().map(|row| values(fields, row));
            rows.collect()
        });
        Snapshot {
            rows: found.next().unwrap(),
            totals: found.collect(),
        }
    }

    /// Returns the number of indexes of the dataset's table.
    pub(crate) async fn indexes(&self, dataset: &Dataset) -> usize {
        let name = &dataset.name;
        let query = match self {
            Self::Sqlite(_) => format!("SELECT * FROM pragma_index_list('{name}')"),
            Self::Postgres(_) => format!("SELECT * FROM pg_indexes WHERE tablename = '{name}'"),
            Self::Mysql(_) => format!(
                "SELECT DISTINCT index_name FROM information_schema.statistics \
                 WHERE table_schema = DATABASE() AND table_name = '{name}'"
            ),
            Self::Mongodb(uri) => {
                let [rows, ..] = collections(uri, dataset).await;
                return rows.list_index_names().await.unwrap().len();
            }
        };
        self.select(&[query]).await[0].len()
    }

    /// Returns the number of tables or collections that exist for the changes of a dataset.
    pub(crate) async fn tables_of_changes(&self, dataset: &Dataset) -> usize {
        let names = ["_changed", "_keys"].map(|table| format!("{table}_{}", dataset.name));
        let list = format!("'{}', '{}'", names[0], names[1]);
        let query = match self {
            Self::Sqlite(_) => format!("SELECT name FROM sqlite_schema WHERE name IN ({list})"),
            Self::Postgres(_) => format!("SELECT relname FROM pg_class WHERE relname IN ({list})"),
            Self::Mysql(_) => format!(
                "SELECT table_name FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name IN ({list})"
            ),
            Self::Mongodb(uri) => {
                let [rows, ..] = collections(uri, dataset).await;
                let database = rows.client().database(&rows.namespace().db);
                let existing = database.list_collection_names().await.unwrap();
                return names.iter().filter(|name| existing.contains(name)).count();
            }
        };
        self.select(&[query]).await[0].len()
    }

    /// Returns the results of queries in one transaction.
    async fn select(&self, queries: &[String]) -> Vec<Vec<Texts>> {
        let mut all = Vec::new();
        match self {
            Self::Sqlite(directory) => {
                let mut connection = rusqlite::Connection::open(Self::file(directory)).unwrap();
                let timeout = std::time::Duration::from_secs(10);
                connection.busy_timeout(timeout).unwrap();
                let transaction = connection.transaction().unwrap();
                for query in queries {
                    let mut statement = transaction.prepare(query).unwrap();
                    let rows = statement.query_map([], of_sqlite).unwrap();
                    all.push(rows.map(Result::unwrap).collect());
                }
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                     SET LOCAL TIME ZONE 'UTC'";
                connection.execute(sqlx::raw_sql(begin)).await.unwrap();
                for query in queries {
                    let query = sqlx::raw_sql(AssertSqlSafe(query.as_str()));
                    let rows = connection.fetch_all(query).await.unwrap();
                    all.push(rows.iter().map(of_postgres).collect());
                }
            }
            Self::Mysql(url) => {
                let mut connection = MySqlConnection::connect(url).await.unwrap();
                let begin = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                     START TRANSACTION WITH CONSISTENT SNAPSHOT";
                connection.execute(sqlx::raw_sql(begin)).await.unwrap();
                for query in queries {
                    let query = sqlx::raw_sql(AssertSqlSafe(query.as_str()));
                    let rows = connection.fetch_all(query).await.unwrap();
                    all.push(rows.iter().map(of_mysql).collect());
                }
            }
            Self::Mongodb(_) => panic!("MongoDB has no SQL"),
        }
        all
    }
}

fn of_sqlite(row: &rusqlite::Row<'_>) -> rusqlite::Result<Texts> {
    let names = row.as_ref().column_names().enumerate();
    let text = |(index, name): (usize, &str)| {
        let text = match row.get_ref(index)? {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(number.to_string()),
            ValueRef::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            ValueRef::Blob(bytes) => Some(hex(bytes)),
        };
        Ok((name.to_owned(), text))
    };
    names.map(text).collect()
}

/// The server sends the results of unprepared statements as text.
fn of_postgres(row: &PgRow) -> Texts {
    let text = |name: &str| row.try_get_unchecked::<Option<String>, _>(name).unwrap();
    let names = row.columns().iter().map(sqlx::Column::name);
    names.map(|name| (name.to_owned(), text(name))).collect()
}

/// The server sends the results of unprepared statements as text.
fn of_mysql(row: &MySqlRow) -> Texts {
    let text = |column: &sqlx::mysql::MySqlColumn| {
        let name = column.name();
        let is_version = name.starts_with("_version");
        let text = if is_version || column.type_info().name() == "BINARY" {
            row.get::<Option<&[u8]>, _>(name).map(hex)
        } else {
            row.try_get_unchecked(name).unwrap()
        };
        (name.to_owned(), text)
    };
    row.columns().iter().map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.map(|digit| char::from_digit(digit.into(), 16));
    digits.map(Option::unwrap).collect()
}

/// Returns the columns of a table of totals.
fn columns(dataset: &Dataset, total: &Total) -> Vec<Field> {
    let kind = |name: &str| {
        let mut fields = dataset.fields.iter();
        fields.find(|field| field.name == name).unwrap().kind
    };
    let by = total.by.iter().map(|name| Field::new(name, kind(name)));
    let measures = total.columns.iter().map(|column| {
        let kind = match &column.measure {
            Measure::Count => FieldType::Integer,
            Measure::Sum(_) => FieldType::Decimal,
            Measure::Min(field) | Measure::Max(field) => kind(field),
        };
        Field::new(&column.name, kind)
    });
    let rows = Field::new("_rows", FieldType::Integer);
    by.chain(measures).chain([rows]).collect()
}

fn values(fields: &[Field], row: &Texts) -> Vec<Value> {
    let fields = fields.iter();
    fields
        .map(|field| value(field, row[&field.name].as_deref()))
        .collect()
}

fn value(field: &Field, text: Option<&str>) -> Value {
    let Some(text) = text else {
        return Value::Null;
    };
    let text = match field.kind {
        FieldType::Text => return Value::Text(text.into()),
        FieldType::Boolean => return Value::Boolean(["1", "t"].contains(&text)),
        // Databases may add zeros.
        FieldType::Decimal if text.contains('.') => {
            let text = text.trim_end_matches('0').trim_end_matches('.');
            text.to_owned()
        }
        // Of a server, in UTC.
        FieldType::Timestamp if text.contains(' ') => {
            let text = text.trim_end_matches("+00").replace(' ', "T");
            format!("{text}Z")
        }
        _ => text.to_owned(),
    };
    field.parse(&text).unwrap()
}

async fn read_mongodb(uri: &str, dataset: &Dataset) -> Vec<Found> {
    let [rows, ..] = collections(uri, dataset).await;
    let documents = rows.find(doc! {}).await.unwrap();
    let documents: Vec<Document> = documents.try_collect().await.unwrap();
    let found = |document: &Document| Found {
        values: dataset
            .fields
            .iter()
            .map(|field| from_bson(field, document.get(&field.name).unwrap()))
            .collect(),
        extra: document.get_str("_extra").ok().map(str::to_owned),
        version: hex(document.get_binary_generic("_version").unwrap()),
    };
    documents.iter().map(found).collect()
}

fn from_bson(field: &Field, bson: &Bson) -> Value {
    let parsed = |text: &str| field.parse(text).unwrap();
    match (field.kind, bson) {
        (_, Bson::Null) => Value::Null,
        (FieldType::Text, Bson::String(text)) => Value::Text(text.as_str().into()),
        (FieldType::Integer, Bson::Int64(number)) => Value::Integer(*number),
        (FieldType::Float, Bson::Double(number)) => Value::Float(*number),
        (FieldType::Boolean, Bson::Boolean(boolean)) => Value::Boolean(*boolean),
        (FieldType::Decimal, Bson::Decimal128(number)) => parsed(&number.to_string()),
        (FieldType::Date, Bson::DateTime(date)) => {
            let text = date.try_to_rfc3339_string().unwrap();
            assert!(text.ends_with("T00:00:00Z"), "{text}");
            parsed(&text[..10])
        }
        (FieldType::Timestamp, Bson::DateTime(time)) => {
            parsed(&time.try_to_rfc3339_string().unwrap())
        }
        (FieldType::Json, bson) => parsed(&serde_json::to_string(bson).unwrap()),
        (kind, bson) => panic!("{} as {bson:?}", kind.as_str()),
    }
}
