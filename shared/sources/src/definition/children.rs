//! Requests for each row of another dataset.

use std::collections::BTreeMap;

use landfall_domain::{DefinitionText, Format, InvalidDefinition, NAME_RULE, is_name};
use serde::Deserialize;
use toml::Spanned;

use super::RawSource;
use crate::children::{Children, UrlTemplate};

const USUAL_MAX: u64 = 10_000;
const MAX: u64 = 1_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawChildren {
    of: Spanned<String>,
    max: Option<Spanned<u64>>,
    #[serde(default)]
    missing: RawMissing,
    #[serde(default)]
    fields: BTreeMap<String, Spanned<String>>,
}

/// What becomes of a walk when the server does not have a parent.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawMissing {
    #[default]
    Fail,
    Skip,
}

pub(super) fn check(
    text: &DefinitionText<'_>,
    raw: &RawSource,
) -> Result<Option<Children>, InvalidDefinition> {
    let Some(children) = &raw.children else {
        text.check("url", &raw.url, |url| match url.find('{') {
            Some(_) => {
                Err("has a field in {}, which only [children] replaces; %7B is the character")
            }
            None => Ok(()),
        })?;
        return Ok(None);
    };
    let span = children.span();
    let children = children.get_ref();
    let is_field = |name: &String| is_name(name).then(|| name.clone()).ok_or(NAME_RULE);
    let of = text.check("children.of", &children.of, |of| {
        if of == raw.dataset.get_ref() {
            return Err("is the dataset of the source itself, which would never be complete");
        }
        is_field(of)
    })?;
    let max = text.check_optional("children.max", children.max.as_ref(), |max| {
        let is_valid = (1..=MAX).contains(max);
        is_valid
            .then_some(*max)
            .ok_or_else(|| format!("must be from 1 to {MAX}"))
    })?;
    let fields = children.fields.iter().map(|(property, field)| {
        let setting = format!("children.fields.{property}");
        Ok((property.clone(), text.check(&setting, field, is_field)?))
    });
    let fields = fields.collect::<Result<_, _>>()?;
    let url = text.check("url", &raw.url, |url| {
        let url = UrlTemplate::parse(url)?;
        if url.fields().next().is_none() {
            return Err(
                "has no {field}, so all requests of [children] would be the same".to_owned(),
            );
        }
        Ok(url)
    })?;
    if matches!(raw.format.get_ref(), Format::Csv | Format::Tsv) {
        let message = "needs records in JSON or NDJSON; answers in CSV and TSV cannot be joined";
        return Err(text.error(&span, "children", message));
    }
    if let Some(incremental) = &raw.incremental {
        let message = "contradicts [children]: how far each row has been fetched is not recorded";
        return Err(text.error(&incremental.span(), "incremental", message));
    }
    Ok(Some(Children {
        of,
        max: max.unwrap_or(USUAL_MAX),
        fields,
        skips_missing: children.missing == RawMissing::Skip,
        url,
    }))
}
