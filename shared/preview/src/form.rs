//! A definition as a form: what people choose in fields instead of TOML, and the definition rewritten for their
//! choices.
//!
//! Everything else in the definition stays as it is, with its comments. The settings that say how values are written
//! belong to a type, so they change with it.

use landfall_domain::{Dataset, FieldType, InvalidDefinition};
use landfall_formats::infer::Setting;
use serde::{Deserialize, Serialize};
use toml_edit::{Array, DocumentMut, Item, TableLike, Value, value};

/// Settings of a field that only some types can have, or whose value depends on the type.
const OF_TYPE: [&str; 10] = [
    "format",
    "timezone",
    "fold",
    "decimal",
    "thousands",
    "currency",
    "accounting",
    "true_values",
    "false_values",
    "default",
];

/// What a form shows of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Form {
    /// The name of the dataset.
    pub name: String,
    /// The fields that identify a row. If there are none, its place in the file does.
    pub key: Vec<String>,
    /// The comments on the key.
    pub key_note: String,
    /// The fields, in the order of the definition.
    pub fields: Vec<FormField>,
}

/// A field in a form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FormField {
    /// Its name.
    pub name: String,
    /// Its column in files: a name, or a number from 1.
    pub column: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// Whether the definition says that rows must have a value. Those of the key must anyway.
    pub required: bool,
    /// The comments on the field.
    pub note: String,
}

/// The choices in a form.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// The name of the dataset.
    pub name: String,
    /// The fields that identify a row, by their chosen names. If there are none, its place in the file does.
    pub key: Vec<String>,
    /// All fields, in the order of the definition.
    pub fields: Vec<FieldChoice>,
}

/// The choices for a field.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldChoice {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// Whether rows must have a value.
    pub required: bool,
}

/// Why a form and a definition do not go together.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// The definition is invalid, or would be after the changes.
    #[error(transparent)]
    Definition(#[from] InvalidDefinition),
    /// The text is no TOML. The parser of definitions reports that first.
    #[error("the definition cannot be changed: {0}")]
    Syntax(#[from] toml_edit::TomlError),
    /// The form is one of another definition.
    #[error(
        "the definition has {definition} fields, and the form {form}: check the definition first"
    )]
    OtherFields {
        /// The fields of the definition.
        definition: usize,
        /// The fields of the form.
        form: usize,
    },
}

/// Returns the form of a definition.
///
/// # Errors
/// The definition is invalid.
pub fn form(definition: &str) -> Result<Form, FormError> {
    let dataset = Dataset::from_toml("definition", definition)?;
    let mut document: DocumentMut = definition.parse()?;
    let key_note = comments(document.as_table(), "key");
    let records = dataset.of_records();
    let fields = tables(&mut document).into_iter().zip(&records.fields);
    let fields = fields.map(|(table, field)| {
        let notes = table.iter().map(|(name, _)| comments(table, name));
        let notes: Vec<_> = notes.filter(|note| !note.is_empty()).collect();
        FormField {
            name: field.name.clone(),
            column: field
                .position
                .map_or_else(|| field.column.clone(), |position| position.to_string()),
            kind: field.kind,
            required: is_required(table),
            note: notes.join("; "),
        }
    });
    Ok(Form {
        name: records.name.clone(),
        fields: fields.collect(),
        key: key_of(&records),
        key_note,
    })
}

/// Rewrites a definition for the choices in its form. `settings` returns what a field needs to be of another type, by
/// the index of the field.
///
/// # Errors
/// The form does not belong to the definition, or the definition would be invalid.
pub(crate) fn rewrite(
    definition: &str,
    choices: &Choices,
    mut settings: impl FnMut(usize, FieldType) -> Vec<Setting>,
) -> Result<String, FormError> {
    let dataset = Dataset::from_toml("definition", definition)?;
    let records = dataset.of_records();
    let mut document: DocumentMut = definition.parse()?;
    if records.fields.len() != choices.fields.len() {
        return Err(FormError::OtherFields {
            definition: records.fields.len(),
            form: choices.fields.len(),
        });
    }
    if choices.name != records.name {
        set(
            document.as_table_mut(),
            "name",
            choices.name.as_str().into(),
        );
    }
    let all = records.fields.iter().zip(&choices.fields).enumerate();
    for (table, (index, (field, choice))) in tables(&mut document).into_iter().zip(all) {
        if choice.name != field.name {
            if field.position.is_none() && !table.contains_key("column") {
                set(table, "column", field.column.as_str().into());
            }
            set(table, "name", choice.name.as_str().into());
        }
        if choice.kind != field.kind {
            for name in OF_TYPE {
                table.remove(name);
            }
            set(table, "type", choice.kind.as_str().into());
            forget_comments(table, "type");
            for setting in settings(index, choice.kind) {
                // Texts that stand for null do so in any type.
                if !table.contains_key(setting.name)
                    && let Ok(text) = setting.value.parse()
                {
                    set(table, setting.name, text);
                }
            }
        }
        if choice.required != is_required(table) {
            table.remove("required");
            if choice.required {
                set(table, "required", true.into());
            }
        }
    }
    // The order of the names matters to stores, so those that stay keep it.
    let renamed = key_of(&records).into_iter().map(|name| {
        let index = records.fields.iter().position(|field| field.name == name);
        index.map_or(name, |index| choices.fields[index].name.clone())
    });
    let before: Vec<String> = renamed.collect();
    let is_kept = |name: &&String| choices.key.contains(name);
    let is_new = |name: &&String| !before.contains(name);
    let kept = before.iter().filter(is_kept);
    let key: Vec<String> = kept
        .chain(choices.key.iter().filter(is_new))
        .cloned()
        .collect();
    if key != key_of(&records) {
        let key = match key[..] {
            [] => Value::from("position"),
            _ => Value::from(key.into_iter().collect::<Array>()),
        };
        set(document.as_table_mut(), "key", key);
        forget_comments(document.as_table_mut(), "key");
    }
    let rewritten = document.to_string();
    Dataset::from_toml("definition", &rewritten)?;
    Ok(rewritten)
}

/// Returns the names of the fields that identify a row.
fn key_of(records: &Dataset) -> Vec<String> {
    let key = records.key_indexes().iter();
    key.map(|index| records.fields[*index].name.clone())
        .collect()
}

/// Returns the fields of a document, in either notation.
fn tables(document: &mut DocumentMut) -> Vec<&mut dyn TableLike> {
    match document.get_mut("fields") {
        Some(Item::ArrayOfTables(tables)) => {
            let tables = tables.iter_mut();
            tables.map(|table| table as &mut dyn TableLike).collect()
        }
        Some(Item::Value(Value::Array(array))) => {
            let tables = array.iter_mut().filter_map(Value::as_inline_table_mut);
            tables.map(|table| table as &mut dyn TableLike).collect()
        }
        _ => Vec::new(),
    }
}

fn is_required(table: &dyn TableLike) -> bool {
    let required = table.get("required").and_then(Item::as_bool);
    required.unwrap_or(false)
}

/// Sets a value. What surrounds it in the text stays.
fn set(table: &mut dyn TableLike, name: &str, new: Value) {
    if let Some(old) = table.get_mut(name).and_then(Item::as_value_mut) {
        let decor = old.decor().clone();
        *old = new;
        *old.decor_mut() = decor;
    } else {
        table.insert(name, value(new));
    }
}

/// Returns the comments above a setting.
fn comments(table: &dyn TableLike, name: &str) -> String {
    let key = table.key(name);
    let above = key.and_then(|key| key.leaf_decor().prefix()?.as_str());
    let lines = above.unwrap_or_default().lines();
    let comments = lines.filter_map(|line| line.trim().strip_prefix('#'));
    let comments: Vec<_> = comments.map(str::trim).collect();
    comments.join(" ")
}

/// Removes the comments above a setting, which no longer describe it.
fn forget_comments(table: &mut dyn TableLike, name: &str) {
    if !comments(table, name).is_empty()
        && let Some(mut key) = table.key_mut(name)
    {
        key.leaf_decor_mut().set_prefix("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITION: &str = r#"# All 2 rows of goods.csv fit this definition.
# Inferred from all 2 rows.
name = "goods"
# each row is kept
key = "position"

[[fields]]
name = "sku"
# not a number because of "A1"
type = "text"

[[fields]]
name = "added" # by the shop
column = "Added on"
type = "date"
format = "%d.%m.%Y"

[[fields]]
name = "price"
type = "decimal"
# "NA" in 1 rows
nulls = ["", "NA"]
required = true
"#;

    /// Returns the choices that change nothing.
    fn unchanged(form: &Form) -> Choices {
        let fields = form.fields.iter().map(|field| FieldChoice {
            name: field.name.clone(),
            kind: field.kind,
            required: field.required,
        });
        Choices {
            name: form.name.clone(),
            key: form.key.clone(),
            fields: fields.collect(),
        }
    }

    fn rewritten(definition: &str, change: impl FnOnce(&mut Choices)) -> Result<String, FormError> {
        let mut choices = unchanged(&form(definition).unwrap());
        change(&mut choices);
        rewrite(definition, &choices, |_, _| Vec::new())
    }

    #[test]
    fn a_form_shows_fields_and_comments() {
        let form = form(DEFINITION).unwrap();
        assert_eq!((form.name.as_str(), form.key.len()), ("goods", 0));
        assert_eq!(form.key_note, "each row is kept");
        let fields: Vec<_> = form
            .fields
            .iter()
            .map(|field| (field.column.as_str(), field.required))
            .collect();
        assert_eq!(
            fields,
            [("sku", false), ("Added on", false), ("price", true)]
        );
        assert_eq!(form.fields[0].note, "not a number because of \"A1\"");
        assert_eq!(form.fields[2].note, "\"NA\" in 1 rows");
    }

    #[test]
    fn choices_that_change_nothing_leave_a_definition_as_it_is() {
        for definition in [
            DEFINITION,
            "name = \"a\"\nkey=['x']\nfields = [{name='x', type = 'text'}]\nmode = 'snapshot'\n",
        ] {
            assert_eq!(rewritten(definition, |_| {}).unwrap(), definition);
        }
    }

    #[test]
    fn only_what_is_chosen_changes() {
        let definition = rewritten(DEFINITION, |choices| {
            choices.name = "wares".to_owned();
            choices.key = vec!["code".to_owned()];
            choices.fields[0].name = "code".to_owned();
            choices.fields[1].required = true;
            choices.fields[2].required = false;
        });
        let expected = DEFINITION
            .replace("\"goods\"", "\"wares\"")
            .replace("# each row is kept\nkey = \"position\"", "key = [\"code\"]")
            .replace("name = \"sku\"", "name = \"code\"")
            .replace("type = \"text\"\n", "type = \"text\"\ncolumn = \"sku\"\n")
            .replace("%Y\"\n", "%Y\"\nrequired = true\n")
            .replace("\"NA\"]\nrequired = true\n", "\"NA\"]\n");
        assert_eq!(definition.unwrap(), expected);
    }

    #[test]
    fn a_new_type_has_no_settings_of_the_old_one() {
        let definition = rewritten(DEFINITION, |choices| {
            choices.fields[0].kind = FieldType::Integer;
            choices.fields[1].kind = FieldType::Text;
            choices.fields[2].kind = FieldType::Float;
        });
        let expected = DEFINITION
            .replace(
                "# not a number because of \"A1\"\ntype = \"text\"",
                "type = \"integer\"",
            )
            .replace("type = \"date\"\nformat = \"%d.%m.%Y\"", "type = \"text\"")
            .replace("\"decimal\"", "\"float\"");
        assert_eq!(definition.unwrap(), expected);
    }

    #[test]
    fn a_key_keeps_the_order_of_its_fields() {
        let keyed = DEFINITION.replace("\"position\"", "[\"added\", \"sku\"]");
        let key = |change: fn(&mut Choices)| form(&rewritten(&keyed, change).unwrap()).unwrap().key;
        assert_eq!(key(|_| {}), ["added", "sku"]);
        let renamed = key(|choices| {
            choices.fields[1].name = "at".to_owned();
            choices.key = ["sku", "at"].map(str::to_owned).to_vec();
        });
        assert_eq!(renamed, ["at", "sku"]);
        assert_eq!(key(|choices| choices.key.clear()), [""; 0]);
    }

    #[test]
    fn choices_that_a_definition_cannot_have_are_refused() {
        let message =
            |change: fn(&mut Choices)| rewritten(DEFINITION, change).unwrap_err().to_string();
        let message_of_key = message(|choices| {
            choices.key = vec!["price".to_owned()];
            choices.fields[2].kind = FieldType::Float;
        });
        assert!(
            message_of_key.contains("price is a float field, which cannot identify rows"),
            "{message_of_key}"
        );
        let other = message(|choices| choices.fields.truncate(1));
        assert_eq!(
            other,
            "the definition has 3 fields, and the form 1: check the definition first"
        );
        let twice = message(|choices| choices.fields[1].name = "sku".to_owned());
        assert!(twice.contains("two fields have this name"), "{twice}");
    }
}
