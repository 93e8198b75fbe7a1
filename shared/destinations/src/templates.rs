//! The templates of paths and bodies.
//!
//! In a path, values are percent-encoded, so that they cannot change its structure. In a body, values are written as
//! JSON. Templates have neither filters nor functions, and cannot include each other. The steps that one takes and the
//! bytes that it writes are bounded.

use std::collections::{BTreeMap, HashSet};
use std::io;

use landfall_domain::{Dataset, Value};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, escape_formatter};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The maximum number of bytes in a body.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;
/// The maximum number of bytes in a path.
const MAX_PATH_BYTES: usize = 4096;
/// The maximum number of instructions of a template.
const FUEL: u64 = 100_000;
/// The name of the service's own id in templates.
pub(crate) const REMOTE_ID: &str = "remote_id";
/// What a value in a path is encoded to, all but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a template writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Path,
    Body,
}

/// Why a template has no output for a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RenderError {
    #[error("a value in the path is empty")]
    EmptyInPath,
    #[error("it has more than {0} bytes")]
    TooLong(usize),
    #[error("{0}")]
    Failed(String),
}

/// A parsed template.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    environment: Environment<'static>,
    output: Output,
}

const NAME: &str = "template";

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(source: &str, output: Output) -> Result<Self, String> {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| AutoEscape::Json);
        if output == Output::Path {
            environment.set_formatter(|written, _, value| {
                if value.is_undefined() {
                    return Err(ErrorKind::UndefinedError.into());
                }
                let text = value.to_string();
                if value.is_none() || text.is_empty() {
                    let error = Error::new(ErrorKind::InvalidOperation, "empty");
                    return Err(error.with_source(RenderError::EmptyInPath));
                }
                let encoded = utf8_percent_encode(&text, ENCODED).to_string();
                written.write_str(&encoded).map_err(Error::from)
            });
        } else {
            environment.set_formatter(escape_formatter);
        }
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| described(&error))?;
        Ok(Self {
            environment,
            output,
        })
    }

    /// Returns the names that the template uses.
    pub(crate) fn names(&self) -> HashSet<String> {
        let template = self.environment.get_template(NAME);
        template
            .map(|template| template.undeclared_variables(false))
            .unwrap_or_default()
    }

    /// Returns whether the template uses the service's own id.
    pub(crate) fn uses_remote_id(&self) -> bool {
        self.names().contains(REMOTE_ID)
    }

    /// Returns the output for these values.
    pub(crate) fn render(&self, values: &minijinja::Value) -> Result<String, RenderError> {
        let most = match self.output {
            Output::Path => MAX_PATH_BYTES,
            Output::Body => MAX_BODY_BYTES,
        };
        let mut written = Bounded {
            bytes: Vec::new(),
            most,
            is_full: false,
        };
        let template = self.environment.get_template(NAME);
        let rendered = template.and_then(|template| {
            template
                .render_captured_to(values.clone(), &mut written)
                .map(drop)
        });
        if written.is_full {
            return Err(RenderError::TooLong(most));
        }
        rendered.map_err(|error| {
            let source = std::error::Error::source(&error);
            match source.and_then(|source| source.downcast_ref()) {
                Some(error) => Clone::clone(error),
                // The details of other errors can contain values.
                None => RenderError::Failed(error.kind().to_string()),
            }
        })?;
        String::from_utf8(written.bytes).map_err(|error| RenderError::Failed(error.to_string()))
    }
}

/// Returns what is wrong with the source of a template.
fn described(error: &Error) -> String {
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("is not a template: {detail}, in line {line} of the text"),
        None => format!("is not a template: {detail}"),
    }
}

/// Returns the values of a row for templates, by the names of their fields, and the service's own id.
pub(crate) fn values<'v>(
    dataset: &Dataset,
    values: impl IntoIterator<Item = (usize, &'v Value)>,
    remote_id: Option<&str>,
) -> minijinja::Value {
    let fields = values
        .into_iter()
        .filter_map(|(index, value)| Some((dataset.fields.get(index)?.name.clone(), of(value))));
    let id = remote_id.map(|id| (REMOTE_ID.to_owned(), minijinja::Value::from(id)));
    fields
        .chain(id)
        .collect::<BTreeMap<String, minijinja::Value>>()
        .into()
}

fn of(value: &Value) -> minijinja::Value {
    match value {
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Boolean(boolean) => (*boolean).into(),
        Value::Json(text) => match serde_json::from_str::<serde_json::Value>(text) {
            Ok(json) => Serde(json).into(),
            Err(_) => text.as_str().into(),
        },
        value => match value.to_text() {
            Some(text) => text.as_ref().into(),
            None => minijinja::Value::from(()),
        },
    }
}

/// Collects bytes up to a number of them.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    is_full: bool,
}

impl io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dataset() -> Dataset {
        let definition = "name = \"d\"\nkey = [\"id\"]\nfields = [{ name = \"id\", type = \"text\" }, \
                          { name = \"n\", type = \"integer\" }, { name = \"j\", type = \"json\" }]\n";
        Dataset::from_toml("d.toml", definition).unwrap()
    }

    fn render(source: &str, output: Output, row: &[Value]) -> Result<String, RenderError> {
        let values = values(&dataset(), row.iter().enumerate(), Some("r 1"));
        Template::parse(source, output).unwrap().render(&values)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn bodies_are_json_whatever_the_values() {
        let row = [
            text("a\"\n"),
            Value::Null,
            Value::Json(r#"{"a": [1, "x"]}"#.into()),
        ];
        let body =
            r#"{"id": {{ id }}, "n": {{ n }}, "j": {{ j.a }}, "of": {{ remote_id ~ "-" ~ id }}}"#;
        let rendered = render(body, Output::Body, &row).unwrap();
        let json: serde_json::Value = serde_json::from_str(&rendered).unwrap();
        let expected =
            serde_json::json!({"id": "a\"\n", "n": null, "j": [1, "x"], "of": "r 1-a\"\n"});
        assert_eq!(json, expected);
    }

    #[test]
    fn nothing_is_rendered_without_end() {
        let row = [text("a"), Value::Integer(1), Value::Null];
        for source in [
            "{% for a in [1,2]*50000 %}{{ a }}{% endfor %}",
            "{% for a in [1]*10000 %}{% for b in [1]*10000 %}{% endfor %}{% endfor %}",
        ] {
            assert!(render(source, Output::Body, &row).is_err(), "{source}");
        }
        let long =
            "{% set x = \"aaaaaaaaaaaaaaaa\" * 4096 %}{% for a in [1]*100 %}{{ x }}{% endfor %}";
        let expected = Err(RenderError::TooLong(MAX_BODY_BYTES));
        assert_eq!(render(long, Output::Body, &row), expected);
    }

    #[test]
    fn a_path_needs_all_of_its_values() {
        for (row, expected) in [
            (
                [text(""), Value::Null, Value::Null],
                RenderError::EmptyInPath,
            ),
            (
                [Value::Null, Value::Null, Value::Null],
                RenderError::EmptyInPath,
            ),
        ] {
            assert_eq!(render("/o/{{ id }}", Output::Path, &row), Err(expected));
        }
        let row = [text("a"), Value::Null, Value::Null];
        assert!(render("/o/{{ gone }}", Output::Path, &row).is_err());
        assert!(render("/o/{{ id | upper }}", Output::Path, &row).is_err());
        assert!(Template::parse("/o/{{ id ", Output::Path).is_err());
    }

    proptest! {
        #[test]
        fn values_do_not_change_the_structure_of_a_path(value in "\\PC{1,20}") {
            let row = [text(&value), Value::Null, Value::Null];
            let path = render("/a/{{ id }}/b", Output::Path, &row).unwrap();
            prop_assert_eq!(path.matches('/').count(), 3);
            prop_assert!(!path.contains(['?', '#', '\\', ':', '@']));
            let decoded = percent_encoding::percent_decode_str(&path[3..path.len() - 2]);
            prop_assert_eq!(decoded.decode_utf8().unwrap(), value);
        }
    }
}
