//! Calls with several rows.

use landfall_domain::{DefinitionText, InvalidDefinition};
use serde::Deserialize;
use toml::Spanned;

use crate::Destination;
use crate::destination::Endpoint;

/// The maximum number of rows in a call.
const MAX_ROWS: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBatch {
    size: Spanned<usize>,
}

/// Returns the maximum number of rows in a call.
pub(super) fn size(text: &DefinitionText<'_>, raw: &RawBatch) -> Result<usize, InvalidDefinition> {
    text.check("batch.size", &raw.size, |size| {
        let is_valid = (1..=MAX_ROWS).contains(size);
        is_valid
            .then_some(*size)
            .ok_or_else(|| format!("must be from 1 to {MAX_ROWS}"))
    })
}

/// Checks that calls of the destination can have several rows: every call can be repeated with other rows, and none
/// depends on a single row.
pub(super) fn check(
    text: &DefinitionText<'_>,
    raw: &Spanned<RawBatch>,
    destination: &Destination,
) -> Result<(), InvalidDefinition> {
    let refused = |message: &str| Err(text.error(&raw.span(), "batch", message));
    if destination.create.is_some() {
        return refused(
            "needs an [update] that also creates rows, and no [create]: a call is repeated with other rows",
        );
    }
    if destination.id_from.is_some() || destination.lookup.is_some() {
        return refused("is not possible with id_from and [lookup], which are about one row");
    }
    if destination.idempotency_header.is_some() {
        return refused(
            "is not possible with idempotency_header: a call is repeated with other rows",
        );
    }
    let mut endpoints = [&destination.update, &destination.delete]
        .into_iter()
        .flatten();
    let uses_fields = |endpoint: &Endpoint| !endpoint.path.names().is_empty();
    if endpoints.any(uses_fields) {
        return refused("needs paths without fields: a call has several rows");
    }
    Ok(())
}
