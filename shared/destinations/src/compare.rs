//! What a service has of a row, compared with what is sent.

use http::{Method, StatusCode};
use landfall_domain::Value;
use landfall_requests::{Secrets, shown_answer};
use serde_json::Value as Json;

use crate::destination::{Destination, Lookup};
use crate::judge::{json_at, text_at};
use crate::{Call, Due, Operation, Plan};

/// How a row compares with what the service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The service has it as it is, or has nothing to do with it.
    Same,
    /// The service does not have it.
    Missing,
    /// The service has other values of these properties.
    Differs(Vec<String>),
    /// The service has it, but it does not meet the conditions of `when`.
    Unwanted,
    /// This cannot be said.
    Unknown(String),
}

impl Destination {
    /// Returns the call that looks a key up.
    ///
    /// # Errors
    /// There is no `lookup`, or its path cannot be written for this key.
    pub fn look_up(&self, key: &[Value]) -> Result<Call, String> {
        let Some(lookup) = &self.lookup else {
            return Err("the destination has no [lookup]".to_owned());
        };
        let due = Due {
            key,
            ..Due::default()
        };
        match self.call_to(&due, Operation::Lookup, Method::GET, &lookup.path, None) {
            Plan::Call(call) => Ok(call),
            Plan::Refused(reason) => Err(reason),
            Plan::Nothing { .. } | Plan::Unknown(_) => Err("there is no call".to_owned()),
        }
    }

    /// Compares a row with the answer to the call that looks its key up.
    pub fn compare(
        &self,
        key: &[Value],
        row: &[Value],
        status: StatusCode,
        body: &[u8],
        secrets: &Secrets,
    ) -> Comparison {
        let is_wanted = self.when.holds(row);
        let found = match (status.as_u16(), &self.lookup) {
            (404 | 410, _) | (_, None) => None,
            (_, Some(lookup)) if self.is_success(status) => Found::of(lookup, body),
            _ => {
                let answer = shown_answer(body, secrets);
                return Comparison::Unknown(format!("status {status}: {answer}"));
            }
        };
        let found = match (found, is_wanted) {
            (None, true) => return Comparison::Missing,
            (None, false) => return Comparison::Same,
            (Some(_), false) => return Comparison::Unwanted,
            (Some(found), true) => found,
        };
        // Without an update, rows are sent once, and may change here.
        let Some(update) = &self.update else {
            return Comparison::Same;
        };
        let due = Due {
            key,
            row: Some(row),
            exists: true,
            remote_id: found.id.as_deref(),
            ..Due::default()
        };
        let sent = self.body_of(update, &due, Some(row));
        let sent: Json = match sent.map(|sent| serde_json::from_slice(&sent.unwrap_or_default())) {
            Ok(Ok(sent)) => sent,
            Ok(Err(_)) => return Comparison::Same,
            Err(error) => return Comparison::Unknown(format!("the body of update: {error}")),
        };
        let Json::Object(sent) = sent else {
            return Comparison::Unknown("the body of update is not a JSON object".to_owned());
        };
        let differs = |name: &String, value: &Json| {
            let held = found.row.get(name).unwrap_or(&Json::Null);
            (!is_same(value, held)).then(|| name.clone())
        };
        let names: Vec<String> = sent
            .iter()
            .filter_map(|(name, value)| differs(name, value))
            .collect();
        if names.is_empty() {
            Comparison::Same
        } else {
            Comparison::Differs(names)
        }
    }
}

/// What the service has.
struct Found {
    id: Option<String>,
    row: Json,
}

impl Found {
    /// Reads an answer; `None` if the service does not have the key.
    fn of(lookup: &Lookup, body: &[u8]) -> Option<Self> {
        let json: Json = serde_json::from_slice(body).unwrap_or_default();
        let id = lookup.id_from.as_ref().map(|path| text_at(&json, path));
        let row = json_at(&json, &lookup.row_from).cloned();
        match id {
            Some(None) => None,
            Some(id) => Some(Self {
                id,
                row: row.unwrap_or_default(),
            }),
            None => row
                .filter(|row| !row.is_null())
                .map(|row| Self { id: None, row }),
        }
    }
}

/// Returns whether two values are the same; numbers are, however they are written.
fn is_same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| is_same(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            let is_in = |(name, value): (&String, &Json)| {
                other.get(name).is_some_and(|other| is_same(value, other))
            };
            one.len() == other.len() && one.iter().all(is_in)
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use landfall_domain::Dataset;

    use super::*;
    use crate::Draft;

    fn destination(rest: &str) -> Destination {
        let dataset = Dataset::from_toml(
            "orders.toml",
            "name = \"orders\"\nkey = [\"number\"]\nfields = [{ name = \"number\", type = \"integer\" }, \
             { name = \"status\", type = \"text\" }, { name = \"total\", type = \"float\" }]\n",
        );
        let text = format!(
            "dataset = \"orders\"\nurl = \"https://shop.example\"\nwhen = \"status != draft\"\n\
             update = {{ path = \"/orders/{{{{ number }}}}\" }}\n{rest}"
        );
        let draft = Draft::parse("shop", "shop.toml", &text).unwrap();
        draft.check(&dataset.unwrap()).unwrap()
    }

    fn row(status: &str) -> [Value; 3] {
        [
            Value::Integer(7),
            Value::Text(status.into()),
            Value::Float(3.0),
        ]
    }

    fn compare(destination: &Destination, row: &[Value], status: u16, body: &str) -> Comparison {
        let status = StatusCode::from_u16(status).unwrap();
        let secrets = Secrets::default();
        destination.compare(&row[..1], row, status, body.as_bytes(), &secrets)
    }

    #[test]
    fn a_row_is_missing_or_differs_or_should_not_be_there() {
        let by_key = destination("lookup = { path = \"/orders/{{ number }}\" }\n");
        let call = by_key.look_up(&row("open")[..1]).unwrap();
        assert_eq!(
            (call.method, call.url.as_str()),
            (Method::GET, "https://shop.example/orders/7")
        );
        let held = r#"{"number": 7, "status": "open", "total": 3, "theirs": true}"#;
        let differs = |names: &[&str]| {
            Comparison::Differs(names.iter().map(|name| (*name).to_owned()).collect())
        };
        for (status, code, body, expected) in [
            ("open", 200, held, Comparison::Same),
            ("paid", 200, held, differs(&["status"])),
            (
                "paid",
                200,
                r#"{"number": 7}"#,
                differs(&["status", "total"]),
            ),
            ("open", 404, "", Comparison::Missing),
            ("open", 200, "null", Comparison::Missing),
            ("draft", 404, "", Comparison::Same),
            ("draft", 200, held, Comparison::Unwanted),
            (
                "open",
                503,
                "down",
                Comparison::Unknown("status 503 Service Unavailable: down".to_owned()),
            ),
        ] {
            assert_eq!(
                compare(&by_key, &row(status), code, body),
                expected,
                "{status} {code} {body}"
            );
        }
        assert!(destination("").look_up(&row("open")[..1]).is_err());
    }

    #[test]
    fn the_row_is_beside_its_id_unless_the_definition_says_where() {
        let path = "path = \"/orders?number={{ number }}\", id_from = \"items.0.id\"";
        let beside = destination(&format!("lookup = {{ {path} }}\n"));
        let body = r#"{"items": [{"id": "a", "number": 7, "status": "open", "total": 3.0}]}"#;
        assert_eq!(compare(&beside, &row("open"), 200, body), Comparison::Same);
        assert_eq!(
            compare(&beside, &row("open"), 200, "{\"items\": []}"),
            Comparison::Missing
        );
        let within = destination(&format!(
            "lookup = {{ {path}, row_from = \"items.0.data\" }}\n"
        ));
        let body =
            r#"{"items": [{"id": "a", "data": {"number": 7, "status": "paid", "total": 3}}]}"#;
        let expected = Comparison::Differs(vec!["status".to_owned()]);
        assert_eq!(compare(&within, &row("open"), 200, body), expected);
    }
}
