//! What a source is.

use http::{HeaderName, Method};
use jiff::SignedDuration;
use landfall_domain::{CsvOptions, Dataset, Format, Mode};
use url::Url;

use crate::auth::Auth;
use crate::children::Children;
use crate::mark::{Mark, MarkKind, Overlap};
use crate::request::{Body, Parameter};
use crate::schedule::{Missed, Schedule};
use crate::table::unsupported;
use landfall_requests::Template;
use landfall_requests::TimeFormat;

/// An HTTP API that is fetched on a schedule.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name of the source, which is that of its file.
    pub name: String,
    /// Name of the dataset that gets the records.
    pub dataset: String,
    /// Where records are fetched. With children, only its server is that of the requests.
    pub url: Url,
    /// The method of the requests.
    pub method: Method,
    /// Headers of the requests.
    pub headers: Vec<(HeaderName, Template)>,
    /// Parameters in the query of the URL.
    pub query: Vec<(String, Template)>,
    /// The body of the requests.
    pub body: Option<Body>,
    /// Whether the answers are those of a `GraphQL` server, which reports errors with status 200.
    pub graphql: bool,
    /// When the source is due.
    pub schedule: Schedule,
    /// What happens to runs that could not start in time.
    pub missed: Missed,
    /// Format of the answers.
    pub format: Format,
    /// How answers in CSV and TSV are written: the options of the dataset.
    pub csv: CsvOptions,
    /// The properties that lead to the records of a JSON answer.
    pub records: Vec<String>,
    /// How pages follow each other.
    pub paging: Paging,
    /// How a run continues where the one before ended.
    pub incremental: Option<Incremental>,
    /// The rows for each of which there are requests.
    pub children: Option<Children>,
    /// How the source proves who it is.
    pub auth: Option<Auth>,
    /// Limits on each run.
    pub limits: Limits,
    /// Whether a run fetches all records that there are, so that vanished ones are deleted.
    pub complete: bool,
}

/// How pages follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Paging {
    /// What leads to the next page.
    pub kind: PagingKind,
    /// How many records a page has, and where that is requested.
    pub size: Option<PageSize>,
    /// Which page is the last one.
    pub stop: Stop,
    /// The property that says whether there are more pages.
    pub more: Option<Vec<String>>,
}

/// How many records a page has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSize {
    /// The number of records in a page that is not the last one.
    pub records: u32,
    /// Where it is requested.
    pub parameter: Option<Parameter>,
}

/// What leads to the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PagingKind {
    /// There is one answer.
    None,
    /// The number of the page.
    Page {
        /// Where it is requested.
        parameter: Parameter,
        /// The number of the first page.
        first: u64,
    },
    /// The number of records before the page.
    Offset {
        /// Where it is requested.
        parameter: Parameter,
    },
    /// A text that the answer contains.
    Cursor {
        /// Where it is requested.
        parameter: Parameter,
        /// Where the answer has it.
        from: Place,
    },
    /// A URL in the body of the answer.
    NextUrl(Vec<String>),
    /// A URL in the `Link` header of the answer.
    Link,
    /// The greatest value of a field.
    Keyset(Keyset),
}

impl PagingKind {
    /// Returns its name in definitions.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Page { .. } => "page",
            Self::Offset { .. } => "offset",
            Self::Cursor { .. } => "cursor",
            Self::NextUrl(_) => "next_url",
            Self::Link => "link",
            Self::Keyset(_) => "keyset",
        }
    }
}

/// Paging by the greatest value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyset {
    /// Where the greatest value so far is requested.
    pub parameter: Parameter,
    /// The properties that lead to the field in a record.
    pub field: Vec<String>,
    /// What its values are.
    pub kind: MarkKind,
    /// How points in time are written.
    pub time_format: TimeFormat,
    /// Whether a page starts with the records of the requested value, instead of after them.
    pub inclusive: bool,
}

/// Which page is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The one that does not lead to another.
    Unlinked,
    /// The first one without records.
    Empty,
    /// The first one with fewer records than a full page, if there was a full one.
    Short,
}

/// Where an answer has a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the body, at this path of property names.
    Body(Vec<String>),
    /// In this header.
    Header(HeaderName),
}

/// How a run continues where the one before ended.
#[derive(Clone, Debug)]
pub struct Incremental {
    /// What says how far a run has come.
    pub progress: Progress,
    /// Where it is requested.
    pub parameter: Parameter,
    /// How points in time are written.
    pub time_format: TimeFormat,
    /// How much is read again; `None` stands for the time between two runs.
    pub overlap: Option<Overlap>,
    /// Where the first run starts.
    pub start: Option<Mark>,
    /// The end of the requested range, for APIs that need one.
    pub until: Option<Parameter>,
    /// The length of a requested range. Without it, one range reaches to the present.
    pub step: Option<SignedDuration>,
    /// When everything is read again.
    pub full_refresh: Option<Schedule>,
}

/// What says how far a run has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The greatest value of a field of the records.
    Field {
        /// The properties that lead to the field in a record.
        path: Vec<String>,
        /// What its values are.
        kind: MarkKind,
    },
    /// A text of the last answer.
    Cursor(Place),
}

/// Limits on each run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The maximum number of requests to the host in a second, by all sources together.
    pub requests_per_second: f64,
    /// The maximum number of requests to the host on a day in UTC, by all sources together.
    pub requests_per_day: Option<u64>,
    /// The maximum number of bytes in all answers together.
    pub bytes: u64,
    /// The maximum number of pages.
    pub pages: u64,
    /// The maximum time of a run.
    pub seconds: u64,
    /// The maximum number of bytes in an answer that is read as a whole.
    pub response_bytes: u64,
}

impl Source {
    /// Returns whether answers are stored byte by byte as they arrive, instead of page by page.
    pub fn streams(&self) -> bool {
        let reads_fields = self.incremental.as_ref().is_some_and(|incremental| {
            matches!(
                incremental.progress,
                Progress::Field { .. } | Progress::Cursor(Place::Body(_))
            )
        });
        let is_single = self.paging.kind == PagingKind::None && self.children.is_none();
        self.format != Format::Json && is_single && !reads_fields
    }

    /// Returns the format of the objects that are written to the inbox.
    pub fn object_format(&self) -> Format {
        match self.format {
            Format::Json => Format::Ndjson,
            other => other,
        }
    }

    /// Returns a text that changes with what is requested, so that the progress of another request is not continued.
    pub fn fingerprint(&self) -> String {
        let incremental = self.incremental.as_ref();
        let requested = format!(
            "{:?}",
            (
                (&self.url, &self.method, &self.query, &self.body),
                (&self.dataset, &self.records, self.format, &self.paging.kind),
                &self.children,
                incremental.map(|incremental| (
                    &incremental.progress,
                    &incremental.parameter,
                    &incremental.start
                )),
            )
        );
        blake3::hash(requested.as_bytes()).to_hex()[..32].to_owned()
    }

    /// Returns the URL, in which `{field}` stands for a value of a parent.
    pub fn shown_url(&self) -> String {
        let children = self.children.as_ref();
        children.map_or_else(|| self.url.to_string(), |children| children.url.to_string())
    }

    /// Returns the names of all secrets that the source needs, each once.
    pub fn secrets(&self) -> Vec<String> {
        let headers = self.headers.iter().map(|(_, value)| value);
        let query = self.query.iter().map(|(_, value)| value);
        let mut names: Vec<String> = headers
            .chain(query)
            .flat_map(Template::secrets)
            .map(str::to_owned)
            .collect();
        match &self.body {
            None => {}
            Some(Body::Form(fields)) => {
                names.extend(
                    fields
                        .iter()
                        .flat_map(|(_, value)| value.secrets())
                        .map(str::to_owned),
                );
            }
            Some(Body::Json(json)) => secrets_in(json, &mut names),
        }
        names.extend(self.auth.iter().flat_map(Auth::secrets).map(str::to_owned));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Checks that the dataset can get the records of this source.
    ///
    /// # Errors
    /// What contradicts what, and what to change.
    pub fn check_dataset(&self, dataset: &Dataset) -> Result<(), String> {
        let name = &dataset.name;
        match (self.complete, dataset.mode) {
            (true, Mode::Upsert | Mode::Merge) => {
                return Err(format!(
                    "complete = true needs mode = \"snapshot\" in the dataset {name}, which deletes vanished rows"
                ));
            }
            (false, Mode::Snapshot) => {
                return Err(format!(
                    "the dataset {name} has mode = \"snapshot\", which would delete every row that a run does not \
                     fetch; set complete = true, or another mode"
                ));
            }
            _ => {}
        }
        let is_paged = self.paging.kind != PagingKind::None;
        let is_table = matches!(self.format, Format::Csv | Format::Tsv);
        if let Some(setting) = unsupported(&dataset.csv).filter(|_| is_paged && is_table) {
            return Err(format!(
                "pages of {} cannot be joined with {setting} in the dataset {name}; use one answer, or remove it there",
                self.format.as_str()
            ));
        }
        let format = self.object_format();
        match dataset.format {
            Some(other) if other != format => Err(format!(
                "the records are stored as {}, but the dataset {name} has format = {:?}; remove that",
                format.as_str(),
                other.as_str()
            )),
            _ => Ok(()),
        }
    }
}

fn secrets_in(json: &serde_json::Value, names: &mut Vec<String>) {
    match json {
        serde_json::Value::String(text) => {
            let template = Template::parse(text).unwrap_or_default();
            names.extend(template.secrets().map(str::to_owned));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| secrets_in(item, names)),
        serde_json::Value::Object(properties) => properties
            .values()
            .for_each(|value| secrets_in(value, names)),
        _ => {}
    }
}
