use std::collections::HashMap;

use async_trait::async_trait;
use landfall_aws::dynamo::{Item, find, number, require, text};
use landfall_domain::WriteId;

use crate::dynamo::{Updated, attribute};
use crate::item::request_key;
use crate::{DynamoTable, LedgerError, MemoryTable};

/// Milliseconds after which `DynamoDB` may delete a key, and another request may have it.
const LIFETIME_MS: i64 = 24 * 3600 * 1000;

/// A request that claims its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The hash of the request.
    pub request: String,
    /// The write that it becomes, if it is the first with the key.
    pub write: WriteId,
    /// Until when other requests with the key have to wait, in milliseconds since 1970.
    pub until: i64,
}

/// What a key was used for before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Nothing: the request is the first.
    New,
    /// The same request, whose handler died, or could not send the write.
    Again(WriteId),
    /// The same request, whose write is sent.
    Sent(WriteId),
    /// The same request, which may still be handled until this time, in milliseconds since 1970.
    InFlight(i64),
    /// Another request.
    Other,
}

/// The idempotency keys of requests, for 24 hours. Their names say the token.
#[async_trait]
pub trait RequestTable: Send + Sync {
    /// Claims a key. `now` is in milliseconds since 1970.
    async fn claim_request(
        &self,
        name: &str,
        claim: &Claim,
        now: i64,
    ) -> Result<Claimed, LedgerError>;

    /// Records that the write of a request is sent.
    async fn record_sent(&self, name: &str, write: WriteId) -> Result<(), LedgerError>;

    /// Ends a claim before its time, because its request has failed. The key stays that of the write.
    async fn release_request(&self, name: &str, write: WriteId) -> Result<(), LedgerError>;

    /// Records the number of the row that a request creates, unless one is recorded. Returns the recorded one.
    async fn record_number(
        &self,
        name: &str,
        write: WriteId,
        number: u64,
    ) -> Result<u64, LedgerError>;

    /// Returns the number that is recorded, if one is.
    async fn find_number(&self, name: &str, write: WriteId) -> Result<Option<u64>, LedgerError>;
}

/// What is stored of a key.
#[derive(Clone, Debug)]
struct Stored {
    request: String,
    write: WriteId,
    number: Option<u64>,
    is_sent: bool,
    until: i64,
}

impl Stored {
    fn read(key: &str, item: &Item) -> Result<Self, LedgerError> {
        let corrupt = |error| LedgerError::corrupt(key, error);
        Ok(Self {
            request: require(item, "request").map_err(corrupt)?,
            write: require(item, "write").map_err(corrupt)?,
            number: find(item, "number").map_err(corrupt)?,
            is_sent: find(item, "sent").map_err(corrupt)?.unwrap_or_default(),
            until: require(item, "until").map_err(corrupt)?,
        })
    }

    /// Returns what a request finds; `None` if it may take over.
    fn claimed(&self, claim: &Claim, now: i64) -> Option<Claimed> {
        if self.request != claim.request {
            Some(Claimed::Other)
        } else if self.write == claim.write {
            // The reply to an earlier attempt of the client was lost.
            Some(Claimed::New)
        } else if self.is_sent {
            Some(Claimed::Sent(self.write))
        } else if self.until > now {
            Some(Claimed::InFlight(self.until))
        } else {
            None
        }
    }
}

#[async_trait]
impl RequestTable for DynamoTable {
    async fn claim_request(
        &self,
        name: &str,
        claim: &Claim,
        now: i64,
    ) -> Result<Claimed, LedgerError> {
        let key = request_key(name);
        let take = self
            .update(&key)
            // Expired items stay readable for a while.
            .condition_expression("attribute_not_exists(pk) OR expires_at < :now")
            .update_expression(
                "SET #request = :request, #write = :write, #until = :until, expires_at = :expires_at \
                 REMOVE sent, #number",
            )
            .expression_attribute_names("#request", "request")
            .expression_attribute_names("#write", "write")
            .expression_attribute_names("#until", "until")
            .expression_attribute_names("#number", "number")
            .expression_attribute_values(":request", text(&claim.request))
            .expression_attribute_values(":write", attribute(&key, claim.write)?)
            .expression_attribute_values(":until", number(claim.until))
            .expression_attribute_values(":now", number(now / 1000))
            .expression_attribute_values(":expires_at", number((now + LIFETIME_MS) / 1000));
        let stored = match self.send(key.clone(), take).await? {
            Updated::Applied(_) => return Ok(Claimed::New),
            Updated::Unmet(item) => Stored::read(&key, &item)?,
        };
        if let Some(claimed) = stored.claimed(claim, now) {
            return Ok(claimed);
        }
        let take_over = self
            .update(&key)
            .condition_expression(
                "#write = :write AND #until = :seen AND attribute_not_exists(sent)",
            )
            .update_expression("SET #until = :until")
            .expression_attribute_names("#write", "write")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":write", attribute(&key, stored.write)?)
            .expression_attribute_values(":seen", number(stored.until))
            .expression_attribute_values(":until", number(claim.until));
        match self.send(key.clone(), take_over).await? {
            Updated::Applied(_) => Ok(Claimed::Again(stored.write)),
            Updated::Unmet(item) => {
                let stored = Stored::read(&key, &item)?;
                // Another request was faster, or the reply to this one was lost.
                let claimed = stored.claimed(claim, now);
                Ok(claimed.unwrap_or(Claimed::InFlight(stored.until)))
            }
        }
    }

    async fn record_sent(&self, name: &str, write: WriteId) -> Result<(), LedgerError> {
        let key = request_key(name);
        let update = self
            .update(&key)
            .condition_expression("#write = :write")
            .update_expression("SET sent = :true")
            .expression_attribute_names("#write", "write")
            .expression_attribute_values(":write", attribute(&key, write)?)
            .expression_attribute_values(":true", attribute(&key, true)?);
        self.send(key, update).await.map(drop)
    }

    async fn release_request(&self, name: &str, write: WriteId) -> Result<(), LedgerError> {
        let key = request_key(name);
        let update = self
            .update(&key)
            .condition_expression("#write = :write")
            .update_expression("SET #until = :zero")
            .expression_attribute_names("#write", "write")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":write", attribute(&key, write)?)
            .expression_attribute_values(":zero", number(0));
        self.send(key, update).await.map(drop)
    }

    async fn record_number(
        &self,
        name: &str,
        write: WriteId,
        given: u64,
    ) -> Result<u64, LedgerError> {
        let key = request_key(name);
        let update = self
            .update(&key)
            .condition_expression("#write = :write")
            .update_expression("SET #number = if_not_exists(#number, :number)")
            .expression_attribute_names("#write", "write")
            .expression_attribute_names("#number", "number")
            .expression_attribute_values(":write", attribute(&key, write)?)
            .expression_attribute_values(":number", number(given));
        match self.send(key.clone(), update).await? {
            Updated::Applied(item) => {
                require(&item, "number").map_err(|error| LedgerError::corrupt(&key, error))
            }
            Updated::Unmet(_) => Err(LedgerError::corrupt(&key, "it is of another request")),
        }
    }

    async fn find_number(&self, name: &str, write: WriteId) -> Result<Option<u64>, LedgerError> {
        let key = request_key(name);
        let item = self.get(&key).await?;
        let stored = item.map(|item| Stored::read(&key, &item)).transpose()?;
        let stored = stored.filter(|stored| stored.write == write);
        Ok(stored.and_then(|stored| stored.number))
    }
}

/// The keys in memory, with the times at which they expire.
#[derive(Default)]
pub(crate) struct MemoryRequests(HashMap<String, (Stored, i64)>);

#[async_trait]
impl RequestTable for MemoryTable {
    async fn claim_request(
        &self,
        name: &str,
        claim: &Claim,
        now: i64,
    ) -> Result<Claimed, LedgerError> {
        let mut items = self.items();
        let keys = &mut items.request_keys.0;
        match keys.get_mut(name) {
            Some((stored, expires)) if *expires >= now => {
                Ok(stored.claimed(claim, now).unwrap_or_else(|| {
                    stored.until = claim.until;
                    Claimed::Again(stored.write)
                }))
            }
            Some(_) | None => {
                let stored = Stored {
                    request: claim.request.clone(),
                    write: claim.write,
                    number: None,
                    is_sent: false,
                    until: claim.until,
                };
                keys.insert(name.to_owned(), (stored, now + LIFETIME_MS));
                Ok(Claimed::New)
            }
        }
    }

    async fn record_sent(&self, name: &str, write: WriteId) -> Result<(), LedgerError> {
        if let Some((stored, _)) = self.items().request_keys.0.get_mut(name)
            && stored.write == write
        {
            stored.is_sent = true;
        }
        Ok(())
    }

    async fn release_request(&self, name: &str, write: WriteId) -> Result<(), LedgerError> {
        if let Some((stored, _)) = self.items().request_keys.0.get_mut(name)
            && stored.write == write
        {
            stored.until = 0;
        }
        Ok(())
    }

    async fn record_number(
        &self,
        name: &str,
        write: WriteId,
        number: u64,
    ) -> Result<u64, LedgerError> {
        let mut items = self.items();
        let stored = items.request_keys.0.get_mut(name);
        let stored = stored.filter(|(stored, _)| stored.write == write);
        let (stored, _) = stored.ok_or_else(|| LedgerError::Missing(request_key(name)))?;
        Ok(*stored.number.get_or_insert(number))
    }

    async fn find_number(&self, name: &str, write: WriteId) -> Result<Option<u64>, LedgerError> {
        let items = self.items();
        let stored = items.request_keys.0.get(name);
        let stored = stored.filter(|(stored, _)| stored.write == write);
        Ok(stored.and_then(|(stored, _)| stored.number))
    }
}

#[cfg(test)]
mod tests {
    use landfall_domain::KeyDigest;

    use super::*;

    #[tokio::test]
    async fn a_key_belongs_to_one_request_for_a_day() {
        let table = MemoryTable::default();
        let write = |count| KeyDigest::new("d", &[]).write_at(1, count).unwrap();
        let claim = async |request: &str, count, now| {
            let claim = Claim {
                request: request.to_owned(),
                write: write(count),
                until: now + 30,
            };
            table.claim_request("t/1", &claim, now).await.unwrap()
        };
        assert_eq!(claim("a", 1, 100).await, Claimed::New);
        assert_eq!(claim("a", 2, 110).await, Claimed::InFlight(130));
        assert_eq!(claim("b", 3, 110).await, Claimed::Other);
        // The first request died.
        assert_eq!(claim("a", 4, 131).await, Claimed::Again(write(1)));
        assert_eq!(claim("a", 5, 132).await, Claimed::InFlight(161));
        table.release_request("t/1", write(1)).await.unwrap();
        assert_eq!(claim("a", 6, 133).await, Claimed::Again(write(1)));
        // A number that another handler of the request has got later is a void.
        for number in [5, 6] {
            assert_eq!(
                table.record_number("t/1", write(1), number).await.unwrap(),
                5
            );
        }
        assert_eq!(table.find_number("t/1", write(1)).await.unwrap(), Some(5));
        assert_eq!(table.find_number("t/1", write(2)).await.unwrap(), None);
        table.record_sent("t/1", write(1)).await.unwrap();
        assert_eq!(claim("a", 7, 134).await, Claimed::Sent(write(1)));
        assert_eq!(claim("b", 8, 101 + LIFETIME_MS).await, Claimed::New);
        assert_eq!(table.find_number("t/1", write(8)).await.unwrap(), None);
    }
}
