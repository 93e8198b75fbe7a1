//! The field of a definition that decides which row is newer.

use crate::dataset::{Field, Mode};
use crate::value::FieldType;

/// Returns the index of the field whose value decides which of two rows of a key is newer.
pub(super) fn check_order(
    name: &str,
    mode: Mode,
    fields: &[Field],
    key: &[usize],
) -> Result<usize, String> {
    if mode == Mode::Snapshot {
        return Err(
            "contradicts mode = \"snapshot\", which deletes by file; remove one of the two"
                .to_owned(),
        );
    }
    let index = fields.iter().position(|field| field.name == name);
    let index = index.ok_or_else(|| format!("no field is named {name:?}"))?;
    if key.contains(&index) {
        return Err(format!(
            "{name} is in the key, so it is the same in all rows of a key; name another field"
        ));
    }
    let Field { kind, required, .. } = &fields[index];
    if !matches!(
        kind,
        FieldType::Integer | FieldType::Date | FieldType::Timestamp
    ) {
        return Err(format!(
            "{name} is a {} field; only an integer, date or timestamp can decide which row is newer",
            kind.as_str()
        ));
    }
    if !required {
        return Err(format!(
            "{name} is not required, and a row without a value would be neither newer nor older; set required = true"
        ));
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use crate::{Dataset, Field};

    const SALES: &str = r#"
name = "sales"
key = ["id"]
order = "changed"
fields = [
    { name = "id", type = "integer" },
    { name = "changed", type = "timestamp", required = true },
    { name = "note", type = "text", required = true },
    { name = "at", type = "date" },
]
"#;

    #[test]
    fn the_field_is_found_for_each_type_that_has_an_order() {
        for kind in ["timestamp", "date", "integer"] {
            let dataset = Dataset::from_toml("d", &SALES.replace("timestamp", kind)).unwrap();
            let name = dataset.order().map(|Field { name, .. }| name.as_str());
            assert_eq!(name, Some("changed"), "{kind}");
        }
        let without = Dataset::from_toml("d", &SALES.replace("order", "#")).unwrap();
        assert_eq!(without.order(), None);
    }

    #[test]
    fn a_field_that_cannot_decide_is_refused() {
        for (from, to, start) in [
            (
                "order = \"changed\"",
                "order = \"new\"",
                "order: no field is named \"new\"",
            ),
            (
                "order = \"changed\"",
                "order = \"id\"",
                "order: id is in the key",
            ),
            (
                "order = \"changed\"",
                "order = \"note\"",
                "order: note is a text field",
            ),
            (
                "\"timestamp\"",
                "\"decimal\"",
                "order: changed is a decimal field",
            ),
            (
                "order = \"changed\"",
                "order = \"at\"",
                "order: at is not required",
            ),
            (
                "order = \"changed\"",
                "order = \"changed\"\nmode = \"snapshot\"",
                "order: contradicts mode = \"snapshot\"",
            ),
        ] {
            let error = Dataset::from_toml("d", &SALES.replacen(from, to, 1)).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with(&format!("d:4: {start}")), "{error}");
        }
    }
}
