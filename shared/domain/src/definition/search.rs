//! The searched fields of a definition.

use crate::dataset::Field;
use crate::search::MAX_SEARCH_FIELDS;
use crate::value::FieldType;

/// Returns the indexes of the searched fields.
pub(super) fn check_search(
    names: &[String],
    fields: &[Field],
    key: &[usize],
) -> Result<Vec<usize>, String> {
    if names.is_empty() || names.len() > MAX_SEARCH_FIELDS {
        return Err(format!("must list 1 to {MAX_SEARCH_FIELDS} text fields"));
    }
    let mut indexes = Vec::with_capacity(names.len());
    for name in names {
        let index = fields.iter().position(|field| field.name == *name);
        let index = index.ok_or_else(|| format!("no field is named {name:?}"))?;
        if fields[index].kind != FieldType::Text {
            let kind = fields[index].kind.as_str();
            return Err(format!(
                "{name} is of type {kind}; only text fields are searched"
            ));
        }
        if key.contains(&index) {
            return Err(format!(
                "{name} is in the key; use a condition on it, such as {name}:prefix:…"
            ));
        }
        if indexes.contains(&index) {
            return Err(format!("{name} is listed twice"));
        }
        indexes.push(index);
    }
    Ok(indexes)
}
