//! Rows and totals as a plain client reads them at one moment.

use landfall_domain::{Dataset, Field, FieldType, Measure, Total, Value};
use sqlx::mysql::MySqlPool;
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Row as _};

use crate::databases::Database;

/// Rows as values of columns.
pub(crate) type Table = Vec<Vec<Value>>;

/// What one transaction reads.
pub(crate) struct Snapshot {
    /// The rows: fields in the order of the dataset.
    pub(crate) rows: Table,
    /// Each of the totals: its groups' values of `by`, its columns, and `_rows`.
    pub(crate) totals: Vec<Table>,
}

impl Database {
    /// Reads the dataset's rows and totals in one transaction; not for `MongoDB`.
    pub(crate) async fn snapshot(&self, dataset: &Dataset) -> Snapshot {
        let mut tables = vec![(dataset.name.clone(), dataset.fields.clone())];
        for total in &dataset.totals {
            tables.push((total.name.clone(), columns(dataset, total)));
        }
        let mut found = match self {
            Self::Sqlite(directory) => sqlite(&Self::file(directory), &tables),
            Self::Postgres(url) => postgres(url, &tables).await,
            Self::Mysql(url) => mysql(url, &tables).await,
            Self::Mongodb(_) => panic!("MongoDB has no totals"),
        };
        let totals = found.split_off(1);
        Snapshot {
            rows: found.remove(0),
            totals,
        }
    }
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

/// Parses a column that was read as text.
fn value(field: &Field, text: Option<String>) -> Value {
    let Some(text) = text else {
        return Value::Null;
    };
    match field.kind {
        FieldType::Text => Value::Text(text.into()),
        // A sum may have trailing zeros.
        FieldType::Decimal if text.contains('.') => {
            let text = text.trim_end_matches('0').trim_end_matches('.');
            field.parse(text).unwrap()
        }
        FieldType::Boolean => Value::Boolean(["1", "t", "true"].contains(&text.as_str())),
        _ => field.parse(&text).unwrap(),
    }
}

fn query(name: &str, fields: &[Field], text: impl Fn(&Field) -> String) -> String {
    let columns: Vec<String> = fields.iter().map(text).collect();
    format!("SELECT {} FROM {name}", columns.join(", "))
}

fn sqlite(file: &std::path::Path, tables: &[(String, Vec<Field>)]) -> Vec<Table> {
    let mut connection = rusqlite::Connection::open(file).unwrap();
    connection
        .busy_timeout(std::time::Duration::from_secs(10))
        .unwrap();
    let transaction = connection.transaction().unwrap();
    let read = |(name, fields): &(String, Vec<Field>)| {
        let query = query(name, fields, |field| {
            format!("CAST({} AS TEXT)", field.name)
        });
        let mut statement = transaction.prepare(&query).unwrap();
        let rows = statement.query_map([], |row| {
            let columns = fields.iter().enumerate();
            Ok(columns
                .map(|(index, field)| value(field, row.get(index).unwrap()))
                .collect())
        });
        rows.unwrap().map(Result::unwrap).collect()
    };
    tables.iter().map(read).collect()
}

async fn postgres(url: &str, tables: &[(String, Vec<Field>)]) -> Vec<Table> {
    let pool = PgPool::connect(url).await.unwrap();
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL TIME ZONE 'UTC'";
    let mut transaction = pool.begin_with(begin).await.unwrap();
    let mut all = Vec::new();
    for (name, fields) in tables {
        let query = query(name, fields, |field| match field.kind {
            FieldType::Timestamp => {
                format!(
                    "to_char({}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
                    field.name
                )
            }
            _ => format!("{}::text", field.name),
        });
        let rows = sqlx::query(AssertSqlSafe(query))
            .fetch_all(&mut *transaction)
            .await
            .unwrap();
        let row = |row: &sqlx::postgres::PgRow| {
            let columns = fields.iter().enumerate();
            columns
                .map(|(index, field)| value(field, row.get(index)))
                .collect()
        };
        all.push(rows.iter().map(row).collect());
    }
    all
}

async fn mysql(url: &str, tables: &[(String, Vec<Field>)]) -> Vec<Table> {
    let pool = MySqlPool::connect(url).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    for begin in [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    ] {
        sqlx::raw_sql(begin)
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    let mut all = Vec::new();
    for (name, fields) in tables {
        let query = query(name, fields, |field| match field.kind {
            FieldType::Timestamp => format!("DATE_FORMAT({}, '%Y-%m-%dT%H:%i:%s.%fZ')", field.name),
            _ => format!("CONVERT({} USING utf8mb4)", field.name),
        });
        let rows = sqlx::query(AssertSqlSafe(query))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let row = |row: &sqlx::mysql::MySqlRow| {
            let columns = fields.iter().enumerate();
            columns
                .map(|(index, field)| value(field, row.get(index)))
                .collect()
        };
        all.push(rows.iter().map(row).collect());
    }
    sqlx::raw_sql("COMMIT")
        .execute(&mut *connection)
        .await
        .unwrap();
    all
}
