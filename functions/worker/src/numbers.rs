//! Numbers that were given out long ago, and whose rows have not arrived: they become voids.
//!
//! The ledger decides which numbers are voids, and only then do these get tombstones. So of two workers that find
//! different numbers without rows, because a row arrives in between, both leave the same voids. If a worker dies before
//! it has written tombstones, the message is delivered again, and they are written for the voids in the ledger.
//!
//! Nothing is checked while a store is down or the dataset is paused: rows wait then. The janitor requests the check
//! again, an hour later.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::try_join_all;
use landfall_aws::{Lookup, WorkMessage};
use landfall_domain::{
    Dataset, DatasetRef, KeyDigest, MAX_VOIDS, Numbers, NumbersToCheck, ParentRow, Row, Value,
};
use landfall_ledger::CheckedNumbers;
use landfall_stores::MAX_NUMBERS;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::delivery::Delivery;
use crate::prepare::prepare_stores;
use crate::write::store;
use crate::{Context, WorkError};

/// Checks numbers until the time is over, and enqueues a message for the rest.
pub(crate) async fn check(
    context: &Context,
    message: &NumbersToCheck,
    delivery: Delivery,
) -> Result<(), WorkError> {
    let Some(check) = Check::begin(context, message).await? else {
        return Ok(());
    };
    match check.run(delivery.close_until).await {
        Err(error) => Err(context.circuits.wait_if_down(error).await),
        Ok(()) => Ok(()),
    }
}

/// A check, with the definition of its rows.
struct Check<'a> {
    context: &'a Context,
    message: &'a NumbersToCheck,
    dataset: Arc<Dataset>,
    reference: DatasetRef,
    /// The values of the parent's key.
    parent: Vec<Value>,
}

impl<'a> Check<'a> {
    /// Returns a check; `None` if it has to be requested again.
    async fn begin(
        context: &'a Context,
        message: &'a NumbersToCheck,
    ) -> Result<Option<Self>, WorkError> {
        let latest = context.datasets.latest(&message.child).await?;
        let Lookup::Found(dataset, reference) = latest else {
            warn!("no valid definition of the rows: nothing is checked");
            return Ok(None);
        };
        let kinds = dataset.key_fields().map(|field| field.kind);
        let parent = kinds.zip(&message.parent.key);
        let parent = parent.map(|(kind, text)| Value::from_text(kind, text));
        let parent = parent.collect::<Result<Vec<_>, _>>();
        let parent = parent.map_err(|error| WorkError::Rejected(error.to_string()))?;
        if parent.len() + 1 != dataset.key_indexes().len() {
            warn!("the definition of the rows has another key: nothing is checked");
            return Ok(None);
        }
        Ok(Some(Self {
            context,
            message,
            dataset,
            reference,
            parent,
        }))
    }

    async fn run(&self, until: Instant) -> Result<(), WorkError> {
        let (from, to) = (self.message.from, self.message.to);
        let mut numbers = self.numbers().await?;
        if numbers.checked < to && self.has_to_wait().await? {
            info!("rows wait: nothing is checked");
            return Ok(());
        }
        prepare_stores(self.context, (None, &self.reference), &self.dataset).await?;
        // An earlier delivery may have ended before it has written them.
        self.bury(numbers.voids.range(from + 1..=to).copied())
            .await?;
        while numbers.checked < to {
            if Instant::now() >= until {
                let rest = NumbersToCheck {
                    from: numbers.checked,
                    ..self.message.clone()
                };
                let rest = WorkMessage::Check(Box::new(rest));
                return Ok(self.context.redelivery.queue.send(&[rest]).await?);
            }
            let from = numbers.checked;
            numbers = self.check_some(&numbers).await?;
            if numbers.checked <= from {
                break;
            }
        }
        Ok(())
    }

    /// Checks some numbers. Returns what the ledger has of all of them then.
    async fn check_some(&self, numbers: &Numbers) -> Result<Numbers, WorkError> {
        let from = numbers.checked;
        let to = self.message.to.min(from + u64::from(MAX_NUMBERS));
        let missing = self.missing(from + 1, to).await?;
        // The ledger lists so many. The others are only tombstones.
        let room = MAX_VOIDS.saturating_sub(numbers.voids.len());
        self.bury(missing.iter().copied().skip(room)).await?;
        let (parent, child) = (&self.message.parent, &self.message.child);
        let voids = missing.len();
        let checked = CheckedNumbers {
            from,
            to,
            voids: missing,
        };
        let parents = &self.context.parents;
        let is_new = parents.record_checked(parent, child, &checked).await?;
        if is_new && voids > 0 {
            info!(from, to, voids, "numbers without a row are voids");
        }
        // Another worker may have recorded other voids.
        let numbers = self.numbers().await?;
        self.bury(numbers.voids.range(from + 1..=to).copied())
            .await?;
        Ok(numbers)
    }

    /// Returns whether rows wait, because a store is down or the dataset is paused.
    async fn has_to_wait(&self) -> Result<bool, WorkError> {
        let pause = self.context.ledger.find_pause(&self.reference).await?;
        if pause.is_some() {
            return Ok(true);
        }
        match self.context.circuits.admit().await {
            Ok(()) => Ok(false),
            Err(WorkError::Wait(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn numbers(&self) -> Result<Numbers, WorkError> {
        let parents = std::slice::from_ref(&self.message.parent);
        let found = self.context.parents.parents(parents).await?;
        let numbers = found.first();
        let numbers = numbers.map(|parent| parent.numbers(&self.message.child));
        Ok(numbers.unwrap_or_default())
    }

    /// Returns which of these numbers have a row or a tombstone in no store.
    async fn missing(&self, from: u64, to: u64) -> Result<BTreeSet<u64>, WorkError> {
        let range = as_integer(from)?..=as_integer(to)?;
        let found = self
            .context
            .readers
            .iter()
            .map(|reader| reader.stored_numbers(&self.dataset, &self.parent, range.clone()));
        let found = try_join_all(found).await?.into_iter().flatten();
        let found: BTreeSet<i64> = found.collect();
        for reader in &self.context.readers {
            self.context.circuits.note_response(reader.kind()).await;
        }
        let missing = range.filter(|number| !found.contains(number));
        Ok(missing
            .filter_map(|number| u64::try_from(number).ok())
            .collect())
    }

    /// Writes tombstones of voids, which are newer than their rows, and than all that was written of them before.
    async fn bury(&self, voids: impl Iterator<Item = u64>) -> Result<(), WorkError> {
        let (context, dataset) = (self.context, &*self.dataset);
        let mut is_buried = false;
        for void in voids {
            context.deletable.record(context, &dataset.name).await?;
            // A void has no children.
            let row = ParentRow {
                dataset: dataset.name.clone(),
                key: [&self.message.parent.key[..], &[void.to_string()]].concat(),
            };
            context.parents.delete_parent(&row).await?;
            let mut key = self.parent.clone();
            key.push(Value::Integer(as_integer(void)?));
            let digest = KeyDigest::new(&dataset.name, &key);
            let now = context.circuits.now().as_millisecond();
            let (time, count) = context.writes.tick(digest.clock(), now).await?;
            let write = digest.write_at(time, count);
            let write = write.map_err(|error| WorkError::Rejected(error.to_string()))?;
            let delete = Row::delete(dataset, &key, None);
            store(context, dataset, write.order(), delete).await?;
            is_buried = true;
        }
        if is_buried {
            context.ledger.raise_generation(&self.reference).await?;
        }
        Ok(())
    }
}

fn as_integer(number: u64) -> Result<i64, WorkError> {
    let number = i64::try_from(number);
    number.map_err(|_| WorkError::Rejected("a number is out of range".to_owned()))
}
