//! What is called: methods, paths and bodies, and what some answers mean.

use http::Method;
use landfall_domain::{FieldType, InvalidDefinition, Value};
use serde::Deserialize;
use toml::Spanned;

use super::{Checker, path};
use crate::Operation;
use crate::destination::{Body, Conflict, Endpoint, Lookup, NotFound};
use crate::plan::json;
use crate::templates::{self, Output, REMOTE_ID, Template};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEndpoint {
    method: Option<Spanned<String>>,
    path: Spanned<String>,
    body: Option<Spanned<String>>,
    not_found: Option<Spanned<NotFound>>,
    conflict: Option<Spanned<Conflict>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLookup {
    path: Spanned<String>,
    pub(super) id_from: Option<Spanned<String>>,
    row_from: Option<Spanned<String>>,
}

/// What an operation can have.
struct Rules {
    operation: Operation,
    method: Method,
    body: Body,
    not_found: (NotFound, &'static [NotFound]),
    conflict: &'static [Conflict],
}

/// Returns whether an update that finds nothing leads to a create.
pub(super) fn creates_what_is_not_found(endpoint: &Endpoint) -> bool {
    endpoint.not_found == NotFound::Create
}

impl Checker<'_> {
    pub(super) fn create(
        &self,
        raw: Option<&Spanned<RawEndpoint>>,
    ) -> Result<Option<Endpoint>, InvalidDefinition> {
        let rules = Rules {
            operation: Operation::Create,
            method: Method::POST,
            body: Body::Fields,
            not_found: (NotFound::Refused, &[NotFound::Refused]),
            conflict: &[Conflict::Refused, Conflict::Retry, Conflict::Update],
        };
        raw.map(|raw| self.endpoint(raw.get_ref(), rules))
            .transpose()
    }

    pub(super) fn update(
        &self,
        raw: Option<&Spanned<RawEndpoint>>,
    ) -> Result<Option<Endpoint>, InvalidDefinition> {
        let rules = Rules {
            operation: Operation::Update,
            method: Method::PUT,
            body: Body::Fields,
            not_found: (NotFound::Refused, &[NotFound::Refused, NotFound::Create]),
            conflict: &[Conflict::Refused, Conflict::Retry],
        };
        raw.map(|raw| self.endpoint(raw.get_ref(), rules))
            .transpose()
    }

    pub(super) fn delete(
        &self,
        raw: Option<&Spanned<RawEndpoint>>,
    ) -> Result<Option<Endpoint>, InvalidDefinition> {
        let rules = Rules {
            operation: Operation::Delete,
            method: Method::DELETE,
            body: Body::None,
            not_found: (NotFound::Done, &[NotFound::Done, NotFound::Refused]),
            conflict: &[Conflict::Refused, Conflict::Retry],
        };
        raw.map(|raw| self.endpoint(raw.get_ref(), rules))
            .transpose()
    }

    pub(super) fn lookup(
        &self,
        raw: Option<&Spanned<RawLookup>>,
        id_from: Option<&Vec<String>>,
    ) -> Result<Option<Lookup>, InvalidDefinition> {
        let Some(raw) = raw.map(Spanned::get_ref) else {
            return Ok(None);
        };
        let own = self
            .text
            .check_optional("lookup.id_from", raw.id_from.as_ref(), |raw| path(raw))?;
        let row_from = raw.row_from.as_ref();
        let row_from = self
            .text
            .check_optional("lookup.row_from", row_from, |raw| path(raw))?;
        let path = self.path(Operation::Lookup, &raw.path)?;
        if path.uses_remote_id() {
            let message = format!("must not contain {REMOTE_ID}, which it is to find");
            return Err(self.error(&raw.path.span(), "lookup.path", message));
        }
        let id_from = own.or_else(|| id_from.cloned());
        // The row has its id.
        let beside_id = || {
            let names = id_from.as_deref().unwrap_or_default();
            names
                .split_last()
                .map_or(Vec::new(), |(_, row)| row.to_vec())
        };
        Ok(Some(Lookup {
            path,
            row_from: row_from.unwrap_or_else(beside_id),
            id_from,
        }))
    }

    fn endpoint(&self, raw: &RawEndpoint, rules: Rules) -> Result<Endpoint, InvalidDefinition> {
        let setting = |name: &str| format!("{}.{name}", rules.operation.as_str());
        let method = self
            .text
            .check_optional(
                &setting("method"),
                raw.method.as_ref(),
                |method| match method.as_str() {
                    "POST" => Ok(Method::POST),
                    "PUT" => Ok(Method::PUT),
                    "PATCH" => Ok(Method::PATCH),
                    "DELETE" => Ok(Method::DELETE),
                    _ => Err("must be \"POST\", \"PUT\", \"PATCH\" or \"DELETE\""),
                },
            )?
            .unwrap_or(rules.method);
        let path = self.path(rules.operation, &raw.path)?;
        let body = match &raw.body {
            None => rules.body,
            Some(body) => {
                let template = self.template(rules.operation, "body", body, Output::Body)?;
                self.try_out(&template, |values| {
                    json(&template, values)
                        .map(drop)
                        .map_err(|error| error.to_string())
                })
                .map_err(|error| {
                    self.error(
                        &body.span(),
                        &setting("body"),
                        format!("with sample values, {error}"),
                    )
                })?;
                Body::Template(Box::new(template))
            }
        };
        let not_found = self.one_of(
            &setting("not_found"),
            raw.not_found.as_ref(),
            rules.not_found.1,
        )?;
        let conflict = self.one_of(&setting("conflict"), raw.conflict.as_ref(), rules.conflict)?;
        Ok(Endpoint {
            method,
            path,
            body,
            not_found: not_found.unwrap_or(rules.not_found.0),
            conflict: conflict.unwrap_or(Conflict::Refused),
        })
    }

    fn one_of<T: Copy + PartialEq>(
        &self,
        setting: &str,
        raw: Option<&Spanned<T>>,
        possible: &[T],
    ) -> Result<Option<T>, InvalidDefinition> {
        self.text.check_optional(setting, raw, |value| {
            possible
                .contains(value)
                .then_some(*value)
                .ok_or("is not possible for this operation")
        })
    }

    fn path(
        &self,
        operation: Operation,
        raw: &Spanned<String>,
    ) -> Result<Template, InvalidDefinition> {
        let setting = format!("{}.path", operation.as_str());
        let refused = |message: String| self.error(&raw.span(), &setting, message);
        if !raw.get_ref().starts_with('/') {
            return Err(refused("must start with /".to_owned()));
        }
        let template = self.template(operation, "path", raw, Output::Path)?;
        self.try_out(&template, |values| {
            let path = template.render(values).map_err(|error| error.to_string())?;
            let text = format!("{}{path}", self.url.as_str().trim_end_matches('/'));
            match url::Url::parse(&text) {
                Ok(url) if url.fragment().is_some() => Err("it contains a fragment (#)".to_owned()),
                Ok(url) if url.as_str() == text => Ok(()),
                _ => Err("it is not written as URLs are; encode special characters".to_owned()),
            }
        })
        .map_err(|error| refused(format!("with sample values, {error}")))?;
        Ok(template)
    }

    fn template(
        &self,
        operation: Operation,
        part: &str,
        raw: &Spanned<String>,
        output: Output,
    ) -> Result<Template, InvalidDefinition> {
        let setting = format!("{}.{part}", operation.as_str());
        self.text.check(&setting, raw, |source| {
            let template = Template::parse(source, output)?;
            let mut names: Vec<String> = template.names().into_iter().collect();
            names.sort_unstable();
            for name in &names {
                self.check_name(operation, name)?;
            }
            Ok::<_, String>(template)
        })
    }

    /// Checks that a template can use a name.
    fn check_name(&self, operation: Operation, name: &str) -> Result<(), String> {
        let fields = &self.dataset.fields;
        match fields.iter().position(|field| field.name == name) {
            None if name == REMOTE_ID && operation == Operation::Create => Err(format!(
                "uses {REMOTE_ID}, which the service gives only in its answer"
            )),
            None if name == REMOTE_ID && !self.has_id => Err(format!(
                "uses {REMOTE_ID}, the service's own id, which needs id_from"
            )),
            None if name == REMOTE_ID => Ok(()),
            None => Err(format!(
                "uses {name:?}, but the dataset {} has no such field",
                self.dataset.name
            )),
            Some(field)
                if matches!(operation, Operation::Delete | Operation::Lookup)
                    && !self.dataset.key_indexes().contains(&field) =>
            {
                Err(format!(
                    "uses {name:?}, but a deleted row has only its key{}",
                    if self.has_id {
                        format!(" and {REMOTE_ID}")
                    } else {
                        String::new()
                    }
                ))
            }
            Some(_) => Ok(()),
        }
    }

    /// Tries a template out with a sample of each value. JSON has no sample, because its properties are not known.
    fn try_out(
        &self,
        template: &Template,
        check: impl FnOnce(&minijinja::Value) -> Result<(), String>,
    ) -> Result<(), String> {
        let fields = self.dataset.fields.iter();
        let samples: Vec<Value> = fields.clone().map(|field| sample(field.kind)).collect();
        let names = template.names();
        if fields
            .filter(|field| field.kind == FieldType::Json)
            .any(|field| names.contains(&field.name))
        {
            return Ok(());
        }
        check(&templates::values(
            self.dataset,
            samples.iter().enumerate(),
            Some("1"),
        ))
    }
}

fn sample(kind: FieldType) -> Value {
    let text = match kind {
        FieldType::Text | FieldType::Integer | FieldType::Decimal | FieldType::Float => "1",
        FieldType::Boolean => "true",
        FieldType::Date => "2026-11-20",
        FieldType::Timestamp => "2026-11-20T08:30:00Z",
        FieldType::Json => "{}",
    };
    Value::from_text(kind, text).unwrap_or(Value::Null)
}
