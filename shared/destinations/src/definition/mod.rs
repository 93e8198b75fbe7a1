//! Definitions of destinations: parses their TOML and checks it.

mod batch;
mod endpoints;
mod limits;
#[cfg(test)]
mod page_tests;
mod signature;

use std::ops::Range;

use http::StatusCode;
use landfall_domain::{
    Dataset, DefinitionText, InvalidDefinition, NAME_RULE, Tables, is_name, settings_of,
};
use landfall_requests::{RawPairs, definition_url, header_name, headers};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use crate::Destination;
use crate::destination::{Endpoint, OnRefused};
use crate::templates::REMOTE_ID;
use crate::when::When;
use batch::RawBatch;
use endpoints::{RawEndpoint, RawLookup};
use limits::RawLimits;
use signature::RawSignature;

/// The maximum number of properties in a path.
const MAX_PATH: usize = 16;

/// The tables of the definition of a destination.
const TABLES: Tables = &[
    (
        "the destination, above all tables",
        settings_of::<RawDestination>,
    ),
    (
        "[create], [update] and [delete]",
        settings_of::<RawEndpoint>,
    ),
    ("[lookup]", settings_of::<RawLookup>),
    ("[batch]", settings_of::<RawBatch>),
    ("[limits]", settings_of::<RawLimits>),
    ("[signature]", settings_of::<RawSignature>),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDestination {
    dataset: Spanned<String>,
    url: Spanned<String>,
    fields: Option<Spanned<Vec<Spanned<String>>>>,
    when: Option<Spanned<String>>,
    id_from: Option<Spanned<String>>,
    success: Option<Spanned<Vec<u16>>>,
    #[serde(default)]
    on_refused: OnRefused,
    idempotency_header: Option<Spanned<String>>,
    batch: Option<Spanned<RawBatch>>,
    #[serde(default)]
    headers: RawPairs,
    create: Option<Spanned<RawEndpoint>>,
    update: Option<Spanned<RawEndpoint>>,
    delete: Option<Spanned<RawEndpoint>>,
    lookup: Option<Spanned<RawLookup>>,
    #[serde(default)]
    limits: RawLimits,
    signature: Option<Spanned<RawSignature>>,
}

/// A definition whose dataset is still to be read.
pub struct Draft<'a> {
    name: &'a str,
    text: DefinitionText<'a>,
    raw: RawDestination,
}

/// What the parts of a definition are checked with.
struct Checker<'a> {
    text: DefinitionText<'a>,
    dataset: &'a Dataset,
    url: Url,
    has_id: bool,
}

impl<'a> Draft<'a> {
    /// Parses the definition of the destination `name`. `file` is the name of its file in errors.
    ///
    /// # Errors
    /// The first mistake in the structure of the definition, with its line.
    pub fn parse(name: &'a str, file: &'a str, text: &'a str) -> Result<Self, InvalidDefinition> {
        let text = DefinitionText { file, text };
        if !is_name(name) {
            return Err(text.error(
                &(0..0),
                "name",
                format!("the file is named {name:?}; the name of a destination {NAME_RULE}"),
            ));
        }
        let raw: RawDestination = text.parse(TABLES)?;
        text.check("dataset", &raw.dataset, |name| {
            is_name(name).then_some(()).ok_or(NAME_RULE)
        })?;
        Ok(Self { name, text, raw })
    }

    /// Returns the name of the dataset.
    pub fn dataset(&self) -> &str {
        self.raw.dataset.get_ref()
    }

    /// Returns the error of a definition whose dataset cannot be used.
    pub fn dataset_error(&self, message: impl Into<String>) -> InvalidDefinition {
        self.text
            .error(&self.raw.dataset.span(), "dataset", message)
    }

    /// Checks the definition with that of its dataset.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn check(&self, dataset: &Dataset) -> Result<Destination, InvalidDefinition> {
        let (text, raw) = (self.text, &self.raw);
        let url = text.check("url", &raw.url, |url| base_url(url))?;
        let id_from = text.check_optional("id_from", raw.id_from.as_ref(), |raw| path(raw))?;
        self.check_remote_id(dataset)?;
        let checker = Checker {
            text,
            dataset,
            url: url.clone(),
            has_id: self.has_id(),
        };
        let when =
            text.check_optional("when", raw.when.as_ref(), |when| When::parse(dataset, when))?;
        let destination = Destination {
            name: self.name.to_owned(),
            on_refused: raw.on_refused,
            limits: limits::check(&text, &raw.limits)?,
            dataset: dataset.clone(),
            url,
            headers: headers(&text, &raw.headers, |_| None)?,
            when: when.unwrap_or_default(),
            fields: self.fields(dataset)?,
            create: checker.create(raw.create.as_ref())?,
            update: checker.update(raw.update.as_ref())?,
            delete: checker.delete(raw.delete.as_ref())?,
            lookup: checker.lookup(raw.lookup.as_ref(), id_from.as_ref())?,
            id_from,
            success: self.success()?,
            batch: raw
                .batch
                .as_ref()
                .map(|raw| batch::size(&text, raw.get_ref()))
                .transpose()?,
            signature: raw
                .signature
                .as_ref()
                .map(|raw| signature::check(&text, raw))
                .transpose()?,
            idempotency_header: text.check_optional(
                "idempotency_header",
                raw.idempotency_header.as_ref(),
                |name| header_name(name),
            )?,
        };
        self.check_operations(&destination)?;
        if let Some(raw) = &raw.batch {
            batch::check(&text, raw, &destination)?;
        }
        Ok(destination)
    }

    /// Returns whether the service's own id is read of some answer.
    fn has_id(&self) -> bool {
        let lookup = self.raw.lookup.as_ref();
        let of_lookup = lookup.is_some_and(|lookup| lookup.get_ref().id_from.is_some());
        of_lookup || self.raw.id_from.is_some()
    }

    fn check_remote_id(&self, dataset: &Dataset) -> Result<(), InvalidDefinition> {
        let is_field = dataset.fields.iter().any(|field| field.name == REMOTE_ID);
        match &self.raw.id_from {
            Some(id_from) if is_field => {
                let message = format!(
                    "the service's own id is {REMOTE_ID} in templates, and the dataset {} has a field of this name",
                    dataset.name
                );
                Err(self.text.error(&id_from.span(), "id_from", message))
            }
            _ => Ok(()),
        }
    }

    fn fields(&self, dataset: &Dataset) -> Result<Vec<usize>, InvalidDefinition> {
        let Some(names) = &self.raw.fields else {
            return Ok((0..dataset.fields.len()).collect());
        };
        if names.get_ref().is_empty() {
            return Err(self.text.error(
                &names.span(),
                "fields",
                "is empty; name fields, or remove it",
            ));
        }
        let names = names.get_ref().iter();
        let fields = names.map(|name| {
            self.text.check("fields", name, |name| {
                let field = dataset.fields.iter().position(|field| field.name == *name);
                field.ok_or_else(|| format!("the dataset {} has no field {name:?}", dataset.name))
            })
        });
        fields.collect()
    }

    fn success(&self) -> Result<Vec<StatusCode>, InvalidDefinition> {
        let success = self
            .text
            .check_optional("success", self.raw.success.as_ref(), |codes| {
                let codes = codes.iter().map(|code| {
                    let code = StatusCode::from_u16(*code).ok();
                    code.filter(|code| code.is_success() || code.is_client_error())
                        .ok_or("must be status codes of 2xx or 4xx")
                });
                codes.collect::<Result<Vec<_>, _>>()
            })?;
        Ok(success.unwrap_or_default())
    }

    fn check_operations(&self, destination: &Destination) -> Result<(), InvalidDefinition> {
        let whole = 0..0;
        if destination.create.is_none() && destination.update.is_none() {
            let message = "there is neither [create] nor [update]; define at least one of them";
            return Err(self.text.error(&whole, "create", message));
        }
        let span =
            |raw: &Option<Spanned<RawEndpoint>>| raw.as_ref().map_or(whole.clone(), Spanned::span);
        let update = destination.update.as_ref();
        if destination.create.is_none() && update.is_some_and(Endpoint::uses_remote_id) {
            let message = "creates keys, too, since there is no [create]; it cannot use the service's own id then";
            return Err(self.text.error(&span(&self.raw.update), "update", message));
        }
        if destination.create.is_none() && update.is_some_and(endpoints::creates_what_is_not_found)
        {
            let message = "needs [create]";
            return Err(self
                .text
                .error(&span(&self.raw.update), "update.not_found", message));
        }
        Ok(())
    }
}

impl Checker<'_> {
    fn error(
        &self,
        span: &Range<usize>,
        setting: &str,
        message: impl Into<String>,
    ) -> InvalidDefinition {
        self.text.error(span, setting, message)
    }
}

/// Returns a URL that paths can be appended to.
fn base_url(text: &str) -> Result<Url, String> {
    let url = definition_url(text)?;
    if url.query().is_some() {
        return Err("must not contain a query (?); write it into the paths".to_owned());
    }
    Ok(url)
}

/// Returns a path of property names, such as `data.id`.
fn path(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = text.split('.').map(str::to_owned).collect();
    if names.len() > MAX_PATH || names.iter().any(String::is_empty) {
        return Err(format!(
            "must be 1 to {MAX_PATH} property names separated by dots, like \"data.id\""
        ));
    }
    Ok(names)
}
