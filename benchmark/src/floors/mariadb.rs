//! `MariaDB`'s floors: `LOAD DATA LOCAL INFILE` by MariaDB's own client, because sqlx does not support it, and
//! multi-row VALUES.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, MySql, QueryBuilder};
use tokio::process::Command;

use super::timed;
use crate::data::{Rows, Sample};
use crate::result::Run;
use crate::tables::{Database, mysql};

pub(crate) const RAW: (&str, &str) = (
    "LOAD DATA without a key",
    "LOAD DATA LOCAL INFILE of the CSV file into a table without a key, by the mariadb client",
);
pub(crate) const VALUES: (&str, &str) = (
    "sorted VALUES into a keyed table",
    "the last row of each key, sorted by key, INSERT of 1,000 rows at a time in one transaction",
);

const TABLE: &str = "floor_raw";
const ROWS_AT_ONCE: usize = 1_000;

/// Loads all rows into a table without a key.
pub(crate) async fn raw(url: &str, sample: &Sample) -> Result<Run> {
    let database = Database::Mysql(url);
    create(url, "sku VARCHAR(768)").await?;
    let load = format!(
        "LOAD DATA LOCAL INFILE '{}' INTO TABLE {TABLE} CHARACTER SET utf8mb4 \
         FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' \
         LINES TERMINATED BY '\\n' IGNORE 1 LINES",
        sample.clean.display()
    );
    let run = timed(async {
        client(url, &load).await?;
        Ok(None)
    })
    .await?;
    sample
        .unkeyed
        .check(database.content(TABLE).await?, TABLE)?;
    database.remove(TABLE).await?;
    Ok(run)
}

/// Inserts the last row of each key, sorted, into a keyed table.
pub(crate) async fn values(url: &str, sample: &Sample) -> Result<Run> {
    let database = Database::Mysql(url);
    create(url, "sku VARCHAR(768) PRIMARY KEY").await?;
    let mut connection = mysql(url).await?;
    let run = timed(async {
        let rows = Rows::read(&sample.clean)?;
        let sorted = rows.last_of_each_key();
        let prepared = Instant::now();
        let mut transaction = connection.begin().await?;
        for batch in sorted.chunks(ROWS_AT_ONCE) {
            let mut insert: QueryBuilder<MySql> =
                QueryBuilder::new(format!("INSERT INTO {TABLE} (sku, name, description) "));
            insert.push_values(batch, |mut row, &index| {
                for cell in rows.get(index) {
                    row.push_bind(cell);
                }
            });
            insert.build().execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(Some(prepared))
    })
    .await?;
    sample.keyed.check(database.content(TABLE).await?, TABLE)?;
    database.remove(TABLE).await?;
    Ok(run)
}

async fn create(url: &str, key: &str) -> Result<()> {
    Database::Mysql(url).remove(TABLE).await?;
    mysql(url)
        .await?
        .execute(AssertSqlSafe(format!(
            "CREATE TABLE {TABLE} ({key}, name LONGTEXT, description LONGTEXT) \
             DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        )))
        .await?;
    Ok(())
}

/// Runs a statement with the `mariadb` program.
async fn client(url: &str, statement: &str) -> Result<()> {
    let (account, place) = url
        .strip_prefix("mysql://")
        .and_then(|rest| rest.split_once('@'))
        .context("the URL of the MariaDB names no account")?;
    let (user, password) = account.split_once(':').unwrap_or((account, ""));
    let (server, database) = place.split_once('/').unwrap_or((place, ""));
    let (host, port) = server.split_once(':').unwrap_or((server, "3306"));
    let output = Command::new("mariadb")
        .args(["--no-defaults", "--local-infile=1", "--protocol=tcp"])
        .args(["--host", host, "--port", port, "--user", user])
        .args(["--default-character-set=utf8mb4", "--database", database])
        .args(["--execute", statement])
        // Not an argument, which any user could read.
        .env("MYSQL_PWD", password)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run mariadb: apt-get install -y mariadb-client")?;
    ensure!(
        output.status.success(),
        "mariadb failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
