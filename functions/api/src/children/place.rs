//! What a path names: a line of datasets, and the key of a row or of the parent of a list.

use std::sync::Arc;

use landfall_auth::Scope;
use landfall_domain::{Dataset, DatasetRef, FieldType, ParentRow, Value, check_family};

use serde_json::{Map, Value as Json};

use super::access::{Bearer, BearerKind};
use super::not_found;
use crate::{ApiError, Context};

/// A list of rows, or a row, below a row with a token.
pub(super) struct Place {
    /// The datasets, from the one with the token.
    pub(super) line: Vec<Arc<Dataset>>,
    /// The definition of the last dataset.
    pub(super) reference: DatasetRef,
    /// The values that the path has of the key of the last dataset.
    pub(super) key: Vec<Value>,
}

impl Place {
    /// Finds the place of a path, whose segments are names of datasets and, between them, tokens and numbers.
    pub(super) async fn find(
        context: &Context,
        bearer: &Bearer,
        scope: Scope,
        segments: &[String],
    ) -> Result<Self, ApiError> {
        let key = key(bearer, segments)?;
        let Some(last) = segments.iter().step_by(2).next_back() else {
            return Err(not_found());
        };
        let (mut line, reference) = line(context, last).await?;
        line.reverse();
        let names = segments.iter().step_by(2);
        let is_line = names
            .clone()
            .zip(&line)
            .all(|(name, dataset)| *name == dataset.name);
        // A list may skip the datasets between that of the token and its own.
        let skips = segments.len() == 3 && line.len() > 2 && line[0].name == segments[0];
        if !skips && (!is_line || names.len() != line.len()) {
            return Err(not_found());
        }
        let place = Self {
            line,
            reference,
            key,
        };
        bearer.require(scope, &place.dataset().name)?;
        Ok(place)
    }

    /// Returns a place of the same dataset with other values of the key.
    pub(super) fn of_key(&self, key: Vec<Value>) -> Self {
        Self {
            line: self.line.clone(),
            reference: self.reference.clone(),
            key,
        }
    }

    /// Returns the dataset of the rows.
    pub(super) fn dataset(&self) -> &Arc<Dataset> {
        &self.line[self.line.len() - 1]
    }

    /// Returns whether the path names a list of the rows with one parent.
    pub(super) fn is_of_parent(&self) -> bool {
        self.key.len() + 1 == self.line.len()
    }

    /// Returns the rows that the path names, from the one with the token.
    pub(super) fn rows(&self) -> Vec<ParentRow> {
        let texts: Vec<String> = self.key.iter().map(text).collect();
        let named = self.line.iter().take(texts.len()).enumerate();
        named
            .map(|(index, dataset)| parent_row(&dataset.name, &texts[..=index]))
            .collect()
    }

    /// Returns the key of a row as JSON, given the values of the path and perhaps a last one.
    pub(super) fn key_json<'a>(
        &'a self,
        last: impl IntoIterator<Item = &'a Value>,
    ) -> Map<String, Json> {
        let values = self.key.iter().chain(last);
        let named = self.dataset().key_fields().zip(values);
        named
            .map(|(field, value)| {
                let json = match value {
                    Value::Integer(number) => Json::from(*number),
                    value => Json::from(text(value)),
                };
                (field.name.clone(), json)
            })
            .collect()
    }

    /// Returns the parent of the rows of a list.
    pub(super) fn parent(&self) -> Option<ParentRow> {
        self.rows().pop()
    }
}

/// Returns the row of a dataset with this key.
pub(super) fn parent_row(dataset: &str, key: &[String]) -> ParentRow {
    ParentRow {
        dataset: dataset.to_owned(),
        key: key.to_vec(),
    }
}

/// Returns the text of a value of a key.
pub(super) fn text(value: &Value) -> String {
    value.to_text().unwrap_or_default().into_owned()
}

/// Returns the values between the names of datasets.
fn key(bearer: &Bearer, segments: &[String]) -> Result<Vec<Value>, ApiError> {
    let values = segments.iter().skip(1).step_by(2).enumerate();
    let key: Vec<Value> = values
        .map(|(index, segment)| {
            if index == 0 {
                return Ok(Value::Text(bearer.opened(segment)?.into()));
            }
            let is_number =
                segment.bytes().all(|byte| byte.is_ascii_digit()) && !segment.starts_with('0');
            let value = Value::from_text(FieldType::Integer, segment).ok();
            value.filter(|_| is_number).ok_or_else(not_found)
        })
        .collect::<Result<_, _>>()?;
    if key.is_empty() && matches!(bearer.kind, BearerKind::Row(_)) {
        return Err(not_found());
    }
    Ok(key)
}

/// Returns the line of a dataset, from the dataset to the one with the token.
async fn line(context: &Context, name: &str) -> Result<(Vec<Arc<Dataset>>, DatasetRef), ApiError> {
    let (dataset, reference) = context.dataset(name).await.map_err(|error| match error {
        ApiError::NotFound(_) => not_found(),
        error => error,
    })?;
    if !dataset.is_numbered() {
        return Err(not_found());
    }
    let mut line = vec![dataset];
    // One more than fits, which the check refuses.
    while let Some(child) = line.last().and_then(|last| last.child.clone())
        && line.len() <= landfall_domain::MAX_GENERATIONS
    {
        match context.dataset(&child.parent).await {
            Ok((parent, _)) => line.push(parent),
            // The check says that it is missing.
            Err(ApiError::NotFound(_) | ApiError::Conflict(_)) => break,
            Err(error) => return Err(error),
        }
    }
    check_family(&line).map_err(|error| {
        ApiError::Conflict(format!(
            "the definition of the dataset {name} is invalid: {error}"
        ))
    })?;
    Ok((line, reference))
}
