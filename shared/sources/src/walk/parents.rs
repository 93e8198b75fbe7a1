//! A walk over the pages of one parent after the other.

use std::collections::VecDeque;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Position, Walk, WalkError, url_text};
use crate::children::{Children, Parent, ParentError};
use crate::page::{Field, field_of, write_line};
use crate::source::Source;

/// How far a walk has come among the parents. Those that are waiting are not stored: they are read again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Parents {
    /// The key of the last one whose pages were started.
    after: Option<Vec<String>>,
    current: Option<Current>,
    started: u64,
    missing: u64,
    #[serde(skip)]
    waiting: VecDeque<Parent>,
    /// Whether no others follow those that are waiting.
    #[serde(skip)]
    is_last: bool,
}

/// The parent whose pages are fetched.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Current {
    parent: Parent,
    #[serde(with = "url_text")]
    url: Url,
}

impl Walk {
    /// Returns whether the walk goes on only with more parents, for [`Self::add_parents`].
    pub fn needs_parents(&self) -> bool {
        let parents = self.parents.as_ref();
        !self.is_done && parents.is_some_and(|parents| parents.current.is_none())
    }

    /// Returns the key of the parent after which further ones are needed; `None` if these are the first.
    pub fn last_parent(&self) -> Option<&[String]> {
        self.parents.as_ref()?.after.as_deref()
    }

    /// Adds the parents that follow, in the order of their keys. `is_last` says that no others follow.
    ///
    /// # Errors
    /// There are too many, or one has values that cannot be in the URL.
    pub fn add_parents(
        &mut self,
        source: &Source,
        parents: Vec<Parent>,
        is_last: bool,
    ) -> Result<(), WalkError> {
        if let Some(known) = &mut self.parents {
            known.waiting = parents.into();
            known.is_last = is_last;
        }
        self.next_parent(source)
    }

    /// Goes on with the next parent if the server does not have this one, and if the definition allows it. Returns
    /// whether it did.
    ///
    /// # Errors
    /// The server had no parent at all.
    pub fn skip_parent(&mut self, source: &Source, status: StatusCode) -> Result<bool, WalkError> {
        let is_missing = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        let children = source.children.as_ref();
        let may_skip = children.is_some_and(|children| children.skips_missing);
        let (Some(parents), Position::Start) = (&mut self.parents, &self.position) else {
            return Ok(false);
        };
        if !is_missing || !may_skip {
            return Ok(false);
        }
        parents.missing += 1;
        self.next_parent(source)?;
        Ok(true)
    }

    /// Returns the URL of the first page; `None` if there is no parent.
    pub(super) fn url<'a>(&'a self, source: &'a Source) -> Option<&'a Url> {
        match &self.parents {
            None => Some(&source.url),
            Some(parents) => Some(&parents.current.as_ref()?.url),
        }
    }

    /// Moves to the first page of the next parent, and ends the walk after the last one.
    pub(super) fn next_parent(&mut self, source: &Source) -> Result<(), WalkError> {
        let (Some(parents), Some(children)) = (&mut self.parents, &source.children) else {
            return Ok(());
        };
        parents.current = None;
        match parents.waiting.pop_front() {
            Some(parent) => {
                if parents.started >= children.max {
                    return Err(ParentError::TooMany(children.max).into());
                }
                parents.started += 1;
                parents.after = Some(parent.key.clone());
                let url = children.url.fill(&parent)?;
                parents.current = Some(Current { parent, url });
            }
            None if parents.is_last
                && parents.missing > 0
                && parents.missing == parents.started =>
            {
                return Err(ParentError::AllMissing(parents.missing).into());
            }
            None => self.is_done = parents.is_last,
        }
        self.restart();
        Ok(())
    }

    /// Appends a record as a line, with the fields of its parent that it lacks.
    pub(super) fn write_record(
        &self,
        source: &Source,
        record: &str,
        index: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WalkError> {
        let current = self
            .parents
            .as_ref()
            .and_then(|parents| parents.current.as_ref());
        let children = source
            .children
            .as_ref()
            .filter(|children| !children.fields.is_empty());
        let (Some(children), Some(Current { parent, .. })) = (children, current) else {
            write_line(record, out);
            return Ok(());
        };
        let start = with_fields(children, parent, record).ok_or(WalkError::NoObject {
            page: self.progress.pages,
            record: index + 1,
        })?;
        // What follows the brace that opens the record.
        let rest = record
            .trim_start()
            .get(1..)
            .unwrap_or_default()
            .trim_start();
        let end = if rest.starts_with('}') { "" } else { "," };
        let comma = if start.len() > 1 { end } else { "" };
        out.extend_from_slice(start.as_bytes());
        out.extend_from_slice(comma.as_bytes());
        write_line(rest, out);
        Ok(())
    }
}

/// Returns the start of a record with the fields of its parent that it lacks, or `None` if it is not an object.
fn with_fields(children: &Children, parent: &Parent, record: &str) -> Option<String> {
    if !record.trim_start().starts_with('{') {
        return None;
    }
    let mut start = String::from("{");
    for (property, field) in &children.fields {
        let Some(value) = parent.values.get(field) else {
            continue;
        };
        // Also a property that is an object, which has no text.
        if !matches!(
            field_of(record, std::slice::from_ref(property)),
            Ok(Field::Missing)
        ) {
            continue;
        }
        if start.len() > 1 {
            start.push(',');
        }
        start += &serde_json::Value::from(property.as_str()).to_string();
        start.push(':');
        start += &value.to_string();
    }
    Some(start)
}
