//! Finds the datasets that changes are recorded of.

use std::fmt::Write as _;

use landfall_domain::{Dataset, StoreKind};

use crate::error::{Result, StoreError};
use crate::registry::{REGISTRY, Registered};

/// The condition that a definition may have destinations. Most have none, and lack that part.
pub(crate) const IS_TRACKED: &str = "definition LIKE '%\"tracking\"%'";

/// Returns those of these entries, by dataset, that changes are, or were, recorded of.
pub(crate) fn tracked_of(
    store: StoreKind,
    entries: Vec<(String, String)>,
) -> Result<Vec<(String, Registered)>> {
    let mut tracked = Vec::new();
    for (dataset, definition) in entries {
        let registered = Registered::from_json(store, &definition)?;
        if !registered.tracking.is_empty() {
            tracked.push((dataset, registered));
        }
    }
    Ok(tracked)
}

/// Returns a definition of the dataset with its key, and as few other fields as possible.
pub(crate) fn keyed(registered: &Registered, name: &str, store: StoreKind) -> Result<Dataset> {
    // Only keys of places have such names.
    let is_of_place = registered.key.iter().any(|field| field.starts_with('_'));
    let is_other = |field: &&String| !field.starts_with('_');
    let (key, fields) = if is_of_place {
        let one = registered.fields.keys().find(is_other);
        ("\"position\"".to_owned(), one.into_iter().collect())
    } else {
        (
            format!("{:?}", registered.key),
            registered.key.iter().collect::<Vec<_>>(),
        )
    };
    let mut text = format!("name = {name:?}\nkey = {key}\n");
    for field in fields {
        let kind = registered.kind_of(field).as_str();
        let _ = write!(text, "[[fields]]\nname = {field:?}\ntype = {kind:?}\n");
    }
    Dataset::from_toml(REGISTRY, &text)
        .map_err(|_| StoreError::unavailable(store, "the registry entry is no definition"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Table;

    #[test]
    fn a_definition_with_the_registered_key_has_the_same_key() {
        for key in ["[\"b\", \"a\"]", "\"position\""] {
            let fields = "[{ name = \"a\", type = \"text\" }, { name = \"b\", type = \"integer\" }, \
                          { name = \"c\", type = \"json\" }]";
            let text = format!("name = \"d\"\nkey = {key}\nfields = {fields}");
            let dataset = Dataset::from_toml("d.toml", &text).unwrap();
            let table = Table::new(&dataset, StoreKind::Sqlite).unwrap();
            let registered = Registered::new(&dataset, &table);
            let keyed = keyed(&registered, "d", StoreKind::Sqlite).unwrap();
            assert!(keyed.key_fields().eq(dataset.key_fields()), "{key}");
            assert_eq!(
                Table::new(&keyed, StoreKind::Sqlite).unwrap().key,
                table.key
            );
        }
    }
}
