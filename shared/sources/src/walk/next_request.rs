//! The request for the next page.

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};

use super::{Position, Walk};
use crate::mark::Mark;
use crate::request::{Parameter, Request};
use crate::source::{PagingKind, Progress, Source};
use landfall_requests::Template;
use landfall_requests::TimeFormat;

impl Walk {
    /// Returns the next request, or `None` if the walk is done or [needs parents](Self::needs_parents).
    pub fn request(&self, source: &Source) -> Option<Request> {
        if self.is_done {
            return None;
        }
        let mut request = Request {
            method: source.method.clone(),
            url: self.url(source)?.clone(),
            query: source.query.clone(),
            headers: source.headers.clone(),
            body: source.body.clone(),
            set: Vec::new(),
        };
        if let Position::Url(url) = &self.position {
            request.url = url.clone();
            // Servers leave tokens out of their links; everything else is in them.
            request.query.retain(|(_, value)| value.has_secrets());
            return Some(request);
        }
        if is_conditional(source) {
            let validators = [
                (IF_NONE_MATCH, &self.base.etag),
                (IF_MODIFIED_SINCE, &self.base.last_modified),
            ];
            for (name, value) in validators {
                request
                    .headers
                    .extend(value.clone().map(|value| (name, Template::literal(value))));
            }
        }
        self.set_range(source, &mut request);
        if let Some(size) = &source.paging.size
            && let Some(parameter) = &size.parameter
        {
            request.set(parameter, size.records);
        }
        self.set_position(source, &mut request);
        Some(request)
    }

    fn set_range(&self, source: &Source, request: &mut Request) {
        let Some(incremental) = &source.incremental else {
            return;
        };
        let format = incremental.time_format;
        match &incremental.progress {
            Progress::Field { .. } => {
                if let Some(from) = &self.from {
                    set_mark(request, &incremental.parameter, from, format);
                }
            }
            Progress::Cursor(_) => {
                let cursor = self.base.cursor.clone();
                let start = || Some(incremental.start.as_ref()?.write(format));
                if let Some(cursor) = cursor.or_else(start) {
                    request.set(&incremental.parameter, cursor);
                }
            }
        }
        if let (Some(parameter), Some(until)) = (&incremental.until, self.until) {
            set_mark(request, parameter, &Mark::Timestamp(until), format);
        }
    }

    fn set_position(&self, source: &Source, request: &mut Request) {
        match (&source.paging.kind, &self.position) {
            (PagingKind::Page { parameter, first }, position) => {
                let number = if let Position::Number(number) = position {
                    *number
                } else {
                    *first
                };
                request.set(parameter, number);
            }
            (PagingKind::Offset { parameter }, position) => {
                let number = if let Position::Number(number) = position {
                    *number
                } else {
                    0
                };
                request.set(parameter, number);
            }
            (PagingKind::Cursor { parameter, .. }, Position::Cursor(cursor)) => {
                request.set(parameter, cursor.as_str());
            }
            (PagingKind::Keyset(keyset), Position::After(value)) => {
                match keyset.kind.read(value, keyset.time_format) {
                    Some(mark @ Mark::Integer(_)) => {
                        set_mark(request, &keyset.parameter, &mark, keyset.time_format);
                    }
                    // As the server wrote it: another way to write the same time may be less exact.
                    _ => request.set(&keyset.parameter, value.as_str()),
                }
            }
            _ => {}
        }
    }
}

/// Returns whether requests ask for an answer only if it has changed.
pub(super) fn is_conditional(source: &Source) -> bool {
    let is_single = source.paging.kind == PagingKind::None && source.children.is_none();
    is_single && source.incremental.is_none()
}

fn set_mark(request: &mut Request, parameter: &Parameter, mark: &Mark, format: TimeFormat) {
    let text = mark.write(format);
    let is_number = match mark {
        Mark::Integer(_) => true,
        Mark::Timestamp(_) => matches!(format, TimeFormat::Unix | TimeFormat::UnixMs),
        Mark::Text(_) => false,
    };
    match text.parse::<i64>() {
        Ok(number) if is_number => request.set(parameter, number),
        _ => request.set(parameter, text),
    }
}
