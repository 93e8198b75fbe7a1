//! The conditions of a search, on the columns with the words of the searched fields.

use landfall_domain::{FieldType, Search, Value, search_column};

use super::statement::{Conditions, Dialect, Rows};
use crate::schema::search_of;

/// Adds the conditions that rows match.
pub(crate) fn add<D: Dialect>(rows: &Rows<'_, D>, conditions: &mut Conditions<'_, D>, search: &Search) {
    if search.clauses().is_empty() {
        conditions.add("1 = 0".to_owned());
        return;
    }
    let (dialect, dataset) = (rows.dialect, rows.dataset);
    let names = search_of(dataset);
    let columns: Vec<String> = names.iter().map(|name| dialect.quoted(&search_column(name))).collect();
    if rows.uses_index
        && let Some((condition, value)) = dialect.candidates(dataset, &columns, search)
    {
        let place = text(conditions, &value);
        conditions.add(condition.replacen('?', &place, 1));
    }
    for clause in search.clauses() {
        let any = columns.iter().map(|column| {
            let place = text(conditions, &dialect.needle(clause));
            dialect.contains(column, &place)
        });
        let any: Vec<String> = any.collect();
        conditions.add(format!("({})", any.join(" OR ")));
    }
}

fn text<D: Dialect>(conditions: &mut Conditions<'_, D>, text: &str) -> String {
    conditions.place(FieldType::Text, &Value::Text(text.into()))
}
