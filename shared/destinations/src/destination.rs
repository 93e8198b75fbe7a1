//! What a destination is.

use http::{HeaderName, Method, StatusCode};
use landfall_domain::Dataset;
use landfall_requests::Template as Text;
use serde::Deserialize;
use url::Url;

use crate::signature::Signature;
use crate::templates::Template;
use crate::when::When;

/// An HTTP service that the changes of the rows of a dataset are sent to.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Name of the destination, which is that of its file.
    pub name: String,
    /// What happens to later changes of a key whose change was refused for good.
    pub on_refused: OnRefused,
    /// Limits on the calls.
    pub limits: Limits,
    pub(crate) dataset: Dataset,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, Text)>,
    pub(crate) when: When,
    /// Indexes of the fields that are sent if there is no template of a body.
    pub(crate) fields: Vec<usize>,
    /// The properties that lead to the service's own id in its answers.
    pub(crate) id_from: Option<Vec<String>>,
    pub(crate) create: Option<Endpoint>,
    pub(crate) update: Option<Endpoint>,
    pub(crate) delete: Option<Endpoint>,
    pub(crate) lookup: Option<Lookup>,
    /// The maximum number of rows in a call, whose body is an array; none if it is one row.
    pub(crate) batch: Option<usize>,
    /// The status codes of success; all 2xx if there are none.
    pub(crate) success: Vec<StatusCode>,
    pub(crate) signature: Option<Signature>,
    pub(crate) idempotency_header: Option<HeaderName>,
}

/// How an operation is called.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    pub(crate) path: Template,
    pub(crate) body: Body,
    pub(crate) not_found: NotFound,
    pub(crate) conflict: Conflict,
}

/// The body of a call.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    None,
    /// A JSON object of the fields.
    Fields,
    Template(Box<Template>),
}

/// How the service is asked for a key.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub(crate) path: Template,
    pub(crate) id_from: Option<Vec<String>>,
    /// The properties that lead to the row in the answer.
    pub(crate) row_from: Vec<String>,
}

/// What it means that the service does not have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NotFound {
    Create,
    Done,
    Refused,
}

/// What the status 409 means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Conflict {
    /// The service has the key: it is updated.
    Update,
    Retry,
    Refused,
}

/// What happens to later changes of a key whose change was refused for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRefused {
    /// They wait until the key is sent again by hand.
    #[default]
    Hold,
    /// They are sent.
    Skip,
}

/// Limits on the calls of a destination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The maximum number of calls in a second, by all relays together.
    pub per_second: f64,
    /// The maximum number of calls at a time, by one relay.
    pub concurrency: usize,
    /// The time in seconds after which a call has no answer.
    pub timeout_seconds: u64,
}

impl Destination {
    /// Returns the definition of the dataset whose rows are sent.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Returns what all paths are appended to.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the names of all secrets that the destination needs, each once.
    pub fn secrets(&self) -> Vec<String> {
        let headers = self.headers.iter().map(|(_, value)| value);
        let signature = self.signature.iter().flat_map(Signature::secrets);
        let mut names: Vec<String> = headers
            .chain(signature)
            .flat_map(Text::secrets)
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
