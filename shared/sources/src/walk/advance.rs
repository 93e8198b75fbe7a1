//! From one page to the next, and from one range to the next.

use http::HeaderMap;
use jiff::Timestamp;
use url::Url;

use super::guard::Cycle;
use super::link::next_link;
use super::{Keys, Position, Walk, WalkError, header_text};
use crate::mark::Mark;
use crate::page::Page;
use crate::source::{PagingKind, Place, Progress, Source, Stop};

impl Walk {
    /// Moves on to the next page, or ends the range. `lines` are the records of the page.
    pub(super) fn advance(
        &mut self,
        source: &Source,
        headers: &HeaderMap,
        page: &Page<'_>,
        keys: Option<&Keys>,
        lines: &[u8],
    ) -> Result<(), WalkError> {
        if let Some(Progress::Cursor(place)) = source
            .incremental
            .as_ref()
            .map(|incremental| &incremental.progress)
            && let Some(cursor) = text(place, headers, page)?
        {
            self.cursor = Some(cursor);
        }
        let more = self.more(source, page)?;
        let is_keyset = matches!(source.paging.kind, PagingKind::Keyset(_));
        // Keyset paging is checked by its keys, which is stricter.
        if !lines.is_empty() && !is_keyset && self.records_cycle.repeats(lines) {
            return Err(self.repeats("it has the same records"));
        }
        let is_last =
            more == Some(false) || (more.is_none() && self.is_last(source, page.records.len()));
        let next = if is_last {
            None
        } else {
            self.next(source, headers, page, keys)?
        };
        self.has_full_page |= source
            .paging
            .size
            .as_ref()
            .is_some_and(|size| page.records.len() >= size.records as usize);
        match next {
            None => self.finish_range(source)?,
            Some(position) => {
                let link = match &position {
                    Position::Cursor(cursor) => Some(cursor.as_str()),
                    Position::Url(url) => Some(url.as_str()),
                    _ => None,
                };
                if link.is_some_and(|link| self.links_cycle.repeats(link.as_bytes())) {
                    return Err(self.repeats("it leads to the same next page"));
                }
                self.position = position;
            }
        }
        Ok(())
    }

    fn repeats(&self, reason: &'static str) -> WalkError {
        WalkError::Loop {
            page: self.progress.pages,
            reason,
        }
    }

    /// Returns what the property says that says whether there are more pages.
    fn more(&self, source: &Source, page: &Page<'_>) -> Result<Option<bool>, WalkError> {
        let Some(path) = &source.paging.more else {
            return Ok(None);
        };
        let more = page.text(path)?.ok_or_else(|| WalkError::More {
            page: self.progress.pages,
            property: path.join("."),
        })?;
        Ok(Some(!matches!(more.as_str(), "false" | "0")))
    }

    fn is_last(&self, source: &Source, records: usize) -> bool {
        match source.paging.stop {
            Stop::Unlinked => false,
            Stop::Empty => records == 0,
            // Without a full page before, the server may just have pages of another size.
            Stop::Short => {
                let size = source.paging.size.as_ref();
                let is_short = size.is_some_and(|size| records < size.records as usize);
                records == 0 || (is_short && self.has_full_page)
            }
        }
    }

    fn next(
        &mut self,
        source: &Source,
        headers: &HeaderMap,
        page: &Page<'_>,
        keys: Option<&Keys>,
    ) -> Result<Option<Position>, WalkError> {
        let records = page.records.len() as u64;
        let number = match self.position {
            Position::Number(number) => Some(number),
            _ => None,
        };
        Ok(match &source.paging.kind {
            PagingKind::None => None,
            PagingKind::Page { first, .. } => Some(Position::Number(number.unwrap_or(*first) + 1)),
            PagingKind::Offset { .. } if records == 0 => {
                return Err(self.repeats("it has no records, and there are more"));
            }
            PagingKind::Offset { .. } => Some(Position::Number(number.unwrap_or(0) + records)),
            PagingKind::Cursor { from, .. } => text(from, headers, page)?.map(Position::Cursor),
            PagingKind::NextUrl(path) => self.next_url(source, page.text(path)?)?,
            PagingKind::Link => self.next_url(source, next_link(headers))?,
            PagingKind::Keyset(keyset) => self.next_key(source, keyset.inclusive, records, keys)?,
        })
    }

    /// Returns the position after the greatest value of a page, or `None` if it was the last page.
    fn next_key(
        &mut self,
        source: &Source,
        inclusive: bool,
        records: u64,
        keys: Option<&Keys>,
    ) -> Result<Option<Position>, WalkError> {
        let Some(Keys { greatest, text }) = keys else {
            // There are more pages, the server says, but nothing leads to them.
            return Err(WalkError::NoNewKey(self.progress.pages));
        };
        if self
            .keys
            .as_ref()
            .is_some_and(|before| !greatest.is_after(before))
        {
            let size = source
                .paging
                .size
                .as_ref()
                .map(|size| u64::from(size.records));
            let is_full = size.is_none_or(|size| records >= size);
            return if inclusive && !is_full {
                Ok(None)
            } else {
                Err(WalkError::NoNewKey(self.progress.pages))
            };
        }
        self.keys = Some(greatest.clone());
        Ok(Some(Position::After(text.clone())))
    }

    /// Returns the position of a URL, which must be one of the server of the source.
    fn next_url(
        &self,
        source: &Source,
        next: Option<String>,
    ) -> Result<Option<Position>, WalkError> {
        let Some(next) = next else { return Ok(None) };
        let current = match &self.position {
            Position::Url(url) => url,
            _ => self.url(source).unwrap_or(&source.url),
        };
        let mut url = current.join(&next).map_err(|_| WalkError::NextUrl(next))?;
        // Servers behind a proxy that ends TLS often do not know that they have it.
        let is_downgrade =
            source.url.scheme() == "https" && url.scheme() == "http" && url.port().is_none();
        if is_downgrade && url.host() == source.url.host() {
            // Both schemes have the same form, so that this does not fail.
            let _ = url.set_scheme("https");
        }
        if url.origin() != source.url.origin()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(WalkError::OtherServer(url.origin().ascii_serialization()));
        }
        url.set_fragment(None);
        Ok(Some(Position::Url(without_secrets(source, &url))))
    }

    /// Returns the end of the range that starts where the walk is.
    pub(super) fn range_end(&self, source: &Source) -> Option<Timestamp> {
        let incremental = source.incremental.as_ref()?;
        incremental.until.as_ref()?;
        let from = match self.from {
            Some(Mark::Timestamp(from)) => Some(from),
            _ => None,
        };
        let end = from
            .zip(incremental.step)
            .and_then(|(from, step)| from.checked_add(step).ok());
        let end = end.unwrap_or(self.started).min(self.started);
        Some(from.map_or(end, |from| end.max(from)))
    }

    /// Ends the range, and the walk unless there is another range.
    pub(super) fn finish_range(&mut self, source: &Source) -> Result<(), WalkError> {
        if self.parents.is_some() {
            return self.next_parent(source);
        }
        let Some(until) = self.until else {
            self.is_done = true;
            return Ok(());
        };
        // Rows that the server stores after its answer have a later time by its clock, not by ours.
        let reached = self.server_time.map_or(until, |time| time.min(until));
        self.reached = Some(self.reached.map_or(reached, |before| before.max(reached)));
        if until >= self.started {
            self.is_done = true;
            return Ok(());
        }
        self.from = Some(Mark::Timestamp(until));
        self.until = self.range_end(source);
        self.restart();
        Ok(())
    }

    /// Moves to the first page of another range or parent.
    pub(super) fn restart(&mut self) {
        self.position = Position::Start;
        self.keys = None;
        self.has_full_page = false;
        self.server_time = None;
        self.records_cycle = Cycle::default();
        self.links_cycle = Cycle::default();
    }
}

/// Removes the parameters that the definition has secrets for: links are stored and logged.
fn without_secrets(source: &Source, url: &Url) -> Url {
    let is_secret = |name: &str| {
        source
            .query
            .iter()
            .any(|(other, value)| other == name && value.has_secrets())
    };
    if !url.query_pairs().any(|(name, _)| is_secret(&name)) {
        return url.clone();
    }
    let mut cleaned = url.clone();
    let pairs = url.query_pairs().filter(|(name, _)| !is_secret(name));
    cleaned.query_pairs_mut().clear().extend_pairs(pairs);
    cleaned
}

fn text(place: &Place, headers: &HeaderMap, page: &Page<'_>) -> Result<Option<String>, WalkError> {
    Ok(match place {
        Place::Body(path) => page.text(path)?,
        Place::Header(name) => header_text(headers, name),
    })
}
