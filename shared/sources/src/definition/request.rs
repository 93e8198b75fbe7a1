//! What is requested: parameters and body.

use landfall_domain::{DefinitionText, InvalidDefinition};
use landfall_requests::{RawPairs, Template, template};
use serde::Deserialize;
use serde_json::{Value, json};
use toml::Spanned;

use crate::request::{Body, Parameter};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBody {
    json: Option<Spanned<toml::Value>>,
    form: Option<RawPairs>,
    graphql: Option<String>,
    variables: Option<Spanned<toml::Table>>,
}

pub(super) fn query(
    text: &DefinitionText<'_>,
    raw: &RawPairs,
) -> Result<Vec<(String, Template)>, InvalidDefinition> {
    pairs(text, "query", raw)
}

fn pairs(
    text: &DefinitionText<'_>,
    table: &str,
    raw: &RawPairs,
) -> Result<Vec<(String, Template)>, InvalidDefinition> {
    let pairs = raw.iter().map(|(name, value)| {
        let value = text.check(&format!("{table}.{name}"), value, template)?;
        Ok((name.clone(), value))
    });
    pairs.collect()
}

/// Returns the body, and whether it is a `GraphQL` query.
pub(super) fn body(
    text: &DefinitionText<'_>,
    raw: Option<&Spanned<RawBody>>,
) -> Result<Option<(Body, bool)>, InvalidDefinition> {
    let Some(raw) = raw else { return Ok(None) };
    let (span, raw) = (raw.span(), raw.get_ref());
    if let (Some(variables), None) = (&raw.variables, &raw.graphql) {
        return Err(text.error(
            &variables.span(),
            "body.variables",
            "needs graphql, the query that has them",
        ));
    }
    let body = match (&raw.json, &raw.form, &raw.graphql) {
        (Some(json), None, None) => (Body::Json(text.check("body.json", json, to_json)?), false),
        (None, Some(form), None) => (Body::Form(pairs(text, "body.form", form)?), false),
        (None, None, Some(query)) => {
            let variables =
                text.check_optional("body.variables", raw.variables.as_ref(), |variables| {
                    to_json(&toml::Value::Table(variables.clone()))
                })?;
            let body = json!({"query": query, "variables": variables.unwrap_or_else(|| json!({}))});
            (Body::Json(body), true)
        }
        _ => return Err(text.error(&span, "body", "must have one of json, form and graphql")),
    };
    Ok(Some(body))
}

fn to_json(value: &toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => {
            Template::parse(text)?;
            Value::String(text.clone())
        }
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(*number)
            .ok_or("contains a number that JSON cannot express")?
            .into(),
        toml::Value::Boolean(value) => (*value).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.iter().map(to_json).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => {
            let properties = table
                .iter()
                .map(|(name, value)| Ok((name.clone(), to_json(value)?)));
            Value::Object(properties.collect::<Result<_, String>>()?)
        }
    })
}

/// Returns where a parameter is: `page` in the query, or in the body of a request that has one; `query:page` and
/// `body:variables.page` say which of the two.
pub(super) fn parameter(
    name: &str,
    body: Option<&Body>,
    query: &[(String, Template)],
) -> Result<Parameter, String> {
    let (place, name) = name
        .split_once(':')
        .unwrap_or((if body.is_some() { "body" } else { "query" }, name));
    match (place, body) {
        _ if name.is_empty() => Err("the name of the parameter is empty".to_owned()),
        ("query", _) if query.iter().any(|(other, _)| other == name) => {
            Err(format!("{name} is in [query] too; remove it there"))
        }
        ("query", _) => Ok(Parameter::Query(name.to_owned())),
        ("body", None) => Err("is in the body, but the request has none; add [body]".to_owned()),
        ("body", Some(Body::Form(_))) => Ok(Parameter::Body(vec![name.to_owned()])),
        ("body", Some(Body::Json(_))) => Ok(Parameter::Body(super::path(name)?)),
        _ => Err("must be a name, or one after \"query:\" or \"body:\"".to_owned()),
    }
}
