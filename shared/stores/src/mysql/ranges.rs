//! Ranges of a table for walks: rows in the order of the key, in which `InnoDB` stores them.

use landfall_domain::FieldType;
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection, Row as _};

use super::dialect::{BY_KEY, quote};
use super::statement::{STORE, error, run, unavailable};
use crate::error::Result;
use crate::registry::unsigned;
use crate::schema::{Column, ColumnKind, Table, VERSION, list};
use crate::sql::Below;
use crate::walk::Range;

/// Returns the range after a place, which is a key as JSON: texts in hexadecimal, and other values as the server writes
/// them.
pub(super) async fn next(
    connection: &mut MySqlConnection,
    table: &Table,
    name: &str,
    place: Option<&str>,
    rows: u64,
) -> Result<Range> {
    let key = Key::new(table)?;
    let after = match place {
        Some(place) => key.compare(place, ">", ">")?,
        None => "TRUE".to_owned(),
    };
    let names = list(&key.columns, ", ", |(name, _)| format!("t.{}", quote(name)));
    let values = key.selected("t");
    let last = format!(
        "SELECT {values} FROM {} t {BY_KEY} WHERE {after} ORDER BY {names} LIMIT 1 OFFSET {}",
        quote(name),
        rows.saturating_sub(1)
    );
    let last = connection.fetch_optional(sqlx::raw_sql(AssertSqlSafe(last)));
    let Some(last) = last.await.map_err(error)? else {
        return Ok(Range {
            condition: after,
            next: None,
        });
    };
    let values = (0..key.columns.len()).map(|place| last.try_get::<String, _>(place));
    let values: Vec<String> = values.collect::<Result<_, _>>().map_err(error)?;
    let next = serde_json::to_string(&values);
    let next = next.map_err(|_| unavailable("a key cannot be encoded"))?;
    let up_to = key.compare(&next, "<", "<=")?;
    Ok(Range {
        condition: format!("{after} AND {up_to}"),
        next: Some(next),
    })
}

/// Returns the condition that the key of `t` is not after a place.
pub(super) fn up_to(table: &Table, place: &str) -> Result<String> {
    Key::new(table)?.compare(place, "<", "<=")
}

/// The columns of a key, whose values are read and written as texts.
pub(super) struct Key<'a> {
    columns: Vec<(&'a str, FieldType)>,
}

impl<'a> Key<'a> {
    pub(super) fn new(table: &'a Table) -> Result<Self> {
        let column = |name: &'a String| {
            let mut columns = table.columns.iter();
            columns.find_map(|column| match column {
                Column {
                    name: other,
                    kind: ColumnKind::Key(kind),
                } if other == name => Some((name.as_str(), *kind)),
                _ => None,
            })
        };
        let columns: Option<_> = table.key.iter().map(column).collect();
        let columns = columns.ok_or_else(|| unavailable("the table lacks a column of its key"))?;
        Ok(Self { columns })
    }

    /// Returns the expressions that select the values of an alias.
    pub(super) fn selected(&self, alias: &str) -> String {
        list(&self.columns, ", ", |(name, kind)| match kind {
            FieldType::Text => format!("HEX({alias}.{})", quote(name)),
            _ => format!("CAST({alias}.{} AS CHAR)", quote(name)),
        })
    }

    /// Returns the condition that the key of `t` has these values.
    pub(super) fn is(&self, values: &[String]) -> Result<String> {
        let literals = self.all_literals(values)?;
        let conditions = self.columns.iter().zip(literals);
        let conditions = list(conditions, " AND ", |((name, _), literal)| {
            format!("t.{} = {literal}", quote(name))
        });
        Ok(format!("({conditions})"))
    }

    /// Returns the literals of these values, as a list.
    pub(super) fn literals(&self, values: &[String]) -> Result<String> {
        Ok(self.all_literals(values)?.join(","))
    }

    fn all_literals(&self, values: &[String]) -> Result<Vec<String>> {
        let columns = self.columns.iter().zip(values);
        let literals = columns.map(|((_, kind), value)| self.literal(*kind, value));
        let literals: Option<Vec<String>> = literals.collect();
        let literals = literals.filter(|literals| literals.len() == self.columns.len());
        literals.ok_or_else(|| unavailable("a key cannot be read"))
    }

    /// Returns the condition that compares the key of the alias `t` with a place: its last column with `last`, the
    /// others with `strict`.
    fn compare(&self, place: &str, strict: &str, last: &str) -> Result<String> {
        let values: Option<Vec<String>> = serde_json::from_str(place).ok();
        let values = values.filter(|values| values.len() == self.columns.len());
        let literals = values.and_then(|values| {
            let columns = self.columns.iter().zip(values);
            let literals = columns.map(|((_, kind), value)| self.literal(*kind, &value));
            literals.collect::<Option<Vec<String>>>()
        });
        let literals = literals.ok_or_else(|| unavailable("the place of a walk cannot be read"))?;
        let mut all = self.columns.iter().zip(&literals).rev();
        let Some(((name, _), literal)) = all.next() else {
            return Err(unavailable("the table has no key"));
        };
        let mut condition = format!("t.{} {last} {literal}", quote(name));
        for ((name, _), literal) in all {
            let column = format!("t.{}", quote(name));
            // The first part alone is what some optimizers use the key for.
            condition = format!(
                "({column} {strict}= {literal} AND ({column} {strict} {literal} OR ({condition})))"
            );
        }
        Ok(condition)
    }

    /// Returns the literal of a value of a place; `None` if it is not one.
    fn literal(&self, kind: FieldType, value: &str) -> Option<String> {
        let is_made_of = |extra: &str| {
            let mut chars = value.chars();
            chars.all(|char| char.is_ascii_digit() || extra.contains(char))
        };
        match kind {
            FieldType::Text => {
                let is_hex = value.chars().all(|char| char.is_ascii_hexdigit());
                let texts = self.columns.iter();
                let texts = texts.filter(|(_, kind)| *kind == FieldType::Text).count();
                // Texts of a key of several are binary.
                let charset = if texts > 1 { "" } else { "_utf8mb4 " };
                is_hex.then(|| format!("{charset}x'{value}'"))
            }
            FieldType::Integer | FieldType::Decimal | FieldType::Boolean => {
                (!value.is_empty() && is_made_of("-.")).then(|| value.to_owned())
            }
            FieldType::Date | FieldType::Timestamp => {
                is_made_of("-:. ").then(|| format!("'{value}'"))
            }
            // Not allowed in keys.
            FieldType::Float | FieldType::Json => None,
        }
    }
}

/// Counts the rows of a range, and those below the floor.
pub(super) async fn count_below(
    connection: &mut MySqlConnection,
    name: &str,
    below: &Below<'_>,
) -> Result<[u64; 2]> {
    let Below { floor, condition } = below;
    let count = format!(
        "SELECT COUNT(*), COUNT(CASE WHEN t.{VERSION} < x'{floor}' THEN 1 END) \
         FROM {} t {BY_KEY} WHERE {condition}",
        quote(name)
    );
    let row = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(count)));
    let row = row.await.map_err(error)?;
    let count = |place: usize| unsigned(STORE, row.try_get(place).map_err(error)?);
    Ok([count(0)?, count(1)?])
}

/// Deletes the rows of a range below the floor, and returns their number.
pub(super) async fn delete_below(
    connection: &mut MySqlConnection,
    name: &str,
    below: &Below<'_>,
) -> Result<u64> {
    let Below { floor, condition } = below;
    let delete = format!(
        "DELETE t FROM {} t {BY_KEY} WHERE t.{VERSION} < x'{floor}' AND {condition}",
        quote(name)
    );
    run(connection, &delete).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_of_their_types_become_literals() {
        let key = |kinds: &[FieldType]| Key {
            columns: kinds.iter().map(|kind| ("k", *kind)).collect(),
        };
        let compare = |kinds: &[FieldType], place: &str| key(kinds).compare(place, "<", "<=").ok();
        let text = compare(&[FieldType::Text], r#"["61"]"#);
        assert_eq!(text.as_deref(), Some("t.`k` <= _utf8mb4 x'61'"));
        let two = compare(&[FieldType::Integer, FieldType::Text], r#"["-7",""]"#);
        assert_eq!(
            two.as_deref(),
            Some("(t.`k` <= -7 AND (t.`k` < -7 OR (t.`k` <= _utf8mb4 x'')))")
        );
        for (kind, value) in [
            (FieldType::Text, "x'"),
            (FieldType::Integer, "1 OR 1"),
            (FieldType::Integer, ""),
            (FieldType::Date, "2026-11-20'"),
        ] {
            assert_eq!(compare(&[kind], &format!("[{value:?}]")), None, "{value}");
        }
        assert_eq!(compare(&[FieldType::Text], "[]"), None);
    }
}
