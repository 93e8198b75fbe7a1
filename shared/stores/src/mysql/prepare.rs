//! Creates the tables, columns, indexes and totals of a dataset where they are missing, and registers them.
//!
//! Statements that create tables commit by themselves here. `prepare` therefore creates the tables first, in steps
//! that can be repeated and may find that another worker was first. It then registers the totals and fills them in
//! one transaction, under the lock of the dataset.

use landfall_domain::{Dataset, Total};
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};

use super::dialect::{Dialect, quote};
use super::existing::columns;
use super::indexes::{has_index, lacks_indexes, make_index, make_indexes};
use super::statement::{STORE, error, run};
use super::totals::{Totals, name_of_building};
use super::versions::{fit_versions, lacks_room};
use super::{changes, registry, search};
use crate::error::{Result, StoreError};
use crate::maintenance::Prepared;
use crate::registry::{Entry, Registered, tombstones_of, unsigned};
use crate::schema::{Column, Table};
use crate::sql::lanes::LaneLock;
use crate::walk::{Building, Indexing, Walks};

/// Creates and registers what is missing, and changes nothing else.
pub(super) async fn prepare(
    connection: &mut MySqlConnection,
    dataset: &Dataset,
    table: &Table,
    dialect: Dialect,
    small_table_rows: u64,
) -> Result<Prepared> {
    registry::extend(connection).await?;
    let known = registry::read(connection, &table.name).await?;
    let mut existing = columns(connection, &table.name).await?;
    let mut is_made = false;
    let was_known = known.is_some();
    let is_there = !existing.is_empty();
    let known_totals = known.as_ref().map(|known| known.registered.totals.clone());
    let is_known = |total: &Total| known_totals.iter().flatten().any(|known| known == total);
    let is_indexing = known.as_ref().is_some_and(|known| {
        let gains_search = known.registered.search.is_empty() && !table.search.is_empty();
        gains_search || known.walks.indexing.is_some()
    });
    let lacks_structures = !dataset.totals.iter().all(is_known)
        || is_indexing
        || lacks_indexes(connection, table).await?;
    let small_rows = if is_indexing {
        small_table_rows.min(search::SMALL_TABLE_ROWS)
    } else {
        small_table_rows
    };
    let is_left_out = known.is_some()
        && is_there
        && lacks_structures
        && !is_small(connection, &table.name, small_rows).await?;
    let prepared = Prepared::lacking(is_left_out);
    if let Some(known) = known.filter(|_| is_there) {
        // Checks that it fits before anything changes.
        let all =
            known
                .registered
                .merged_with(Registered::new(dataset, table), &table.name, STORE)?;
        let all = if is_left_out {
            all.with_structures_of(&known.registered)
        } else {
            all
        };
        is_made = all == known.registered
            && (is_left_out || !lacks_structures)
            && misses_nothing(connection, table, &all, dialect).await?;
    }
    if lacks_room(connection, table).await? {
        for name in [&table.name, &tombstones_of(&table.name)] {
            if is_there
                && !columns(connection, name).await?.is_empty()
                && !is_small(connection, name, small_table_rows).await?
            {
                return Ok(Prepared::Blocked);
            }
        }
    }
    fit_versions(connection, table, &mut existing).await?;
    let missing = if is_there {
        table.missing(&existing, |column| dialect.type_of(table, column))?
    } else {
        Vec::new()
    };
    if is_made && missing.is_empty() {
        return Ok(prepared);
    }
    let is_new = make_table(connection, table, is_there, &missing, dialect).await?;
    if !is_left_out {
        make_indexes(connection, table, dialect).await?;
    }
    if !table.search.is_empty() {
        search::create(connection, table, dialect).await?;
    }
    let registered = Registered::columns_of(dataset, table);
    let entry = registry::add(connection, &table.name, &registered).await?;
    if is_new && was_known {
        changes::forget(connection, table).await?;
    }
    if is_new && !was_known {
        // Another stack may have registered the table before this one created it.
        let owner = table.owner.as_deref();
        entry.registered.check_owner(owner, &table.name, STORE)?;
    }
    if is_left_out {
        let mut transaction = connection.begin().await.map_err(error)?;
        let mut entry = registry::lock(&mut transaction, &table.name, LaneLock::All).await?;
        let all = with(&mut transaction, &entry, dataset, table, is_new).await?;
        if all.search != entry.registered.search {
            entry.walks.indexing = Some(Indexing::default());
        }
        entry.registered = all.with_structures_of(&entry.registered);
        registry::save(&mut transaction, &table.name, &entry).await?;
        transaction.commit().await.map_err(error)?;
        return Ok(prepared);
    }
    let registered = with(connection, &entry, dataset, table, is_new).await?;
    add_totals(connection, dataset, table, registered, is_new, dialect).await?;
    Ok(prepared)
}

/// Creates, fills and registers the totals that are new, and adds the words of existing rows if the dataset has gained
/// search. Writers wait meanwhile.
async fn add_totals(
    connection: &mut MySqlConnection,
    dataset: &Dataset,
    table: &Table,
    registered: Registered,
    is_new: bool,
    dialect: Dialect,
) -> Result<()> {
    let created = make_totals(connection, table, &registered, dialect).await?;
    let mut transaction = connection.begin().await.map_err(error)?;
    let mut entry = registry::lock(&mut transaction, &table.name, LaneLock::All).await?;
    let registered = with(&mut transaction, &entry, dataset, table, is_new).await?;
    for total in &registered.totals {
        let is_known = entry.registered.totals.contains(total) && !is_new;
        if !is_known || created.contains(&total.name) {
            let statements = Totals::new(table, &registered, total, dialect);
            statements.refill(&mut transaction).await?;
        }
    }
    let gains_search = entry.registered.search != registered.search;
    if entry.walks.indexing.take().is_some() || gains_search {
        search::complete(&mut transaction, table, &registered.search).await?;
    }
    entry.registered = registered;
    if is_new {
        entry.walks = Walks::default();
    }
    registry::save(&mut transaction, &table.name, &entry).await?;
    transaction.commit().await.map_err(error)
}

async fn is_small(connection: &mut MySqlConnection, name: &str, rows: u64) -> Result<bool> {
    let some = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT {}) t",
        quote(name),
        rows.saturating_add(1)
    );
    let some = sqlx::query_scalar(AssertSqlSafe(some)).fetch_one(connection);
    let some: i64 = some.await.map_err(error)?;
    Ok(unsigned(STORE, some)? <= rows)
}

/// Rebuilds the tables of totals as the dataset defines them, and returns the number of groups of each.
pub(super) async fn rebuild_totals(
    connection: &mut MySqlConnection,
    dataset: &Dataset,
    table: &Table,
    dialect: Dialect,
) -> Result<Vec<(String, u64)>> {
    // Tables cannot be dropped in a transaction, so first make sure that no merge uses them.
    let mut transaction = connection.begin().await.map_err(error)?;
    let mut entry = registry::lock(&mut transaction, &table.name, LaneLock::All).await?;
    let old = std::mem::take(&mut entry.registered.totals);
    let building = std::mem::take(&mut entry.walks.building);
    let registered = Registered {
        totals: dataset.totals.clone(),
        ..entry.registered.clone()
    };
    registry::save(&mut transaction, &table.name, &entry).await?;
    transaction.commit().await.map_err(error)?;
    for Building { total, .. } in &building {
        let name = name_of_building(table, total);
        run(connection, &format!("DROP TABLE IF EXISTS {}", quote(name))).await?;
    }
    for total in old.iter().chain(&dataset.totals) {
        drop_totals(connection, table, total, &registered, dialect).await?;
    }
    make_totals(connection, table, &registered, dialect).await?;
    let mut transaction = connection.begin().await.map_err(error)?;
    let mut entry = registry::lock(&mut transaction, &table.name, LaneLock::All).await?;
    let mut groups = Vec::with_capacity(registered.totals.len());
    for total in &registered.totals {
        let statements = Totals::new(table, &registered, total, dialect);
        let made = statements.refill(&mut transaction).await?;
        groups.push((total.name.clone(), made));
    }
    entry.registered.totals = registered.totals;
    registry::save(&mut transaction, &table.name, &entry).await?;
    transaction.commit().await.map_err(error)?;
    Ok(groups)
}

/// Returns what a definition registers. For a table that was dropped and is created again, types may change, and
/// totals of columns that it lacks are dropped.
async fn with(
    connection: &mut MySqlConnection,
    entry: &Entry,
    dataset: &Dataset,
    table: &Table,
    is_new: bool,
) -> Result<Registered> {
    let all = entry
        .registered
        .merged_with(Registered::new(dataset, table), &dataset.name, STORE);
    if !is_new {
        return all;
    }
    let mut all = all.unwrap_or_else(|_| Registered::new(dataset, table));
    let new = Registered::new(dataset, table);
    (all.indexes, all.merged, all.snapshots) = (new.indexes, new.merged, new.snapshots);
    (all.tracking, all.search) = (new.tracking, new.search);
    let existing = columns(connection, &dataset.name).await?;
    let is_there = |field: &str| existing.iter().any(|column| column.name == field);
    if all.is_merged() {
        all.fields.retain(|field, _| is_there(field));
    }
    all.totals.retain(|total| {
        let measured = total.columns.iter();
        let measured = measured.filter_map(|column| column.measure.field());
        let by = total.by.iter().map(String::as_str);
        by.chain(measured).all(is_there)
    });
    Ok(all)
}

/// Creates the table, or the columns that it lacks. Returns whether this worker created the table.
async fn make_table(
    connection: &mut MySqlConnection,
    table: &Table,
    is_there: bool,
    missing: &[&Column],
    dialect: Dialect,
) -> Result<bool> {
    let statement = if !is_there {
        dialect.create(table)
    } else if missing.is_empty() {
        return Ok(false);
    } else {
        dialect.add_columns(table, missing)
    };
    let Err(failure) = run_wide(connection, &statement).await else {
        return Ok(!is_there);
    };
    // Another worker may have been first. Its definition may lack columns of this one.
    let mut existing = columns(connection, &table.name).await?;
    if existing.is_empty() {
        return Err(failure);
    }
    fit_versions(connection, table, &mut existing).await?;
    let missing = table.missing(&existing, |column| dialect.type_of(table, column))?;
    if !missing.is_empty() {
        run_wide(connection, &dialect.add_columns(table, &missing)).await?;
    }
    Ok(false)
}

/// Creates a table or columns, also if full rows would not fit a page: rows with few values do, and the others are
/// refused when they come. MySQL may reserve that setting for administrators.
pub(super) async fn run_wide(connection: &mut MySqlConnection, statement: &str) -> Result<()> {
    let created = run(connection, statement).await.map(drop);
    let Err(failure @ StoreError::TooWide { .. }) = created else {
        return created;
    };
    if run(connection, "SET SESSION innodb_strict_mode = OFF")
        .await
        .is_err()
    {
        return Err(failure);
    }
    let done = run(connection, statement).await;
    run(connection, "SET SESSION innodb_strict_mode = DEFAULT").await?;
    done.map(drop)
}

/// Returns whether all tables and indexes of totals exist.
async fn misses_nothing(
    connection: &mut MySqlConnection,
    table: &Table,
    registered: &Registered,
    dialect: Dialect,
) -> Result<bool> {
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

/// Creates tables and indexes of totals if they are missing. Returns the names of the created tables.
async fn make_totals(
    connection: &mut MySqlConnection,
    table: &Table,
    registered: &Registered,
    dialect: Dialect,
) -> Result<Vec<String>> {
    let mut created = Vec::new();
    for total in &registered.totals {
        let mismatch = |reason: String| Err(StoreError::schema(STORE, &total.name, reason));
        if let Some(other) = registry::other_owner(connection, &table.name, &total.name).await? {
            return mismatch(format!("it holds totals of {other}; rename one of them"));
        }
        let statements = Totals::new(table, registered, total, dialect);
        let existing = columns(connection, &total.name).await?;
        if existing.is_empty() {
            created.push(total.name.clone());
            run(connection, &statements.create).await?;
        } else if !statements.matches_columns(&existing) {
            return mismatch(format!(
                "the table exists, and does not hold totals of {}; rename one of them, or run \
                 `landfall totals rebuild {0}` if it did",
                table.name
            ));
        }
        for (index, create) in &statements.indexes {
            make_index(connection, table, index, create).await?;
        }
    }
    Ok(created)
}

async fn drop_totals(
    connection: &mut MySqlConnection,
    table: &Table,
    total: &Total,
    registered: &Registered,
    dialect: Dialect,
) -> Result<()> {
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
