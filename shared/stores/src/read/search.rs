//! The conditions of a search, on the columns with the words of the searched fields.

use landfall_domain::{Clause, FieldType, Search, Value, search_column};

use super::conditions::Conditions;
use super::statement::{Dialect, Rows};
use crate::schema::search_of;

/// Adds the conditions that rows match.
pub(crate) fn add<D: Dialect>(
    rows: &Rows<'_, D>,
    conditions: &mut Conditions<'_, D>,
    search: &Search,
) {
    if search.clauses().is_empty() {
        conditions.add("1 = 0".to_owned());
        return;
    }
    let (dialect, columns) = (rows.dialect, columns(rows));
    if rows.uses_index
        && let Some((condition, value)) = dialect.candidates(rows.dataset, &columns, search)
    {
        let place = text(conditions, &value);
        conditions.add(condition.replacen('?', &place, 1));
    }
    for clause in search.clauses() {
        let any = any(dialect, conditions, &columns, clause);
        conditions.add(any);
    }
}

/// Returns the expression of the rank of a row that matches, as `Search::rank` has it.
pub(crate) fn rank<D: Dialect>(
    rows: &Rows<'_, D>,
    conditions: &mut Conditions<'_, D>,
    search: &Search,
) -> String {
    let (dialect, columns) = (rows.dialect, columns(rows));
    if search.clauses().is_empty() {
        return "0".to_owned();
    }
    let terms = search.clauses().iter().map(|clause| {
        let [begins, whole] = clause.closer();
        let [whole, begins] =
            [whole, begins].map(|clause| any(dialect, conditions, &columns, &clause));
        format!("CASE WHEN {whole} THEN 3 WHEN {begins} THEN 2 ELSE 1 END")
    });
    format!("({})", terms.collect::<Vec<_>>().join(" + "))
}

fn columns<D: Dialect>(rows: &Rows<'_, D>) -> Vec<String> {
    let names = search_of(rows.dataset).into_iter();
    names
        .map(|name| rows.dialect.quoted(&search_column(&name)))
        .collect()
}

/// Returns the condition that a term matches in any of the columns.
fn any<D: Dialect>(
    dialect: &D,
    conditions: &mut Conditions<'_, D>,
    columns: &[String],
    clause: &Clause,
) -> String {
    let any = columns.iter().map(|column| {
        let place = text(conditions, &dialect.needle(clause));
        dialect.contains(column, &place)
    });
    let any: Vec<String> = any.collect();
    format!("({})", any.join(" OR "))
}

fn text<D: Dialect>(conditions: &mut Conditions<'_, D>, text: &str) -> String {
    conditions.place(FieldType::Text, &Value::Text(text.into()))
}
