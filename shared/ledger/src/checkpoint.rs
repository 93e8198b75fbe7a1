//! How far the splitter has read an object, so that another invocation can continue there.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{number, text, to_item};
use landfall_domain::{ByteRange, JobId, Reading, Warning};
use serde::{Deserialize, Serialize};

use crate::dynamo::DynamoTable;
use crate::head::{expiry, now};
use crate::item::{checkpoint_key, read};
use crate::{Ledger, LedgerError, PlanBlock, SHARD_CHUNKS, shard_of};

/// What a splitter needs to continue with the rest of an object. The messages of all chunks before are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Number of bytes that were read.
    pub scanned: u64,
    /// Number of chunks that were completed in them.
    pub chunks: u32,
    /// How the object is read.
    pub reading: Reading,
    /// Position of the header record, once it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<ByteRange>,
    /// What was found that may be wrong with the object.
    pub warnings: Vec<Warning>,
    /// The state of the scanner, as JSON.
    pub scanner: String,
}

/// A recorded checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedCheckpoint {
    /// The checkpoint.
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
    /// When it was recorded; RFC 3339.
    pub recorded_at: String,
}

impl Ledger {
    /// Records how far the object of a job is read and its messages are sent. Returns whether the caller is ahead of
    /// all others; if it is not, another splitter reads the same object, and has come at least as far.
    pub async fn record_checkpoint(
        &self,
        job: JobId,
        checkpoint: Checkpoint,
    ) -> Result<bool, LedgerError> {
        let recorded = RecordedCheckpoint {
            checkpoint,
            recorded_at: now(),
        };
        // Compared as a whole: after a lost response, the checkpoint that is found is the caller's own.
        Ok(self.table.put_checkpoint(job, &recorded).await? == recorded)
    }

    /// Returns how far the object of a job is read, unless nothing is recorded.
    pub async fn checkpoint(&self, job: JobId) -> Result<Option<RecordedCheckpoint>, LedgerError> {
        self.table.checkpoint(job).await
    }

    /// Returns the plan of the shard of the next chunk after a checkpoint, without the chunks after it.
    pub async fn plan_at(
        &self,
        job: JobId,
        checkpoint: &Checkpoint,
    ) -> Result<PlanBlock, LedgerError> {
        let shard = shard_of(checkpoint.chunks);
        let planned = (checkpoint.chunks - shard * SHARD_CHUNKS) as usize;
        let mut block = PlanBlock {
            shard,
            reading: checkpoint.reading.clone(),
            header: checkpoint.header,
            chunks: Vec::new(),
        };
        if planned > 0 {
            let found = self.table.plan(job, &[shard]).await?.pop();
            block.chunks = found.map(|found| found.chunks).unwrap_or_default();
            if block.chunks.len() < planned {
                let missing = format!("plan of shard {shard} of job {job}");
                return Err(LedgerError::Missing(missing));
            }
            block.chunks.truncate(planned);
        }
        Ok(block)
    }
}

impl DynamoTable {
    /// Stores a checkpoint, unless one is stored that is as far. Returns the stored one.
    pub(crate) async fn put_checkpoint_item(
        &self,
        job: JobId,
        checkpoint: &RecordedCheckpoint,
    ) -> Result<RecordedCheckpoint, LedgerError> {
        let key = checkpoint_key(job);
        let item = to_item(checkpoint).map_err(|error| LedgerError::corrupt(&key, error))?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .item("pk", text(&key))
            .item("expires_at", number(expiry()))
            .condition_expression("attribute_not_exists(pk) OR #scanned < :scanned")
            .expression_attribute_names("#scanned", "scanned")
            .expression_attribute_values(":scanned", number(checkpoint.checkpoint.scanned))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = answer else {
            return Ok(checkpoint.clone());
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(unmet)) => {
                let item = unmet.item().cloned();
                read(&key, item.ok_or(LedgerError::Missing(key.clone()))?)
            }
            _ => Err(AwsError::from_sdk("PutItem", &key, &error).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use landfall_aws::dynamo::from_item;
    use landfall_domain::{Format, WarningCode};

    use super::*;
    use crate::MemoryTable;

    fn checkpoint(scanned: u64) -> Checkpoint {
        Checkpoint {
            scanned,
            chunks: 3,
            reading: Reading {
                delimiter: Some(";".to_owned()),
                ..Format::Csv.into()
            },
            header: Some(ByteRange { start: 0, end: 9 }),
            warnings: vec![Warning::new(WarningCode::Quoting, "quotes")],
            scanner: "{\"open\":[18446744073709551615]}".to_owned(),
        }
    }

    #[test]
    fn a_stored_checkpoint_is_read_as_it_was() {
        let without_header = Checkpoint {
            header: None,
            ..checkpoint(7)
        };
        for checkpoint in [checkpoint(u64::MAX), without_header] {
            let recorded = RecordedCheckpoint {
                checkpoint,
                recorded_at: now(),
            };
            let item = to_item(&recorded).unwrap();
            assert_eq!(from_item::<RecordedCheckpoint>(item).unwrap(), recorded);
        }
    }

    #[tokio::test]
    async fn a_splitter_that_is_behind_another_finds_out() {
        let ledger = Ledger::new(Arc::new(MemoryTable::default()));
        let job = JobId::for_object("inbox", "products/a.csv", "1");
        assert!(ledger.record_checkpoint(job, checkpoint(5)).await.unwrap());
        assert!(ledger.record_checkpoint(job, checkpoint(9)).await.unwrap());
        assert!(!ledger.record_checkpoint(job, checkpoint(7)).await.unwrap());
        assert!(!ledger.record_checkpoint(job, checkpoint(9)).await.unwrap());
        let recorded = ledger.checkpoint(job).await.unwrap().unwrap();
        assert_eq!(recorded.checkpoint, checkpoint(9));
    }
}
