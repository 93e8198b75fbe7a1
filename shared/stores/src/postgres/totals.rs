//! Tables of totals: computes how a chunk changes each group, and adds that to the stored totals.
//!
//! Before the merge, the old and new values of the staged keys are summed for each group. After it, the differences
//! are added, empty groups are removed and new groups are inserted. If the value that leaves a group was its
//! minimum or maximum, the new one is looked up in an index created for this purpose.
//!
//! A group is identified by the SHA-256 of its values. They may be long or null, and the author of a file must not
//! be able to merge two groups into one.

use landfall_domain::{FieldType, Measure, Total, TotalColumn};
use sqlx::PgConnection;

use super::deletes::Deletes;
use super::key_ranges::compare;
use super::merge::{Merge, new_value, same_key};
use super::statement::{STORE, count, error, run};
use super::table::{field_type, name_for, quote};
use crate::error::{Result, StoreError};
use crate::registry::{Entry, Registered};
use crate::schema::{Table, list};
use crate::sql::totals::{extremes, measures};
use crate::sql::{self, Below};
use crate::walk::{Building, Range};

/// The statements of one table of totals, for one transaction.
///
/// Changes are summed up before the rows are written, while their old values are there, and added
/// afterwards, when least and greatest values can be looked up. The lock of the dataset covers both.
pub(super) struct Totals<'a> {
    total: &'a Total,
    by: String,
    /// Digest of a group of the alias `v`.
    group: String,
    /// The fields that the total uses: names, values of a staged row, values of a stored row.
    fields: String,
    new_values: String,
    old_values: String,
    /// Creates the table of changes, empty at each commit.
    create_changes: String,
    changes: String,
    pub(super) update: String,
    /// The last key whose row is included, if the totals are being built.
    included: Option<&'a str>,
}

impl<'a> Totals<'a> {
    /// Returns the totals that a change of rows changes: also those that are being built, for keys that are included.
    pub(super) fn all(table: &'a Table, entry: &'a Entry) -> Result<Vec<Totals<'a>>> {
        let registered = &entry.registered;
        let totals = registered.totals.iter();
        let totals = totals.map(|total| Self::new(table, registered, total, &total.name, None));
        let building = entry.walks.building.iter();
        let building = building.filter(|building| building.place.is_some());
        let building = building.map(|building| Self::building(table, registered, building));
        totals.chain(building).collect()
    }

    pub(super) fn building(
        table: &'a Table,
        registered: &Registered,
        building: &'a Building,
    ) -> Result<Self> {
        let Building { total, place, .. } = building;
        let name = name_of_building(table, total);
        Self::new(table, registered, total, &name, place.as_deref())
    }

    fn new(
        table: &'a Table,
        registered: &Registered,
        total: &'a Total,
        name: &str,
        included: Option<&'a str>,
    ) -> Result<Self> {
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
        let removed = list(extremes(total), "", |(column, _, field)| {
            let kind = field_type(registered.kind_of(field));
            format!(", {} {kind}", removed_extreme_column(column))
        });
        let changes = name_for("_changes", &format!("{} {columns}{removed}", total.name));
        let looked_up = match included {
            Some(place) => format!(" AND {}", compare(table, "t", "<=", place)?),
            None => String::new(),
        };
        Ok(Self {
            total,
            included,
            group: group(registered, total, "v."),
            new_values: list(&fields, ", ", |field| {
                let is_staged = table.columns.iter().any(|column| column.name == *field);
                // A column that the chunk's definition lacks keeps its value.
                if is_staged {
                    new_value(table, field)
                } else {
                    format!("t.{}", quote(field))
                }
            }),
            old_values: list(&fields, ", ", |field| format!("t.{}", quote(field))),
            fields: list(&fields, ", ", quote),
            create_changes: format!(
                "CREATE TEMP TABLE IF NOT EXISTS {changes} \
                 (_group bytea, {columns}{removed}, _rows bigint) ON COMMIT DELETE ROWS"
            ),
            update: update(table, registered, total, [name, &by, &changes, &looked_up]),
            by,
            changes,
        })
    }

    /// Returns the condition that the key of an alias is included, to be appended to others.
    fn and_included(&self, table: &Table, alias: &str) -> Result<String> {
        match self.included {
            Some(place) => Ok(format!(" AND {}", compare(table, alias, "<=", place)?)),
            None => Ok(String::new()),
        }
    }

    /// Returns the query of what a staged chunk is about to change: a sign and the total's fields.
    pub(super) fn rows_of_chunk(
        &self,
        table: &Table,
        merge: &Merge,
        deletes: Option<&Deletes>,
    ) -> Result<String> {
        let (target, old) = (quote(&table.name), &self.old_values);
        let is_older = if table.is_merged() {
            "t._version IS NOT NULL"
        } else {
            "t._version < s._version"
        };
        let upserted = format!(
            "SELECT v.* FROM {staged} s LEFT JOIN {target} t ON {same_key} \
             CROSS JOIN LATERAL (VALUES (1, {new}), (-1, {old})) v(_sign, {fields}) \
             WHERE (t._version IS NULL AND v._sign = 1 \
             OR {is_older} AND ({new}) IS DISTINCT FROM ({old})){included}",
            included = self.and_included(table, "s")?,
            staged = merge.staged.table,
            same_key = same_key(table, "t", "s"),
            new = self.new_values,
            fields = self.fields,
        );
        let Some(deletes) = deletes else {
            return Ok(upserted);
        };
        Ok(format!(
            "{upserted} UNION ALL SELECT -1, {old} FROM {keys} k \
             JOIN {target} t ON {same_key} WHERE t._version < k._version{included}",
            keys = deletes.staged.table,
            same_key = same_key(table, "t", "k"),
            included = self.and_included(table, "k")?,
        ))
    }

    /// Returns the query of the rows that a prune deletes: a sign and the total's fields.
    pub(super) fn rows_below(&self, table: &Table, below: &Below<'_>) -> Result<String> {
        let (target, old) = (quote(&table.name), &self.old_values);
        let Below { floor, condition } = below;
        let included = self.and_included(table, "t")?;
        Ok(format!(
            "SELECT -1, {old} FROM {target} t \
             WHERE t._version < '\\x{floor}'::bytea AND {condition}{included}"
        ))
    }

    /// Returns the query of the rows of a range, which are included next: a sign and the total's fields.
    pub(super) fn rows_in(&self, table: &Table, range: &Range) -> String {
        let (target, old) = (quote(&table.name), &self.old_values);
        format!("SELECT 1, {old} FROM {target} t WHERE {}", range.condition)
    }

    pub(super) fn sum_up(&self, changes: &str) -> String {
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
        let removed = list(extremes(self.total), "", |(_, function, field)| {
            format!(
                ", {function}(v.{}) FILTER (WHERE v._sign = -1)",
                quote(field)
            )
        });
        format!(
            "{}; INSERT INTO pg_temp.{} SELECT {}, {by}{measures}{removed}, sum(v._sign) \
             FROM ({changes}) v(_sign, {}) GROUP BY {by}",
            self.create_changes,
            self.changes,
            self.group,
            self.fields,
            by = self.by,
        )
    }
}

/// Returns the statements that add the changes to existing groups, delete empty ones, and insert new ones.
fn update(
    table: &Table,
    registered: &Registered,
    total: &Total,
    [name, by, changes, looked_up]: [&str; 4],
) -> String {
    let target = quote(&table.name);
    let name = quote(name);
    let set = list(&total.columns, ", ", |column| {
        let own = quote(&column.name);
        let look_up = |function: &str, choose: &str, beyond: &str, field: &str| {
            // Look it up only if the extreme itself leaves.
            format!(
                "{own} = CASE WHEN c.{removed} {beyond} o.{own} THEN \
                 (SELECT {function}(t.{field}) FROM {target} t WHERE {group} = o._group{looked_up}) \
                 ELSE {choose}(o.{own}, c.{own}) END",
                removed = removed_extreme_column(column),
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

fn removed_extreme_column(column: &TotalColumn) -> String {
    quote(sql::totals::removed_extreme_column(column))
}

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

/// Returns the digest of the values of a group. It has one length and is never null. Its functions may be used in an
/// index, which text from dates and `convert_to` may not.
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

/// Returns the names of the registered tables of totals that do not exist.
pub(super) async fn missing_tables(
    connection: &mut PgConnection,
    registered: &Registered,
) -> Result<Vec<String>> {
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

/// Fails if a table has the name of a new table of totals.
pub(super) async fn check_free(
    connection: &mut PgConnection,
    table: &Table,
    total: &Total,
) -> Result<()> {
    let name = quote(&total.name);
    let [there] = count(
        connection,
        format!("SELECT count(*) FROM pg_class WHERE oid = to_regclass('{name}')"),
    )
    .await?;
    if there > 0 {
        let reason = format!(
            "the table exists, and does not hold totals of {}; rename one of them",
            table.name
        );
        return Err(StoreError::schema(STORE, &total.name, reason));
    }
    Ok(())
}

/// Returns name and definition of the indexes for the extremes of a total.
pub(super) fn indexes(
    registered: &Registered,
    table: &Table,
    total: &Total,
) -> Vec<(String, String)> {
    let target = quote(&table.name);
    let index = |(_, _, field): (_, _, &str)| {
        let name = index(registered, table, total, field);
        let group = group(registered, total, "");
        (name, format!("ON {target} (({group}), {})", quote(field)))
    };
    extremes(total).map(index).collect()
}

/// Creates and fills a table of totals, and returns its number of groups. Fails if the table exists.
pub(super) async fn make(
    connection: &mut PgConnection,
    table: &Table,
    registered: &Registered,
    total: &Total,
) -> Result<u64> {
    check_free(connection, table, total).await?;
    let (name, target) = (quote(&total.name), quote(&table.name));
    let by = list(&total.by, ", ", |field| format!("t.{}", quote(field)));
    let measures = measures(total, quote);
    let group = group(registered, total, "t.");
    let indexes = list(indexes(registered, table, total), "", |(name, on)| {
        format!("CREATE INDEX IF NOT EXISTS {name} {on}; ")
    });
    let create = create(registered, total, &total.name);
    run(connection, format!("{create}; {indexes}")).await?;
    run(
        connection,
        format!(
            "INSERT INTO {name} SELECT {group}, {by}, {measures}, count(*) FROM {target} t GROUP BY {by}"
        ),
    )
    .await
}

pub(super) fn create(registered: &Registered, total: &Total, name: &str) -> String {
    format!(
        "CREATE TABLE {} (_group bytea PRIMARY KEY, {}, _rows bigint NOT NULL)",
        quote(name),
        definitions(registered, total)
    )
}

/// Returns the name of the table of totals while they are built. It gets its own once they are.
pub(super) fn name_of_building(table: &Table, total: &Total) -> String {
    let name = name_for("_building", &format!("{} {}", table.name, total.name));
    name.trim_matches('"').to_owned()
}

pub(super) async fn drop_all(
    connection: &mut PgConnection,
    table: &Table,
    registered: &Registered,
) -> Result<()> {
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

/// Returns the name of the index of a field's extremes by group.
fn index(registered: &Registered, table: &Table, total: &Total, field: &str) -> String {
    let definition = format!("{} {} {field}", table.name, group(registered, total, ""));
    name_for("_extremes", &definition)
}
