//! Statements: tables, and the merge of a staged chunk into one.

use landfall_domain::{FieldType, RowVersion};

use crate::schema::{Column, ColumnKind, Table, list};

/// What an index entry may have (`InnoDB`, dynamic rows), less what key columns of other types take.
const INDEX_BYTES: usize = 3072 - 8 * 32;

/// How this server names things.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// The collation that compares bytes and does not ignore spaces at the end.
    collation: &'static str,
}

impl Dialect {
    /// The dialect of a server, by what it answers to `VERSION()`.
    pub(super) fn of(version: &str) -> Self {
        let is_mariadb = version.to_ascii_lowercase().contains("mariadb");
        Self {
            collation: if is_mariadb {
                "utf8mb4_nopad_bin"
            } else {
                "utf8mb4_0900_bin"
            },
        }
    }

    /// Types as `information_schema` names them, with the collation of texts behind.
    pub(super) fn type_of(self, table: &Table, column: &Column) -> String {
        let long_text = || format!("longtext collate {}", self.collation);
        match column.kind {
            ColumnKind::Version => format!("binary({})", RowVersion::LEN),
            ColumnKind::Extra => long_text(),
            ColumnKind::Key(FieldType::Text) => self.key_text(table),
            ColumnKind::Key(kind) | ColumnKind::Field(kind) => match kind {
                // `json` is another name of `longtext` in MariaDB, and loses digits in MySQL.
                FieldType::Text | FieldType::Json => long_text(),
                FieldType::Integer => "bigint".to_owned(),
                FieldType::Decimal => "decimal(56,28)".to_owned(),
                FieldType::Float => "double".to_owned(),
                FieldType::Boolean => "tinyint(1)".to_owned(),
                FieldType::Date => "date".to_owned(),
                FieldType::Timestamp => "datetime(6)".to_owned(),
            },
        }
    }

    /// One text fits as characters; of several, each may take all the bytes that a key can have, and
    /// only as bytes do they fit the index together.
    fn key_text(self, table: &Table) -> String {
        let is_text = |column: &&Column| column.kind == ColumnKind::Key(FieldType::Text);
        match table.columns.iter().filter(is_text).count() {
            0 | 1 => format!("varchar(512) collate {}", self.collation),
            texts => format!("varbinary({})", (INDEX_BYTES / texts).min(512)),
        }
    }

    fn definitions(self, table: &Table) -> String {
        let columns = list(&table.columns, ", ", |column| {
            let null = if column.kind.is_required() {
                " NOT NULL"
            } else {
                ""
            };
            format!(
                "{} {}{null}",
                quote(&column.name),
                self.type_of(table, column)
            )
        });
        let key = list(&table.key, ", ", quote);
        format!(
            "({columns}, PRIMARY KEY ({key})) ENGINE=InnoDB ROW_FORMAT=DYNAMIC \
             DEFAULT CHARACTER SET utf8mb4 COLLATE {}",
            self.collation
        )
    }

    pub(super) fn create(self, table: &Table) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} {}",
            quote(&table.name),
            self.definitions(table)
        )
    }

    pub(super) fn add_columns(self, table: &Table, missing: &[&Column]) -> String {
        let columns = list(missing, ", ", |column| {
            format!(
                "ADD COLUMN {} {}",
                quote(&column.name),
                self.type_of(table, column)
            )
        });
        format!("ALTER TABLE {} {columns}", quote(&table.name))
    }
}

/// Names come checked from [`Table::of`] and hold no quotes.
pub(super) fn quote(name: impl AsRef<str>) -> String {
    format!("`{}`", name.as_ref())
}

/// The statements that apply a staged chunk.
pub(super) struct Merge {
    /// Makes the staging table where this connection has none for this table, and empties it.
    pub(super) stage: String,
    /// Fills it, but for the places of the values.
    pub(super) fill: String,
    /// The places of one row.
    pub(super) places: String,
    /// Locks the keys that are there, in the order of the key, and counts them: all, those with a newer
    /// version, those with an older one, and of these those with other values.
    pub(super) lock: String,
    /// Overwrites all that are older.
    pub(super) update: String,
    /// Adds the absent keys.
    pub(super) insert: String,
}

impl Merge {
    pub(super) fn new(table: &Table, dialect: Dialect) -> Self {
        let target = quote(&table.name);
        let names = list(&table.columns, ", ", |column| quote(&column.name));
        let definitions = dialect.definitions(table);
        // Another definition is another table, so that one left by it is never taken for this one.
        let digest = blake3::hash(definitions.as_bytes()).to_hex();
        let stage = quote(format!("_stage_{}", &digest[..16]));
        let first_key = table.key.first().map(quote).unwrap_or_default();
        let staged_key = list(&table.key, ", ", |name| format!("s.{}", quote(name)));
        let same_key = list(&table.key, " AND ", |name| {
            format!("t.{0} = s.{0}", quote(name))
        });
        let set = list(
            table
                .columns
                .iter()
                .filter(|column| !matches!(column.kind, ColumnKind::Key(_))),
            ", ",
            |column| format!("t.{0} = s.{0}", quote(&column.name)),
        );
        let same = list(table.values(), " AND ", |column| {
            format!("t.{0} <=> s.{0}", quote(&column.name))
        });
        let same = if same.is_empty() {
            "TRUE".to_owned()
        } else {
            same
        };
        // Staged rows first: each is looked up by its key, and rows are locked in the key's order.
        let join = format!("{stage} s STRAIGHT_JOIN {target} t ON {same_key}");
        let staged = list(&table.columns, ", ", |column| {
            format!("s.{}", quote(&column.name))
        });
        let sum = |what: &str| format!("CAST(COALESCE(SUM({what}), 0) AS SIGNED)");
        Self {
            stage: format!(
                "CREATE TEMPORARY TABLE IF NOT EXISTS {stage} {definitions}; TRUNCATE TABLE {stage}"
            ),
            fill: format!("INSERT INTO {stage} ({names}) VALUES "),
            places: format!("({})", list(&table.columns, ",", |_| "?".to_owned())),
            lock: format!(
                "SELECT COUNT(*), {}, {}, {} FROM {join} FOR UPDATE",
                sum("t._version > s._version"),
                sum("t._version < s._version"),
                sum(&format!("t._version < s._version AND NOT ({same})"))
            ),
            update: format!("UPDATE {join} SET {set} WHERE t._version < s._version"),
            // IGNORE alone would do, but would lock each key that is there once more. Rows that it
            // leaves out for another reason than their key are found by counting.
            insert: format!(
                "INSERT IGNORE INTO {target} ({names}) SELECT {staged} FROM {stage} s \
                 LEFT JOIN {target} t ON {same_key} WHERE t.{first_key} IS NULL ORDER BY {staged_key}"
            ),
        }
    }
}
