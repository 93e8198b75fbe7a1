//! Types, tables and names.

use landfall_domain::{FieldType, RowVersion, SORTED_CHARS, key_text_bytes};

use crate::schema::{Column, ColumnKind, Index, Table, VERSION, list};

/// For the inner table of a join. Statistics call a freshly filled table empty, and without this hint each staged key
/// is compared with each row.
pub(super) const BY_KEY: &str = "FORCE INDEX (PRIMARY)";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// The collation that compares bytes, including trailing spaces.
    collation: &'static str,
    /// Whether the server supports `SKIP LOCKED`.
    pub(super) skips_locked: bool,
}

impl Dialect {
    /// Returns the dialect of a server by the result of `VERSION()`.
    pub(super) fn of_version(version: &str) -> Self {
        let is_mariadb = version.to_ascii_lowercase().contains("mariadb");
        let mut numbers = version.split(|char: char| !char.is_ascii_digit());
        let mut number = || numbers.next().and_then(|number| number.parse().ok());
        let number: (u32, u32) = (number().unwrap_or(0), number().unwrap_or(0));
        Self {
            skips_locked: number >= if is_mariadb { (10, 6) } else { (8, 0) },
            collation: if is_mariadb {
                "utf8mb4_nopad_bin"
            } else {
                "utf8mb4_0900_bin"
            },
        }
    }

    /// Returns the type of a column as in `information_schema`, with the collation of texts.
    pub(super) fn type_of(self, table: &Table, column: &Column) -> String {
        match column.kind {
            ColumnKind::Version => version_type(table),
            ColumnKind::Versions => "mediumblob".to_owned(),
            ColumnKind::Extra => self.field_type(FieldType::Json),
            ColumnKind::Search => self.field_type(FieldType::Text),
            ColumnKind::Key(FieldType::Text) => self.key_text(table),
            ColumnKind::Key(kind) | ColumnKind::Field(kind) => self.field_type(kind),
        }
    }

    /// Returns the type of a field that is not a text of the key.
    pub(super) fn field_type(self, kind: FieldType) -> String {
        match kind {
            // `json` is an alias of `longtext` in MariaDB, and loses digits in MySQL.
            FieldType::Text | FieldType::Json => format!("longtext collate {}", self.collation),
            FieldType::Integer => "bigint".to_owned(),
            FieldType::Decimal => "decimal(56,28)".to_owned(),
            FieldType::Float => "double".to_owned(),
            FieldType::Boolean => "tinyint(1)".to_owned(),
            FieldType::Date => "date".to_owned(),
            FieldType::Timestamp => "datetime(6)".to_owned(),
        }
    }

    /// A single text fits an index as characters. Several fit only as bytes, as each may take all the bytes of a key.
    fn key_text(self, table: &Table) -> String {
        let is_text = |column: &&Column| column.kind == ColumnKind::Key(FieldType::Text);
        match table.columns.iter().filter(is_text).count() {
            0 | 1 => format!("varchar(512) collate {}", self.collation),
            texts => format!("varbinary({})", key_text_bytes(texts)),
        }
    }

    pub(super) fn key_columns(self, table: &Table) -> String {
        let is_key = |column: &&Column| matches!(column.kind, ColumnKind::Key(_));
        list(table.columns.iter().filter(is_key), ", ", |column| {
            let kind = self.type_of(table, column);
            format!("{} {kind} NOT NULL", quote(&column.name))
        })
    }

    pub(super) fn options(self) -> String {
        format!(
            "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE {}",
            self.collation
        )
    }

    pub(super) fn create(self, table: &Table) -> String {
        let columns = list(&table.columns, ", ", |column| {
            let null = if column.kind.is_required() {
                " NOT NULL"
            } else {
                ""
            };
            let kind = self.type_of(table, column);
            format!("{} {kind}{null}", quote(&column.name))
        });
        format!(
            "CREATE TABLE {} ({columns}, PRIMARY KEY ({})) {}",
            quote(&table.name),
            list(&table.key, ", ", quote),
            self.options()
        )
    }

    /// Returns the statement that adds the beginning of a text as a column. The column is `STORED`: with an index on a
    /// `VIRTUAL` column, reads concurrent with writes missed rows (`MariaDB` 10.11).
    pub(super) fn add_beginning(self, table: &Table, index: &Index) -> String {
        format!(
            "ALTER TABLE {} ADD COLUMN {} varchar({SORTED_CHARS}) COLLATE {} \
             GENERATED ALWAYS AS (LEFT({}, {SORTED_CHARS})) STORED",
            quote(&table.name),
            quote(beginning_of(&index.field)),
            self.collation,
            quote(&index.field),
        )
    }

    pub(super) fn add_columns(self, table: &Table, missing: &[&Column]) -> String {
        let columns = list(missing, ", ", |column| {
            let kind = self.type_of(table, column);
            format!("ADD COLUMN {} {kind}", quote(&column.name))
        });
        format!("ALTER TABLE {} {columns}", quote(&table.name))
    }
}

/// Returns the type of versions. A table may get an `order` later, and the versions of its rows stay short.
pub(super) fn version_type(table: &Table) -> String {
    let [short, long] = version_types();
    if table.order.is_some() { long } else { short }
}

/// Returns whether a table of a dataset with or without an `order` has versions of this type.
pub(super) fn is_version_type(sql_type: &str) -> bool {
    version_types().iter().any(|known| known == sql_type)
}

/// Returns the type that holds every version.
pub(super) fn longest_version_type() -> String {
    let [_, long] = version_types();
    long
}

fn version_types() -> [String; 2] {
    [
        format!("binary({})", RowVersion::LEN),
        format!("varbinary({})", RowVersion::MAX_LEN),
    ]
}

/// Returns the statement that makes room for the versions of the table in `name`, which has its rows or tombstones.
pub(super) fn widen_versions(table: &Table, name: &str) -> String {
    format!(
        "ALTER TABLE {} MODIFY {VERSION} {} NOT NULL",
        quote(name),
        version_type(table)
    )
}

/// Returns the statement that creates an index. The server appends the key.
pub(super) fn create_index(table: &Table, index: &Index) -> String {
    let column = if index.is_cut {
        quote(beginning_of(&index.field))
    } else {
        quote(&index.field)
    };
    format!(
        "CREATE INDEX {} ON {} ({column})",
        quote(index_name(index)),
        quote(&table.name)
    )
}

/// Returns the name of the column with the beginning of an indexed text.
pub(super) fn beginning_of(field: &str) -> String {
    format!("_beginning_{field}")
}

pub(super) fn index_name(index: &Index) -> String {
    format!("_by_{}", index.field)
}

/// Quotes a name. [`Table::new`] has checked it, so it holds no quotes.
pub(super) fn quote(name: impl AsRef<str>) -> String {
    format!("`{}`", name.as_ref())
}

/// Returns a name that is unique to a definition, so that what another definition has left behind is never used.
pub(super) fn name_for(prefix: &str, definition: &str) -> String {
    let digest = blake3::hash(definition.as_bytes()).to_hex();
    format!("{prefix}_{}", &digest[..16])
}

/// Returns the condition that rows of two aliases have the same key.
pub(super) fn same_key(table: &Table, one: &str, other: &str) -> String {
    list(&table.key, " AND ", |name| {
        format!("{one}.{0} = {other}.{0}", quote(name))
    })
}

#[cfg(test)]
mod tests {
    use super::Dialect;

    #[test]
    fn servers_that_skip_locked_rows() {
        for (version, skips_locked) in [
            ("10.11.19-MariaDB-0+deb12u1", true),
            ("10.6.0-MariaDB", true),
            ("11.4.2-MariaDB-log", true),
            ("10.5.29-MariaDB", false),
            ("8.0.17", true),
            ("9.1.0-commercial", true),
            ("", false),
        ] {
            assert_eq!(
                Dialect::of_version(version).skips_locked,
                skips_locked,
                "{version}"
            );
        }
    }
}
