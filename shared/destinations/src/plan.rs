//! Which call brings a key of the service to the state of its row.

use http::Method;
use jiff::Timestamp;
use landfall_domain::{JsonOf, Value};
use serde::Serializer as _;

use crate::destination::{Body, Conflict, Destination, Endpoint, NotFound};
use crate::templates::{self, MAX_BODY_BYTES, RenderError, Template};
use crate::{Call, Operation};

/// A key whose change is to be sent, and what is known of it at the service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Due<'a> {
    /// The values of the key.
    pub key: &'a [Value],
    /// The values of the row as it stands; none if it is deleted.
    pub row: Option<&'a [Value]>,
    /// The version of the row.
    pub version: &'a [u8],
    /// Whether the service has the key, as far as is known.
    pub exists: bool,
    /// Whether it is unknown what has become of an earlier call.
    pub is_uncertain: bool,
    /// How often in this lease a repeated create was answered, each time perhaps with the answer to an earlier one.
    pub replays: u32,
    /// The id that the service gave to the key.
    pub remote_id: Option<&'a str>,
    /// The number of earlier attempts since the key was last sent.
    pub attempts: u32,
    /// When the first change was recorded that is not sent. A key that is created again has another time.
    pub wanted_at: Timestamp,
}

/// What to do about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: the service has nothing to do with the row as it stands. `exists` says whether it has the key.
    Nothing {
        /// Whether the service has the key.
        exists: bool,
    },
    /// This call is next.
    Call(Call),
    /// Every call could do the same thing twice.
    Unknown(&'static str),
    /// No call can be made for this row.
    Refused(String),
}

const NO_ID: &str =
    "the id that the service gave to the key is not known, and lookup is not defined";
const LOST: &str = "an earlier call may have been processed; it cannot be repeated without idempotency_header, a \
                    create.conflict, or lookup";

impl Destination {
    /// Returns which call is next for a key, if any.
    pub fn plan(&self, due: &Due<'_>) -> Plan {
        let row = due.row.filter(|row| self.when.holds(row));
        match row {
            Some(row) if due.exists => self.plan_update(due, row),
            Some(row) => self.plan_create(due, row),
            None => self.plan_delete(due),
        }
    }

    fn plan_create(&self, due: &Due<'_>, row: &[Value]) -> Plan {
        if due.is_uncertain && self.lookup.is_some() {
            return self.plan_lookup(due);
        }
        let Some((operation, endpoint)) = self.creating() else {
            return Plan::Nothing { exists: false };
        };
        let is_repeatable = endpoint.method == Method::PUT
            || endpoint.conflict == Conflict::Update
            || self.batch.is_some()
            || self.idempotency_header.is_some();
        if !due.is_uncertain || is_repeatable {
            return self.call(due, operation, endpoint, Some(row));
        }
        // An update finds out whether the service has the key.
        match &self.update {
            Some(update)
                if update.not_found == NotFound::Create && !update.path.uses_remote_id() =>
            {
                self.call(due, Operation::Update, update, Some(row))
            }
            _ => Plan::Unknown(LOST),
        }
    }

    fn plan_update(&self, due: &Due<'_>, row: &[Value]) -> Plan {
        match &self.update {
            None => Plan::Nothing { exists: true },
            Some(endpoint) => self.call(due, Operation::Update, endpoint, Some(row)),
        }
    }

    fn plan_delete(&self, due: &Due<'_>) -> Plan {
        let exists = due.exists;
        if !exists && !due.is_uncertain {
            return Plan::Nothing { exists };
        }
        match &self.delete {
            None => Plan::Nothing { exists },
            Some(_) if !exists && self.lookup.is_some() => self.plan_lookup(due),
            Some(endpoint) => self.call(due, Operation::Delete, endpoint, None),
        }
    }

    /// Returns what creates a key: an update does, if there is nothing else.
    fn creating(&self) -> Option<(Operation, &Endpoint)> {
        let create = self.create.as_ref().map(|it| (Operation::Create, it));
        create.or_else(|| Some((Operation::Update, self.update.as_ref()?)))
    }

    fn call(
        &self,
        due: &Due<'_>,
        operation: Operation,
        endpoint: &Endpoint,
        row: Option<&[Value]>,
    ) -> Plan {
        if endpoint.uses_remote_id() && due.remote_id.is_none() {
            return self.plan_lookup(due);
        }
        let body = match self.body_of(endpoint, due, row) {
            Ok(body) => body,
            Err(error) => {
                return Plan::Refused(format!("the body of {}: {error}", operation.as_str()));
            }
        };
        self.call_to(
            due,
            operation,
            endpoint.method.clone(),
            &endpoint.path,
            body,
        )
    }

    /// Returns the body of a call.
    pub(crate) fn body_of(
        &self,
        endpoint: &Endpoint,
        due: &Due<'_>,
        row: Option<&[Value]>,
    ) -> Result<Option<Vec<u8>>, RenderError> {
        let key = self.dataset.key_indexes();
        match (&endpoint.body, row) {
            (Body::Template(template), _) => json(template, &self.values(due, row)).map(Some),
            (Body::Fields, Some(row)) => {
                let fields = self.fields.iter().map(|index| (*index, row.get(*index)));
                self.fields_of(fields).map(Some)
            }
            // The path does not name the row.
            _ if self.batch.is_some() => {
                let fields = key.iter().copied().zip(due.key.iter().map(Some));
                self.fields_of(fields).map(Some)
            }
            (Body::None | Body::Fields, _) => Ok(None),
        }
    }

    fn plan_lookup(&self, due: &Due<'_>) -> Plan {
        match &self.lookup {
            None => Plan::Unknown(NO_ID),
            Some(lookup) => self.call_to(due, Operation::Lookup, Method::GET, &lookup.path, None),
        }
    }

    pub(crate) fn call_to(
        &self,
        due: &Due<'_>,
        operation: Operation,
        method: Method,
        path: &Template,
        body: Option<Vec<u8>>,
    ) -> Plan {
        let row = match operation {
            Operation::Create | Operation::Update => due.row,
            Operation::Delete | Operation::Lookup => None,
        };
        let path = path.render(&self.values(due, row));
        let url = path
            .map_err(|error| error.to_string())
            .and_then(|path| self.url_of(&path));
        match url {
            Err(error) => Plan::Refused(format!("the path of {}: {error}", operation.as_str())),
            Ok(url) => Plan::Call(Call {
                id: self.id_of(due, operation, &url, body.as_deref()),
                operation,
                method,
                url,
                body,
            }),
        }
    }

    /// Returns the values of templates: those of a row, or only those of its key.
    fn values(&self, due: &Due<'_>, row: Option<&[Value]>) -> minijinja::Value {
        if let Some(row) = row {
            return templates::values(&self.dataset, row.iter().enumerate(), due.remote_id);
        }
        let key = self.dataset.key_indexes().iter().copied().zip(due.key);
        templates::values(&self.dataset, key, due.remote_id)
    }

    /// Returns the URL of a path below that of the service. A path that the URL parser would change, such as one with a
    /// segment `..`, is refused, because it leads to another place.
    pub(crate) fn url_of(&self, path: &str) -> Result<url::Url, String> {
        let text = format!("{}{path}", self.url.as_str().trim_end_matches('/'));
        match url::Url::parse(&text) {
            Ok(url) if url.as_str() == text => Ok(url),
            _ => Err("it would lead to another place".to_owned()),
        }
    }

    /// Returns a JSON object of these fields, each with its index.
    fn fields_of<'v>(
        &self,
        fields: impl Iterator<Item = (usize, Option<&'v Value>)>,
    ) -> Result<Vec<u8>, RenderError> {
        let fields = fields.map(|(index, value)| {
            let name = self.dataset.fields[index].name.as_str();
            (name, JsonOf(value.unwrap_or(&Value::Null)))
        });
        let mut body = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut body);
        let written = serializer.collect_map(fields);
        written.map_err(|error| RenderError::Failed(error.to_string()))?;
        if body.len() > MAX_BODY_BYTES {
            return Err(RenderError::TooLong(MAX_BODY_BYTES));
        }
        Ok(body)
    }

    /// Returns an id that is the same whenever a call is repeated. That of a create is the same for every version of
    /// the row, since one of them may have been created already.
    fn id_of(
        &self,
        due: &Due<'_>,
        operation: Operation,
        url: &url::Url,
        body: Option<&[u8]>,
    ) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        add(self.name.as_bytes());
        add(operation.as_str().as_bytes());
        for value in due.key {
            add(value.to_text().unwrap_or_default().as_bytes());
        }
        add(&due.wanted_at.as_microsecond().to_le_bytes());
        if operation == Operation::Create {
            // A service does not create again what an idempotency key has created and another call has deleted.
            add(&due.replays.to_le_bytes());
        } else {
            // A row that is created again has another id at the service.
            add(url.as_str().as_bytes());
            add(due.version);
            add(body.unwrap_or_default());
        }
        format!("msg_{}", &hasher.finalize().to_hex()[..32])
    }
}

impl Endpoint {
    pub(crate) fn uses_remote_id(&self) -> bool {
        let in_body = match &self.body {
            Body::Template(template) => template.uses_remote_id(),
            Body::None | Body::Fields => false,
        };
        in_body || self.path.uses_remote_id()
    }
}

/// Returns what a template of a body writes, which must be JSON.
pub(crate) fn json(template: &Template, values: &minijinja::Value) -> Result<Vec<u8>, RenderError> {
    let body = template.render(values)?;
    match serde_json::from_str::<serde::de::IgnoredAny>(&body) {
        Ok(_) => Ok(body.into_bytes()),
        Err(_) => Err(RenderError::Failed("it is not JSON".to_owned())),
    }
}
