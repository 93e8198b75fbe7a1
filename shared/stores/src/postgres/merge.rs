//! Statements: tables, and the merge of a staged chunk into one.

use landfall_domain::FieldType;

use crate::schema::{Column, ColumnKind, Table, list};

/// Types as `format_type` of `PostgreSQL` names them.
pub(super) fn type_of(column: &Column) -> String {
    let name = match column.kind {
        ColumnKind::Version => "bytea",
        ColumnKind::Extra => "jsonb",
        ColumnKind::Key(kind) | ColumnKind::Field(kind) => match kind {
            FieldType::Text => "text",
            FieldType::Integer => "bigint",
            FieldType::Decimal => "numeric",
            FieldType::Float => "double precision",
            FieldType::Boolean => "boolean",
            FieldType::Date => "date",
            FieldType::Timestamp => "timestamp with time zone",
            FieldType::Json => "jsonb",
        },
    };
    name.to_owned()
}

/// Names come checked from [`Table::of`] and hold no quotes.
pub(super) fn quote(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref())
}

pub(super) fn create(table: &Table) -> String {
    let columns = list(&table.columns, ", ", |column| {
        let null = if column.kind.is_required() {
            " NOT NULL"
        } else {
            ""
        };
        let collate = match column.kind {
            // Byte order, as chunks are sorted by, and the cheapest to compare.
            ColumnKind::Key(FieldType::Text) => " COLLATE \"C\"",
            _ => "",
        };
        format!("{} {}{collate}{null}", quote(&column.name), type_of(column))
    });
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({columns}, PRIMARY KEY ({}))",
        quote(&table.name),
        list(&table.key, ", ", quote)
    )
}

pub(super) fn add_columns(table: &Table, missing: &[&Column]) -> String {
    let columns = list(missing, ", ", |column| {
        format!(
            "ADD COLUMN IF NOT EXISTS {} {}",
            quote(&column.name),
            type_of(column)
        )
    });
    format!("ALTER TABLE {} {columns}", quote(&table.name))
}

/// The statements that apply a staged chunk.
pub(super) struct Merge {
    /// Makes the staging table, empty at each commit, where this connection has none for this table.
    pub(super) stage: String,
    /// Fills it.
    pub(super) copy: String,
    /// Locks the keys that are there, in the order of the key, and counts them: all, those with a newer
    /// version, those with an older one, and of these those with other values.
    pub(super) lock: String,
    /// Overwrites all that are older.
    pub(super) update: String,
    /// Adds the absent keys.
    pub(super) insert: String,
}

impl Merge {
    pub(super) fn new(table: &Table) -> Self {
        let target = quote(&table.name);
        let names = list(&table.columns, ", ", |column| quote(&column.name));
        let key = list(&table.key, ", ", quote);
        let definition = list(&table.columns, ", ", |column| {
            let collate = match column.kind {
                ColumnKind::Key(FieldType::Text) => " COLLATE \"C\"",
                _ => "",
            };
            format!("{} {}{collate}", quote(&column.name), type_of(column))
        });
        // Another definition is another table, so that one left by it is never taken for this one.
        let digest = blake3::hash(definition.as_bytes()).to_hex();
        let stage = quote(format!("_stage_{}", &digest[..16]));

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
            |column| format!("{0} = s.{0}", quote(&column.name)),
        );
        let differs = list(table.values(), " OR ", |column| {
            format!("t.{0} IS DISTINCT FROM s.{0}", quote(&column.name))
        });
        let differs = if differs.is_empty() {
            "false".to_owned()
        } else {
            differs
        };
        Self {
            copy: format!("COPY pg_temp.{stage} ({names}) FROM STDIN (FORMAT binary)"),
            lock: format!(
                "SELECT count(*), count(*) FILTER (WHERE newer), count(*) FILTER (WHERE older), \
                 count(*) FILTER (WHERE older AND differs) FROM (\
                 SELECT t._version > s._version AS newer, t._version < s._version AS older, \
                 ({differs}) AS differs FROM (SELECT * FROM {stage} ORDER BY {key}) s \
                 JOIN {target} t ON {same_key} ORDER BY {staged_key} FOR NO KEY UPDATE OF t) locked"
            ),
            update: format!(
                "UPDATE {target} t SET {set} FROM {stage} s \
                 WHERE {same_key} AND t._version < s._version"
            ),
            insert: format!(
                "INSERT INTO {target} ({names}) SELECT {names} FROM {stage} ORDER BY {key} \
                 ON CONFLICT ({key}) DO NOTHING"
            ),
            stage: format!(
                "CREATE TEMP TABLE IF NOT EXISTS {stage} ({definition}) ON COMMIT DELETE ROWS"
            ),
        }
    }
}
