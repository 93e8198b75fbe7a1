//! How pages follow each other.

use landfall_domain::{DefinitionText, InvalidDefinition};
use serde::Deserialize;
use toml::Spanned;

use super::optional_path;
use super::request::parameter;
use crate::mark::MarkKind;
use crate::request::{Body, Parameter};
use crate::source::{Keyset, PageSize, Paging, PagingKind, Place, Stop};
use landfall_requests::Template;
use landfall_requests::TimeFormat;
use landfall_requests::header_name;

/// The maximum number of records in a page.
const MAX_SIZE: u32 = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPaging {
    kind: Spanned<RawKind>,
    parameter: Option<Spanned<String>>,
    first: Option<Spanned<u64>>,
    size: Option<Spanned<u32>>,
    size_parameter: Option<Spanned<String>>,
    cursor: Option<Spanned<String>>,
    cursor_header: Option<Spanned<String>>,
    next: Option<Spanned<String>>,
    field: Option<Spanned<String>>,
    #[serde(rename = "type")]
    field_type: Option<Spanned<MarkKind>>,
    time_format: Option<Spanned<TimeFormat>>,
    inclusive: Option<Spanned<bool>>,
    stop: Option<Spanned<RawStop>>,
    more: Option<Spanned<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    None,
    Page,
    Offset,
    Cursor,
    NextUrl,
    Link,
    Keyset,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawStop {
    Empty,
    Short,
}

impl RawKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Page => "page",
            Self::Offset => "offset",
            Self::Cursor => "cursor",
            Self::NextUrl => "next_url",
            Self::Link => "link",
            Self::Keyset => "keyset",
        }
    }

    /// Returns the settings that this kind has.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Page => &[
                "parameter",
                "first",
                "size",
                "size_parameter",
                "stop",
                "more",
            ],
            Self::Offset => &["parameter", "size", "size_parameter", "stop", "more"],
            Self::Cursor => &[
                "parameter",
                "cursor",
                "cursor_header",
                "size",
                "size_parameter",
                "stop",
                "more",
            ],
            Self::NextUrl => &["next", "size", "size_parameter", "stop", "more"],
            Self::Link => &["size", "size_parameter", "stop", "more"],
            Self::Keyset => &[
                "parameter",
                "field",
                "type",
                "time_format",
                "inclusive",
                "size",
                "size_parameter",
                "stop",
                "more",
            ],
        }
    }
}

/// Returns whether the next page follows from a property of the body that is not in its records.
pub(super) fn reads_body(paging: &Paging) -> bool {
    let is_linked_in_body = matches!(
        paging.kind,
        PagingKind::NextUrl(_)
            | PagingKind::Cursor {
                from: Place::Body(_),
                ..
            }
    );
    is_linked_in_body || paging.more.is_some()
}

pub(super) fn check(
    text: &DefinitionText<'_>,
    raw: Option<&Spanned<RawPaging>>,
    body: Option<&Body>,
    query: &[(String, Template)],
) -> Result<Paging, InvalidDefinition> {
    let Some(raw) = raw else {
        return Ok(Paging {
            kind: PagingKind::None,
            size: None,
            stop: Stop::Unlinked,
            more: None,
        });
    };
    let kind = *raw.get_ref().kind.get_ref();
    let context = Context {
        text,
        raw: raw.get_ref(),
        span: raw.span(),
        kind,
        body,
        query,
    };
    context.check_used()?;
    let raw = context.raw;
    let size_parameter = context.parameter("size_parameter", raw.size_parameter.as_ref())?;
    let records = text.check_optional("paging.size", raw.size.as_ref(), |size| {
        let is_valid = (1..=MAX_SIZE).contains(size);
        is_valid.then_some(*size).ok_or("must be from 1 to 100000")
    })?;
    let size = match (records, size_parameter) {
        (Some(records), parameter) => Some(PageSize { records, parameter }),
        (None, Some(_)) => {
            return Err(context.missing("size", "the number that size_parameter requests"));
        }
        (None, None) => None,
    };
    let is_linked = matches!(kind, RawKind::Cursor | RawKind::NextUrl | RawKind::Link);
    let stop = text.check_optional("paging.stop", raw.stop.as_ref(), |stop| match stop {
        RawStop::Short if is_linked => {
            Err("a short page ends nothing here, because each page names the next one")
        }
        RawStop::Short if size.is_none() => {
            Err("\"short\" needs size, the number of records in a full page")
        }
        RawStop::Short => Ok(Stop::Short),
        RawStop::Empty => Ok(Stop::Empty),
    })?;
    let usual_stop = if is_linked || kind == RawKind::None {
        Stop::Unlinked
    } else {
        Stop::Empty
    };
    let more = optional_path(text, "paging.more", raw.more.as_ref())?;
    if let (Some(stop), Some(_)) = (&raw.stop, &more) {
        return Err(text.error(
            &stop.span(),
            "paging.stop",
            "contradicts more; remove one of the two",
        ));
    }
    let kind = context.kind(size.is_some())?;
    Ok(Paging {
        kind,
        size,
        stop: stop.unwrap_or(usual_stop),
        more,
    })
}

struct Context<'a> {
    text: &'a DefinitionText<'a>,
    raw: &'a RawPaging,
    span: std::ops::Range<usize>,
    kind: RawKind,
    body: Option<&'a Body>,
    query: &'a [(String, Template)],
}

impl Context<'_> {
    /// Refuses settings of other kinds of paging.
    fn check_used(&self) -> Result<(), InvalidDefinition> {
        fn span<T>(setting: Option<&Spanned<T>>) -> Option<std::ops::Range<usize>> {
            setting.map(Spanned::span)
        }
        let raw = self.raw;
        let given = [
            ("parameter", span(raw.parameter.as_ref())),
            ("first", span(raw.first.as_ref())),
            ("size", span(raw.size.as_ref())),
            ("size_parameter", span(raw.size_parameter.as_ref())),
            ("cursor", span(raw.cursor.as_ref())),
            ("cursor_header", span(raw.cursor_header.as_ref())),
            ("next", span(raw.next.as_ref())),
            ("field", span(raw.field.as_ref())),
            ("type", span(raw.field_type.as_ref())),
            ("time_format", span(raw.time_format.as_ref())),
            ("inclusive", span(raw.inclusive.as_ref())),
            ("stop", span(raw.stop.as_ref())),
            ("more", span(raw.more.as_ref())),
        ];
        let settings = self.kind.settings();
        for (name, span) in given {
            let Some(span) = span.filter(|_| !settings.contains(&name)) else {
                continue;
            };
            let kind = self.kind.as_str();
            let message = match settings {
                [] => format!("is no setting of kind = {kind:?}, which has none"),
                _ => format!(
                    "is no setting of kind = {kind:?}, only {}",
                    settings.join(", ")
                ),
            };
            return Err(self.text.error(&span, &format!("paging.{name}"), message));
        }
        Ok(())
    }

    fn missing(&self, setting: &str, what: &str) -> InvalidDefinition {
        let kind = self.kind.as_str();
        let message = format!("is missing; kind = {kind:?} needs {what}");
        self.text
            .error(&self.span, &format!("paging.{setting}"), message)
    }

    fn parameter(
        &self,
        setting: &str,
        raw: Option<&Spanned<String>>,
    ) -> Result<Option<Parameter>, InvalidDefinition> {
        let setting = format!("paging.{setting}");
        self.text
            .check_optional(&setting, raw, |name| parameter(name, self.body, self.query))
    }

    fn required_parameter(&self) -> Result<Parameter, InvalidDefinition> {
        let parameter = self.parameter("parameter", self.raw.parameter.as_ref())?;
        parameter
            .ok_or_else(|| self.missing("parameter", "the parameter that requests the next page"))
    }

    fn kind(&self, has_size: bool) -> Result<PagingKind, InvalidDefinition> {
        let (text, raw) = (self.text, self.raw);
        Ok(match self.kind {
            RawKind::None => PagingKind::None,
            RawKind::Link => PagingKind::Link,
            RawKind::Page => PagingKind::Page {
                parameter: self.required_parameter()?,
                first: raw.first.as_ref().map_or(1, |first| *first.get_ref()),
            },
            RawKind::Offset => PagingKind::Offset {
                parameter: self.required_parameter()?,
            },
            RawKind::NextUrl => {
                let next = optional_path(text, "paging.next", raw.next.as_ref())?;
                PagingKind::NextUrl(
                    next.ok_or_else(|| self.missing("next", "the property with the next URL"))?,
                )
            }
            RawKind::Cursor => PagingKind::Cursor {
                parameter: self.required_parameter()?,
                from: place(
                    text,
                    "paging",
                    raw.cursor.as_ref(),
                    raw.cursor_header.as_ref(),
                )?
                .ok_or_else(|| {
                    self.missing(
                        "cursor",
                        "the property with the cursor of the next page, or cursor_header",
                    )
                })?,
            },
            RawKind::Keyset => self.keyset(has_size)?,
        })
    }

    fn keyset(&self, has_size: bool) -> Result<PagingKind, InvalidDefinition> {
        let (text, raw) = (self.text, self.raw);
        let field = optional_path(text, "paging.field", raw.field.as_ref())?;
        let field =
            field.ok_or_else(|| self.missing("field", "the field that pages are sorted by"))?;
        let kind = raw.field_type.as_ref();
        let kind = kind.ok_or_else(|| {
            self.missing(
                "type",
                "\"integer\", \"timestamp\" or \"text\", the type of the field",
            )
        })?;
        let inclusive = text.check_optional("paging.inclusive", raw.inclusive.as_ref(), |inclusive| {
            if *inclusive && !has_size {
                return Err("needs size: without it, a page of rows with one value looks like the last one");
            }
            Ok(*inclusive)
        })?;
        Ok(PagingKind::Keyset(Keyset {
            parameter: self.required_parameter()?,
            field,
            kind: *kind.get_ref(),
            time_format: raw
                .time_format
                .as_ref()
                .map_or_else(TimeFormat::default, |format| *format.get_ref()),
            inclusive: inclusive.unwrap_or(false),
        }))
    }
}

/// Returns where answers have a cursor, if a setting says so.
pub(super) fn place(
    text: &DefinitionText<'_>,
    table: &str,
    cursor: Option<&Spanned<String>>,
    header: Option<&Spanned<String>>,
) -> Result<Option<Place>, InvalidDefinition> {
    let setting = format!("{table}.cursor_header");
    let path = optional_path(text, &format!("{table}.cursor"), cursor)?;
    let header = text.check_optional(&setting, header, |name| {
        if path.is_some() {
            return Err("contradicts cursor; remove one of the two".to_owned());
        }
        header_name(name)
    })?;
    Ok(path.map(Place::Body).or(header.map(Place::Header)))
}
