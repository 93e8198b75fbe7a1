//! Requests with the names of secrets.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use landfall_requests::{RevealError, Revealed, Secrets, Template, header};
use serde_json::Value;
use url::Url;

/// Where a parameter of a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// In the query of the URL, with this name.
    Query(String),
    /// In the body, at this path of property names. In a form, it is a single name.
    Body(Vec<String>),
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// JSON. Its texts are templates.
    Json(Value),
    /// Fields of a form.
    Form(Vec<(String, Template)>),
}

/// A request that contains the names of secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The URL without the parameters in `query`.
    pub url: Url,
    /// Parameters of the URL.
    pub query: Vec<(String, Template)>,
    /// Headers.
    pub headers: Vec<(HeaderName, Template)>,
    /// The body without the values in `set`.
    pub body: Option<Body>,
    /// Values to set in the body. They come from outside, so they are no templates.
    pub(crate) set: Vec<(Vec<String>, Value)>,
}

impl Request {
    /// Sets a parameter, and replaces the value that it may have.
    pub(crate) fn set(&mut self, parameter: &Parameter, value: impl Into<Value>) {
        let value = value.into();
        match parameter {
            Parameter::Query(name) => {
                let text = match value {
                    Value::String(text) => text,
                    value => value.to_string(),
                };
                set_pair(&mut self.query, name, Template::literal(text));
            }
            Parameter::Body(path) => {
                self.set.retain(|(other, _)| other != path);
                self.set.push((path.clone(), value));
            }
        }
    }

    /// Returns the URL with the names of the secrets, to be shown.
    pub fn shown_url(&self) -> String {
        let mut text = self.url.to_string();
        for (name, value) in &self.query {
            let start = if text.contains('?') { '&' } else { '?' };
            text = format!("{text}{start}{name}={value}");
        }
        text
    }

    /// Returns the request with its secrets.
    pub fn reveal(&self, secrets: &Secrets) -> Result<Revealed, RevealError> {
        let mut url = self.url.clone();
        for (name, value) in &self.query {
            let value = value.reveal(secrets)?;
            url.query_pairs_mut().append_pair(name, &value);
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let body = match &self.body {
            None => None,
            Some(Body::Json(template)) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                let mut json = reveal_json(template, secrets)?;
                for (path, value) in &self.set {
                    set_at(&mut json, path, value.clone());
                }
                Some(json.to_string().into_bytes())
            }
            Some(Body::Form(fields)) => {
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(CONTENT_TYPE, form);
                Some(self.form(fields, secrets)?.into_bytes())
            }
        };
        for (name, value) in &self.headers {
            headers.insert(name, header(name, value, secrets)?);
        }
        let method = self.method.clone();
        Ok(Revealed {
            method,
            url,
            headers,
            body,
        })
    }

    fn form(
        &self,
        fields: &[(String, Template)],
        secrets: &Secrets,
    ) -> Result<String, RevealError> {
        let mut fields = fields.to_vec();
        for (path, value) in &self.set {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            set_pair(&mut fields, &path.join("."), Template::literal(text));
        }
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &fields {
            form.append_pair(name, &value.reveal(secrets)?);
        }
        Ok(form.finish())
    }
}

fn set_pair(pairs: &mut Vec<(String, Template)>, name: &str, value: Template) {
    match pairs.iter_mut().find(|(other, _)| other == name) {
        Some((_, other)) => *other = value,
        None => pairs.push((name.to_owned(), value)),
    }
}

fn reveal_json(template: &Value, secrets: &Secrets) -> Result<Value, RevealError> {
    Ok(match template {
        // Checked when the definition was read.
        Value::String(text) => match Template::parse(text) {
            Ok(template) => Value::String(template.reveal(secrets)?),
            Err(_) => Value::String(text.clone()),
        },
        Value::Array(items) => {
            let items = items.iter().map(|item| reveal_json(item, secrets));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Object(properties) => {
            let properties = properties
                .iter()
                .map(|(name, value)| Ok((name.clone(), reveal_json(value, secrets)?)));
            Value::Object(properties.collect::<Result<_, RevealError>>()?)
        }
        other => other.clone(),
    })
}

fn set_at(json: &mut Value, path: &[String], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        *json = value;
        return;
    };
    if !json.is_object() {
        *json = Value::Object(serde_json::Map::new());
    }
    set_at(&mut json[name.as_str()], rest, value);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(body: Option<Body>) -> Request {
        Request {
            method: Method::POST,
            url: Url::parse("https://api.example.com/orders?a=1").unwrap(),
            query: vec![("key".into(), Template::parse("{secret:key}").unwrap())],
            headers: vec![(
                HeaderName::from_static("x-key"),
                Template::parse("K {secret:key}").unwrap(),
            )],
            body,
            set: Vec::new(),
        }
    }

    fn secrets() -> Secrets {
        Secrets::from_iter([("key", "s&3")])
    }

    #[test]
    fn secrets_are_in_what_is_sent_and_not_in_what_is_shown() {
        let mut request = request(None);
        request.set(&Parameter::Query("page".into()), 2);
        request.set(&Parameter::Query("page".into()), 3);
        assert_eq!(
            request.shown_url(),
            "https://api.example.com/orders?a=1&key={secret:key}&page=3"
        );
        let revealed = request.reveal(&secrets()).unwrap();
        assert_eq!(revealed.url.query(), Some("a=1&key=s%263&page=3"));
        assert_eq!(revealed.headers["x-key"], "K s&3");
        assert!(revealed.headers["x-key"].is_sensitive());
        assert_eq!(format!("{revealed:?}"), "Revealed { .. }");
        assert!(request.reveal(&Secrets::default()).is_err());
    }

    #[test]
    fn values_from_outside_are_set_in_the_body_after_secrets_are_revealed() {
        let body = Body::Json(json!({"key": "{secret:key}", "page": {"size": 10}}));
        let mut request = request(Some(body));
        let parameter = Parameter::Body(vec!["page".into(), "after".into()]);
        request.set(&parameter, "{secret:key}");
        let revealed = request.reveal(&secrets()).unwrap();
        let json: Value = serde_json::from_slice(&revealed.body.unwrap()).unwrap();
        assert_eq!(
            json,
            json!({"key": "s&3", "page": {"size": 10, "after": "{secret:key}"}})
        );
        assert_eq!(revealed.headers[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn forms_are_encoded() {
        let mut request = request(Some(Body::Form(vec![(
            "q".into(),
            Template::literal("a b&c"),
        )])));
        request.set(&Parameter::Body(vec!["page".into()]), 2);
        let revealed = request.reveal(&secrets()).unwrap();
        assert_eq!(revealed.body.unwrap(), b"q=a+b%26c&page=2");
    }

    #[test]
    fn another_server_gets_no_headers_of_the_definition() {
        let mut revealed = request(None).reveal(&secrets()).unwrap();
        revealed.redirect(Url::parse("https://api.example.com/other").unwrap());
        assert!(revealed.headers.contains_key("x-key"));
        revealed.redirect(Url::parse("https://cdn.example.com/other").unwrap());
        assert_eq!(revealed.headers.keys().collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn a_secret_cannot_add_headers() {
        let secrets = Secrets::from_iter([("key", "a\r\nHost: evil")]);
        assert!(matches!(
            request(None).reveal(&secrets),
            Err(RevealError::Header(_))
        ));
    }
}
