//! Rows that are written one by one, by the API.

use std::sync::Arc;

use landfall_domain::{
    ColumnSet, Dataset, EXPORT_MARKER, Field, Format, Mode, Parts, Reading, RejectCode, Row, Value,
    WriteOperation, excerpt,
};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::decode::{decode_one, deleted};
use crate::exported::in_file;

/// The row of a write.
#[derive(Clone, Copy, Debug)]
pub enum Written<'a> {
    /// A whole row, as JSON. Columns that it lacks get their defaults, or null.
    Put(&'a str),
    /// Some columns of a row, as JSON.
    Patch(&'a str),
    /// A delete, with the value of the dataset's `order` if it has one.
    Delete(Option<&'a Value>),
}

/// Why a row cannot be written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WriteError {
    /// A file with the row would have a reject.
    #[error("{message}")]
    Rejected {
        /// The column or property whose value is the reason, if a single one is.
        column: Option<String>,
        /// The reason, for programs.
        code: RejectCode,
        /// The reason, for people. Quotes an excerpt of the value.
        message: String,
    },
    /// The row has another key.
    #[error("the row has another value of {0:?} than the path: change it, or leave it out")]
    OtherKey(String),
    /// The operation of the row deletes it.
    #[error("the operation of the row deletes it: use DELETE, or leave the operation out")]
    Deletes,
    /// The dataset has an `order`, and the delete has no value of it.
    #[error(
        "the greatest value of {0} decides which row of a key is newer: send that of the delete as the parameter order"
    )]
    NoOrder(String),
    /// The dataset has no `order`.
    #[error("the dataset has no order: leave the parameter order out")]
    HasNoOrder,
    /// The dataset is not merged by column.
    #[error(
        "only rows of a dataset with mode = \"merge\" are written in part: use PUT with the whole row"
    )]
    NotMerged,
    /// Rows of the dataset are identified by their place in a file.
    #[error(
        "rows of this dataset are identified by their place in a file: send rows with POST, and delete them one by one"
    )]
    KeyedByPlace,
}

impl<'a> Written<'a> {
    /// Returns the row of an operation; `None` if its JSON is missing.
    pub fn new(
        operation: WriteOperation,
        json: Option<&'a str>,
        order: Option<&'a Value>,
    ) -> Option<Self> {
        match operation {
            WriteOperation::Put => json.map(Self::Put),
            WriteOperation::Patch => json.map(Self::Patch),
            WriteOperation::Delete => Some(Self::Delete(order)),
        }
    }

    /// Returns the row as stores need it, with this key. Its JSON is read as that of a file; see [`crate::decode()`].
    /// If the API has written it, with the marker, it has the names and the notation of the API. It need not contain
    /// the key.
    ///
    /// # Errors
    /// [`WriteError`] if the definition does not allow the row.
    pub fn to_row(self, dataset: &Dataset, key: &[Value]) -> Result<Row, WriteError> {
        let (json, is_whole) = match self {
            Self::Delete(value) => return delete(dataset, key, value),
            Self::Put(json) => (json, true),
            Self::Patch(_) if dataset.mode != Mode::Merge => return Err(WriteError::NotMerged),
            Self::Patch(json) => (json, false),
        };
        if dataset.is_keyed_by_place() {
            return Err(WriteError::KeyedByPlace);
        }
        let mut reading = Reading::from(Format::Json);
        reading.is_exported = is_marked(json);
        let mut in_file = in_file(dataset, &reading).into_owned();
        for (field, value) in dataset.key_indexes().iter().zip(key) {
            let field = &mut in_file.fields[*field];
            check_null(field, value)?;
            field.default = Some(value.clone());
        }
        if is_whole && in_file.mode == Mode::Merge {
            in_file.mode = Mode::Upsert;
        }
        let mut row = decode_one(&in_file, &reading, json)?;
        if row.deleted {
            return Err(WriteError::Deletes);
        }
        for (field, value) in dataset.key_indexes().iter().zip(key) {
            if row.values[*field].cmp_key(value).is_ne() {
                return Err(WriteError::OtherKey(dataset.fields[*field].column.clone()));
            }
        }
        row.offset = 0;
        if is_whole && dataset.mode == Mode::Merge {
            // Also the column of unknown columns, which follows the fields.
            let all: ColumnSet = (0..=dataset.fields.len()).collect();
            let of_others = Parts::default();
            row.parts = Some(Arc::new(Parts {
                own: all,
                ..of_others
            }));
        }
        Ok(row)
    }
}

/// Checks that a text of the key does not mean null, which no row of a file has there.
fn check_null(field: &Field, value: &Value) -> Result<(), WriteError> {
    match value {
        Value::Text(text) if field.is_null(text) => Err(WriteError::Rejected {
            column: Some(field.column.clone()),
            code: RejectCode::Required,
            message: format!(
                "column {:?}: {:?} means null, but {} is part of the key",
                excerpt(&field.column),
                excerpt(text),
                field.name
            ),
        }),
        _ => Ok(()),
    }
}

fn delete(dataset: &Dataset, key: &[Value], order: Option<&Value>) -> Result<Row, WriteError> {
    match (dataset.order(), order) {
        (Some(field), None) => return Err(WriteError::NoOrder(field.name.clone())),
        (None, Some(_)) => return Err(WriteError::HasNoOrder),
        (Some(_), Some(_)) | (None, None) => {}
    }
    deleted(dataset, Row::delete(dataset, key, order.cloned()))
}

/// Returns whether the API has written a row.
fn is_marked(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Marked {
        #[serde(rename = "_landfall")]
        _marker: IgnoredAny,
    }
    json.contains(EXPORT_MARKER) && serde_json::from_str::<Marked>(json).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOODS: &str = "name = \"goods\"\nkey = [\"shop\", \"at\"]\n\
        [[fields]]\nname = \"shop\"\ntype = \"text\"\n\
        [[fields]]\nname = \"at\"\ntype = \"date\"\ncolumn = \"day\"\nformat = \"%d.%m.%Y\"\n\
        [[fields]]\nname = \"pieces\"\ntype = \"integer\"\nrequired = true\n\
        [[fields]]\nname = \"note\"\ntype = \"text\"\ndefault = \"none\"\n";

    fn dataset(settings: &str) -> Dataset {
        let text = GOODS.replacen("key", &format!("{settings}\nkey"), 1);
        Dataset::from_toml("goods.toml", &text).unwrap()
    }

    fn key() -> [Value; 2] {
        [
            Value::Text("a".into()),
            Value::Date("2026-11-20".parse().unwrap()),
        ]
    }

    fn texts(row: &Row) -> Vec<Option<String>> {
        let values = row.values.iter();
        values
            .map(|value| value.to_text().map(std::borrow::Cow::into_owned))
            .collect()
    }

    fn put(dataset: &Dataset, json: &str) -> Result<Row, WriteError> {
        Written::Put(json).to_row(dataset, &key())
    }

    #[test]
    fn the_key_of_the_path_need_not_be_in_the_row_but_may_not_differ() {
        let dataset = dataset("");
        let expected = ["a", "2026-11-20", "3", "none"].map(|text| Some(text.to_owned()));
        for json in [
            r#"{"pieces":3}"#,
            "{\n  \"shop\": \"a\",\n  \"day\": \"20.11.2026\",\n  \"pieces\": \"3\"\n}",
            r#"{"shop":null,"pieces":3}"#,
            // As the API writes rows.
            r#"{"shop":"a","at":"2026-11-20","pieces":3,"note":"none","_landfall":1}"#,
        ] {
            assert_eq!(texts(&put(&dataset, json).unwrap()), expected, "{json}");
        }
        let empty = [Value::Text("".into()), key()[1].clone()];
        let empty = Written::Put(r#"{"pieces":3}"#).to_row(&dataset, &empty);
        let Err(WriteError::Rejected {
            code: RejectCode::Required,
            ..
        }) = empty
        else {
            panic!("{empty:?}");
        };
        let other = put(&dataset, r#"{"day":"21.11.2026","pieces":3}"#);
        assert_eq!(other, Err(WriteError::OtherKey("day".to_owned())));
    }

    #[test]
    fn a_row_is_rejected_as_in_a_file() {
        let dataset = dataset("unknown_columns = \"reject\"\nlimits.record_bytes = 100");
        let long = format!("{{\"pieces\":3,\"note\":\"{}\"}}", "x".repeat(100));
        for (json, column, code) in [
            ("{}", Some("pieces"), RejectCode::Required),
            (r#"{"pieces":"many"}"#, Some("pieces"), RejectCode::Type),
            (
                r#"{"pieces":3,"colour":1}"#,
                Some("colour"),
                RejectCode::UnknownColumn,
            ),
            ("{\"pieces\":3", None, RejectCode::Json),
            ("[{\"pieces\":3}]", None, RejectCode::Json),
            ("{\"pieces\":3}\n{\"pieces\":4}", None, RejectCode::Json),
            ("3", None, RejectCode::Json),
            ("", None, RejectCode::Json),
            (&long, None, RejectCode::RecordLength),
        ] {
            let Err(WriteError::Rejected {
                column: found,
                code: reason,
                ..
            }) = put(&dataset, json)
            else {
                panic!("{json} is accepted");
            };
            assert_eq!((found.as_deref(), reason), (column, code), "{json}");
        }
        let long = [
            Value::Text("x".repeat(600).as_str().into()),
            key()[1].clone(),
        ];
        let deleted = Written::Delete(None).to_row(&dataset, &long);
        let Err(WriteError::Rejected {
            code: RejectCode::KeyLength,
            ..
        }) = deleted
        else {
            panic!("{deleted:?}");
        };
    }

    #[test]
    fn only_merged_rows_are_written_in_part_and_a_whole_row_has_all_columns() {
        let merged = dataset("mode = \"merge\"");
        let patch = Written::Patch(r#"{"note":"new"}"#);
        let row = patch.to_row(&merged, &key()).unwrap();
        assert!(row.has(3) && !row.has(2) && !row.has(4));
        let row = put(&merged, r#"{"pieces":3}"#).unwrap();
        assert!((0..=4).all(|column| row.has(column)));
        assert_eq!(texts(&row)[3].as_deref(), Some("none"));
        assert!(matches!(
            put(&merged, "{}"),
            Err(WriteError::Rejected { .. })
        ));
        assert_eq!(
            patch.to_row(&dataset(""), &key()),
            Err(WriteError::NotMerged)
        );
    }

    #[test]
    fn a_delete_has_the_key_and_the_order() {
        let ordered = dataset("order = \"pieces\"");
        let three = Value::Integer(3);
        let row = Written::Delete(Some(&three))
            .to_row(&ordered, &key())
            .unwrap();
        let expected = [Some("a"), Some("2026-11-20"), Some("3"), None];
        assert_eq!(texts(&row), expected.map(|text| text.map(str::to_owned)));
        assert!(row.deleted);
        let without = Written::Delete(None).to_row(&ordered, &key());
        assert_eq!(without, Err(WriteError::NoOrder("pieces".to_owned())));
        let superfluous = Written::Delete(Some(&three)).to_row(&dataset(""), &key());
        assert_eq!(superfluous, Err(WriteError::HasNoOrder));
        let operation = dataset("operation = { column = \"op\" }");
        let deletes = put(&operation, r#"{"op":"delete","pieces":3}"#);
        assert_eq!(deletes, Err(WriteError::Deletes));
    }
}
