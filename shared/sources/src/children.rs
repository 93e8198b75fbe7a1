//! Requests for each row of another dataset.

use std::collections::BTreeMap;
use std::fmt;

use landfall_domain::{Dataset, FieldType, Value, is_name};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use url::Url;

/// Everything but the characters that mean themselves in URLs, and need no escape anywhere in them.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Requests for each row of another dataset, its *parents*.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// The dataset of the parents.
    pub of: String,
    /// The maximum number of parents in a run.
    pub max: u64,
    /// Properties that records get unless they have them, and the fields of their parents that these come from.
    pub fields: Vec<(String, String)>,
    /// Whether parents that the server does not have, by status 404 or 410, have no records. Otherwise, the walk fails.
    pub skips_missing: bool,
    /// The URL of the records of a parent.
    pub url: UrlTemplate,
}

/// A URL in whose path and query `{field}` stands for a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

/// A row whose children are fetched: of its values, only those that are needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its key, as texts.
    pub key: Vec<String>,
    /// The values of fields, as JSON has them.
    pub values: BTreeMap<String, Json>,
}

/// Why no records can be requested for a parent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParentError {
    /// A value would lead to another place.
    #[error(
        "the row {key} of the dataset of [children] has no usable {field:?} for the URL: it is {found}"
    )]
    Value {
        /// The key of the parent.
        key: String,
        /// The field.
        field: String,
        /// What it is.
        found: &'static str,
    },
    /// With its values, the URL is none.
    #[error("the row {key} of the dataset of [children] has values that make no URL")]
    Url {
        /// The key of the parent.
        key: String,
    },
    /// The server has none of them, so that the URL may be wrong.
    #[error(
        "the server has no row of the dataset of [children]: each of the {0} requests got 404 or 410"
    )]
    AllMissing(u64),
    /// There are too many.
    #[error("the dataset of [children] has more than {0} rows; raise children.max")]
    TooMany(u64),
}

impl UrlTemplate {
    /// Parses the text of a URL.
    ///
    /// # Errors
    /// What is wrong with a placeholder.
    pub fn parse(text: &str) -> Result<Self, String> {
        let start = text.find("://").map_or(0, |scheme| scheme + 3);
        let path = text[start..]
            .find('/')
            .map_or(text.len(), |path| start + path);
        if text[..path].contains('{') {
            return Err(
                "must not have a field before its path: all requests are to one server".into(),
            );
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once('{') {
            let (name, after) = from
                .split_once('}')
                .ok_or("has a { that is not closed; write {field}, or %7B for the character")?;
            if !is_name(name) {
                return Err(format!(
                    "has {{{name}}}, which cannot be the name of a field"
                ));
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Field(name.to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = Self(parts);
        if segments(text).any(is_dots) {
            return Err("must not have . or .. as a part of its path".into());
        }
        Ok(template)
    }

    /// Returns the names of the fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Field(name) => Some(name.as_str()),
        })
    }

    /// Returns the URL with the values of a parent, which change neither its server nor its structure.
    pub fn fill(&self, parent: &Parent) -> Result<Url, ParentError> {
        let key = || parent.shown_key();
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text += part,
                Part::Field(field) => {
                    let found = parent.text(field).filter(|value| !value.is_empty());
                    let value = found.ok_or_else(|| ParentError::Value {
                        key: key(),
                        field: field.clone(),
                        found: "empty",
                    })?;
                    text.extend(utf8_percent_encode(&value, ESCAPED));
                }
            }
        }
        // URLs drop such segments, and the one before, even if they are escaped.
        if segments(&text).any(is_dots) {
            return Err(ParentError::Value {
                key: key(),
                field: self.fields().collect::<Vec<_>>().join(", "),
                found: "\".\" or \"..\"",
            });
        }
        Url::parse(&text).map_err(|_| ParentError::Url { key: key() })
    }
}

impl fmt::Display for UrlTemplate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Text(text) => formatter.write_str(text)?,
                Part::Field(name) => write!(formatter, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

/// Returns the segments of the path of a URL.
fn segments(url: &str) -> impl Iterator<Item = &str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\'])
}

/// Returns whether a segment of a path means this or the directory above it.
fn is_dots(segment: &str) -> bool {
    let decoded: Vec<u8> = percent_decode_str(segment).collect();
    matches!(decoded.as_slice(), b"." | b"..")
}

impl Children {
    /// Returns the names of the fields of parents that are needed, each once.
    pub fn parent_fields(&self) -> Vec<&str> {
        let of_records = self.fields.iter().map(|(_, field)| field.as_str());
        let mut names: Vec<&str> = self.url.fields().chain(of_records).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Checks that the dataset of the parents has the fields that are needed.
    ///
    /// # Errors
    /// Which field cannot be used, and why.
    pub fn check_parents(&self, parents: &Dataset) -> Result<(), String> {
        let dataset = &parents.name;
        for name in self.parent_fields() {
            let field = parents.fields.iter().find(|field| field.name == name);
            match field.map(|field| field.kind) {
                None => {
                    return Err(format!(
                        "the dataset {dataset} of [children] has no field {name:?}"
                    ));
                }
                Some(FieldType::Json) => {
                    return Err(format!(
                        "the field {name:?} of the dataset {dataset} of [children] is JSON, which has no single value"
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Returns what is needed of a row. Its values are those of all fields of its dataset, in their order.
    pub fn parent(&self, parents: &Dataset, row: &[Value]) -> Parent {
        let key = parents.key_indexes().iter();
        let key = key.filter_map(|index| Some(row.get(*index)?.to_text()?.into_owned()));
        let needed = self.parent_fields();
        let values = parents.fields.iter().zip(row);
        let values = values.filter(|(field, _)| needed.contains(&field.name.as_str()));
        Parent {
            key: key.collect(),
            values: values
                .map(|(field, value)| (field.name.clone(), to_json(value)))
                .collect(),
        }
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Integer(number) => (*number).into(),
        Value::Boolean(value) => (*value).into(),
        Value::Float(number) => (*number).into(),
        other => other.to_text().map_or(Json::Null, Into::into),
    }
}

impl Parent {
    /// Returns a value as a text.
    fn text(&self, field: &str) -> Option<String> {
        match self.values.get(field)? {
            Json::String(text) => Some(text.clone()),
            value @ (Json::Number(_) | Json::Bool(_)) => Some(value.to_string()),
            Json::Null | Json::Array(_) | Json::Object(_) => None,
        }
    }

    /// Returns the key as it is shown in errors.
    fn shown_key(&self) -> String {
        format!("{:?}", self.key.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parent(values: Json) -> Parent {
        Parent {
            key: vec!["k".into()],
            values: serde_json::from_value(values).unwrap(),
        }
    }

    #[test]
    fn values_are_escaped_in_the_path_and_in_the_query() {
        let template = UrlTemplate::parse("https://a.example/o/{id}/items?of={name}").unwrap();
        let url = template.fill(&parent(json!({"id": 7, "name": "a b&c=/é"})));
        assert_eq!(
            url.unwrap().as_str(),
            "https://a.example/o/7/items?of=a%20b%26c%3D%2F%C3%A9"
        );
        assert_eq!(template.fields().collect::<Vec<_>>(), ["id", "name"]);
        assert_eq!(
            template.to_string(),
            "https://a.example/o/{id}/items?of={name}"
        );
    }

    #[test]
    fn values_that_would_change_the_path_are_refused() {
        let template = UrlTemplate::parse("https://a.example/o/{id}/x{name}").unwrap();
        for (id, name) in [("", "a"), (".", "a"), ("..", "a"), ("%2e%2E", "")] {
            let filled = template.fill(&parent(json!({"id": id, "name": name})));
            assert!(filled.is_err(), "{id}");
        }
        assert!(
            template
                .fill(&parent(json!({"id": null, "name": "a"})))
                .is_err()
        );
        assert!(template.fill(&parent(json!({"id": 1}))).is_err());
        let good = template
            .fill(&parent(json!({"id": "a.b", "name": ".."})))
            .unwrap();
        assert_eq!(good.path(), "/o/a.b/x..");
    }

    #[test]
    fn bad_placeholders_are_refused() {
        for text in [
            "https://{id}.example/x",
            "https://a.example:{id}/x",
            "https://{id}@a.example/x",
            "{id}://a.example/x",
            "https://a.example/{id",
            "https://a.example/{Id}",
            "https://a.example/../{id}",
        ] {
            assert!(UrlTemplate::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_value_leads_to_another_place(a in "\\PC{0,6}|[./%2eE\\\\?#@:]{1,6}", b in "[a-z./\\\\]{0,3}") {
            let template = UrlTemplate::parse("https://a.example/o/{a}/i{b}?q={a}").unwrap();
            if let Ok(url) = template.fill(&parent(json!({"a": a, "b": b}))) {
                prop_assert_eq!(url.origin().ascii_serialization(), "https://a.example");
                let segments: Vec<_> = url.path_segments().unwrap().collect();
                prop_assert_eq!(segments.len(), 3);
                let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
                prop_assert_eq!(decoded(segments[1]), a.clone());
                prop_assert_eq!(decoded(segments[2]), format!("i{b}"));
                let pairs: Vec<_> = url.query_pairs().into_owned().collect();
                prop_assert_eq!(pairs, [("q".to_owned(), a)]);
                prop_assert_eq!(url.fragment(), None);
            }
        }
    }
}
