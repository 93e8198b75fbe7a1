//! Definitions of sources: parses their TOML and checks it.

mod auth;
mod children;
mod incremental;
mod limits;
#[cfg(test)]
mod page_tests;
mod paging;
mod request;
#[cfg(test)]
mod tests;

use http::header::AUTHORIZATION;
use http::{HeaderName, Method};
use landfall_domain::{
    CsvOptions, DefinitionText, Format, InvalidDefinition, NAME_RULE, Tables, is_name, settings_of,
    zone,
};
use landfall_requests::{RawPairs, definition_url, headers};
use serde::Deserialize;
use toml::Spanned;

use crate::schedule::{Missed, Schedule};
use crate::source::{PagingKind, Progress, Source};
use auth::RawAuth;
use children::RawChildren;
use incremental::RawIncremental;
use limits::RawLimits;
use paging::RawPaging;
use request::RawBody;

/// The maximum number of properties in a path.
const MAX_PATH: usize = 16;

/// The tables of the definition of a source.
const TABLES: Tables = &[
    ("the source, above all tables", settings_of::<RawSource>),
    ("[body]", settings_of::<RawBody>),
    ("[paging]", settings_of::<RawPaging>),
    ("[incremental]", settings_of::<RawIncremental>),
    ("[children]", settings_of::<RawChildren>),
    ("[auth]", settings_of::<RawAuth>),
    ("[limits]", settings_of::<RawLimits>),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    dataset: Spanned<String>,
    url: Spanned<String>,
    method: Option<Spanned<String>>,
    every: Option<Spanned<String>>,
    cron: Option<Spanned<String>>,
    time_zone: Option<Spanned<String>>,
    #[serde(default)]
    missed: Missed,
    #[serde(default = "json")]
    format: Spanned<Format>,
    records: Option<Spanned<String>>,
    complete: Option<Spanned<bool>>,
    consistent: Option<Spanned<bool>>,
    #[serde(default)]
    headers: RawPairs,
    #[serde(default)]
    query: RawPairs,
    body: Option<Spanned<RawBody>>,
    paging: Option<Spanned<RawPaging>>,
    incremental: Option<Spanned<RawIncremental>>,
    children: Option<Spanned<RawChildren>>,
    auth: Option<Spanned<RawAuth>>,
    #[serde(default)]
    limits: RawLimits,
}

fn json() -> Spanned<Format> {
    Spanned::new(0..0, Format::Json)
}

impl Source {
    /// Parses the definition of the source `name`. `file` is the name of its file in errors.
    ///
    /// # Errors
    /// The first mistake in the definition, with its line.
    pub fn from_toml(name: &str, file: &str, text: &str) -> Result<Self, InvalidDefinition> {
        let text = DefinitionText { file, text };
        if !is_name(name) {
            return Err(text.error(
                &(0..0),
                "name",
                format!("the file is named {name:?}; the name of a source {NAME_RULE}"),
            ));
        }
        let raw: RawSource = text.parse(TABLES)?;
        text.check("dataset", &raw.dataset, |name| {
            is_name(name).then_some(()).ok_or(NAME_RULE)
        })?;
        let url = text.check("url", &raw.url, |url| definition_url(url))?;
        let body = request::body(&text, raw.body.as_ref())?;
        let method = text.check_optional("method", raw.method.as_ref(), |method| {
            match (method.as_str(), &body) {
                ("GET", Some(_)) => {
                    Err("a GET request has no body; remove [body], or set method = \"POST\"")
                }
                ("GET", None) => Ok(Method::GET),
                ("POST", _) => Ok(Method::POST),
                _ => Err("must be \"GET\" or \"POST\""),
            }
        })?;
        let usual_method = if body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let (schedule, missed) = (schedule(&text, &raw)?, raw.missed);
        let records = optional_path(&text, "records", raw.records.as_ref())?;
        let query = request::query(&text, &raw.query)?;
        let paging = paging::check(
            &text,
            raw.paging.as_ref(),
            body.as_ref().map(|(body, _)| body),
            &query,
        )?;
        let incremental = raw.incremental.as_ref();
        let incremental = incremental
            .map(|raw| incremental::check(&text, raw, body.as_ref().map(|(body, _)| body), &query))
            .transpose()?;
        let graphql = body.as_ref().is_some_and(|(_, graphql)| *graphql);
        let source = Self {
            name: name.to_owned(),
            dataset: raw.dataset.get_ref().clone(),
            url,
            method: method.unwrap_or(usual_method),
            headers: headers(&text, &raw.headers, is_set_by_auth)?,
            query,
            body: body.map(|(body, _)| body),
            graphql,
            schedule,
            missed,
            format: *raw.format.get_ref(),
            csv: CsvOptions::default(),
            records: records.unwrap_or_default(),
            paging,
            incremental,
            children: children::check(&text, &raw)?,
            auth: raw
                .auth
                .as_ref()
                .map(|raw| auth::check(&text, raw))
                .transpose()?,
            limits: limits::check(&text, &raw.limits)?,
            complete: raw
                .complete
                .as_ref()
                .is_some_and(|complete| *complete.get_ref()),
        };
        check_format(&text, &raw, &source)?;
        check_complete(&text, &raw, &source)?;
        Ok(source)
    }
}

fn schedule(text: &DefinitionText<'_>, raw: &RawSource) -> Result<Schedule, InvalidDefinition> {
    let zone_name = raw.time_zone.as_ref();
    match (&raw.every, &raw.cron) {
        (Some(every), None) => {
            text.check_optional("time_zone", zone_name, |_| -> Result<(), _> {
                Err("is the zone of a cron expression; every = … has none")
            })?;
            text.check("every", every, |every| Schedule::every(every))
        }
        (None, Some(cron)) => {
            let zone = text.check_optional("time_zone", zone_name, |name| zone(name))?;
            let zone = zone.unwrap_or(jiff::tz::TimeZone::UTC);
            text.check("cron", cron, |cron| Schedule::cron(cron, zone))
        }
        (Some(_), Some(cron)) => Err(text.error(
            &cron.span(),
            "cron",
            "contradicts every; remove one of the two",
        )),
        (None, None) => {
            let message = "is missing; write for example every = \"10 minutes\", or cron = \"30 8 * * MON-FRI\"";
            Err(text.error(&(0..0), "every", message))
        }
    }
}

/// Checks that what is read of the answers can be read in their format.
fn check_format(
    text: &DefinitionText<'_>,
    raw: &RawSource,
    source: &Source,
) -> Result<(), InvalidDefinition> {
    if source.format == Format::Json {
        return Ok(());
    }
    let format = source.format.as_str();
    if let Some(records) = &raw.records {
        let message = format!("is a path in JSON, but format = {format:?}; remove one of the two");
        return Err(text.error(&records.span(), "records", message));
    }
    let is_table = matches!(source.format, Format::Csv | Format::Tsv);
    if let Some(paging) = raw
        .paging
        .as_ref()
        .filter(|_| is_table && matches!(source.paging.kind, PagingKind::Keyset(_)))
    {
        let message = format!(
            "fields of {format} answers are not read, which keyset paging needs; use another kind of paging, JSON or \
             NDJSON"
        );
        return Err(text.error(&paging.span(), "paging", message));
    }
    let reads_records = source
        .incremental
        .as_ref()
        .is_some_and(|incremental| matches!(incremental.progress, Progress::Field { .. }));
    if let Some(incremental) = raw
        .incremental
        .as_ref()
        .filter(|_| is_table && reads_records)
    {
        let message = format!(
            "fields of {format} answers are not read; use a cursor in a header (cursor_header)"
        );
        return Err(text.error(&incremental.span(), "incremental", message));
    }
    let reads_body = paging::reads_body(&source.paging)
        || source
            .incremental
            .as_ref()
            .is_some_and(incremental::reads_body);
    if reads_body {
        let span = raw.paging.as_ref().map_or(0..0, Spanned::span);
        let message =
            format!("an answer with format = {format:?} has no property beside its records");
        return Err(text.error(&span, "paging", message));
    }
    Ok(())
}

/// Refuses `complete` where a walk can miss records that exist, because these would be deleted.
fn check_complete(
    text: &DefinitionText<'_>,
    raw: &RawSource,
    source: &Source,
) -> Result<(), InvalidDefinition> {
    let consistent = raw.consistent.as_ref();
    let is_consistent = consistent.is_some_and(|consistent| *consistent.get_ref());
    if let (Some(consistent), false) = (consistent, source.complete) {
        let message = "is about complete = true, which is not set";
        return Err(text.error(&consistent.span(), "consistent", message));
    }
    let Some(complete) = raw.complete.as_ref().filter(|_| source.complete) else {
        return Ok(());
    };
    let refused = |message: &str| Err(text.error(&complete.span(), "complete", message));
    if source.incremental.is_some() {
        return refused("contradicts [incremental], which fetches only what has changed");
    }
    match &source.paging.kind {
        PagingKind::None | PagingKind::Keyset(_) => Ok(()),
        PagingKind::Page { .. } | PagingKind::Offset { .. } => refused(
            "is refused with pages by number: when a row is deleted during a run, the next one moves to a page that \
             was fetched already, is missed, and would be deleted; use keyset paging or one answer",
        ),
        _ if is_consistent => Ok(()),
        _ => refused(
            "needs consistent = true, because a cursor may hide an offset, with which rows can be missed; set it only \
             if the API says that a walk over its pages misses no row that exists all the time",
        ),
    }
}

/// Returns why a header cannot be in `[headers]`.
fn is_set_by_auth(name: &HeaderName) -> Option<&'static str> {
    (*name == AUTHORIZATION).then_some("is set by [auth]")
}

/// Returns a path of property names, such as `data.items`.
fn path(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = text.split('.').map(str::to_owned).collect();
    if names.len() > MAX_PATH || names.iter().any(String::is_empty) {
        return Err(format!(
            "must be 1 to {MAX_PATH} property names separated by dots, like \"data.items\""
        ));
    }
    Ok(names)
}

fn optional_path(
    text: &DefinitionText<'_>,
    setting: &str,
    raw: Option<&Spanned<String>>,
) -> Result<Option<Vec<String>>, InvalidDefinition> {
    text.check_optional(setting, raw, |raw| path(raw))
}
