//! The key of a definition: the names of fields, or the place of the record.

use std::fmt;

use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use toml::Spanned;

use super::RawDataset;
use super::fields::check_names;
use super::text::{DefinitionText, InvalidDefinition};
use crate::dataset::{Field, Mode};

/// The word for the place of a record.
const POSITION: &str = "position";

/// What identifies a row.
pub(super) enum RawKey {
    Fields(Vec<Spanned<String>>),
    Position,
}

impl<'de> Deserialize<'de> for RawKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = RawKey;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "a list of names of fields, or {POSITION:?}")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<RawKey, E> {
                if word == POSITION {
                    return Ok(RawKey::Position);
                }
                Err(E::custom(format!(
                    "must be a list of names of fields, such as [{word:?}], or {POSITION:?}, the place in the file"
                )))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<RawKey, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(names)).map(RawKey::Fields)
            }
        }

        deserializer.deserialize_any(KeyVisitor)
    }
}

/// Returns the indexes of the key fields. There are none if the place of the record is the key.
pub(super) fn check_key(
    source: &DefinitionText<'_>,
    raw: &RawDataset,
    fields: &[Field],
) -> Result<Vec<usize>, InvalidDefinition> {
    let span = raw.key.span();
    if let RawKey::Fields(names) = raw.key.get_ref() {
        return check_names(source, "key", (&span, names), fields);
    }
    let contradiction = if raw.mode == Mode::Merge {
        "mode = \"merge\", because no two rows have the same key"
    } else if raw.order.is_some() {
        "order, because no two rows have the same key"
    } else if raw.operation.is_some() {
        "[operation], because no record has the key of another one to delete it"
    } else {
        return Ok(Vec::new());
    };
    let message =
        format!("{POSITION:?} contradicts {contradiction}: name the fields that identify a row");
    Err(source.error(&span, "key", message))
}

#[cfg(test)]
mod tests {
    use crate::{Dataset, Mode};

    const PRODUCTS: &str = r#"
name = "products"
key = "position"

[[fields]]
name = "sku"
type = "text"

[[fields]]
name = "price"
type = "decimal"
"#;

    fn with_key(key: &str) -> String {
        PRODUCTS.replace("\"position\"", key)
    }

    fn check_mistake(definition: &str, start: &str) {
        let error = Dataset::from_toml("d.toml", definition).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with(&format!("d.toml:3: key: {start}")),
            "{error}"
        );
    }

    #[test]
    fn the_place_in_the_file_can_be_the_key() {
        let dataset = Dataset::from_toml("d.toml", PRODUCTS).unwrap();
        let key: Vec<_> = dataset.key_fields().map(|field| &*field.name).collect();
        assert_eq!(key, ["_object", "_offset"]);
        assert!(!dataset.fields[0].required && dataset.is_keyed_by_place());
        let records = dataset.of_records();
        let names: Vec<_> = records.fields.iter().map(|field| &*field.name).collect();
        assert_eq!(
            (names, records.key_indexes()),
            (vec!["sku", "price"], &[][..])
        );
    }

    #[test]
    fn what_needs_the_key_of_another_row_contradicts_the_place() {
        for (settings, contradiction) in [
            ("mode = \"merge\"", "mode = \"merge\""),
            ("order = \"sku\"", "order"),
            ("operation = { column = \"op\" }", "[operation]"),
        ] {
            let definition = with_key(&format!("\"position\"\n{settings}"));
            let start = format!("\"position\" contradicts {contradiction}, because ");
            check_mistake(&definition, &start);
        }
        let snapshot = with_key("\"position\"\nmode = \"snapshot\"");
        let snapshot = Dataset::from_toml("d.toml", &snapshot).unwrap();
        assert_eq!(snapshot.mode, Mode::Snapshot);
        let start = "must be a list of names of fields, such as [\"sku\"], or \"position\"";
        check_mistake(&with_key("\"sku\""), start);
        check_mistake(&with_key("7"), "");
    }
}
