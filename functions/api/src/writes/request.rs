//! What a request writes, before it has an order.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use landfall_domain::{Dataset, DatasetRef, KeyDigest, Row, Value, WriteId, WriteOperation};
use landfall_formats::{WriteError, Written};

use crate::ApiError;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The maximum length of an idempotency key in bytes.
const MAX_KEY_BYTES: usize = 255;

/// A row that a request writes, or deletes.
pub(crate) struct RowWrite {
    pub(super) dataset: Arc<Dataset>,
    pub(super) reference: DatasetRef,
    pub(super) operation: WriteOperation,
    pub(super) key: Vec<Value>,
    /// The value of the dataset's `order` in a delete.
    pub(super) order: Option<Value>,
    /// The row, unless it is deleted.
    pub(super) json: Option<String>,
    row: Row,
}

impl RowWrite {
    /// Checks a row as a worker will.
    pub(crate) fn new(
        (dataset, reference): (Arc<Dataset>, DatasetRef),
        operation: WriteOperation,
        key: Vec<Value>,
        order: Option<Value>,
        json: Option<String>,
    ) -> Result<Self, ApiError> {
        let written = Written::new(operation, json.as_deref(), order.as_ref());
        let written =
            written.ok_or_else(|| ApiError::Internal("an operation without a row".to_owned()))?;
        let row = written.to_row(&dataset, &key)?;
        Ok(Self {
            dataset,
            reference,
            operation,
            key,
            order,
            json,
            row,
        })
    }

    /// Returns the hash of the key.
    pub(super) fn key_digest(&self) -> KeyDigest {
        KeyDigest::new(&self.dataset.name, &self.key)
    }

    /// Returns the version of the row, in hexadecimal.
    pub(super) fn version(&self, write: WriteId) -> String {
        self.dataset
            .versions(write.order())
            .of(&self.row)
            .to_string()
    }

    /// Returns the hash of everything that the request says.
    pub(super) fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |part: &str| {
            hasher.update(&part.len().to_le_bytes());
            hasher.update(part.as_bytes());
        };
        add(self.operation.as_str());
        add(&self.key_digest().to_string());
        add(&self.order.as_ref().map(text).unwrap_or_default());
        add(self.json.as_deref().unwrap_or_default());
        hasher.finalize().to_hex().to_string()
    }
}

/// Returns the text of a value that is not null.
pub(super) fn text(value: &Value) -> String {
    value.to_text().unwrap_or_default().into_owned()
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        let message = error.to_string();
        match error {
            WriteError::Rejected { column, code, .. } => Self::Rejected {
                column,
                code,
                message,
            },
            WriteError::OtherKey(_)
            | WriteError::Deletes
            | WriteError::NoOrder(_)
            | WriteError::HasNoOrder => Self::Invalid(message),
            WriteError::NotMerged | WriteError::KeyedByPlace => Self::Conflict(message),
        }
    }
}

/// The idempotency key of a request.
pub(crate) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Returns the key of a request, if it has one.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
            return Ok(None);
        };
        let key = value.to_str().ok();
        let key = key.filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
        let key = key.ok_or_else(|| {
            let message =
                format!("Idempotency-Key must be 1 to {MAX_KEY_BYTES} visible ASCII characters");
            ApiError::Invalid(message)
        })?;
        Ok(Some(Self(key.to_owned())))
    }

    /// Returns the name under which the ledger has the key of a token.
    pub(crate) fn name(&self, token: &str) -> String {
        let hash = blake3::hash(self.0.as_bytes()).to_hex();
        format!("{token}/{}", &hash[..32])
    }
}
