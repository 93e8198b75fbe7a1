//! The statements that look up the keys of a chunk that is merged by column.

use super::deletes::tombstone_table;
use super::destination::Destination;
use super::merge::same_key;
use super::table::{definition, name_for, quote};
use crate::schema::{Column, ColumnKind, Table, list};

/// The statements that look up the keys of a chunk.
pub(super) struct Keys {
    /// Creates the table of numbered keys, empty at each commit.
    pub(super) stage: String,
    pub(super) staged: Destination,
    pub(super) stored: String,
    pub(super) stored_or_deleted: String,
}

impl Keys {
    pub(super) fn new(table: &Table) -> Self {
        let key = list(&table.key, ", ", quote);
        let is_key = |column: &&Column| matches!(column.kind, ColumnKind::Key(_));
        let columns = list(table.columns.iter().filter(is_key), ", ", definition);
        let columns = format!("_row integer, {columns}");
        let keys = format!("pg_temp.{}", name_for("_rows", &columns));
        let select = |tombstone: &str, join: &str| {
            format!(
                "SELECT k._row, t._version, t._versions, {tombstone} FROM {keys} k \
                 LEFT JOIN {} t ON {}{join}",
                quote(&table.name),
                same_key(table, "t", "k"),
            )
        };
        let join = format!(
            " LEFT JOIN {} g ON {}",
            tombstone_table(&table.name),
            same_key(table, "g", "k")
        );
        Self {
            stage: format!(
                "CREATE TEMP TABLE IF NOT EXISTS {} ({columns}) ON COMMIT DELETE ROWS",
                name_for("_rows", &columns)
            ),
            stored: select("NULL::bytea", ""),
            stored_or_deleted: select("g._version", &join),
            staged: Destination {
                table: keys,
                columns: format!("_row, {key}"),
            },
        }
    }
}
