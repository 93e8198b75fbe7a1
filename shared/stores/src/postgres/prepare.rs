//! What a dataset needs before its rows: registry, table, columns, indexes, tables of totals.

use landfall_domain::{Dataset, StoreKind};
use sqlx::PgConnection;

use super::{deletes, known, registry, table, totals};
use crate::StoreError;
use crate::lanes::Hold;
use crate::registry::{Entry, Registered};
use crate::schema::Table;

/// The oldest server that has `MERGE`, as `server_version_num` tells it.
const OLDEST: u64 = 150_000;

/// Refuses a server that is too old.
pub(super) async fn check_server(
    connection: &mut PgConnection,
    table: &Table,
) -> Result<(), StoreError> {
    let ask = "SELECT current_setting('server_version_num')::bigint, \
         current_setting('track_counts')::boolean::int::bigint";
    let [version, counts] = table::count(connection, ask).await?;
    let reason = if version < OLDEST {
        format!("the server is version {version}, and {OLDEST} (PostgreSQL 15) is needed")
    } else if counts == 0 {
        "track_counts is off: switch it on, as autovacuum and exact counts need it".to_owned()
    } else {
        return Ok(());
    };
    Err(StoreError::Schema {
        store: StoreKind::Postgres,
        table: table.name.clone(),
        reason,
    })
}

/// Whether nothing is left to do; locks nothing.
pub(super) async fn is_done(
    connection: &mut PgConnection,
    dataset: &Dataset,
    table: &Table,
) -> Result<bool, StoreError> {
    let Some(registered) = registry::read(connection, &table.name).await? else {
        return Ok(false);
    };
    Ok(
        registered.with(Registered::of(dataset), &table.name, StoreKind::Postgres)? == registered
            && table::missing(connection, table)
                .await?
                .is_some_and(|missing| missing.is_empty())
            && totals::absent(connection, &registered).await?.is_empty()
            && known::is_made(connection).await?,
    )
}

/// Makes and registers what is missing, and changes nothing else.
pub(super) async fn run(
    connection: &mut PgConnection,
    dataset: &Dataset,
    table: &Table,
) -> Result<(), StoreError> {
    registry::make(connection).await?;
    // By another worker, meanwhile, which may be filling the table by now.
    if is_done(connection, dataset, table).await? {
        return Ok(());
    }
    let mut entry = make_table(connection, dataset, table).await?;
    let before = entry.registered;
    entry.registered = before.with(Registered::of(dataset), &table.name, StoreKind::Postgres)?;
    for index in &table.indexes {
        if !before.indexes.contains(&index.field) {
            table::run(connection, table::create_index(table, index)).await?;
        }
    }
    let absent = totals::absent(connection, &entry.registered).await?;
    for total in &entry.registered.totals {
        if absent.contains(&total.name) || !before.totals.contains(total) {
            totals::make(connection, table, &entry.registered, total).await?;
        }
    }
    registry::save(connection, &table.name, &entry).await
}

/// Makes the tables of totals anew, as the dataset defines them, and gives how many groups each has.
pub(super) async fn rebuild_totals(
    connection: &mut PgConnection,
    dataset: &Dataset,
    table: &Table,
) -> Result<Vec<(String, u64)>, StoreError> {
    registry::make(connection).await?;
    let mut entry = make_table(connection, dataset, table).await?;
    totals::drop_all(connection, table, &entry.registered).await?;
    entry.registered.totals.clone_from(&dataset.totals);
    let mut groups = Vec::with_capacity(dataset.totals.len());
    for total in &dataset.totals {
        let made = totals::make(connection, table, &entry.registered, total).await?;
        groups.push((total.name.clone(), made));
    }
    registry::save(connection, &table.name, &entry).await?;
    Ok(groups)
}

/// Makes table and columns, and gives what is registered then; the dataset is locked from here.
async fn make_table(
    connection: &mut PgConnection,
    dataset: &Dataset,
    table: &Table,
) -> Result<Entry, StoreError> {
    let columns = Registered::columns_of(dataset);
    registry::add(connection, &table.name, &columns).await?;
    let mut entry = registry::lock(connection, &table.name, Hold::All).await?;
    if let Some(missing) = table::missing(connection, table).await? {
        entry.registered = entry
            .registered
            .with(columns, &table.name, StoreKind::Postgres)?;
        if !missing.is_empty() {
            table::run(connection, table::add_columns(table, &missing)).await?;
        }
        return Ok(entry);
    }
    // New, or dropped by someone, and with it all that was kept of its rows.
    totals::drop_all(connection, table, &entry.registered).await?;
    deletes::forget(connection, table).await?;
    table::run(connection, table::create(table)).await?;
    known::begin(connection, &table.name).await?;
    Ok(Entry::new(columns))
}
