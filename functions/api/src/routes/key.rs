//! The key of a row in a path.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lambda_http::request::RequestContext;
use landfall_domain::{Dataset, QueryError, Value};
use percent_encoding::percent_decode_str;

use crate::ApiError;

/// The last segment of the path, decoded once: values joined by commas, each encoded for itself.
pub(super) struct KeySegment(String);

impl<S: Sync> FromRequestParts<S> for KeySegment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let segment = parts.uri.path().rsplit('/').next().unwrap_or_default();
        // An HTTP API decodes paths before it hands them on.
        let is_decoded = parts.extensions.get::<RequestContext>().is_some();
        if is_decoded {
            Ok(Self(segment.to_owned()))
        } else {
            decoded(segment).map(Self)
        }
    }
}

impl KeySegment {
    /// The values of a dataset's key.
    pub(super) fn values(&self, dataset: &Dataset) -> Result<Vec<Value>, ApiError> {
        let fields: Vec<_> = dataset.key_fields().collect();
        // A key of one field has no parts, so that its commas need not be encoded twice.
        let parts: Vec<&str> = if fields.len() == 1 {
            vec![&self.0]
        } else {
            self.0.split(',').collect()
        };
        if parts.len() != fields.len() {
            return Err(QueryError::Key(fields.len()).into());
        }
        let values = fields.iter().zip(parts).map(|(field, part)| {
            Value::from_text(field.kind, &decoded(part)?).map_err(|error| {
                let error = QueryError::Value {
                    field: field.name.clone(),
                    message: error.to_string(),
                };
                error.into()
            })
        });
        values.collect()
    }
}

fn decoded(text: &str) -> Result<String, ApiError> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| ApiError::Invalid("the key is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    use super::*;

    const TEXTS: [&str; 6] = ["a", "a,b", "c/d", "50%", "%2C", "é ?#"];

    fn dataset(key: &str) -> Dataset {
        let fields =
            ["a", "b"].map(|name| format!("[[fields]]\nname = \"{name}\"\ntype = \"text\"\n"));
        let text = format!("name = \"d\"\nkey = {key}\n{}", fields.concat());
        Dataset::from_toml("d.toml", &text).unwrap()
    }

    fn encoded(text: &str) -> String {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }

    async fn values(path: &str, dataset: &Dataset, by_gateway: bool) -> Vec<Value> {
        let mut request = Request::get(path).body(()).unwrap();
        if by_gateway {
            let context = RequestContext::ApiGatewayV2(Default::default());
            request.extensions_mut().insert(context);
        }
        let (mut parts, ()) = request.into_parts();
        let segment = KeySegment::from_request_parts(&mut parts, &()).await;
        segment.unwrap().values(dataset).unwrap()
    }

    #[tokio::test]
    async fn every_key_comes_through_directly_and_by_a_gateway() {
        let two = dataset("[\"a\", \"b\"]");
        for first in TEXTS {
            for second in TEXTS {
                let key = [first, second].map(encoded).join(",");
                let expected = [first, second].map(|text| Value::Text(text.to_owned()));
                let direct = format!("/datasets/d/rows/{}", encoded(&key));
                assert_eq!(values(&direct, &two, false).await, expected, "{direct}");
                let decoded_once = format!("/datasets/d/rows/{key}");
                assert_eq!(values(&decoded_once, &two, true).await, expected, "{key}");
            }
        }
    }

    #[tokio::test]
    async fn a_key_of_one_field_may_be_encoded_once() {
        let one = dataset("[\"a\"]");
        for text in ["a", "a,b", "c/d", "50%", "é ?#"] {
            let path = format!("/datasets/d/rows/{}", encoded(text));
            let expected = [Value::Text(text.to_owned())];
            assert_eq!(values(&path, &one, false).await, expected);
        }
    }
}
