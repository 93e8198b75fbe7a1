//! Staged updates of a chunk that is merged by column. Each has a mask of the columns that keep their stored values.

use landfall_domain::Row;
use sqlx::mysql::MySqlArguments;
use sqlx::{AssertSqlSafe, MySqlConnection};

use super::dialect::{BY_KEY, Dialect, name_for, quote, same_key};
use super::statement::{STORE, error, run};
use super::upsert::{add, bind, fill};
use crate::columns::{Columns, Place, Plan};
use crate::error::Result;
use crate::registry::unsigned;
use crate::schema::{Column, ColumnKind, Table, list};

pub(super) struct Updates {
    pub(super) create: String,
    insert: String,
    places: String,
    columns: usize,
    count_changed: String,
    /// The updates `u` with the stored rows `t`.
    pub(super) rows: String,
    /// The expressions of the words of searched fields that these rows will have.
    pub(super) words: Vec<String>,
    /// Select the updates that change existing rows, and those that insert.
    pub(super) changed: [String; 2],
    /// Updates the existing rows, and inserts the new ones.
    write: [String; 2],
}

impl Updates {
    pub(super) fn new(table: &Table, dialect: Dialect) -> Self {
        let target = quote(&table.name);
        let definitions = list(&table.columns, ", ", |column| {
            format!("{} {}", quote(&column.name), dialect.type_of(table, column))
        });
        let bytes = table.values().count().div_ceil(8);
        let definition = format!(
            "({definitions}, _kept varbinary({bytes}) NOT NULL, _new tinyint(1) NOT NULL, \
             PRIMARY KEY ({})) {}",
            list(&table.key, ", ", quote),
            dialect.options()
        );
        let name = quote(name_for("_updates", &definition));
        let names = list(&table.columns, ", ", |column| quote(&column.name));
        let keeps = |number: usize| {
            let (byte, bit) = (number / 8 + 1, 1 << (number % 8));
            format!("ORD(SUBSTRING(u._kept, {byte}, 1)) & {bit}")
        };
        let values = table.values().enumerate();
        let compared = values.filter(|(_, column)| column.is_compared());
        let changed = list(compared, " OR ", |(number, column)| {
            let kept = keeps(number);
            format!(
                "NOT ({kept}) AND NOT (t.{0} <=> u.{0})",
                quote(&column.name)
            )
        });
        let values = list(table.values().enumerate(), "", |(number, column)| {
            let (kept, name) = (keeps(number), quote(&column.name));
            format!("t.{name} = IF({kept}, t.{name}, u.{name}), ")
        });
        let is_words = |column: &&Column| column.kind == ColumnKind::Search;
        let words = table.values().enumerate();
        let words = words.filter(|(_, column)| is_words(column));
        let words = words.map(|(number, column)| {
            let (kept, name) = (keeps(number), quote(&column.name));
            format!("IF({kept}, t.{name}, u.{name})")
        });
        let words = words.collect();
        let is_version = |kind| matches!(kind, ColumnKind::Version | ColumnKind::Versions);
        let versions = table
            .columns
            .iter()
            .filter(|column| is_version(column.kind));
        let versions = list(versions, ", ", |column| {
            format!("t.{0} = u.{0}", quote(&column.name))
        });
        let with_row = same_key(table, "t", "u");
        let joined = format!("{name} u STRAIGHT_JOIN {target} t {BY_KEY} ON {with_row}");
        Self {
            rows: format!("{name} u LEFT JOIN {target} t {BY_KEY} ON {with_row}"),
            words,
            create: format!(
                "CREATE TEMPORARY TABLE IF NOT EXISTS {name} {definition}; TRUNCATE TABLE {name}"
            ),
            insert: format!("INSERT INTO {name} ({names}, _kept, _new) VALUES "),
            places: format!("({}?,?)", list(&table.columns, "", |_| "?,".to_owned())),
            columns: table.columns.len() + 2,
            count_changed: format!(
                "SELECT COUNT(*) FROM {joined} WHERE NOT u._new AND ({changed})"
            ),
            changed: [
                format!("FROM {joined} WHERE NOT u._new AND ({changed})"),
                format!("FROM {name} u WHERE u._new"),
            ],
            write: [
                format!("UPDATE {joined} SET {values}{versions} WHERE NOT u._new"),
                format!("INSERT INTO {target} ({names}) SELECT {names} FROM {name} u WHERE u._new"),
            ],
        }
    }

    /// Stages updates. `key` are the indexes of the key's fields, in the order of the table.
    pub(super) async fn stage(
        &self,
        connection: &mut MySqlConnection,
        key: &[usize],
        columns: &Columns,
        plan: &Plan<'_>,
    ) -> Result<()> {
        let put = |arguments: &mut MySqlArguments, index: usize, row: &Row| {
            let planned = &plan.updates[index];
            for field in key {
                bind(arguments, &row.values[*field])?;
            }
            for column in 0..columns.count() {
                match planned.place(columns, column) {
                    Some(Place::Field(field)) => bind(arguments, &row.values[field])?,
                    Some(Place::Extra) => add(arguments, row.extra.as_deref())?,
                    None => add(arguments, None::<&str>)?,
                }
            }
            add(arguments, planned.update.version.as_slice())?;
            add(arguments, planned.update.versions.as_slice())?;
            add(arguments, planned.kept(columns))?;
            add(arguments, planned.is_new)
        };
        let rows: Vec<&Row> = plan.updates.iter().map(|planned| planned.row).collect();
        let statement = [self.insert.as_str(), &self.places, ""];
        fill(connection, statement, self.columns, &rows, put).await
    }

    /// Writes the staged updates. Returns how many of those of existing rows change a value.
    pub(super) async fn write(&self, connection: &mut MySqlConnection) -> Result<u64> {
        let changed = sqlx::query_scalar(AssertSqlSafe(self.count_changed.as_str()));
        let changed = changed.fetch_one(&mut *connection).await.map_err(error)?;
        for statement in &self.write {
            run(connection, statement).await?;
        }
        unsigned(STORE, changed)
    }
}
