//! The walk over the pages of a source: which request is next, and what its answer means. It does no I/O, and can be
//! stored between two requests and continued by another process.
//!
//! A walk either ends, and then has seen every page that the server led it to, or fails. A server that leads in a
//! circle, ignores the parameter of the page, or sorts in another way than the definition says makes it fail, instead
//! of ending it early or never.

mod advance;
mod error;
mod guard;
mod link;
mod next_request;
mod parents;
mod state;
#[cfg(test)]
mod tests;

use http::header::{DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::mark::{Mark, MarkKind};
use crate::page::{Field, Page, field_of};
use crate::source::{PagingKind, Progress, Source};
use guard::Cycle;
use landfall_requests::TimeFormat;
use landfall_requests::date;
use next_request::is_conditional;
use parents::Parents;
use state::later;

pub use error::WalkError;
pub use state::State;

/// A walk over the pages of a source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Walk {
    started: Timestamp,
    base: State,
    /// The rows for each of which there are requests.
    parents: Option<Parents>,
    /// Where the requested range starts.
    from: Option<Mark>,
    /// Where the requested range ends, if the API needs to be told.
    until: Option<Timestamp>,
    position: Position,
    keys: Option<Mark>,
    has_full_page: bool,
    /// The header of the first page of a table.
    header: Option<String>,
    records_cycle: Cycle,
    links_cycle: Cycle,
    /// The server's time at the first answer of the range.
    server_time: Option<Timestamp>,
    /// The end of the ranges that are read.
    reached: Option<Timestamp>,
    greatest: Option<Mark>,
    cursor: Option<String>,
    etag: Option<String>,
    last_modified: Option<String>,
    progress: WalkProgress,
    is_done: bool,
}

/// What a walk has read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalkProgress {
    /// The number of answers with records, or without because there are none.
    pub pages: u64,
    /// The number of records; 0 if answers are stored as they arrive.
    pub records: u64,
    /// The number of bytes in all answers.
    pub bytes: u64,
    /// Whether the server answered that nothing has changed.
    pub not_modified: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Position {
    #[default]
    Start,
    /// The number of the page, or of the records before it.
    Number(u64),
    Cursor(String),
    #[serde(with = "url_text")]
    Url(Url),
    /// After the record with this value of the field of paging.
    After(String),
}

/// A URL as its text.
mod url_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use url::Url;

    pub(super) fn serialize<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(url.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// An answer of the server.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body; empty if that is stored as it arrives.
    pub body: &'a [u8],
}

impl Walk {
    /// Starts a walk that continues from `current`, or reads everything if `is_full`.
    pub fn start(source: &Source, current: &State, is_full: bool, now: Timestamp) -> Self {
        let fingerprint = source.fingerprint();
        let base = if is_full || current.fingerprint != fingerprint {
            State {
                fingerprint,
                ..State::default()
            }
        } else {
            current.clone()
        };
        let mut walk = Self {
            started: now,
            from: base.start(source, now),
            base,
            parents: source.children.as_ref().map(|_| Parents::default()),
            until: None,
            position: Position::Start,
            keys: None,
            has_full_page: false,
            header: None,
            records_cycle: Cycle::default(),
            links_cycle: Cycle::default(),
            server_time: None,
            reached: None,
            greatest: None,
            cursor: None,
            etag: None,
            last_modified: None,
            progress: WalkProgress::default(),
            is_done: false,
        };
        walk.until = walk.range_end(source);
        walk
    }

    /// Returns whether every page has been read.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Returns whether the definition still requests what it did when the walk was started.
    pub fn is_of(&self, source: &Source) -> bool {
        self.base.fingerprint == source.fingerprint()
    }

    /// Returns what has been read so far.
    pub fn progress(&self) -> WalkProgress {
        self.progress
    }

    /// Processes an answer to the request, and appends its records to `out`, one in each line. After an error, `out`
    /// has to be dropped together with the walk.
    pub fn accept(
        &mut self,
        source: &Source,
        answer: &Answer<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), WalkError> {
        if !self.accept_head(source, answer)? {
            return Ok(());
        }
        self.count(source, answer.body.len() as u64)?;
        let page = Page::read(answer.body, source)?;
        let keys = self.read_fields(source, &page)?;
        self.write_header(&page, out)?;
        let before = out.len();
        for (index, record) in page.records.iter().enumerate() {
            if page.header.is_some() {
                // A cell can contain line breaks.
                out.extend_from_slice(record.as_bytes());
                out.push(b'\n');
            } else {
                self.write_record(source, record, index, out)?;
            }
        }
        self.progress.records += page.records.len() as u64;
        self.advance(source, answer.headers, &page, keys.as_ref(), &out[before..])
    }

    /// Writes the header of the first page of a table that has records, and checks that the others have the same.
    fn write_header(&mut self, page: &Page<'_>, out: &mut Vec<u8>) -> Result<(), WalkError> {
        let header = page.header.as_deref().filter(|_| !page.records.is_empty());
        match (header, &self.header) {
            (None, _) => {}
            (Some(header), Some(first)) if header == first => {}
            (Some(_), Some(_)) => return Err(WalkError::Header(self.progress.pages)),
            (Some(header), None) => {
                self.header = Some(header.to_owned());
                if !header.is_empty() {
                    out.extend_from_slice(header.as_bytes());
                    out.push(b'\n');
                }
            }
        }
        Ok(())
    }

    /// Processes the status and the headers of an answer whose body is stored as it arrives. Returns whether it has
    /// one; [`Self::finish_stream`] follows then.
    pub fn accept_head(&mut self, source: &Source, answer: &Answer<'_>) -> Result<bool, WalkError> {
        let is_unchanged = answer.status == StatusCode::NOT_MODIFIED;
        let has_validator = self.base.etag.is_some() || self.base.last_modified.is_some();
        if is_unchanged && is_conditional(source) && has_validator {
            self.progress.not_modified = true;
            self.is_done = true;
            return Ok(false);
        }
        // A part of an answer that was not requested as such would pass for the whole.
        if !answer.status.is_success() || answer.status == StatusCode::PARTIAL_CONTENT {
            return Err(WalkError::Status(answer.status));
        }
        if self.server_time.is_none() {
            self.server_time = date(answer.headers, &DATE);
        }
        if is_conditional(source) {
            let header = |name| Some(answer.headers.get(name)?.to_str().ok()?.to_owned());
            self.etag = header(ETAG);
            self.last_modified = header(LAST_MODIFIED);
        }
        if answer.status == StatusCode::NO_CONTENT {
            self.count(source, 0)?;
            self.finish_range(source)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Adds bytes of an answer that is stored as it arrives, as far as they have arrived.
    ///
    /// # Errors
    /// The answer is too long.
    pub fn count_stream(&mut self, source: &Source, bytes: u64) -> Result<(), WalkError> {
        self.progress.bytes += bytes;
        limit("bytes", self.progress.bytes, source.limits.bytes)
    }

    /// Ends a walk whose only answer has been stored to its last byte.
    pub fn finish_stream(&mut self, source: &Source, headers: &HeaderMap) -> Result<(), WalkError> {
        if let Some(Progress::Cursor(crate::source::Place::Header(name))) = source
            .incremental
            .as_ref()
            .map(|incremental| &incremental.progress)
        {
            self.cursor = header_text(headers, name);
        }
        self.count(source, 0)?;
        self.finish_range(source)
    }

    fn count(&mut self, source: &Source, bytes: u64) -> Result<(), WalkError> {
        self.progress.pages += 1;
        self.progress.bytes += bytes;
        limit("pages", self.progress.pages, source.limits.pages)?;
        limit("bytes", self.progress.bytes, source.limits.bytes)
    }

    /// Reads the fields that say how far the walk has come. Returns the greatest value of the field of keyset paging.
    fn read_fields(&mut self, source: &Source, page: &Page<'_>) -> Result<Option<Keys>, WalkError> {
        let mut keys: Option<Keys> = None;
        for (index, record) in page.records.iter().enumerate() {
            let field = |path: &[String], kind: MarkKind, format: TimeFormat, may_be_null: bool| {
                let error = |problem| WalkError::Field {
                    page: self.progress.pages,
                    record: index + 1,
                    field: path.join("."),
                    problem,
                };
                match field_of(record, path)? {
                    Field::Missing => Err(error("is missing")),
                    Field::Null if may_be_null => Ok(None),
                    Field::Null => Err(error("has no value")),
                    Field::Text(text) => match kind.read(&text, format) {
                        Some(mark) => Ok(Some((mark, text))),
                        None => Err(error("is not of the type in the definition")),
                    },
                }
            };
            if let PagingKind::Keyset(keyset) = &source.paging.kind {
                let found = field(&keyset.field, keyset.kind, keyset.time_format, false)?;
                if let Some((mark, text)) = found {
                    let before = keys
                        .as_ref()
                        .map(|keys| &keys.greatest)
                        .or(self.keys.as_ref());
                    self.check_order(keyset.inclusive, before, &mark)?;
                    keys = Some(Keys {
                        greatest: mark,
                        text,
                    });
                }
            }
            if let Some(incremental) = &source.incremental
                && let Progress::Field { path, kind } = &incremental.progress
                && let Some((mark, _)) = field(path, *kind, incremental.time_format, true)?
            {
                self.greatest = later(self.greatest.take(), Some(mark));
            }
        }
        Ok(keys)
    }

    fn check_order(
        &self,
        inclusive: bool,
        before: Option<&Mark>,
        mark: &Mark,
    ) -> Result<(), WalkError> {
        let page = self.progress.pages;
        match before {
            Some(before) if before.is_after(mark) => Err(WalkError::NotSorted(page)),
            Some(before) if before == mark && !inclusive => Err(WalkError::RepeatedKey(page)),
            _ => Ok(()),
        }
    }

    /// Returns the state after this walk, which must be done.
    pub fn proposal(&self, source: &Source) -> State {
        debug_assert!(self.is_done, "only a walk that is done has a state");
        if self.progress.not_modified {
            return self.base.clone();
        }
        // A row with a time in the future must not hide the rows that come until then.
        let present = self.server_time.unwrap_or(self.started);
        let bounded = |mark: &Mark| match mark {
            Mark::Timestamp(time) => Mark::Timestamp(*time.min(&present)),
            other => other.clone(),
        };
        let is_range = source
            .incremental
            .as_ref()
            .is_some_and(|incremental| incremental.until.is_some());
        let watermark = if is_range {
            self.reached.map(Mark::Timestamp)
        } else {
            self.greatest.as_ref().map(bounded)
        };
        State {
            fingerprint: self.base.fingerprint.clone(),
            watermark: later(self.base.watermark.clone(), watermark),
            cursor: self.cursor.clone().or_else(|| self.base.cursor.clone()),
            etag: self.etag.clone(),
            last_modified: self.last_modified.clone(),
        }
    }
}

/// The field of keyset paging on one page.
struct Keys {
    greatest: Mark,
    text: String,
}

fn limit(what: &'static str, number: u64, limit: u64) -> Result<(), WalkError> {
    if number > limit {
        return Err(WalkError::Limit { what, limit });
    }
    Ok(())
}

fn header_text(headers: &HeaderMap, name: &http::HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
