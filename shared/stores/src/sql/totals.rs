//! What the statements about totals of SQL servers have in common.

use landfall_domain::{Measure, Total, TotalColumn};

use crate::schema::list;

/// Returns the columns that hold extremes, each with its function and field.
pub(crate) fn extremes(total: &Total) -> impl Iterator<Item = (&TotalColumn, &'static str, &str)> {
    let columns = total.columns.iter();
    columns.filter_map(|column| match &column.measure {
        Measure::Min(field) => Some((column, "min", field.as_str())),
        Measure::Max(field) => Some((column, "max", field.as_str())),
        Measure::Count | Measure::Sum(_) => None,
    })
}

/// Returns the measures of the rows of the alias `t`, for the list of a `SELECT` by group.
pub(crate) fn measures<'t>(total: &'t Total, quote: impl Fn(&'t str) -> String) -> String {
    list(&total.columns, ", ", |column| match &column.measure {
        Measure::Count => "count(*)".to_owned(),
        Measure::Sum(field) => format!("coalesce(sum(t.{}), 0)", quote(field)),
        Measure::Min(field) => format!("min(t.{})", quote(field)),
        Measure::Max(field) => format!("max(t.{})", quote(field)),
    })
}

/// Returns the name of the column with the extreme among the values that a group loses.
pub(crate) fn removed_extreme_column(column: &TotalColumn) -> String {
    format!("_lost_{}", column.name)
}
