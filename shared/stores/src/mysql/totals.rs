//! Tables of totals: how many rows each group gains or loses by a chunk, added to what is there.

use landfall_domain::{FieldType, Measure, RowVersion, Total, TotalColumn};
use sqlx::MySqlConnection;

use super::dialect::{BY_KEY, Dialect, name_for, quote, same_key};
use super::keys::Keys;
use super::run;
use crate::StoreError;
use crate::registry::Registered;
use crate::schema::{ExistingColumn, Table, list};

/// The most characters of a text in an index: 8 texts fit.
const INDEXED_CHARACTERS: u32 = 64;

/// The statements of one table of totals.
///
/// What the rows of a chunk's keys add up to is noted before and after they are written, and the
/// difference added to the groups. The lock of the dataset lies around all of it.
pub(super) struct Totals {
    /// Makes the table of totals, unless it is there.
    pub(super) create: String,
    /// Makes the temporary table of what is noted, empty.
    stage: String,
    /// Takes all groups away, and makes them of the rows that are there.
    refill: [String; 2],
    /// Indexes of the dataset's table that give the extremes of a group: name, definition.
    pub(super) indexes: Vec<(String, String)>,
    /// Columns of the groups' values and the measures, with their types as `information_schema` names them.
    columns: Vec<(String, String)>,
    note: String,
    summed: String,
    settle: String,
}

impl Totals {
    /// Those of all registered totals.
    pub(super) fn all(table: &Table, registered: &Registered, dialect: Dialect) -> Vec<Self> {
        let totals = registered.totals.iter();
        totals
            .map(|total| Self::new(table, registered, total, dialect))
            .collect()
    }

    pub(super) fn new(
        table: &Table,
        registered: &Registered,
        total: &Total,
        dialect: Dialect,
    ) -> Self {
        let (target, name) = (quote(&table.name), quote(&total.name));
        let columns = columns(registered, total, dialect);
        let definitions = list(&columns, ", ", |(name, kind)| {
            format!("{} {kind}", quote(name))
        });
        let note = name_for("_totals", &format!("{name} {definitions}"));
        let by = list(&total.by, ", ", |field| format!("t.{}", quote(field)));
        let measures = list(&total.columns, ", ", |column| match &column.measure {
            Measure::Count => "COUNT(*)".to_owned(),
            Measure::Sum(field) => format!("COALESCE(SUM(t.{}), 0)", quote(field)),
            Measure::Min(field) => format!("MIN(t.{})", quote(field)),
            Measure::Max(field) => format!("MAX(t.{})", quote(field)),
        });
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
            settle: difference(&target, &name, total, &note),
            summed,
            columns,
            note,
        }
    }

    /// Whether a table of these columns can be the table of totals.
    pub(super) fn fit(&self, existing: &[ExistingColumn]) -> bool {
        let expected = self
            .columns
            .iter()
            .map(|(name, kind)| (name.as_str(), kind.as_str()));
        let expected = [("_group", "binary(32)")].into_iter().chain(expected);
        expected.chain([("_rows", "bigint")]).eq(existing
            .iter()
            .map(|column| (column.name.as_str(), column.sql_type.as_str())))
    }

    /// Makes all groups anew, and gives their number.
    pub(super) async fn refill(&self, connection: &mut MySqlConnection) -> Result<u64, StoreError> {
        let [clear, fill] = &self.refill;
        run(connection, clear).await?;
        run(connection, fill).await
    }

    /// Notes what the rows of these tables add up to.
    fn note(&self, rows: &str, is_after: bool) -> String {
        let (note, summed) = (&self.note, &self.summed);
        format!("INSERT INTO {note} SELECT {is_after}, {summed} FROM {rows} GROUP BY g")
    }
}

/// Makes the temporary tables of what is noted, empty.
pub(super) async fn stage(
    connection: &mut MySqlConnection,
    totals: &[Totals],
) -> Result<(), StoreError> {
    run_all(connection, totals, |total| total.stage.clone()).await
}

/// Notes what the rows of the staged keys add up to before they are written.
pub(super) async fn note_before(
    connection: &mut MySqlConnection,
    totals: &[Totals],
    table: &Table,
    keys: &Keys,
) -> Result<(), StoreError> {
    let rows = staged(table, keys);
    run_all(connection, totals, |total| total.note(&rows, false)).await
}

/// Notes what all rows that are older than this version add up to.
pub(super) async fn note_older(
    connection: &mut MySqlConnection,
    totals: &[Totals],
    table: &Table,
    version: &RowVersion,
) -> Result<(), StoreError> {
    let rows = format!("{} t WHERE t._version < x'{version}'", quote(&table.name));
    run_all(connection, totals, |total| total.note(&rows, false)).await
}

/// Adds to the groups what the rows of the staged keys have become.
pub(super) async fn settle(
    connection: &mut MySqlConnection,
    totals: &[Totals],
    table: &Table,
    keys: &Keys,
) -> Result<(), StoreError> {
    let rows = staged(table, keys);
    run_all(connection, totals, |total| {
        format!("{}; {}", total.note(&rows, true), total.settle)
    })
    .await
}

/// Takes what was noted from the groups.
pub(super) async fn settle_pruned(
    connection: &mut MySqlConnection,
    totals: &[Totals],
) -> Result<(), StoreError> {
    run_all(connection, totals, |total| total.settle.clone()).await
}

/// The rows of the staged keys.
fn staged(table: &Table, keys: &Keys) -> String {
    format!(
        "{} k STRAIGHT_JOIN {} t {BY_KEY} ON {}",
        keys.name,
        quote(&table.name),
        same_key(table, "t", "k")
    )
}

async fn run_all(
    connection: &mut MySqlConnection,
    totals: &[Totals],
    statements: impl Fn(&Totals) -> String,
) -> Result<(), StoreError> {
    if totals.is_empty() {
        return Ok(());
    }
    run(connection, &list(totals, "; ", statements))
        .await
        .map(drop)
}

/// The statements that change groups by what was noted, and take away those that are empty.
fn difference(target: &str, name: &str, total: &Total, note: &str) -> String {
    let by = |prefix: &str| list(&total.by, ", ", |field| format!("{prefix}{}", quote(field)));
    let same_group = list(&total.by, " AND ", |field| {
        format!("t.{0} <=> n.{0}", quote(field))
    });
    let measures = |piece: &dyn Fn(&TotalColumn, String) -> String| {
        list(&total.columns, "", |column| {
            piece(column, quote(&column.name))
        })
    };
    let difference = measures(&|column, own| match column.measure {
        Measure::Count | Measure::Sum(_) => format!(", SUM(IF(_after, {own}, -{own})) AS {own}"),
        Measure::Min(_) | Measure::Max(_) => {
            let function = function(&column.measure);
            format!(
                ", {function}(IF(_after, {own}, NULL)) AS {own}, \
                 {function}(IF(_after, NULL, {own})) AS {}",
                lost(column)
            )
        }
    });
    let changed = measures(&|column, own| match column.measure {
        Measure::Count | Measure::Sum(_) => format!(" OR n.{own} <> 0"),
        Measure::Min(_) | Measure::Max(_) => format!(" OR NOT n.{own} <=> n.{}", lost(column)),
    });
    let values = measures(&|column, own| {
        let lost = lost(column);
        let extreme = |choose: &str, beyond: &str, field: &str| {
            // Only where the extreme itself goes is it looked for.
            format!(
                ", CASE WHEN o.{own} IS NULL THEN n.{own} \
                 WHEN n.{lost} IS NULL OR o.{own} {beyond} n.{lost} \
                 THEN {choose}(o.{own}, COALESCE(n.{own}, o.{own})) \
                 WHEN n.{own} {beyond}= n.{lost} THEN n.{own} \
                 ELSE (SELECT {}(t.{}) FROM {target} t WHERE {same_group}) END",
                function(&column.measure),
                quote(field)
            )
        };
        match &column.measure {
            Measure::Count | Measure::Sum(_) => format!(", COALESCE(o.{own}, 0) + n.{own}"),
            Measure::Min(field) => extreme("LEAST", "<", field),
            Measure::Max(field) => extreme("GREATEST", ">", field),
        }
    });
    let own = measures(&|_, own| format!(", {own}"));
    let set = measures(&|_, own| format!("{own} = VALUES({own}), "));
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

/// The columns whose extreme may go with a row: column, function, field.
fn extremes(total: &Total) -> impl Iterator<Item = (&TotalColumn, &'static str, &str)> {
    total.columns.iter().filter_map(|column| {
        let function = function(&column.measure);
        match &column.measure {
            Measure::Min(field) | Measure::Max(field) => Some((column, function, field.as_str())),
            Measure::Count | Measure::Sum(_) => None,
        }
    })
}

/// The function of a measure that an index can answer.
fn function(measure: &Measure) -> &'static str {
    match measure {
        Measure::Max(_) => "MAX",
        Measure::Min(_) | Measure::Count | Measure::Sum(_) => "MIN",
    }
}

/// Column of the extreme among the values that a group loses.
fn lost(column: &TotalColumn) -> String {
    quote(format!("_lost_{}", column.name))
}

/// Columns of the groups' values and of the measures.
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

/// Digest of the values that make a group of the rows of `t`: of one length, whatever theirs, never null, and
/// of their bytes.
fn group(total: &Total) -> String {
    let parts = list(&total.by, ", ", |field| {
        let bytes = format!("CAST(t.{} AS BINARY)", quote(field));
        format!("COALESCE(CONCAT(LENGTH({bytes}), ':', {bytes}), '-')")
    });
    format!("UNHEX(SHA2(CONCAT({parts}), 256))")
}

/// Name and definition of the index that gives the extremes of a field in a group.
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
