//! How a run continues where the one before ended.

use jiff::tz::TimeZone;
use landfall_domain::{DefinitionText, InvalidDefinition};
use serde::Deserialize;
use toml::Spanned;

use super::optional_path;
use super::paging::place;
use super::request::parameter;
use crate::mark::{MarkKind, Overlap};
use crate::request::Body;
use crate::schedule::{Schedule, duration};
use crate::source::{Incremental, Place, Progress};
use landfall_requests::Template;
use landfall_requests::TimeFormat;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIncremental {
    parameter: Spanned<String>,
    field: Option<Spanned<String>>,
    #[serde(rename = "type")]
    field_type: Option<Spanned<MarkKind>>,
    cursor: Option<Spanned<String>>,
    cursor_header: Option<Spanned<String>>,
    time_format: Option<Spanned<TimeFormat>>,
    overlap: Option<Spanned<RawOverlap>>,
    start: Option<Spanned<toml::Value>>,
    until_parameter: Option<Spanned<String>>,
    step: Option<Spanned<String>>,
    full_refresh: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawOverlap {
    Number(i64),
    Text(String),
}

/// Returns whether the progress is a property of the body that is not in its records.
pub(super) fn reads_body(incremental: &Incremental) -> bool {
    matches!(incremental.progress, Progress::Cursor(Place::Body(_)))
}

pub(super) fn check(
    text: &DefinitionText<'_>,
    raw: &Spanned<RawIncremental>,
    body: Option<&Body>,
    query: &[(String, Template)],
) -> Result<Incremental, InvalidDefinition> {
    let (span, raw) = (raw.span(), raw.get_ref());
    let parameter_of = |name: &str| parameter(name, body, query);
    let progress = progress(text, &span, raw)?;
    let kind = match &progress {
        Progress::Field { kind, .. } => Some(*kind),
        Progress::Cursor(_) => None,
    };
    let is_time = kind == Some(MarkKind::Timestamp);
    let time_format = text.check_optional(
        "incremental.time_format",
        raw.time_format.as_ref(),
        |format| {
            is_time
                .then_some(*format)
                .ok_or("needs type = \"timestamp\"")
        },
    )?;
    let time_format = time_format.unwrap_or_default();
    let until = text.check_optional(
        "incremental.until_parameter",
        raw.until_parameter.as_ref(),
        |name| {
            if !is_time {
                return Err("needs type = \"timestamp\": only time has an end".to_owned());
            }
            parameter_of(name)
        },
    )?;
    let start = text.check_optional("incremental.start", raw.start.as_ref(), |start| {
        let start = match start {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let kind = kind.unwrap_or(MarkKind::Text);
        // Points in time are easier to read than numbers of seconds.
        let mark = kind
            .read(&start, TimeFormat::Rfc3339)
            .or_else(|| kind.read(&start, TimeFormat::Date));
        mark.ok_or_else(|| format!("{start:?} is not of type {:?}", kind.as_str()))
    })?;
    let step = text.check_optional("incremental.step", raw.step.as_ref(), |step| {
        if until.is_none() {
            return Err("needs until_parameter, the parameter that ends a range".to_owned());
        }
        if start.is_none() {
            return Err("needs start, the begin of the first range".to_owned());
        }
        duration(step)
    })?;
    let overlap = text.check_optional("incremental.overlap", raw.overlap.as_ref(), |overlap| {
        overlap_of(overlap, kind)
    })?;
    let full_refresh = text.check_optional(
        "incremental.full_refresh",
        raw.full_refresh.as_ref(),
        |cron| Schedule::cron(cron, TimeZone::UTC),
    )?;
    Ok(Incremental {
        progress,
        parameter: text.check("incremental.parameter", &raw.parameter, |name| {
            parameter_of(name)
        })?,
        time_format,
        overlap,
        start,
        until,
        step,
        full_refresh,
    })
}

fn progress(
    text: &DefinitionText<'_>,
    span: &std::ops::Range<usize>,
    raw: &RawIncremental,
) -> Result<Progress, InvalidDefinition> {
    let field = optional_path(text, "incremental.field", raw.field.as_ref())?;
    let cursor = place(
        text,
        "incremental",
        raw.cursor.as_ref(),
        raw.cursor_header.as_ref(),
    )?;
    match (field, cursor, &raw.field_type) {
        (Some(path), None, Some(kind)) => Ok(Progress::Field {
            path,
            kind: *kind.get_ref(),
        }),
        (Some(_), None, None) => {
            let message =
                "is missing; write \"integer\", \"timestamp\" or \"text\", the type of the field";
            Err(text.error(span, "incremental.type", message))
        }
        (None, Some(place), None) => Ok(Progress::Cursor(place)),
        (None, Some(_), Some(kind)) => Err(text.error(
            &kind.span(),
            "incremental.type",
            "is that of a field, and there is none; remove it",
        )),
        (Some(_), Some(_), _) => Err(text.error(
            span,
            "incremental.field",
            "contradicts the cursor; remove one of the two",
        )),
        (None, None, _) => {
            let message = "is missing; write field, cursor or cursor_header, which say how far a run has come";
            Err(text.error(span, "incremental.field", message))
        }
    }
}

fn overlap_of(raw: &RawOverlap, kind: Option<MarkKind>) -> Result<Overlap, String> {
    match (raw, kind) {
        (RawOverlap::Number(0), _) => Ok(Overlap::None),
        (RawOverlap::Number(number), Some(MarkKind::Integer)) if *number > 0 => {
            Ok(Overlap::Numbers(*number))
        }
        (RawOverlap::Text(text), Some(MarkKind::Timestamp)) => Ok(Overlap::Time(duration(text)?)),
        (_, Some(MarkKind::Integer)) => Err("must be a number, as the field is one".to_owned()),
        (_, Some(MarkKind::Timestamp)) => {
            Err("must be a time such as \"10 minutes\", or 0".to_owned())
        }
        (_, Some(MarkKind::Text) | None) => {
            Err("needs a field of type \"integer\" or \"timestamp\"".to_owned())
        }
    }
}
