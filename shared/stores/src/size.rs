//! How wide a row may be in each SQL database.
//!
//! `PostgreSQL` and `InnoDB` keep a row on one page. They move long values elsewhere, but no short ones: `PostgreSQL`
//! none up to 24 bytes, `InnoDB` none up to 40. So many fields with short values can exceed the page although each
//! value is small, and no type or storage setting of a column changes that. Null takes no space, so rows with few
//! values fit in a table whose full rows do not.

use landfall_domain::{Dataset, FieldType, MAX_KEY_BYTES, RowVersion, StoreKind};

use crate::error::{Result, StoreError};
use crate::schema::{ColumnKind, Table, search_of};

/// The bytes that rows may take on a page, and that parts of them take at most.
struct Page {
    limit: u64,
    header: u64,
    /// A value that can be moved elsewhere, unless it is short.
    movable: u64,
    decimal: u64,
    /// A value of eight bytes, and a shorter one.
    fixed: u64,
    short: u64,
    version: u64,
}

/// Pages of 8 KiB. Values are aligned to eight bytes at most.
const POSTGRES: Page = Page {
    limit: 8160,
    header: 24,
    movable: 24,
    decimal: 24,
    fixed: 8,
    short: 8,
    version: (RowVersion::LEN as u64 + 1).next_multiple_of(8),
};

/// Pages of 16 KiB, which hold two rows at least.
const INNODB: Page = Page {
    limit: 8126,
    // With the ids of transaction and undo record.
    header: 5 + 13,
    movable: 40 + 1,
    decimal: 26,
    fixed: 8,
    short: 3,
    version: RowVersion::LEN as u64,
};

impl Page {
    fn value(&self, kind: FieldType) -> u64 {
        match kind {
            FieldType::Text | FieldType::Json => self.movable,
            FieldType::Decimal => self.decimal,
            FieldType::Integer | FieldType::Float | FieldType::Timestamp => self.fixed,
            FieldType::Boolean | FieldType::Date => self.short,
        }
    }

    /// Returns the most bytes that a row of the table takes on a page. `keeps_key` says whether key values stay there.
    fn widest(&self, table: &Table, keeps_key: bool) -> u64 {
        let columns = table.columns.iter().map(|column| match column.kind {
            // With the bytes of its length; all texts of a key are counted together.
            ColumnKind::Key(FieldType::Text) if keeps_key => 2,
            ColumnKind::Key(kind) | ColumnKind::Field(kind) => self.value(kind),
            ColumnKind::Extra | ColumnKind::Search | ColumnKind::Versions => self.movable,
            ColumnKind::Version => self.version,
        });
        let is_text = |kind| kind == ColumnKind::Key(FieldType::Text);
        let has_text_key = table.columns.iter().any(|column| is_text(column.kind));
        let key = if keeps_key && has_text_key {
            MAX_KEY_BYTES as u64
        } else {
            0
        };
        let nulls = (table.columns.len() as u64).div_ceil(8).next_multiple_of(8);
        self.header + nulls + key + columns.sum::<u64>()
    }
}

/// Checks that a table of the dataset can hold every row, whatever its values are.
///
/// Without that, rows with few or very short values may still fit. A database refuses the others with
/// [`StoreError::TooWide`].
pub fn check_row_size(dataset: &Dataset, store: StoreKind) -> Result<()> {
    let table = Table::new(dataset, store)?.with_search(dataset, &search_of(dataset));
    let (limit, widest) = match store {
        StoreKind::Postgres => (POSTGRES.limit, POSTGRES.widest(&table, false)),
        StoreKind::Mysql => {
            // The beginnings of indexed texts are columns.
            let beginnings = table.indexes.iter().filter(|index| index.is_cut).count();
            let beginnings = beginnings as u64 * INNODB.movable;
            (INNODB.limit, INNODB.widest(&table, true) + beginnings)
        }
        // Rows of any size.
        StoreKind::Sqlite | StoreKind::Mongodb => return Ok(()),
    };
    if widest <= limit {
        return Ok(());
    }
    let fields = dataset.fields.len();
    let reason = format!(
        "a row with a value in each of the {fields} fields may take {widest} bytes on a page, and {limit} fit: \
         divide the fields among datasets, or make text and decimal fields that are not searched one json field"
    );
    Err(StoreError::schema(store, &table.name, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(number: usize, more: &str) -> Dataset {
        let field = |n| format!("{{ name = \"f{n}\", type = \"text\" }},");
        let fields: String = (0..number).map(field).collect();
        let text = format!("name = \"wide\"\nkey = [\"f0\"]\n{more}\nfields = [{fields}]");
        Dataset::from_toml("wide.toml", &text).unwrap()
    }

    #[test]
    fn definitions_are_refused_by_the_stores_that_cannot_hold_full_rows() {
        use StoreKind::{Mongodb, Mysql, Postgres, Sqlite};
        for (number, refusing) in [
            (180, &[][..]),
            (200, &[Mysql]),
            (330, &[Mysql]),
            (340, &[Mysql, Postgres]),
            (500, &[Mysql, Postgres]),
        ] {
            let dataset = texts(number, "");
            for store in [Mongodb, Mysql, Postgres, Sqlite] {
                let checked = check_row_size(&dataset, store);
                assert_eq!(checked.is_err(), refusing.contains(&store), "{number}");
                if let Err(error) = checked {
                    let shown = error.to_string();
                    assert!(shown.starts_with(store.as_str()), "{shown}");
                }
            }
        }
    }
}
