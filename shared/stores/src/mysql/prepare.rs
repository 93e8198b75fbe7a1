//! Tables, columns, indexes and totals that a dataset needs: made where they are missing, and registered.
//!
//! Each statement that makes something commits by itself, can be repeated, and may find that another worker
//! was first. What is registered and the rows of totals change together, under the lock of the dataset.

use landfall_domain::{Dataset, StoreKind, Total};
use sqlx::{Acquire as _, MySqlConnection, Row as _};

use super::dialect::{Dialect, beginning_of, create_index, index_name, quote};
use super::registry;
use super::totals::Totals;
use super::{error, run};
use crate::StoreError;
use crate::lanes::Hold;
use crate::registry::{Entry, Registered};
use crate::schema::{Column, ExistingColumn, Table};

/// Makes and registers what is missing, and changes nothing else.
pub(super) async fn prepare(
    connection: &mut MySqlConnection,
    dataset: &Dataset,
    table: &Table,
    dialect: Dialect,
) -> Result<(), StoreError> {
    let known = registry::read(connection, &table.name).await?;
    let existing = columns(connection, &table.name).await?;
    let mut is_made = false;
    let is_there = !existing.is_empty();
    if let Some(known) = known.filter(|_| is_there) {
        // Before anything is changed: does it fit?
        let all = known
            .registered
            .with(Registered::of(dataset), &table.name, StoreKind::Mysql)?;
        is_made =
            all == known.registered && misses_nothing(connection, table, &all, dialect).await?;
    }
    let missing = if is_there {
        table.missing(&existing, |column| dialect.type_of(table, column))?
    } else {
        Vec::new()
    };
    if is_made && missing.is_empty() {
        return Ok(());
    }
    let is_new = make_table(connection, table, is_there, &missing, dialect).await?;
    make_indexes(connection, table, dialect).await?;
    let registered = Registered::columns_of(dataset);
    registry::add(connection, &table.name, &registered).await?;
    let entry = registry::read(connection, &table.name).await?;
    let entry = entry.ok_or_else(registry::not_registered)?;
    let registered = with(connection, &entry, dataset, is_new).await?;
    let absent = make_totals(connection, table, &registered, dialect).await?;
    let mut transaction = connection.begin().await.map_err(error)?;
    let mut entry = registry::lock(&mut transaction, &table.name, Hold::All).await?;
    let registered = with(&mut transaction, &entry, dataset, is_new).await?;
    for total in &registered.totals {
        let is_known = entry.registered.totals.contains(total) && !is_new;
        if !is_known || absent.contains(&total.name) {
            let statements = Totals::new(table, &registered, total, dialect);
            statements.refill(&mut transaction).await?;
        }
    }
    entry.registered = registered;
    registry::save(&mut transaction, &table.name, &entry).await?;
    transaction.commit().await.map_err(error)
}

/// What is registered with a definition. Of a table that was dropped and is made anew, no type has to stay
/// as it was, and no totals of columns that it no longer has.
async fn with(
    connection: &mut MySqlConnection,
    entry: &Entry,
    dataset: &Dataset,
    is_new: bool,
) -> Result<Registered, StoreError> {
    let all = entry
        .registered
        .with(Registered::of(dataset), &dataset.name, StoreKind::Mysql);
    if !is_new {
        return all;
    }
    let mut all = all.unwrap_or_else(|_| Registered::of(dataset));
    all.indexes = Registered::of(dataset).indexes;
    let existing = columns(connection, &dataset.name).await?;
    let is_there = |field: &str| existing.iter().any(|column| column.name == field);
    all.totals.retain(|total| {
        let measured = total.columns.iter();
        let measured = measured.filter_map(|column| column.measure.field());
        let by = total.by.iter().map(String::as_str);
        by.chain(measured).all(is_there)
    });
    Ok(all)
}

/// Makes the table, or the columns that it misses. Gives whether it was this worker that made the table.
async fn make_table(
    connection: &mut MySqlConnection,
    table: &Table,
    is_there: bool,
    missing: &[&Column],
    dialect: Dialect,
) -> Result<bool, StoreError> {
    let statement = if !is_there {
        dialect.create(table)
    } else if missing.is_empty() {
        return Ok(false);
    } else {
        dialect.add_columns(table, missing)
    };
    let Err(failure) = run(connection, &statement).await else {
        return Ok(!is_there);
    };
    // Another worker may have been first; if it was, the table is there. It may lack what the other one's
    // definition does not have.
    let existing = columns(connection, &table.name).await?;
    if existing.is_empty() {
        return Err(failure);
    }
    let missing = table.missing(&existing, |column| dialect.type_of(table, column))?;
    if !missing.is_empty() {
        run(connection, &dialect.add_columns(table, &missing)).await?;
    }
    Ok(false)
}

/// Makes the indexes that the table misses. An index of a long text is that of a column that is its beginning:
/// rows can't be sorted by an index of a prefix.
async fn make_indexes(
    connection: &mut MySqlConnection,
    table: &Table,
    dialect: Dialect,
) -> Result<(), StoreError> {
    for index in &table.indexes {
        let beginning = beginning_of(&index.field);
        if index.is_cut && !has_column(connection, &table.name, &beginning).await? {
            let add = dialect.add_beginning(table, index);
            if let Err(failure) = run(connection, &add).await
                && !has_column(connection, &table.name, &beginning).await?
            {
                return Err(failure);
            }
        }
        let name = index_name(index);
        if !has_index(connection, &table.name, &name).await?
            && let Err(failure) = run(connection, &create_index(table, index)).await
            && !has_index(connection, &table.name, &name).await?
        {
            return Err(failure);
        }
    }
    Ok(())
}

/// Whether indexes, and tables and indexes of totals are there.
async fn misses_nothing(
    connection: &mut MySqlConnection,
    table: &Table,
    registered: &Registered,
    dialect: Dialect,
) -> Result<bool, StoreError> {
    for index in &table.indexes {
        if !has_index(connection, &table.name, &index_name(index)).await? {
            return Ok(false);
        }
    }
    for total in &registered.totals {
        if columns(connection, &total.name).await?.is_empty() {
            return Ok(false);
        }
        let statements = Totals::new(table, registered, total, dialect);
        for (index, _) in &statements.indexes {
            if !has_index(connection, &table.name, index).await? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Makes tables and indexes of totals where they are missing. Gives the names of the tables that were.
pub(super) async fn make_totals(
    connection: &mut MySqlConnection,
    table: &Table,
    registered: &Registered,
    dialect: Dialect,
) -> Result<Vec<String>, StoreError> {
    let mut absent = Vec::new();
    for total in &registered.totals {
        let misfit = |reason: String| {
            Err(StoreError::Schema {
                store: StoreKind::Mysql,
                table: total.name.clone(),
                reason,
            })
        };
        if let Some(other) = registry::other_owner(connection, &table.name, &total.name).await? {
            return misfit(format!("it has the totals of {other}; rename one of them"));
        }
        let statements = Totals::new(table, registered, total, dialect);
        let existing = columns(connection, &total.name).await?;
        if existing.is_empty() {
            absent.push(total.name.clone());
            run(connection, &statements.create).await?;
        } else if !statements.fit(&existing) {
            return misfit(format!(
                "it is there already, and not the totals of {}; rename one of them, or run \
                 `landfall totals rebuild {0}` if it was them",
                table.name
            ));
        }
        for (index, create) in &statements.indexes {
            if has_index(connection, &table.name, index).await? {
                continue;
            }
            if let Err(failure) = run(connection, create).await
                && !has_index(connection, &table.name, index).await?
            {
                return Err(failure);
            }
        }
    }
    Ok(absent)
}

/// Drops a table of totals, and the indexes that were made for it.
pub(super) async fn drop_totals(
    connection: &mut MySqlConnection,
    table: &Table,
    total: &Total,
    registered: &Registered,
    dialect: Dialect,
) -> Result<(), StoreError> {
    run(
        connection,
        &format!("DROP TABLE IF EXISTS {}", quote(&total.name)),
    )
    .await?;
    for (index, _) in Totals::new(table, registered, total, dialect).indexes {
        if has_index(connection, &table.name, &index).await? {
            let drop = format!("DROP INDEX {} ON {}", quote(&index), quote(&table.name));
            run(connection, &drop).await?;
        }
    }
    Ok(())
}

/// Whether a table has a column of this name.
async fn has_column(
    connection: &mut MySqlConnection,
    table: &str,
    name: &str,
) -> Result<bool, StoreError> {
    let existing = columns(connection, table).await?;
    Ok(existing.iter().any(|column| column.name == name))
}

/// Whether a table has an index of this name.
pub(super) async fn has_index(
    connection: &mut MySqlConnection,
    table: &str,
    index: &str,
) -> Result<bool, StoreError> {
    let found: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM information_schema.statistics \
         WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?",
    )
    .bind(table)
    .bind(index)
    .fetch_one(connection)
    .await
    .map_err(error)?;
    Ok(found > 0)
}

/// The columns that a table has; none where there is no table.
pub(super) async fn columns(
    connection: &mut MySqlConnection,
    table: &str,
) -> Result<Vec<ExistingColumn>, StoreError> {
    let found = sqlx::query(
        "SELECT CAST(c.column_name AS CHAR), CAST(c.column_type AS CHAR), \
         CAST(c.collation_name AS CHAR), CAST(k.seq_in_index AS SIGNED) \
         FROM information_schema.columns c LEFT JOIN information_schema.statistics k \
         ON k.table_schema = c.table_schema AND k.table_name = c.table_name \
         AND k.column_name = c.column_name AND k.index_name = 'PRIMARY' \
         WHERE c.table_schema = DATABASE() AND c.table_name = ? ORDER BY c.ordinal_position",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .map_err(error)?;
    let column = |row: &sqlx::mysql::MySqlRow| {
        let mut sql_type: String = row.try_get(1)?;
        // Older servers show a width that means nothing.
        if sql_type.starts_with("bigint(") {
            "bigint".clone_into(&mut sql_type);
        }
        if let Some(collation) = row.try_get::<Option<String>, _>(2)? {
            sql_type = format!("{sql_type} collate {collation}");
        }
        let place: Option<i64> = row.try_get(3)?;
        Ok(ExistingColumn {
            name: row.try_get(0)?,
            sql_type,
            key_place: place.and_then(|place| usize::try_from(place - 1).ok()),
        })
    };
    found
        .iter()
        .map(column)
        .collect::<Result<_, _>>()
        .map_err(error)
}
