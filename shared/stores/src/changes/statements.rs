//! The statements about the keys of a dataset, the same for every SQL database except for its [`ChangeDialect`].
//!
//! Times are milliseconds since 1970, by the clocks of the callers. Names of columns begin with `_`, unlike those of
//! fields. Numbers, versions and names of destinations are written into the statements; texts are bound.

use landfall_domain::{ChangeState, Dataset, FieldType, Value};

use super::{entries_of, keys_of};
use crate::read::statement::{ReadColumn, ReadTable, Statement};
use crate::schema::{Table, VERSION, list};

/// How a database writes the parts of these statements.
pub(crate) trait ChangeDialect: Send + Sync {
    /// Follows a query whose rows are locked, unless another transaction has locked them.
    const SKIP_LOCKED: &str;
    /// Follows the name of a table that is joined by its primary key.
    const BY_KEY: &str;

    fn quote(&self, name: &str) -> String;

    /// Returns the literal of bytes in hexadecimal.
    fn bytes(&self, hex: &str) -> String;

    /// Returns the expression of bytes as a text in hexadecimal.
    fn hex(&self, expression: &str) -> String;

    /// Returns an expression as an integer of 64 bits.
    fn integer(&self, expression: &str) -> String;

    /// Returns the placeholder of the `nth` value (from 1), which has this type.
    fn place(&self, nth: usize, kind: FieldType) -> String;

    /// Returns the placeholder of the `nth` value, which is a text or null.
    fn text(&self, nth: usize) -> String;

    /// Returns the condition that a text contains another one.
    fn contains(&self, text: &str, part: &str) -> String;

    /// Describes a column of the alias `t` for reading.
    fn column(&self, name: &str, kind: FieldType) -> ReadColumn;

    /// Describes the table of a dataset, with the alias `t`, for reading.
    fn rows(&self, dataset: &Dataset, table: &Table) -> ReadTable;

    /// Returns the value that an insert would have written to a column of the existing row.
    fn incoming(&self, column: &str) -> String;

    /// Returns the end of an insert that leaves existing rows as they are, or changes them.
    fn on_conflict(&self, key: &str, assignments: Option<&str>) -> String;

    /// Returns the update of rows of the table `s` that match rows of a query `v`.
    fn update_from(&self, table: &str, query: &str, set: &str, condition: &str) -> String;
}

/// The columns of a listed or leased key after those of the key itself.
pub(crate) const STATE_COLUMNS: usize = 13;

/// The statements for a dataset.
pub(crate) struct Statements<'a, D> {
    pub(crate) dialect: &'a D,
    pub(crate) dataset: &'a Dataset,
    pub(crate) table: &'a Table,
}

impl<D: ChangeDialect> Statements<'_, D> {
    pub(crate) fn keys_table(&self) -> String {
        self.dialect.quote(&keys_of(&self.table.name))
    }

    pub(crate) fn entries_table(&self) -> String {
        self.dialect.quote(&entries_of(&self.table.name))
    }

    /// Returns the columns of the key, each after `alias`.
    pub(crate) fn key(&self, alias: &str) -> String {
        list(&self.table.key, ", ", |name| {
            format!("{alias}{}", self.dialect.quote(name))
        })
    }

    /// Returns the assignments for a key that has another change: only one that is newer counts.
    pub(crate) fn newer(&self, stored: &str) -> String {
        let [version, wanted_at, due_at] =
            ["_wanted", "_wanted_at", "_due_at"].map(|column| self.dialect.incoming(column));
        let is_newer = format!("{version} > {stored}._wanted");
        let is_again = format!(
            "{is_newer} AND ({stored}._state = 'sent' OR \
             ({stored}._state <> 'waiting' AND {stored}._holds = 0))"
        );
        // The state is assigned after what depends on it: some databases assign from left to right.
        [
            (
                "_wanted_at",
                format!("{is_newer} AND {stored}._state = 'sent'"),
                wanted_at,
            ),
            ("_due_at", is_again.clone(), due_at),
            ("_attempts", is_again.clone(), "0".to_owned()),
            ("_state", is_again, "'waiting'".to_owned()),
            ("_wanted", is_newer, version),
        ]
        .map(|(column, condition, value)| {
            format!("{column} = CASE WHEN {condition} THEN {value} ELSE {stored}.{column} END")
        })
        .join(", ")
    }

    /// Returns the beginning of an insert of keys.
    pub(crate) fn insert(&self) -> String {
        format!(
            "INSERT INTO {} (_destination, {}, _wanted, _wanted_at, _due_at, _state)",
            self.keys_table(),
            self.key("")
        )
    }

    /// Returns the columns that a key is unique by.
    pub(crate) fn unique(&self) -> String {
        format!("_destination, {}", self.key(""))
    }

    /// Selects the keys that are due, and locks them.
    pub(crate) fn due(&self, destination: &str, now: i64, limit: usize) -> Statement {
        self.selected(
            &format!(
                "t._destination = '{destination}' AND t._state = 'waiting' AND t._due_at <= {now} \
                 ORDER BY t._due_at, t._id LIMIT {limit} {}",
                D::SKIP_LOCKED
            ),
            Vec::new(),
        )
    }

    /// Selects the keys of a state after a place: a time and a number.
    pub(crate) fn listed(
        &self,
        destination: &str,
        state: ChangeState,
        after: Option<(i64, i64)>,
        limit: usize,
    ) -> Statement {
        let after = after.map_or(String::new(), |(due_at, id)| {
            format!(" AND (t._due_at > {due_at} OR t._due_at = {due_at} AND t._id > {id})")
        });
        let state = state.as_str();
        self.selected(
            &format!(
                "t._destination = '{destination}' AND t._state = '{state}'{after} \
                 ORDER BY t._due_at, t._id LIMIT {limit}"
            ),
            Vec::new(),
        )
    }

    fn selected(&self, condition: &str, values: Vec<Value>) -> Statement {
        let columns = self.state_table();
        let columns = list(&columns.columns, ", ", |column| column.value.clone());
        Statement {
            sql: format!(
                "SELECT {columns} FROM {} t WHERE {condition}",
                self.keys_table()
            ),
            values,
        }
    }

    /// Describes the selected columns: those of the key, then [`STATE_COLUMNS`].
    pub(crate) fn state_table(&self) -> ReadTable {
        let key = self.dataset.key_fields();
        let key = key.map(|field| self.dialect.column(&field.name, field.kind));
        let integer = |expression: &str| {
            ReadColumn::new(FieldType::Integer, self.dialect.integer(expression))
        };
        let text = |expression: String| ReadColumn::new(FieldType::Text, expression);
        let is_leased = "CASE WHEN t._lease IS NULL THEN 0 ELSE 1 END";
        let state = [
            integer("t._id"),
            text(self.dialect.hex("t._wanted")),
            integer("t._wanted_at"),
            text(self.dialect.hex("t._sent")),
            integer("t._exists"),
            text("t._sent_as".to_owned()),
            integer("t._attempts"),
            integer("t._due_at"),
            integer(is_leased),
            integer("t._uncertain"),
            integer("t._holds"),
            text("t._answer".to_owned()),
            text("t._state".to_owned()),
        ];
        debug_assert_eq!(state.len(), STATE_COLUMNS, "readers count them");
        ReadTable {
            name: self.keys_table(),
            columns: key.chain(state).collect(),
            extra: None,
            by_key: "",
        }
    }

    /// Selects the rows of keys in the order in which the keys are due. The last columns of the table that it returns
    /// are the version and the number of the key.
    pub(crate) fn rows_of(&self, ids: &[i64]) -> (ReadTable, Statement) {
        let mut rows = self.dialect.rows(self.dataset, self.table);
        let version = self.dialect.hex(&format!("t.{VERSION}"));
        rows.columns.push(ReadColumn::new(FieldType::Text, version));
        let id = self.dialect.integer("t._id");
        rows.columns.push(ReadColumn::new(FieldType::Integer, id));
        let columns = list(&rows.columns, ", ", |column| column.value.clone());
        let extra = rows.extra.as_ref();
        let extra = extra.map_or(String::new(), |extra| format!(", {extra}"));
        let sql = format!(
            "SELECT {columns}{extra} FROM (SELECT r.*, k._id, k._due_at FROM {} k JOIN {} r{} ON {} \
             WHERE k._id IN ({})) t ORDER BY t._due_at, t._id",
            self.keys_table(),
            self.dialect.quote(&self.table.name),
            D::BY_KEY,
            self.same_key("r", "k"),
            list(ids, ", ", i64::to_string),
        );
        let values = Vec::new();
        (rows, Statement { sql, values })
    }

    fn same_key(&self, one: &str, other: &str) -> String {
        list(&self.table.key, " AND ", |name| {
            let name = self.dialect.quote(name);
            format!("{one}.{name} = {other}.{name}")
        })
    }

    /// Selects, for each state, the number of keys, of those that are leased, of those that are due, and the time of
    /// the oldest change.
    pub(crate) fn summary(&self, destination: &str, now: i64) -> (ReadTable, Statement) {
        let counted = |condition: &str| {
            let count = format!("COUNT(CASE WHEN {condition} THEN 1 END)");
            ReadColumn::new(FieldType::Integer, self.dialect.integer(&count))
        };
        let columns = vec![
            ReadColumn::new(FieldType::Text, "t._state".to_owned()),
            counted("1 = 1"),
            counted(&format!("t._lease IS NOT NULL AND t._due_at > {now}")),
            counted(&format!("t._due_at <= {now}")),
            ReadColumn::new(
                FieldType::Integer,
                self.dialect.integer("MIN(t._wanted_at)"),
            ),
        ];
        let selected = list(&columns, ", ", |column| column.value.clone());
        let sql = format!(
            "SELECT {selected} FROM {} t WHERE t._destination = '{destination}' \
             AND t._state IN ('waiting', 'set_aside', 'unknown') GROUP BY t._state",
            self.keys_table()
        );
        (
            of_columns(columns),
            Statement {
                sql,
                values: Vec::new(),
            },
        )
    }

    /// Selects the number of changes that were recorded and not looked at, and the time of the oldest.
    pub(crate) fn recorded(&self, most: u64) -> (ReadTable, Statement) {
        let columns = ["COUNT(*)", "MIN(t._at)"]
            .map(|value| ReadColumn::new(FieldType::Integer, self.dialect.integer(value)));
        let selected = list(&columns, ", ", |column| column.value.clone());
        let sql = format!(
            "SELECT {selected} FROM (SELECT _at FROM {} LIMIT {most}) t",
            self.entries_table()
        );
        (
            of_columns(columns.into()),
            Statement {
                sql,
                values: Vec::new(),
            },
        )
    }

    pub(super) fn ids(&self, condition: &str, values: Vec<Value>) -> Statement {
        let id = self.dialect.integer("t._id");
        Statement {
            sql: format!("SELECT {id} FROM {} t WHERE {condition}", self.keys_table()),
            values,
        }
    }

    /// Adds the keys of a range of rows that the destination has never had to do with.
    pub(crate) fn sync(&self, destination: &str, condition: &str, now: i64) -> Statement {
        let (insert, key, keys) = (self.insert(), self.key("t."), self.keys_table());
        let sql = format!(
            "{insert} SELECT '{destination}', {key}, t.{VERSION}, {now}, {now}, 'waiting' FROM {} t{} \
             WHERE {condition} AND NOT EXISTS \
             (SELECT 1 FROM {keys} k WHERE k._destination = '{destination}' AND {}) ORDER BY {key} {}",
            self.dialect.quote(&self.table.name),
            D::BY_KEY,
            self.same_key("k", "t"),
            self.dialect.on_conflict(&self.unique(), None)
        );
        Statement {
            sql,
            values: Vec::new(),
        }
    }

    /// Selects the numbers of some keys of destinations.
    pub(crate) fn of_destinations(&self, destinations: &[String], limit: u64) -> Statement {
        let names = list(destinations, ", ", |name| format!("'{name}'"));
        self.ids(
            &format!("t._destination IN ({names}) LIMIT {limit}"),
            Vec::new(),
        )
    }

    pub(crate) fn delete(&self, ids: &[i64]) -> Statement {
        let sql = format!(
            "DELETE FROM {} WHERE _id IN ({})",
            self.keys_table(),
            list(ids, ", ", i64::to_string)
        );
        Statement {
            sql,
            values: Vec::new(),
        }
    }
}

/// Describes a table of numbers.
pub(crate) fn table_of_numbers() -> ReadTable {
    of_columns(vec![ReadColumn::new(
        FieldType::Integer,
        "t._id".to_owned(),
    )])
}

fn of_columns(columns: Vec<ReadColumn>) -> ReadTable {
    ReadTable {
        name: String::new(),
        columns,
        extra: None,
        by_key: "",
    }
}
