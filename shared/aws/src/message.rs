//! Messages of the chunk queue, as JSON tagged by `type`: *chunk* (process a chunk) and *close* (close a job).
//!
//! A message holds the location of a chunk, never its content, and is about 1 KB. The untagged form of earlier
//! releases is still read for one more release. Unknown types are refused with an error.

use landfall_domain::{ChunkMessage, JobId};
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

/// The body of a message is not one of a [`WorkMessage`].
#[derive(Debug, thiserror::Error)]
#[error("not a message of the chunk queue: {0}")]
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

    #[test]
    fn messages_are_tagged_by_type() {
        for (message, kind) in [(chunk(), "chunk"), (close(), "close")] {
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
    fn unknown_types_are_refused() {
        let job = JobId::for_object("inbox", "products/a.csv", "v1");
        let body = json!({ "type": "reopen", "job": job, "close": job }).to_string();
        let error = WorkMessage::parse(&body).unwrap_err().to_string();
        assert!(
            error.contains("unknown variant `reopen`, expected `chunk` or `close`"),
            "{error}"
        );
        for wrong in ["", "[]", "{}", r#"{"type":1}"#, r#"{"type":"chunk"}"#] {
            assert!(WorkMessage::parse(wrong).is_err(), "{wrong}");
        }
    }
}
