//! Ranges of a table for walks: pages in the order of the file.
//!
//! Reading pages in their order costs the least, whatever the keys are. A row that changes gets another place, perhaps
//! one that a walk has passed. A prune does not miss it for that, because every change after its floor was raised makes
//! the row newer than the floor. If the table is rewritten (`VACUUM FULL`), the walk starts again.

use sqlx::PgConnection;

use super::statement::{STORE, count, error, run};
use super::table::quote;
use crate::error::Result;
use crate::registry::unsigned;
use crate::schema::VERSION;
use crate::sql::Below;
use crate::walk::Range;

/// The number of rows of a page, roughly: a page has 8 KiB and is filled to half.
const ROWS_OF_PAGE: u64 = 20;

/// Returns the range that begins at a place: `<file> <page>`.
pub(super) async fn next(
    connection: &mut PgConnection,
    name: &str,
    place: Option<&str>,
    rows: u64,
) -> Result<Range> {
    let (file, pages): (i64, i64) = sqlx::query_as(
        "SELECT coalesce(pg_relation_filenode(oid), 0)::bigint, \
         coalesce(pg_relation_size(oid) / current_setting('block_size')::bigint, 0) \
         FROM pg_class WHERE oid = to_regclass($1)",
    )
    .bind(quote(name))
    .fetch_one(connection)
    .await
    .map_err(error)?;
    Ok(range(file, unsigned(STORE, pages)?, place, rows))
}

fn range(file: i64, pages: u64, place: Option<&str>, rows: u64) -> Range {
    let place = place.and_then(|place| place.split_once(' '));
    let place = place.filter(|(other, _)| *other == file.to_string());
    let first = place.and_then(|(_, page)| page.parse().ok()).unwrap_or(0);
    let end = first + rows.div_ceil(ROWS_OF_PAGE);
    let from = format!("t.ctid >= '({first},0)'::tid");
    if end >= pages {
        // Also what is appended meanwhile.
        return Range {
            condition: from,
            next: None,
        };
    }
    Range {
        condition: format!("{from} AND t.ctid < '({end},0)'::tid"),
        next: Some(format!("{file} {end}")),
    }
}

/// Counts the rows of a range, and those below the floor.
pub(super) async fn count_below(
    connection: &mut PgConnection,
    name: &str,
    below: &Below<'_>,
) -> Result<[u64; 2]> {
    let Below { floor, condition } = below;
    let statement = format!(
        "SELECT count(*), count(*) FILTER (WHERE t.{VERSION} < '\\x{floor}'::bytea) \
         FROM {} t WHERE {condition}",
        quote(name)
    );
    count(connection, statement).await
}

/// Deletes the rows of a range below the floor, and returns their number.
pub(super) async fn delete_below(
    connection: &mut PgConnection,
    name: &str,
    below: &Below<'_>,
) -> Result<u64> {
    let Below { floor, condition } = below;
    let delete = format!(
        "DELETE FROM {} t WHERE t.{VERSION} < '\\x{floor}'::bytea AND {condition}",
        quote(name)
    );
    run(connection, delete).await
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_cover_every_page_once() {
        let mut place = None;
        let mut conditions = Vec::new();
        loop {
            let range = range(7, 2_500, place.as_deref(), 20_000);
            conditions.push(range.condition);
            place = range.next;
            if place.is_none() {
                break;
            }
        }
        assert_eq!(
            conditions,
            [
                "t.ctid >= '(0,0)'::tid AND t.ctid < '(1000,0)'::tid",
                "t.ctid >= '(1000,0)'::tid AND t.ctid < '(2000,0)'::tid",
                "t.ctid >= '(2000,0)'::tid",
            ]
        );
        // The table was rewritten.
        assert_eq!(
            range(8, 2_500, Some("7 1000"), 20_000).condition,
            conditions[0]
        );
        assert_eq!(range(7, 0, None, 20_000).next, None);
    }
}
