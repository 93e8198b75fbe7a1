//! Tables of totals: how many rows each group gains or loses by a chunk, added to what is there.

use landfall_domain::{FieldType, Measure, RowVersion, StoreKind, Total, TotalColumn};
use sqlx::PgConnection;

use super::deletes::Deletes;
use super::error;
use super::merge::{Merge, same_key};
use super::table::{count, field_type, name_for, quote, run};
use crate::StoreError;
use crate::registry::Registered;
use crate::schema::{Table, list};

/// All totals of a dataset, for one transaction.
///
/// What changes is summed up before the rows are written, while their old values are there, and added
/// afterwards, when least and greatest values can be looked up. The lock of the dataset lies around both.
pub(super) struct Totals<'a> {
    table: &'a Table,
    all: Vec<Statements<'a>>,
}

impl<'a> Totals<'a> {
    pub(super) fn new(table: &'a Table, registered: &'a Registered) -> Self {
        let totals = registered.totals.iter();
        let all = totals.map(|total| Statements::new(table, registered, total));
        Self {
            table,
            all: all.collect(),
        }
    }

    /// Sums up what a staged chunk is about to change.
    pub(super) async fn prepare(
        &self,
        connection: &mut PgConnection,
        merge: &Merge,
        deletes: Option<&Deletes>,
    ) -> Result<(), StoreError> {
        let target = quote(&self.table.name);
        for total in &self.all {
            let mut changes = format!(
                "SELECT v.* FROM {staged} s LEFT JOIN {target} t ON {same_key} \
                 CROSS JOIN LATERAL (VALUES (1, {new}), (-1, {old})) v(_sign, {fields}) \
                 WHERE t._version IS NULL AND v._sign = 1 \
                 OR t._version < s._version AND ({new}) IS DISTINCT FROM ({old})",
                staged = merge.staged.table,
                same_key = same_key(self.table, "t", "s"),
                new = total.new_values,
                old = total.old_values,
                fields = total.fields,
            );
            if let Some(deletes) = deletes {
                changes = format!(
                    "{changes} UNION ALL SELECT -1, {old} FROM {keys} k \
                     JOIN {target} t ON {same_key} WHERE t._version < k._version",
                    old = total.old_values,
                    keys = deletes.staged.table,
                    same_key = same_key(self.table, "t", "k"),
                );
            }
            run(connection, total.sum_up(&changes)).await?;
        }
        Ok(())
    }

    /// Sums up what goes with all rows that are older than this version.
    pub(super) async fn prepare_prune(
        &self,
        connection: &mut PgConnection,
        version: &RowVersion,
    ) -> Result<(), StoreError> {
        for total in &self.all {
            let changes = format!(
                "SELECT -1, {} FROM {} t WHERE t._version < '\\x{version}'",
                total.old_values,
                quote(&self.table.name)
            );
            run(connection, total.sum_up(&changes)).await?;
        }
        Ok(())
    }

    /// Adds what was summed up, once the rows are written.
    pub(super) async fn settle(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        for total in &self.all {
            run(connection, total.settle.as_str()).await?;
        }
        Ok(())
    }
}

/// The statements of one table of totals.
struct Statements<'a> {
    total: &'a Total,
    by: String,
    /// Digest of a group of the alias `v`.
    group: String,
    /// The fields that the total is of: names, values of a staged row, values of a row that is there.
    fields: String,
    new_values: String,
    old_values: String,
    /// Makes the table of changes, empty at each commit.
    create_changes: String,
    changes: String,
    settle: String,
}

impl<'a> Statements<'a> {
    fn new(table: &'a Table, registered: &Registered, total: &'a Total) -> Self {
        let mut fields: Vec<&str> = total.by.iter().map(String::as_str).collect();
        for field in total
            .columns
            .iter()
            .filter_map(|column| column.measure.field())
        {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        let by = list(&total.by, ", ", quote);
        let columns = definitions(registered, total);
        let lost = list(extremes(total), "", |(column, _, field)| {
            let kind = field_type(registered.kind_of(field));
            format!(", {} {kind}", lost(column))
        });
        let changes = name_for("_changes", &format!("{} {columns}{lost}", total.name));
        Self {
            total,
            group: group(registered, total, "v."),
            new_values: list(&fields, ", ", |field| {
                let is_staged = table.columns.iter().any(|column| column.name == *field);
                // A column that the chunk's definition does not have keeps its value.
                format!("{}.{}", if is_staged { "s" } else { "t" }, quote(field))
            }),
            old_values: list(&fields, ", ", |field| format!("t.{}", quote(field))),
            fields: list(&fields, ", ", quote),
            create_changes: format!(
                "CREATE TEMP TABLE IF NOT EXISTS {changes} \
                 (_group bytea, {columns}{lost}, _rows bigint) ON COMMIT DELETE ROWS"
            ),
            settle: settle(table, registered, total, &by, &changes),
            by,
            changes,
        }
    }

    /// Sums up changes: rows of a sign and the total's fields.
    fn sum_up(&self, changes: &str) -> String {
        let measures = list(&self.total.columns, "", |column| {
            let sum = match &column.measure {
                Measure::Count => "sum(v._sign)".to_owned(),
                Measure::Sum(field) => {
                    format!("coalesce(sum(v._sign * v.{}::numeric), 0)", quote(field))
                }
                Measure::Min(field) => {
                    format!("min(v.{}) FILTER (WHERE v._sign = 1)", quote(field))
                }
                Measure::Max(field) => {
                    format!("max(v.{}) FILTER (WHERE v._sign = 1)", quote(field))
                }
            };
            format!(", {sum}")
        });
        let lost = list(extremes(self.total), "", |(_, function, field)| {
            format!(
                ", {function}(v.{}) FILTER (WHERE v._sign = -1)",
                quote(field)
            )
        });
        format!(
            "{}; INSERT INTO pg_temp.{} SELECT {}, {by}{measures}{lost}, sum(v._sign) \
             FROM ({changes}) v(_sign, {}) GROUP BY {by}",
            self.create_changes,
            self.changes,
            self.group,
            self.fields,
            by = self.by,
        )
    }
}

/// Adds what was summed up to the groups that are there, takes those away that are empty, and adds new ones.
fn settle(
    table: &Table,
    registered: &Registered,
    total: &Total,
    by: &str,
    changes: &str,
) -> String {
    let target = quote(&table.name);
    let name = quote(&total.name);
    let set = list(&total.columns, ", ", |column| {
        let own = quote(&column.name);
        let look_up = |function: &str, choose: &str, beyond: &str, field: &str| {
            // Only where the extreme itself goes is it looked for.
            format!(
                "{own} = CASE WHEN c.{lost} {beyond} o.{own} THEN \
                 (SELECT {function}(t.{field}) FROM {target} t WHERE {group} = o._group) \
                 ELSE {choose}(o.{own}, c.{own}) END",
                lost = lost(column),
                field = quote(field),
                group = group(registered, total, "t."),
            )
        };
        match &column.measure {
            Measure::Count | Measure::Sum(_) => format!("{own} = o.{own} + c.{own}"),
            Measure::Min(field) => look_up("min", "least", "<=", field),
            Measure::Max(field) => look_up("max", "greatest", ">=", field),
        }
    });
    let columns = list(&total.columns, ", ", |column| quote(&column.name));
    format!(
        "UPDATE {name} o SET {set}, _rows = o._rows + c._rows \
         FROM pg_temp.{changes} c WHERE o._group = c._group; \
         DELETE FROM {name} o USING pg_temp.{changes} c \
         WHERE o._group = c._group AND o._rows = 0; \
         INSERT INTO {name} (_group, {by}, {columns}, _rows) \
         SELECT _group, {by}, {columns}, _rows FROM pg_temp.{changes} c WHERE c._rows > 0 \
         AND NOT EXISTS (SELECT FROM {name} o WHERE o._group = c._group)"
    )
}

/// The columns whose extreme may go with a row: column, function, field.
fn extremes(total: &Total) -> impl Iterator<Item = (&TotalColumn, &'static str, &str)> {
    total
        .columns
        .iter()
        .filter_map(|column| match &column.measure {
            Measure::Min(field) => Some((column, "min", field.as_str())),
            Measure::Max(field) => Some((column, "max", field.as_str())),
            Measure::Count | Measure::Sum(_) => None,
        })
}

/// Column of the extreme among the values that a group loses.
fn lost(column: &TotalColumn) -> String {
    quote(format!("_lost_{}", column.name))
}

/// Columns of a total: those of the group, and the measures.
fn definitions(registered: &Registered, total: &Total) -> String {
    let by = list(&total.by, ", ", |field| {
        format!("{} {}", quote(field), field_type(registered.kind_of(field)))
    });
    let columns = list(&total.columns, ", ", |column| {
        let kind = match &column.measure {
            Measure::Count => "bigint",
            Measure::Sum(_) => "numeric",
            Measure::Min(field) | Measure::Max(field) => field_type(registered.kind_of(field)),
        };
        format!("{} {kind}", quote(&column.name))
    });
    format!("{by}, {columns}")
}

/// Digest of the values that make a group: of one length, whatever theirs, and never null; and of functions
/// that an index takes, which text from dates and `convert_to` are not.
fn group(registered: &Registered, total: &Total, prefix: &str) -> String {
    let parts = list(&total.by, " || ", |field| {
        let value = format!("{prefix}{}", quote(field));
        let text = match registered.kind_of(field) {
            FieldType::Decimal => format!("trim_scale({value})::text"),
            FieldType::Date => format!("encode(date_send({value}), 'hex')"),
            FieldType::Timestamp => format!("encode(timestamptz_send({value}), 'hex')"),
            _ => format!("{value}::text"),
        };
        format!("coalesce(octet_length({text})::text || ':' || {text}, '-')")
    });
    format!("sha256(decode(replace({parts}, E'\\\\', E'\\\\\\\\'), 'escape'))")
}

/// The tables of registered totals that are not there.
pub(super) async fn absent(
    connection: &mut PgConnection,
    registered: &Registered,
) -> Result<Vec<String>, StoreError> {
    let names: Vec<&str> = registered
        .totals
        .iter()
        .map(|total| total.name.as_str())
        .collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(
        "SELECT n FROM unnest($1::text[]) n WHERE to_regclass(quote_ident(n)) IS NULL",
    )
    .bind(names)
    .fetch_all(connection)
    .await
    .map_err(error)
}

/// Makes and fills a table of totals, and gives its number of groups. Refuses one that is there.
pub(super) async fn make(
    connection: &mut PgConnection,
    table: &Table,
    registered: &Registered,
    total: &Total,
) -> Result<u64, StoreError> {
    let (name, target) = (quote(&total.name), quote(&table.name));
    let [there] = count(
        connection,
        format!("SELECT count(*) FROM pg_class WHERE oid = to_regclass('{name}')"),
    )
    .await?;
    if there > 0 {
        return Err(StoreError::Schema {
            store: StoreKind::Postgres,
            table: total.name.clone(),
            reason: format!(
                "it is there already, and not as totals of {}: rename one of them",
                table.name
            ),
        });
    }
    let by = list(&total.by, ", ", |field| format!("t.{}", quote(field)));
    let measures = list(&total.columns, ", ", |column| match &column.measure {
        Measure::Count => "count(*)".to_owned(),
        Measure::Sum(field) => format!("coalesce(sum(t.{}), 0)", quote(field)),
        Measure::Min(field) => format!("min(t.{})", quote(field)),
        Measure::Max(field) => format!("max(t.{})", quote(field)),
    });
    let group = group(registered, total, "t.");
    let indexes = list(extremes(total), "", |(_, _, field)| {
        format!(
            "CREATE INDEX IF NOT EXISTS {} ON {target} (({}), {}); ",
            index(registered, table, total, field),
            self::group(registered, total, ""),
            quote(field)
        )
    });
    let create = format!(
        "CREATE TABLE {name} (_group bytea PRIMARY KEY, {}, _rows bigint NOT NULL); {indexes}",
        definitions(registered, total)
    );
    run(connection, create).await?;
    run(
        connection,
        format!(
            "INSERT INTO {name} SELECT {group}, {by}, {measures}, count(*) FROM {target} t GROUP BY {by}"
        ),
    )
    .await
}

/// Drops all registered tables of totals, and the indexes that were made for them.
pub(super) async fn drop_all(
    connection: &mut PgConnection,
    table: &Table,
    registered: &Registered,
) -> Result<(), StoreError> {
    for total in &registered.totals {
        let indexes = list(extremes(total), "", |(_, _, field)| {
            format!(
                "; DROP INDEX IF EXISTS {}",
                index(registered, table, total, field)
            )
        });
        let drop = format!("DROP TABLE IF EXISTS {}{indexes}", quote(&total.name));
        run(connection, drop).await?;
    }
    Ok(())
}

/// Name of the index that gives the extremes of a field in a group.
fn index(registered: &Registered, table: &Table, total: &Total, field: &str) -> String {
    let definition = format!("{} {} {field}", table.name, group(registered, total, ""));
    name_for("_extremes", &definition)
}
