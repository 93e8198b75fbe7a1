use std::time::Duration;

use bytes::Bytes;
use landfall_aws::WorkMessage;
use landfall_domain::{
    KeyDigest, MAX_INLINE_BYTES, VersionError, WriteId, WriteMessage, WriteState, WrittenRow,
};
use landfall_ledger::{Claim, Claimed, Write};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::request::{IdempotencyKey, RowWrite, text};
use crate::{ApiError, Context};

/// How long a request has its idempotency key for itself, in milliseconds. Longer than any request takes.
pub(crate) const CLAIM_MS: i64 = 30_000;
/// How long a request waits for the end of its write.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The first and the longest time between two looks at a write.
pub(crate) const FIRST_LOOK: Duration = Duration::from_millis(50);
pub(crate) const LONGEST_LOOK: Duration = Duration::from_millis(400);

/// Orders, records and sends a write of a token. With an idempotency key, returns the write of the first such request.
pub(crate) async fn accept(
    context: &Context,
    new: &RowWrite,
    by: &str,
    idempotency_key: Option<IdempotencyKey>,
) -> Result<Write, ApiError> {
    let now = (context.clock)().as_millisecond();
    let digest = new.key_digest();
    let (time, count) = context.writes.tick(digest.clock(), now).await?;
    let write = digest.write_at(time, count)?;
    let Some(key) = idempotency_key else {
        return begin(context, new, (write, digest), by).await;
    };
    let name = key.name(by);
    let claim = Claim {
        request: new.digest(),
        write,
        until: now + CLAIM_MS,
    };
    let claimed = context.requests.claim_request(&name, &claim, now).await?;
    let write = match claimed {
        Claimed::New => write,
        Claimed::Again(first) => first,
        Claimed::Sent(first) => {
            let found = context.writes.find_write(first).await?;
            return found.ok_or_else(|| ApiError::Internal(format!("write {first} is gone")));
        }
        Claimed::InFlight(until) => return Err(in_flight(until, now)),
        Claimed::Other => return Err(ApiError::OtherRequest),
    };
    match begin(context, new, (write, digest), by).await {
        Ok(begun) => {
            if let Err(error) = context.requests.record_sent(&name, write).await {
                warn!(%error, "a repeated request sends its write again");
            }
            Ok(begun)
        }
        Err(error) => {
            if let Err(error) = context.requests.release_request(&name, write).await {
                warn!(%error, "a repeated request has to wait");
            }
            Err(error)
        }
    }
}

/// The error of a request whose idempotency key is claimed until a time.
pub(crate) fn in_flight(until: i64, now: i64) -> ApiError {
    // Claims are of clocks that may differ.
    let seconds = u64::try_from((until - now).clamp(0, CLAIM_MS)).unwrap_or_default();
    ApiError::InFlight(seconds.div_ceil(1000).max(1))
}

/// Records and sends a write, unless it has ended.
async fn begin(
    context: &Context,
    new: &RowWrite,
    (write, digest): (WriteId, KeyDigest),
    by: &str,
) -> Result<Write, ApiError> {
    let row = match &new.json {
        None => None,
        Some(json) => Some(written(context, write, json).await?),
    };
    let now = (context.clock)();
    let begun = Write {
        write,
        dataset: new.reference.clone(),
        operation: new.operation,
        key_digest: digest.to_string(),
        version: new.version(write),
        by: by.to_owned(),
        at: now.to_string(),
        state: WriteState::Waiting,
        stores: std::collections::BTreeMap::new(),
        problem: None,
        ended_at: None,
        expires_at: Write::expiry(now),
    };
    // The definition of an earlier request that died counts.
    let begun = context.writes.put_write(&begun).await?;
    if begun.state == WriteState::Waiting {
        let message = WriteMessage {
            write,
            dataset: begun.dataset.clone(),
            operation: new.operation,
            key: new.key.iter().map(text).collect(),
            order_value: new.order.as_ref().map(text),
            created_at: None,
            row,
        };
        let message = WorkMessage::Write(Box::new(message));
        context.queue.send(&[message]).await?;
    }
    Ok(begun)
}

/// Returns where the row of a write is: here if it fits into a message, else in an object, which is stored now.
pub(crate) async fn written(
    context: &Context,
    write: WriteId,
    json: &str,
) -> Result<WrittenRow, ApiError> {
    if is_inline(json) {
        return Ok(WrittenRow::Json(json.to_owned()));
    }
    let (bucket, key) = (&context.settings.work_bucket, write.object_key());
    let body = Bytes::from(json.to_owned());
    let stored = context
        .objects
        .write(bucket, &key, "application/json", body);
    stored.await?;
    Ok(WrittenRow::ObjectBytes(json.len() as u64))
}

/// Returns whether a row fits into a message, as a JSON string: quotes, backslashes and line ends are escaped there.
fn is_inline(json: &str) -> bool {
    let is_escaped = |byte: &u8| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t');
    let escaped = json.bytes().filter(is_escaped).count();
    json.len() + escaped <= MAX_INLINE_BYTES
}

/// Returns a write once it has ended, or as it is after ten seconds.
pub(crate) async fn wait_for_end(context: &Context, mut write: Write) -> Result<Write, ApiError> {
    let (until, mut pause) = (Instant::now() + LONGEST_WAIT, FIRST_LOOK);
    while write.state == WriteState::Waiting && Instant::now() < until {
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
        if let Some(found) = context.writes.find_write(write.write).await? {
            write = found;
        }
    }
    Ok(write)
}

impl From<VersionError> for ApiError {
    fn from(error: VersionError) -> Self {
        Self::Internal(format!("a clock of the ledger: {error}"))
    }
}
