//! The key of a row as a segment of a path.

use landfall_domain::{Dataset, QueryError, Value};
use percent_encoding::percent_decode_str;

use crate::ApiError;

/// Parses the values of a dataset's key from a segment that has been decoded once: values joined by commas, each
/// percent-encoded.
///
/// Because they are encoded twice, they pass unchanged through an HTTP API, which decodes everything in a path except
/// `%25`.
pub(super) fn values(dataset: &Dataset, segment: &str) -> Result<Vec<Value>, ApiError> {
    let fields: Vec<_> = dataset.key_fields().collect();
    // A key of one field is not split, so its commas need not be encoded twice.
    let parts: Vec<&str> = if fields.len() == 1 {
        vec![segment]
    } else {
        segment.split(',').collect()
    };
    if parts.len() != fields.len() {
        return Err(QueryError::Key(fields.len()).into());
    }
    let values = fields.iter().zip(parts).map(|(field, part)| {
        let text = percent_decode_str(part)
            .decode_utf8()
            .map_err(|_| ApiError::Invalid("the key is not UTF-8".to_owned()))?;
        Value::from_text(field.kind, &text).map_err(|error| {
            let error = QueryError::Value {
                field: field.name.clone(),
                message: error.to_string(),
            };
            error.into()
        })
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    use super::*;

    fn dataset(key: &str) -> Dataset {
        let fields =
            ["a", "b"].map(|name| format!("[[fields]]\nname = \"{name}\"\ntype = \"text\"\n"));
        let text = format!("name = \"d\"\nkey = {key}\n{}", fields.concat());
        Dataset::from_toml("d.toml", &text).unwrap()
    }

    fn encoded(text: &str) -> String {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }

    /// Decodes a segment as the router does.
    fn decoded(text: &str) -> String {
        percent_decode_str(text).decode_utf8().unwrap().into_owned()
    }

    /// Decodes a path as an HTTP API does.
    fn by_gateway(path: &str) -> String {
        let kept = path.replace("%25", "%2525");
        decoded(&kept)
    }

    #[test]
    fn every_key_survives_with_and_without_a_gateway() {
        let two = dataset("[\"a\", \"b\"]");
        let texts = ["a", "a,b", "c/d", "50%", "%2C", "%252F", "é ?#"];
        for first in texts {
            for second in texts {
                let path = encoded(&[first, second].map(encoded).join(","));
                let expected = [first, second].map(|text| Value::Text(text.into()));
                assert_eq!(values(&two, &decoded(&path)).unwrap(), expected, "{path}");
                let passed = by_gateway(&path);
                assert!(!passed.contains(['/', '?']), "{passed}");
                assert_eq!(values(&two, &decoded(&passed)).unwrap(), expected, "{path}");
            }
        }
    }

    #[test]
    fn a_key_of_one_field_may_be_encoded_once() {
        let one = dataset("[\"a\"]");
        for text in ["a", "a,b", "c/d", "50%", "é ?#"] {
            let expected = [Value::Text(text.into())];
            assert_eq!(values(&one, &decoded(&encoded(text))).unwrap(), expected);
        }
    }
}
