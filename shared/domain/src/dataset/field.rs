use crate::value::{FieldType, Value, ValueError};

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
    /// Name of the column or property in files.
    pub column: String,
    /// Texts that mean null.
    pub nulls: Vec<String>,
    /// `strptime` pattern of dates and timestamps that are not in ISO 8601.
    pub pattern: Option<String>,
    /// Whether stores keep an index on the field, to find and sort rows by it.
    pub indexed: bool,
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
            nulls: vec![String::new()],
            pattern: None,
            indexed: false,
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
        Value::parse(self.kind, self.pattern.as_deref(), text)
    }
}
