//! The plan of a job: its chunks, from which their messages can be rebuilt.
//!
//! The splitter records the chunks of each shard as one item before it sends their messages, so every message that
//! was ever sent can be sent again. The item grows while the splitter reads the object, and never shrinks: of two
//! splitters, the one that is behind changes nothing. A chunk takes about 40 bytes, so an item is far from the limit of
//! 400 KB, and its key does not begin with that of the job, so that the stream of changes leaves it out.

use aws_sdk_dynamodb::types::AttributeValue;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{Item, ItemError, find, is_condition_failure, number, require, text};
use landfall_domain::{ByteRange, ChunkKind, ChunkMessage, JobId, PlannedChunk, Reading};

use crate::dynamo::{DynamoTable, attribute};
use crate::head::expiry;
use crate::item::plan_key;
use crate::progress::SHARDS_AT_ONCE;
use crate::{JobHead, Ledger, LedgerError, SHARD_CHUNKS, shard_of, shards_of};

/// Marks a chunk that is a record over the size limit.
const OVERSIZE: &str = "oversize";

/// The planned chunks of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanBlock {
    /// The number of the shard in the job, from 0.
    pub shard: u32,
    /// How the object is read.
    pub reading: Reading,
    /// Position of the header record, for CSV with a header.
    pub header: Option<ByteRange>,
    /// The chunks, in the order of the object; at most [`SHARD_CHUNKS`].
    pub chunks: Vec<PlannedChunk>,
}

impl PlanBlock {
    /// Returns whether the shard can have no more chunks.
    pub fn is_full(&self) -> bool {
        self.chunks.len() == SHARD_CHUNKS as usize
    }

    /// Returns the number in the job of the chunk after the last one.
    pub fn end(&self) -> u32 {
        let chunks = u32::try_from(self.chunks.len()).unwrap_or(SHARD_CHUNKS);
        self.shard * SHARD_CHUNKS + chunks
    }

    /// Returns the message of a chunk; `None` if it is not planned.
    pub fn message(&self, head: &JobHead, ordinal: u32) -> Option<ChunkMessage> {
        let index = ordinal.checked_sub(self.shard * SHARD_CHUNKS)?;
        let chunk = self.chunks.get(usize::try_from(index).ok()?)?;
        Some(ChunkMessage {
            job: head.job,
            ordinal,
            object: head.object.clone(),
            packed: head.packed.clone(),
            dataset: head.dataset.clone()?,
            reading: self.reading.clone(),
            order: head.order,
            range: chunk.range,
            first_line: chunk.first_line,
            records: chunk.records,
            header: self.header,
            kind: chunk.kind,
            attempt: head.attempt,
        })
    }

    fn to_item(&self, key: &str) -> Result<Item, LedgerError> {
        let chunks: Vec<String> = self.chunks.iter().map(chunk_to_text).collect();
        let mut item = Item::from([
            ("pk".to_owned(), text(key)),
            ("planned".to_owned(), number(self.chunks.len())),
            ("reading".to_owned(), attribute(key, &self.reading)?),
            ("chunks".to_owned(), text(chunks.join(" "))),
            ("expires_at".to_owned(), number(expiry())),
        ]);
        if let Some(header) = self.header {
            item.insert("header".to_owned(), attribute(key, header)?);
        }
        Ok(item)
    }

    fn from_item(item: &Item) -> Result<Self, LedgerError> {
        let key: String =
            require(item, "pk").map_err(|error| LedgerError::corrupt("of a plan", error))?;
        let shard = key
            .rsplit_once('/')
            .and_then(|(_, shard)| shard.parse().ok());
        let shard = shard.ok_or_else(|| LedgerError::corrupt(&key, "it has no number"))?;
        let attributes = || -> Result<(Reading, Option<ByteRange>, String), ItemError> {
            Ok((
                require(item, "reading")?,
                find(item, "header")?,
                require(item, "chunks")?,
            ))
        };
        let (reading, header, chunks) =
            attributes().map_err(|error| LedgerError::corrupt(&key, error))?;
        let chunks = chunks.split_ascii_whitespace().map(|chunk| {
            chunk_from_text(chunk).ok_or_else(|| {
                LedgerError::corrupt(&key, format!("{chunk:?} is not a planned chunk"))
            })
        });
        Ok(Self {
            shard,
            reading,
            header,
            chunks: chunks.collect::<Result<_, _>>()?,
        })
    }
}

/// Returns a chunk as first byte, length, first line, records, and kind if that is not the usual one.
fn chunk_to_text(chunk: &PlannedChunk) -> String {
    let PlannedChunk {
        range,
        first_line,
        records,
        kind,
    } = chunk;
    let (start, length) = (range.start, range.len());
    match kind {
        ChunkKind::Records => format!("{start},{length},{first_line},{records}"),
        ChunkKind::Oversize => format!("{start},{length},{first_line},{records},{OVERSIZE}"),
    }
}

fn chunk_from_text(text: &str) -> Option<PlannedChunk> {
    let mut parts = text.split(',');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (start, length, first_line, records) = (number()?, number()?, number()?, number()?);
    let kind = match parts.next() {
        None => ChunkKind::Records,
        Some(OVERSIZE) => ChunkKind::Oversize,
        Some(_) => return None,
    };
    let end = start.checked_add(length)?;
    parts.next().is_none().then_some(PlannedChunk {
        range: ByteRange { start, end },
        first_line,
        records,
        kind,
    })
}

impl Ledger {
    /// Records the chunks of a shard that are planned so far. Must precede their messages.
    pub async fn record_plan(&self, job: JobId, block: &PlanBlock) -> Result<(), LedgerError> {
        self.table.put_plan(job, block).await
    }

    /// Returns the messages of chunks exactly as the splitter has sent them, or will.
    ///
    /// # Errors
    /// [`LedgerError::Missing`] if a chunk is not planned, or was by a release that recorded no plans.
    pub async fn planned_chunks(
        &self,
        head: &JobHead,
        ordinals: &[u32],
    ) -> Result<Vec<ChunkMessage>, LedgerError> {
        let mut shards: Vec<u32> = ordinals.iter().copied().map(shard_of).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut blocks = Vec::with_capacity(shards.len());
        for requested in shards.chunks(SHARDS_AT_ONCE) {
            blocks.extend(self.table.plan(head.job, requested).await?);
        }
        let messages = ordinals.iter().map(|ordinal| {
            let mut blocks = blocks.iter();
            let block = blocks.find(|block| block.shard == shard_of(*ordinal));
            let message = block.and_then(|block| block.message(head, *ordinal));
            message.ok_or_else(|| {
                LedgerError::Missing(format!("plan of chunk {ordinal} of job {}", head.job))
            })
        });
        messages.collect()
    }

    /// Returns the planned chunk that has this byte of the object, if there is one. Reads at most 25 small items.
    pub async fn chunk_at(
        &self,
        head: &JobHead,
        offset: u64,
    ) -> Result<Option<ChunkMessage>, LedgerError> {
        // Before the seal, the number of chunks is unknown, but none is empty.
        let most = match head.packed {
            None => u32::try_from(head.object.size).unwrap_or(u32::MAX),
            Some(_) => u32::MAX,
        };
        let (mut low, mut high) = (0, shards_of(head.chunks.unwrap_or(most)));
        let mut found: Option<PlanBlock> = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.table.plan(head.job, &[middle]).await?.pop();
            let starts = |chunk: &PlannedChunk| chunk.range.start <= offset;
            match block.filter(|block| block.chunks.first().is_some_and(starts)) {
                Some(block) => {
                    found = Some(block);
                    low = middle + 1;
                }
                None => high = middle,
            }
        }
        Ok(found.and_then(|block| {
            let has = |chunk: &PlannedChunk| (chunk.range.start..chunk.range.end).contains(&offset);
            let index = block.chunks.iter().position(has)?;
            let ordinal = block.shard * SHARD_CHUNKS + u32::try_from(index).ok()?;
            block.message(head, ordinal)
        }))
    }
}

impl DynamoTable {
    /// Stores the planned chunks of a shard, unless as many are stored.
    pub(crate) async fn put_block(&self, job: JobId, block: &PlanBlock) -> Result<(), LedgerError> {
        let key = plan_key(job, block.shard);
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(block.to_item(&key)?))
            .condition_expression("attribute_not_exists(pk) OR planned < :planned")
            .expression_attribute_values(
                ":planned",
                AttributeValue::N(block.chunks.len().to_string()),
            )
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) if is_condition_failure(&error) => Ok(()),
            Err(error) => Err(AwsError::from_sdk("PutItem", &key, &error).into()),
        }
    }

    /// Returns the planned chunks of these shards, without those that have none.
    pub(crate) async fn blocks(
        &self,
        job: JobId,
        shards: &[u32],
    ) -> Result<Vec<PlanBlock>, LedgerError> {
        let keys = shards.iter().map(|shard| plan_key(job, *shard));
        let items = self.get_all(keys).await?;
        items.iter().map(PlanBlock::from_item).collect()
    }
}

#[cfg(test)]
mod tests {
    use landfall_domain::{Encoding, Format, ObjectOrder, ObjectRef, RejectsOrigin};

    use super::*;

    /// Returns what is stored and read again.
    fn stored(block: &PlanBlock) -> PlanBlock {
        let key = plan_key(
            JobId::for_object("inbox", "products/a.csv", "1"),
            block.shard,
        );
        PlanBlock::from_item(&block.to_item(&key).unwrap()).unwrap()
    }

    fn chunk(start: u64, kind: ChunkKind) -> PlannedChunk {
        let end = start + 7;
        PlannedChunk {
            range: ByteRange { start, end },
            first_line: start * 2,
            records: 3,
            kind,
        }
    }

    #[test]
    fn a_stored_block_is_read_as_it_was() {
        let object = ObjectRef {
            bucket: "inbox".to_owned(),
            key: "products/ä \"1\".csv".to_owned(),
            version: None,
            etag: "\"e\"".to_owned(),
            size: 1_000,
        };
        let job = JobId::for_object("inbox", &object.key, "1");
        let readings = [
            Reading::from(Format::Ndjson),
            Reading {
                encoding: Encoding::for_label("utf-16le").unwrap(),
                delimiter: Some("\u{a7}".to_owned()),
                unquoted: true,
                is_exported: true,
                ..Reading::from(Format::Tsv)
            },
            Reading {
                rejects_of: Some(RejectsOrigin {
                    job,
                    object,
                    is_packed: true,
                }),
                ..Reading::from(Format::Ndjson)
            },
        ];
        for reading in readings {
            let block = PlanBlock {
                shard: 3,
                reading,
                header: Some(ByteRange { start: 3, end: 17 }),
                chunks: vec![
                    chunk(20, ChunkKind::Records),
                    chunk(30, ChunkKind::Oversize),
                    chunk(u64::MAX / 2, ChunkKind::Records),
                ],
            };
            assert_eq!(stored(&block), block);
            let without = PlanBlock {
                header: None,
                ..block
            };
            assert_eq!(stored(&without), without);
        }
    }

    #[test]
    fn the_largest_block_is_far_from_the_limit_of_an_item() {
        let widest = PlannedChunk {
            range: ByteRange {
                start: u64::MAX / 2,
                end: u64::MAX,
            },
            first_line: u64::MAX,
            records: u64::MAX,
            kind: ChunkKind::Oversize,
        };
        let block = PlanBlock {
            shard: 0,
            reading: Format::Csv.into(),
            header: None,
            chunks: vec![widest; SHARD_CHUNKS as usize],
        };
        let item = block.to_item("plan").unwrap();
        let length = item["chunks"].as_s().unwrap().len();
        assert!(length < 20_000, "{length}");
    }

    #[tokio::test]
    async fn a_shorter_plan_does_not_replace_a_longer_one() {
        let job = JobId::for_object("inbox", "products/a.csv", "1");
        let ledger = Ledger::new(std::sync::Arc::new(crate::MemoryTable::default()));
        let mut block = PlanBlock {
            shard: 0,
            reading: Format::Ndjson.into(),
            header: None,
            chunks: vec![chunk(0, ChunkKind::Records), chunk(7, ChunkKind::Records)],
        };
        ledger.record_plan(job, &block).await.unwrap();
        block.chunks.pop();
        ledger.record_plan(job, &block).await.unwrap();
        let object = ObjectRef {
            bucket: "inbox".to_owned(),
            key: "products/a.csv".to_owned(),
            version: None,
            etag: String::new(),
            size: 14,
        };
        let mut head = JobHead::new(job, object, ObjectOrder::new(1, "", job).unwrap());
        head.dataset = Some(landfall_domain::DatasetRef {
            name: "products".to_owned(),
            version: None,
        });
        let planned = ledger.planned_chunks(&head, &[1, 0]).await.unwrap();
        let starts: Vec<u64> = planned.iter().map(|chunk| chunk.range.start).collect();
        assert_eq!(starts, [7, 0]);
        let at = async |offset| {
            let found = ledger.chunk_at(&head, offset).await.unwrap();
            found.map(|chunk| chunk.ordinal)
        };
        assert_eq!((at(6).await, at(7).await), (Some(0), Some(1)));
        assert_eq!((at(13).await, at(14).await), (Some(1), None));
        let missing = ledger.planned_chunks(&head, &[2]).await;
        assert!(matches!(missing, Err(LedgerError::Missing(_))));
    }
}
