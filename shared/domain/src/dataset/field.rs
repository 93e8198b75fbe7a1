use crate::value::{FieldType, Notation, Value, ValueError};

/// One field of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Name of the field, and of its column in tables and its property in documents.
    pub name: String,
    /// Type of the values.
    pub kind: FieldType,
    /// Whether rows without a value are rejected. Always set for key fields.
    pub required: bool,
    /// The value of rows without one.
    pub default: Option<Value>,
    /// Name of the column or property in files. In JSON, dots lead into nested objects, unless a property has
    /// this very name.
    pub column: String,
    /// Number of the column in CSV files, and of the value in rows that are JSON arrays, from 1.
    pub position: Option<u32>,
    /// Texts that mean null. White space around them is ignored, except in text.
    pub nulls: Vec<String>,
    /// Whether stores keep an index on the field, to find and sort rows by it.
    pub indexed: bool,
    /// How values are written in files.
    pub(crate) notation: Notation,
}

impl Field {
    /// Creates an optional field whose column has the same name and for which the empty text means null.
    pub fn new(name: &str, kind: FieldType) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            required: false,
            default: None,
            column: name.to_owned(),
            position: None,
            nulls: vec![String::new()],
            indexed: false,
            notation: Notation::default(),
        }
    }

    /// Returns whether this text means null.
    pub fn is_null(&self, text: &str) -> bool {
        self.nulls.iter().any(|null| null == text)
    }

    /// Parses a value of the field as files contain it. Texts that mean null are not handled here.
    ///
    /// White space around values is ignored, except in text.
    pub fn parse(&self, text: &str) -> Result<Value, ValueError> {
        self.parse_noting(text, &mut false)
    }

    /// Does the same, and sets `is_truncated` if the text has more precision than the value.
    pub fn parse_noting(&self, text: &str, is_truncated: &mut bool) -> Result<Value, ValueError> {
        Value::parse(self.kind, &self.notation, text, is_truncated)
    }

    /// Parses a JSON number, `true` or `false` as a value of the field.
    ///
    /// Settings that say how numbers are written concern texts only. Sets `is_truncated` if the number has more
    /// precision than the value.
    pub fn parse_json_scalar(
        &self,
        json: &str,
        is_truncated: &mut bool,
    ) -> Result<Value, ValueError> {
        Value::of_json_scalar(self.kind, &self.notation, json, is_truncated)
    }
}
