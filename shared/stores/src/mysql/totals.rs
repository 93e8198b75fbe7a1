//! Tables of totals: computes how a chunk changes each group, and adds that to the stored totals.
//!
//! The rows of the staged keys are aggregated before and after the write. The difference is added to the groups.

use landfall_domain::{FieldType, Measure, Total, TotalColumn};
use sqlx::MySqlConnection;

use super::dialect::{BY_KEY, Dialect, name_for, quote};
use super::ranges;
use super::statement::run;
use crate::error::Result;
use crate::registry::{Entry, Registered};
use crate::schema::{ExistingColumn, Table, list};
use crate::sql::totals::{extremes, measures};
use crate::sql::{self, Below};
use crate::walk::Range;

/// The maximum number of characters of a text in an index: 8 texts fit.
const INDEXED_CHARACTERS: u32 = 64;

/// The statements of one table of totals.
///
/// The rows of a chunk's keys are summed up before and after they are written, and the difference is added to the
/// groups. The lock of the dataset covers both.
pub(super) struct Totals {
    pub(super) create: String,
    stage: String,
    /// Deletes all groups, and inserts them anew from the rows.
    refill: [String; 2],
    /// Indexes of the dataset's table for the extremes of a group: name, definition.
    pub(super) indexes: Vec<(String, String)>,
    /// Columns of the group and the measures, with their types as in `information_schema`.
    columns: Vec<(String, String)>,
    note: String,
    summed: String,
    update: String,
    /// The condition that the key of `t` is included, to be appended to others; empty if all are.
    and_included: String,
}

impl Totals {
    /// Returns the totals that a change of rows changes: also those that are being built, for keys that are included.
    pub(super) fn all(table: &Table, entry: &Entry, dialect: Dialect) -> Result<Vec<Self>> {
        let registered = &entry.registered;
        let totals = registered.totals.iter();
        let totals = totals.map(|total| Ok(Self::new(table, registered, total, dialect)));
        let building = entry.walks.building.iter();
        let building = building.map(|building| {
            let and_included = match &building.place {
                _ if building.is_complete => String::new(),
                Some(place) => format!(" AND {}", ranges::up_to(table, place)?),
                None => " AND FALSE".to_owned(),
            };
            Ok(Self::building(
                table,
                registered,
                &building.total,
                dialect,
                &and_included,
            ))
        });
        totals.chain(building).collect()
    }

    pub(super) fn new(
        table: &Table,
        registered: &Registered,
        total: &Total,
        dialect: Dialect,
    ) -> Self {
        Self::with_name(table, registered, total, dialect, [&total.name, ""])
    }

    pub(super) fn building(
        table: &Table,
        registered: &Registered,
        total: &Total,
        dialect: Dialect,
        and_included: &str,
    ) -> Self {
        let name = name_of_building(table, total);
        Self::with_name(table, registered, total, dialect, [&name, and_included])
    }

    fn with_name(
        table: &Table,
        registered: &Registered,
        total: &Total,
        dialect: Dialect,
        [name, and_included]: [&str; 2],
    ) -> Self {
        let (target, name) = (quote(&table.name), quote(name));
        let columns = columns(registered, total, dialect);
        let definitions = list(&columns, ", ", |(name, kind)| {
            format!("{} {kind}", quote(name))
        });
        let note = name_for("_totals", &format!("{name} {definitions}"));
        let by = list(&total.by, ", ", |field| format!("t.{}", quote(field)));
        let measures = measures(total, quote);
        let summed = format!("{} AS g, {by}, {measures}, COUNT(*)", group(total));
        Self {
            create: format!(
                "CREATE TABLE IF NOT EXISTS {name} (_group binary(32) NOT NULL, {definitions}, \
                 _rows bigint NOT NULL, PRIMARY KEY (_group)) {}",
                dialect.options()
            ),
            stage: format!(
                "CREATE TEMPORARY TABLE IF NOT EXISTS {note} (_after tinyint(1) NOT NULL, \
                 _group binary(32) NOT NULL, {definitions}, _rows bigint NOT NULL) {}; \
                 TRUNCATE TABLE {note}",
                dialect.options()
            ),
            refill: [
                format!("DELETE FROM {name}"),
                format!("INSERT INTO {name} SELECT {summed} FROM {target} t GROUP BY g"),
            ],
            indexes: extremes(total)
                .map(|(_, _, field)| index(table, registered, total, field))
                .collect(),
            update: difference(&target, &name, total, &note, and_included),
            and_included: and_included.to_owned(),
            summed,
            columns,
            note,
        }
    }

    /// Returns whether a table of these columns can be the table of totals.
    pub(super) fn matches_columns(&self, existing: &[ExistingColumn]) -> bool {
        let expected = self
            .columns
            .iter()
            .map(|(name, kind)| (name.as_str(), kind.as_str()));
        let expected = [("_group", "binary(32)")].into_iter().chain(expected);
        expected.chain([("_rows", "bigint")]).eq(existing
            .iter()
            .map(|column| (column.name.as_str(), column.sql_type.as_str())))
    }

    /// Replaces all groups, and returns their number.
    pub(super) async fn refill(&self, connection: &mut MySqlConnection) -> Result<u64> {
        let [clear, fill] = &self.refill;
        run(connection, clear).await?;
        run(connection, fill).await
    }

    fn note(&self, rows: &str, is_after: bool) -> String {
        let (note, summed, included) = (&self.note, &self.summed, &self.and_included);
        format!("INSERT INTO {note} SELECT {is_after}, {summed} FROM {rows}{included} GROUP BY g")
    }
}

pub(super) async fn stage(connection: &mut MySqlConnection, totals: &[Totals]) -> Result<()> {
    run_all(connection, totals, |total| total.stage.clone()).await
}

/// Sums up these rows before they are written.
pub(super) async fn stage_before(
    connection: &mut MySqlConnection,
    totals: &[Totals],
    rows: &str,
) -> Result<()> {
    run_all(connection, totals, |total| total.note(rows, false)).await
}

/// Updates the groups after these rows were written; none if they were deleted.
pub(super) async fn update(
    connection: &mut MySqlConnection,
    totals: &[Totals],
    rows: Option<&str>,
) -> Result<()> {
    run_all(connection, totals, |total| match rows {
        Some(rows) => format!("{}; {}", total.note(rows, true), total.update),
        None => total.update.clone(),
    })
    .await
}

/// Returns the name of the table of totals while they are built. It gets its own once they are.
pub(super) fn name_of_building(table: &Table, total: &Total) -> String {
    name_for("_building", &format!("{} {}", table.name, total.name))
}

/// Returns the table expression `t` of the rows of a range.
pub(super) fn rows_in(table: &Table, range: &Range) -> String {
    format!(
        "{} t {BY_KEY} WHERE {}",
        quote(&table.name),
        range.condition
    )
}

/// Returns the table expression `t` of the rows that a prune deletes.
pub(super) fn rows_below(table: &Table, below: &Below<'_>) -> String {
    let Below { floor, condition } = below;
    let target = quote(&table.name);
    format!("{target} t {BY_KEY} WHERE t._version < x'{floor}' AND {condition}")
}

async fn run_all(
    connection: &mut MySqlConnection,
    totals: &[Totals],
    statements: impl Fn(&Totals) -> String,
) -> Result<()> {
    if totals.is_empty() {
        return Ok(());
    }
    run(connection, &list(totals, "; ", statements))
        .await
        .map(drop)
}

/// Returns the statements that add the difference to the groups, and delete empty ones.
fn difference(target: &str, name: &str, total: &Total, note: &str, and_included: &str) -> String {
    let by = |prefix: &str| list(&total.by, ", ", |field| format!("{prefix}{}", quote(field)));
    let same_group = list(&total.by, " AND ", |field| {
        format!("t.{0} <=> n.{0}", quote(field))
    });
    let each = |piece: &dyn Fn(&TotalColumn, String) -> String| {
        list(&total.columns, "", |column| {
            piece(column, quote(&column.name))
        })
    };
    let difference = each(&|column, own| {
        let extreme = |function: &str| {
            let removed = removed_extreme_column(column);
            format!(
                ", {function}(IF(_after, {own}, NULL)) AS {own}, \
                 {function}(IF(_after, NULL, {own})) AS {removed}"
            )
        };
        match column.measure {
            Measure::Count | Measure::Sum(_) => {
                format!(", SUM(IF(_after, {own}, -{own})) AS {own}")
            }
            Measure::Min(_) => extreme("min"),
            Measure::Max(_) => extreme("max"),
        }
    });
    let changed = each(&|column, own| match column.measure {
        Measure::Count | Measure::Sum(_) => format!(" OR n.{own} <> 0"),
        Measure::Min(_) | Measure::Max(_) => {
            format!(" OR NOT n.{own} <=> n.{}", removed_extreme_column(column))
        }
    });
    let values = each(&|column, own| {
        let removed = removed_extreme_column(column);
        let extreme = |function: &str, choose: &str, beyond: &str, field: &str| {
            // Look it up only if the extreme itself leaves.
            format!(
                ", CASE WHEN o.{own} IS NULL THEN n.{own} \
                 WHEN n.{removed} IS NULL OR o.{own} {beyond} n.{removed} \
                 THEN {choose}(o.{own}, COALESCE(n.{own}, o.{own})) \
                 WHEN n.{own} {beyond}= n.{removed} THEN n.{own} \
                 ELSE (SELECT {function}(t.{}) FROM {target} t WHERE {same_group}{and_included}) END",
                quote(field)
            )
        };
        match &column.measure {
            Measure::Count | Measure::Sum(_) => format!(", COALESCE(o.{own}, 0) + n.{own}"),
            Measure::Min(field) => extreme("min", "least", "<", field),
            Measure::Max(field) => extreme("max", "greatest", ">", field),
        }
    });
    let own = each(&|_, own| format!(", {own}"));
    let set = each(&|_, own| format!("{own} = VALUES({own}), "));
    format!(
        "INSERT INTO {name} (_group, {by}{own}, _rows) \
         SELECT n._group, {by_noted}{values}, COALESCE(o._rows, 0) + n._rows FROM (\
         SELECT _group, {by}{difference}, SUM(IF(_after, _rows, -_rows)) AS _rows \
         FROM {note} GROUP BY _group) n \
         LEFT JOIN {name} o {BY_KEY} ON o._group = n._group WHERE n._rows <> 0{changed} \
         ON DUPLICATE KEY UPDATE {set}_rows = VALUES(_rows); \
         DELETE o FROM {note} n STRAIGHT_JOIN {name} o {BY_KEY} ON o._group = n._group \
         WHERE NOT n._after AND o._rows = 0",
        by = by(""),
        by_noted = by("n."),
    )
}

fn removed_extreme_column(column: &TotalColumn) -> String {
    quote(sql::totals::removed_extreme_column(column))
}

fn columns(registered: &Registered, total: &Total, dialect: Dialect) -> Vec<(String, String)> {
    let type_of = |field: &str| dialect.field_type(registered.kind_of(field));
    let by = total.by.iter();
    let by = by.map(|field| (field.clone(), type_of(field)));
    let measures = total.columns.iter().map(|column| {
        let kind = match &column.measure {
            Measure::Count => "bigint".to_owned(),
            Measure::Sum(field) if registered.kind_of(field) == FieldType::Integer => {
                "decimal(65,0)".to_owned()
            }
            Measure::Sum(_) => "decimal(65,28)".to_owned(),
            Measure::Min(field) | Measure::Max(field) => type_of(field),
        };
        (column.name.clone(), kind)
    });
    by.chain(measures).collect()
}

/// Returns the digest of the values of a group of `t`. It has one length, is never null, and depends on their bytes.
fn group(total: &Total) -> String {
    let parts = list(&total.by, ", ", |field| {
        let bytes = format!("CAST(t.{} AS BINARY)", quote(field));
        format!("COALESCE(CONCAT(LENGTH({bytes}), ':', {bytes}), '-')")
    });
    format!("UNHEX(SHA2(CONCAT({parts}), 256))")
}

/// Returns name and definition of the index of a field's extremes by group.
fn index(table: &Table, registered: &Registered, total: &Total, field: &str) -> (String, String) {
    let by = list(&total.by, ", ", |by| {
        let prefix = match registered.kind_of(by) {
            FieldType::Text => format!("({INDEXED_CHARACTERS})"),
            _ => String::new(),
        };
        format!("{}{prefix}", quote(by))
    });
    let columns = if total.by.iter().any(|by| by == field) {
        by
    } else {
        format!("{by}, {}", quote(field))
    };
    let name = name_for("_extremes", &format!("{} {columns}", table.name));
    let definition = format!(
        "CREATE INDEX {} ON {} ({columns})",
        quote(&name),
        quote(&table.name)
    );
    (name, definition)
}
