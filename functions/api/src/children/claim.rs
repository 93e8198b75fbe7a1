//! The idempotency keys of requests that create rows.

use landfall_domain::{KeyDigest, ParentRow, Value, WriteId};
use landfall_ledger::{Claim, Claimed};
use tracing::warn;
use uuid::Uuid;

use super::not_found;
use crate::writes::{CLAIM_MS, IdempotencyKey, in_flight};
use crate::{ApiError, Context};

/// How long a request waits for the janitor, in seconds.
const CHECK_SECONDS: u64 = 60;

/// The idempotency key of a request, claimed for it.
pub(super) struct ClaimedKey {
    name: String,
    /// The random id of the first request.
    pub(super) id: WriteId,
    /// The number that an earlier handler of the request got.
    pub(super) number: Option<u64>,
    /// Whether the row is sent.
    pub(super) is_sent: bool,
}

impl ClaimedKey {
    /// Claims a key of a bearer for a request with this hash.
    pub(super) async fn claim(
        context: &Context,
        (bearer, key): (&str, &IdempotencyKey),
        request: String,
        now: i64,
    ) -> Result<Self, ApiError> {
        let name = format!("create/{}", key.name(bearer));
        // The order of no write: it only has the form of an id.
        let random = Uuid::new_v4();
        let digest = KeyDigest::new("", &[Value::Text(random.to_string().into())]);
        let (_, count) = random.as_u64_pair();
        let id = digest.write_at(now, count)?;
        let claim = Claim {
            request,
            write: id,
            until: now + CLAIM_MS,
        };
        let (first, is_sent) = match context.requests.claim_request(&name, &claim, now).await? {
            Claimed::New => {
                return Ok(Self {
                    name,
                    id,
                    number: None,
                    is_sent: false,
                });
            }
            Claimed::Again(first) => (first, false),
            Claimed::Sent(first) => (first, true),
            Claimed::InFlight(until) => return Err(in_flight(until, now)),
            Claimed::Other => return Err(ApiError::OtherRequest),
        };
        let number = context.requests.find_number(&name, first).await?;
        Ok(Self {
            name,
            id: first,
            number,
            is_sent,
        })
    }

    /// Records a number. Returns the one that counts: another handler of the request may have recorded one.
    pub(super) async fn record(&self, context: &Context, number: u64) -> Result<u64, ApiError> {
        let recorded = context.requests.record_number(&self.name, self.id, number);
        Ok(recorded.await?)
    }

    /// Decides whether the row of an earlier handler's number may be sent again: after a while, the number may have
    /// become a void, and then its row would be lost.
    pub(super) async fn check_number(
        &mut self,
        context: &Context,
        (parent, child): (&ParentRow, &str),
        now: i64,
    ) -> Result<(), ApiError> {
        let Some(number) = self.number.filter(|_| !self.is_sent) else {
            return Ok(());
        };
        let age = now - self.id.order().time_ms();
        if age < i64::from(context.settings.void_seconds) * 1000 / 2 {
            return Ok(());
        }
        let found = context
            .parents
            .parents(std::slice::from_ref(parent))
            .await?;
        let numbers = found.first().ok_or_else(not_found)?.numbers(child);
        if numbers.voids.contains(&number) {
            return Err(ApiError::Conflict(format!(
                "the first request with this Idempotency-Key failed, and its number {number} is void: send a new key"
            )));
        }
        if number > numbers.checked {
            return Err(ApiError::InFlight(CHECK_SECONDS));
        }
        self.is_sent = true;
        Ok(())
    }

    /// Records that the row is sent, or that the request has failed.
    pub(super) async fn end(&self, context: &Context, is_sent: bool) {
        let ended = if is_sent {
            context.requests.record_sent(&self.name, self.id).await
        } else {
            context.requests.release_request(&self.name, self.id).await
        };
        if let Err(error) = ended {
            warn!(%error, "a repeated request sends its row again, or has to wait");
        }
    }
}
