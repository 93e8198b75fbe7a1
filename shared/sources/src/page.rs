//! What is in an answer: its records, and the properties beside them.

use std::fmt;

use landfall_domain::{Format, excerpt};
use serde::Deserializer;
use serde::de::{Deserialize, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::source::Source;
use crate::table::Table;

/// Why an answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// It is not UTF-8.
    #[error("the answer is not UTF-8")]
    Encoding,
    /// It is not JSON.
    #[error("the answer is not JSON ({error}); it starts with {start:?}")]
    Syntax {
        /// What is wrong, and where.
        error: serde_json::Error,
        /// The start of the answer.
        start: String,
    },
    /// There are no records at the path.
    #[error("the answer has no array {path:?}; set records to the path of the array of records")]
    NoRecords {
        /// The path of the definition.
        path: String,
    },
    /// A property is neither a text nor a number nor a boolean.
    #[error("the property {path:?} is {found}, not a text, number or boolean")]
    Property {
        /// The path of the definition.
        path: String,
        /// What is there, or its start.
        found: String,
    },
    /// It is not CSV or TSV.
    #[error("the answer cannot be read: {0}")]
    Table(#[from] csv::Error),
    /// A `GraphQL` server reports errors.
    #[error("the server reports errors: {0}")]
    Errors(String),
}

/// An answer that is read as a whole.
pub(crate) struct Page<'a> {
    body: &'a str,
    /// The records that name the columns of a table.
    pub(crate) header: Option<String>,
    /// The records, as they are in the answer.
    pub(crate) records: Vec<&'a str>,
}

impl<'a> Page<'a> {
    /// Finds the records of an answer.
    pub(crate) fn read(body: &'a [u8], source: &Source) -> Result<Self, PageError> {
        let body = str::from_utf8(body).map_err(|_| PageError::Encoding)?;
        let body = body.trim_start_matches('\u{feff}');
        match source.format {
            Format::Json => Self::read_json(body, &source.records, source.graphql),
            Format::Ndjson => {
                let lines = body.lines().map(str::trim);
                Ok(Self {
                    body,
                    header: None,
                    records: lines.filter(|line| !line.is_empty()).collect(),
                })
            }
            Format::Csv | Format::Tsv => {
                let table = Table::read(body, source.format, &source.csv)?;
                Ok(Self {
                    body,
                    header: Some(table.header),
                    records: table.records,
                })
            }
        }
    }

    fn read_json(body: &'a str, path: &[String], graphql: bool) -> Result<Self, PageError> {
        let page = Self {
            body,
            header: None,
            records: Vec::new(),
        };
        // First, because a server that reports errors may have no records.
        let errors = if graphql {
            page.at(&["errors".to_owned()])?
        } else {
            None
        };
        if let Some(errors) = errors.filter(|errors| !matches!(errors.get(), "null" | "[]")) {
            return Err(PageError::Errors(excerpt(errors.get())));
        }
        let no_records = || PageError::NoRecords {
            path: path.join("."),
        };
        let array = page.at(path)?.ok_or_else(no_records)?.get();
        // Some servers write an empty list so.
        if array == "null" {
            return Ok(page);
        }
        if !array.starts_with('[') {
            return Err(no_records());
        }
        let records: Vec<&RawValue> =
            serde_json::from_str(array).map_err(|error| syntax(error, body))?;
        Ok(Self {
            records: records.into_iter().map(RawValue::get).collect(),
            ..page
        })
    }

    /// Returns the text of a property beside the records; `None` if it is missing, null or empty.
    pub(crate) fn text(&self, path: &[String]) -> Result<Option<String>, PageError> {
        text_at(self.at(path)?, path)
    }

    fn at(&self, path: &[String]) -> Result<Option<&'a RawValue>, PageError> {
        find(self.body, path).map_err(|error| syntax(error, self.body))
    }
}

/// What a record has at a path.
pub(crate) enum Field {
    Missing,
    /// `null`, or an empty text.
    Null,
    Text(String),
}

/// Returns what a record has at a path.
pub(crate) fn field_of(record: &str, path: &[String]) -> Result<Field, PageError> {
    let found = find(record, path).map_err(|error| syntax(error, record))?;
    Ok(match found {
        None => Field::Missing,
        value => text_at(value, path)?.map_or(Field::Null, Field::Text),
    })
}

/// Appends a record as a line. Line breaks between its tokens are left out; within texts, JSON has none.
pub(crate) fn write_line(record: &str, out: &mut Vec<u8>) {
    let mut rest = record.as_bytes();
    out.reserve(rest.len() + 1);
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\n');
}

fn syntax(error: serde_json::Error, body: &str) -> PageError {
    PageError::Syntax {
        error,
        start: excerpt(body.trim_start()),
    }
}

fn text_at(value: Option<&RawValue>, path: &[String]) -> Result<Option<String>, PageError> {
    let Some(raw) = value.map(RawValue::get).filter(|raw| *raw != "null") else {
        return Ok(None);
    };
    let text = match raw.as_bytes().first() {
        Some(b'{' | b'[') => None,
        Some(b'"') => serde_json::from_str(raw).ok(),
        _ => Some(raw.to_owned()),
    };
    match text {
        Some(text) => Ok(Some(text).filter(|text: &String| !text.is_empty())),
        None => Err(PageError::Property {
            path: path.join("."),
            found: excerpt(raw),
        }),
    }
}

/// Returns the value at a path of property names. Of a property that occurs twice, the last one counts.
fn find<'a>(json: &'a str, path: &[String]) -> Result<Option<&'a RawValue>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let found = Find(path).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(found)
}

struct Find<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            return <&RawValue>::deserialize(deserializer).map(Some);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let Some((name, rest)) = self.0.split_first() else {
            return Ok(None);
        };
        while let Some(is_next) = map.next_key_seed(Is(name))? {
            if is_next {
                found = map.next_value_seed(Find(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether the name of a property is this one.
struct Is<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a property")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn source(records: &str) -> Source {
        let records = if records.is_empty() {
            String::new()
        } else {
            format!("records = \"{records}\"\n")
        };
        let text =
            format!("dataset = \"d\"\nurl = \"https://a.example\"\nevery = \"1 hour\"\n{records}");
        Source::from_toml("s", "s.toml", &text).unwrap()
    }

    fn read<'a>(body: &'a str, records: &str) -> Result<Page<'a>, PageError> {
        Page::read(body.as_bytes(), &source(records))
    }

    #[test]
    fn records_and_properties_are_found() {
        let body = r#"{"data": {"items": [{"id": 1,
            "at": "x"}, {"id": 2}], "n\u0065xt": "c\"1"}, "more": true, "none": null, "empty": ""}"#;
        let page = read(body, "data.items").unwrap();
        assert_eq!(page.records.len(), 2);
        let text = |name: &str| page.text(&path(name)).unwrap();
        assert_eq!(text("data.next").as_deref(), Some("c\"1"));
        assert_eq!(text("more").as_deref(), Some("true"));
        for missing in ["none", "empty", "other", "more.x", "data.items.id"] {
            assert_eq!(text(missing), None, "{missing}");
        }
        assert!(matches!(
            page.text(&path("data")),
            Err(PageError::Property { .. })
        ));
        let mut line = Vec::new();
        write_line(page.records[0], &mut line);
        assert_eq!(
            line.iter().position(|byte| *byte == b'\n'),
            Some(line.len() - 1)
        );
        let value: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value, json!({"id": 1, "at": "x"}));
    }

    #[test]
    fn an_array_at_the_root_has_the_empty_path() {
        assert_eq!(read("[1, {}]", "").unwrap().records, ["1", "{}"]);
        assert_eq!(read("\u{feff}[]", "").unwrap().records.len(), 0);
        assert_eq!(read(r#"{"a": null}"#, "a").unwrap().records.len(), 0);
    }

    #[test]
    fn an_answer_without_records_is_an_error_not_an_empty_page() {
        for (body, start) in [
            ("<html>Sign in</html>", "the answer is not JSON"),
            ("", "the answer is not JSON"),
            (r#"{"a": [{}]"#, "the answer is not JSON"),
            (r#"{"a": []} x"#, "the answer is not JSON"),
            (r#"{"error": "x"}"#, "the answer has no array \"a\""),
            (r#"{"a": {"id": 1}}"#, "the answer has no array \"a\""),
            ("[]", "the answer has no array \"a\""),
        ] {
            let error = read(body, "a").err().map(|error| error.to_string());
            assert!(
                error
                    .as_deref()
                    .is_some_and(|error| error.starts_with(start)),
                "{body}: {error:?}"
            );
        }
        assert!(matches!(
            Page::read(b"[\"\xff\"]", &source("")),
            Err(PageError::Encoding)
        ));
    }

    #[test]
    fn errors_of_graphql_have_status_200() {
        let read = |body: &str| {
            Page::read_json(body, &path("data.items"), true).map(|page| page.records.len())
        };
        let failed = read(r#"{"data": null, "errors": [{"message": "no"}]}"#);
        assert!(matches!(failed, Err(PageError::Errors(text)) if text.contains("no")));
        assert_eq!(
            read(r#"{"errors": [], "data": {"items": [1]}}"#).unwrap(),
            1
        );
    }

    proptest! {
        #[test]
        fn found_is_what_a_parser_of_values_finds(
            names in prop::collection::vec("[ab\"\u{e9}]{1,2}", 0..4),
            leaf in prop::sample::select(vec!["null", "1.50", "\"x\\ny\"", "[1, 2]", "{}", "true"]),
            around in prop::sample::select(vec!["null", "[{\"a\": 1}]", "\"a\"", "-1e3"]),
        ) {
            let mut json = leaf.to_owned();
            for name in names.iter().rev() {
                let name = serde_json::to_string(name).unwrap();
                json = format!("{{\"z\": {around}, {name}: {json}, \"y\": {around}}}");
            }
            let found = find(&json, &names).unwrap().map(RawValue::get);
            prop_assert_eq!(found, Some(leaf));
        }

        #[test]
        fn a_line_is_the_same_value(
            value in "[a-z\n\r\"\\\\\u{2028}]{0,8}",
            numbers in prop::collection::vec(any::<i32>(), 0..4),
        ) {
            let value = json!({"t": value, "n": numbers});
            let mut line = Vec::new();
            write_line(&serde_json::to_string_pretty(&value).unwrap(), &mut line);
            prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            prop_assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), value);
        }
    }
}
