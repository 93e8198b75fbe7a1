//! Messages of the chunk queue, as JSON tagged by `type`: *chunk* (process a chunk), *close* (close a job), *redrive*
//! (send the dead chunks of a job again), *write* (store or delete one row) and *check* (find numbers without a row).
//! The maintenance queue has one type, the definition of a dataset, and the relay queue has names.
//!
//! A message holds the location of a chunk, never its content, and is about 1 KB. That of a write has the row, up to
//! 200 KiB. The untagged form of earlier releases is still read for one more release. Unknown types are refused with an
//! error.
//!
//! Work that has to wait is sent again with a delay. SQS counts the receives of the new message from zero, so the
//! message carries what is known from [`Earlier`] ones.

use jiff::Timestamp;
use landfall_domain::{ChunkMessage, DatasetRef, JobId, NumbersToCheck, WriteMessage};
use serde::{Deserialize, Serialize};

/// A message of the chunk queue, as JSON tagged by `type`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WorkMessage {
    /// A chunk to process.
    Chunk(Box<ChunkMessage>),
    /// A job to close, if every chunk of it is done or dead.
    Close {
        /// The job.
        job: JobId,
    },
    /// Dead chunks of a job to send again.
    Redrive {
        /// The job.
        job: JobId,
        /// The attempt that they belong to.
        attempt: u32,
        /// The first shard of the ledger whose chunks are not sent again yet.
        shard: u32,
    },
    /// A row to write.
    Write(Box<WriteMessage>),
    /// Numbers to check.
    Check(Box<NumbersToCheck>),
}

/// What a message carries over from earlier ones for the same work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// How often they were received, without the receives after which the work had to wait.
    #[serde(default, rename = "earlier_receives", skip_serializing_if = "is_zero")]
    pub receives: u32,
    /// Whether the work had to wait.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_waited: bool,
    /// Since when the work has waited for a store that is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_since: Option<Timestamp>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The work of a message, and what it carries over from earlier messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Work {
    /// What to do.
    #[serde(flatten)]
    pub message: WorkMessage,
    /// What it carries over.
    #[serde(flatten)]
    pub earlier: Earlier,
}

impl Work {
    /// Parses the body of a message.
    pub fn parse(body: &str) -> Result<Self, MessageError> {
        Ok(Self {
            message: WorkMessage::parse(body)?,
            earlier: serde_json::from_str(body)?,
        })
    }
}

/// A message of the split queue, as JSON tagged by `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SplitMessage {
    /// A job whose object is not read to its end.
    Resume {
        /// The job.
        job: JobId,
    },
}

/// A message of the maintenance queue: create what a definition adds to big tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceMessage {
    /// The definition.
    pub dataset: DatasetRef,
    /// The job whose worker requests it; `None` for a write by the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// When it was first requested.
    pub requested_at: Timestamp,
}

impl MaintenanceMessage {
    /// Parses the body of a message.
    pub fn parse(body: &str) -> Result<Self, MessageError> {
        Ok(serde_json::from_str(body)?)
    }
}

/// A message of the relay queue: there may be changes to send. It is only a bell: nothing is lost with it, as the relay
/// also runs on a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayMessage {
    /// Rows of the dataset of this name have changed.
    Dataset(String),
    /// Changes are due of the destination of this name.
    Destination(String),
}

impl RelayMessage {
    /// Parses the body of a message.
    pub fn parse(body: &str) -> Result<Self, MessageError> {
        Ok(serde_json::from_str(body)?)
    }
}

/// The body of a message is not one of its queue.
#[derive(Debug, thiserror::Error)]
#[error("not a message of this queue: {0}")]
pub struct MessageError(#[from] serde_json::Error);

/// The form of messages before they had a `type`. Remove it one release after messages have one.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "without a \"type\", expected the fields of a chunk, or \"close\""
)]
enum UntaggedMessage {
    Chunk(Box<ChunkMessage>),
    Close { close: JobId },
}

impl WorkMessage {
    /// Parses the body of a message, also in the form without `type` of the previous release.
    pub fn parse(body: &str) -> Result<Self, MessageError> {
        #[derive(Deserialize)]
        struct Tag<'a> {
            #[serde(rename = "type", borrow)]
            kind: Option<&'a serde_json::value::RawValue>,
        }
        let tag: Tag<'_> = serde_json::from_str(body)?;
        if tag.kind.is_some() {
            return Ok(serde_json::from_str(body)?);
        }
        Ok(match serde_json::from_str(body)? {
            UntaggedMessage::Chunk(chunk) => Self::Chunk(chunk),
            UntaggedMessage::Close { close } => Self::Close { job: close },
        })
    }
}

#[cfg(test)]
mod tests {
    use landfall_domain::{KeyDigest, ParentRow, WriteOperation, WrittenRow};
    use serde_json::{Value, json};

    use super::*;

    fn chunk() -> WorkMessage {
        let sample = include_str!("../../../events/sqs-chunks.json");
        let event: Value = serde_json::from_str(sample).unwrap();
        WorkMessage::parse(event["Records"][0]["body"].as_str().unwrap()).unwrap()
    }

    fn close() -> WorkMessage {
        let job = JobId::for_object("inbox", "products/a.csv", "v1");
        WorkMessage::Close { job }
    }

    fn write() -> WorkMessage {
        let key = KeyDigest::new("products", &[]);
        WorkMessage::Write(Box::new(WriteMessage {
            write: key.write_at(1_700_000_000_000, 3).unwrap(),
            dataset: DatasetRef {
                name: "products".to_owned(),
                version: Some("v1".to_owned()),
            },
            operation: WriteOperation::Put,
            key: vec!["a".to_owned()],
            order_value: None,
            created_at: None,
            row: Some(WrittenRow::Json("{\"sku\":\"a\"}".to_owned())),
        }))
    }

    fn check() -> WorkMessage {
        WorkMessage::Check(Box::new(NumbersToCheck {
            parent: ParentRow {
                dataset: "chats".to_owned(),
                key: vec!["a1".to_owned(), "7".to_owned()],
            },
            child: "messages".to_owned(),
            from: 0,
            to: 12,
        }))
    }

    #[test]
    fn messages_are_tagged_by_type() {
        for (message, kind) in [
            (chunk(), "chunk"),
            (close(), "close"),
            (write(), "write"),
            (check(), "check"),
        ] {
            let body = serde_json::to_string(&message).unwrap();
            let sent: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(sent["type"], kind);
            assert_eq!(WorkMessage::parse(&body).unwrap(), message);
        }
    }

    #[test]
    fn untagged_messages_of_the_previous_release_are_accepted() {
        let mut body = serde_json::to_value(chunk()).unwrap();
        body.as_object_mut().unwrap().remove("type");
        assert_eq!(WorkMessage::parse(&body.to_string()).unwrap(), chunk());
        let WorkMessage::Close { job } = close() else {
            panic!("a close message");
        };
        let body = json!({ "close": job }).to_string();
        assert_eq!(WorkMessage::parse(&body).unwrap(), close());
    }

    #[test]
    fn work_that_waits_keeps_what_happened_earlier() {
        for message in [chunk(), close(), write(), check()] {
            let body = serde_json::to_string(&message).unwrap();
            let first = Work::parse(&body).unwrap();
            assert_eq!(first.earlier, Earlier::default());
            assert_eq!(
                serde_json::to_value(&first).unwrap(),
                serde_json::to_value(&message).unwrap()
            );
            let earlier = Earlier {
                receives: 3,
                has_waited: true,
                down_since: Some("2026-11-20T08:30:00Z".parse().unwrap()),
            };
            let waiting = Work { message, earlier };
            let body = serde_json::to_string(&waiting).unwrap();
            assert_eq!(Work::parse(&body).unwrap(), waiting);
        }
    }

    #[test]
    fn unknown_types_are_refused() {
        let job = JobId::for_object("inbox", "products/a.csv", "v1");
        let body = json!({ "type": "reopen", "job": job, "close": job }).to_string();
        let error = WorkMessage::parse(&body).unwrap_err().to_string();
        assert!(
            error.contains(
                "unknown variant `reopen`, expected one of `chunk`, `close`, `redrive`, `write`, `check`"
            ),
            "{error}"
        );
        for wrong in ["", "[]", "{}", r#"{"type":1}"#, r#"{"type":"chunk"}"#] {
            assert!(WorkMessage::parse(wrong).is_err(), "{wrong}");
        }
    }
}
