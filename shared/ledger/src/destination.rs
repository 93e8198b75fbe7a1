use async_trait::async_trait;
use jiff::Timestamp;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{find, number};
use landfall_destinations::Breaker;

use crate::item::destination_key;
use crate::source::{parse, to_json};
use crate::{DynamoTable, LedgerError, MemoryTable};

/// What is recorded about a destination.
#[derive(Clone, Debug, Default)]
pub struct StoredDestination {
    /// Its circuit.
    pub breaker: Breaker,
    /// The revision of the circuit, which grows with each change; 0 if none is stored.
    pub revision: u64,
    /// Until when a relay that works on it expects to do so. Others need not.
    pub busy_until: Option<Timestamp>,
}

/// What is recorded about destinations, shared by all relays.
#[async_trait]
pub trait DestinationTable: Send + Sync {
    /// Returns what is recorded about a destination.
    async fn destination(&self, name: &str) -> Result<StoredDestination, LedgerError>;

    /// Stores the circuit of a destination, unless it has changed since this revision. Returns the new revision, or
    /// `None` if it has changed.
    async fn save_breaker(
        &self,
        name: &str,
        breaker: &Breaker,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError>;

    /// Sets until when a relay works on a destination; none if it has ended. This excludes no other relay: it only saves
    /// their work.
    async fn set_busy(&self, name: &str, until: Option<Timestamp>) -> Result<(), LedgerError>;
}

#[async_trait]
impl DestinationTable for DynamoTable {
    async fn destination(&self, name: &str) -> Result<StoredDestination, LedgerError> {
        let key = destination_key(name);
        let Some(item) = self.get(&key).await? else {
            return Ok(StoredDestination::default());
        };
        let corrupt = |error| LedgerError::corrupt(&key, error);
        let breaker: Option<String> = find(&item, "breaker").map_err(corrupt)?;
        let breaker = breaker.map(|json| parse(&key, &json)).transpose()?;
        let busy_until: Option<i64> = find(&item, "busy_until").map_err(corrupt)?;
        let time = |milliseconds| {
            let time = Timestamp::from_millisecond(milliseconds);
            time.map_err(|error| LedgerError::corrupt(&key, error))
        };
        Ok(StoredDestination {
            breaker: breaker.unwrap_or_default(),
            revision: find(&item, "revision").map_err(corrupt)?.unwrap_or(0),
            busy_until: busy_until.map(time).transpose()?,
        })
    }

    async fn save_breaker(
        &self,
        name: &str,
        breaker: &Breaker,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        let key = destination_key(name);
        let json = to_json(&key, breaker)?;
        self.save_revision(&key, "breaker", &json, revision).await
    }

    async fn set_busy(&self, name: &str, until: Option<Timestamp>) -> Result<(), LedgerError> {
        let key = destination_key(name);
        let update = self.update(&key);
        let update = match until {
            None => update.update_expression("REMOVE busy_until"),
            Some(until) => update
                .update_expression("SET busy_until = :until")
                .expression_attribute_values(":until", number(until.as_millisecond())),
        };
        let sent = update.send().await.map(drop);
        sent.map_err(|error| AwsError::from_sdk("UpdateItem", &key, &error).into())
    }
}

#[async_trait]
impl DestinationTable for MemoryTable {
    async fn destination(&self, name: &str) -> Result<StoredDestination, LedgerError> {
        let items = self.items();
        Ok(items.destinations.get(name).cloned().unwrap_or_default())
    }

    async fn save_breaker(
        &self,
        name: &str,
        breaker: &Breaker,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        let mut items = self.items();
        let stored = items.destinations.entry(name.to_owned()).or_default();
        if stored.revision != revision {
            return Ok(None);
        }
        stored.breaker = breaker.clone();
        stored.revision += 1;
        Ok(Some(stored.revision))
    }

    async fn set_busy(&self, name: &str, until: Option<Timestamp>) -> Result<(), LedgerError> {
        let mut items = self.items();
        let stored = items.destinations.entry(name.to_owned()).or_default();
        stored.busy_until = until;
        Ok(())
    }
}
