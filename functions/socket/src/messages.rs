//! The messages of the WebSocket API: one JSON document per frame.

use landfall_domain::{JobId, is_name};
use landfall_ledger::JobView;
use serde::{Deserialize, Serialize};

use crate::SocketError;

/// A message from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientMessage {
    Subscribe(Topic),
    Unsubscribe(Topic),
    Ping,
}

/// What a client can subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Job(JobId),
    /// All jobs of a dataset, including future ones.
    Dataset(String),
}

impl Topic {
    /// Returns the key of its subscriptions.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Job(job) => format!("job/{job}"),
            Self::Dataset(name) => format!("dataset/{name}"),
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
enum RawMessage {
    Subscribe(RawTopic),
    Unsubscribe(RawTopic),
    Ping,
}

#[derive(Deserialize)]
struct RawTopic {
    job: Option<JobId>,
    dataset: Option<String>,
}

impl ClientMessage {
    /// Parses a frame. The error is the text for the client.
    pub(crate) fn parse(frame: &str) -> Result<Self, String> {
        let raw = serde_json::from_str(frame).map_err(|error| {
            format!(
                "not understood ({error}): send {{\"action\":\"subscribe\",\"job\":\"<id>\"}}, \
                 {{\"action\":\"subscribe\",\"dataset\":\"<name>\"}}, the same with \"unsubscribe\", or \
                 {{\"action\":\"ping\"}}"
            )
        })?;
        Ok(match raw {
            RawMessage::Subscribe(topic) => Self::Subscribe(topic.check()?),
            RawMessage::Unsubscribe(topic) => Self::Unsubscribe(topic.check()?),
            RawMessage::Ping => Self::Ping,
        })
    }
}

impl RawTopic {
    fn check(self) -> Result<Topic, String> {
        match (self.job, self.dataset) {
            (Some(job), None) => Ok(Topic::Job(job)),
            (None, Some(name)) if is_name(&name) => Ok(Topic::Dataset(name)),
            (None, Some(_)) => Err("this is not a valid dataset name".to_owned()),
            _ => Err("send either \"job\" or \"dataset\"".to_owned()),
        }
    }
}

/// A message to a client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ServerMessage<'a> {
    /// The present state of a job.
    Job {
        job: &'a JobView,
    },
    /// The final state of a job, sent once per connection.
    Completed {
        job: &'a JobView,
    },
    /// Why a message from the client was refused, and what to do.
    Error {
        detail: &'a str,
    },
    Pong,
}

impl ServerMessage<'_> {
    /// Encodes it as a frame.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, SocketError> {
        serde_json::to_vec(self).map_err(SocketError::Encode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_clients_are_parsed() {
        let job = JobId::for_object("inbox", "products/a.csv", "1");
        assert_eq!(
            ClientMessage::parse(&format!(r#"{{"action":"subscribe","job":"{job}"}}"#)),
            Ok(ClientMessage::Subscribe(Topic::Job(job)))
        );
        assert_eq!(
            ClientMessage::parse(r#"{"action":"unsubscribe","dataset":"products"}"#),
            Ok(ClientMessage::Unsubscribe(Topic::Dataset(
                "products".to_owned()
            )))
        );
        assert_eq!(
            ClientMessage::parse(r#"{"action":"ping"}"#),
            Ok(ClientMessage::Ping)
        );
    }

    #[test]
    fn an_error_says_what_is_wrong_with_a_frame() {
        for (frame, expected) in [
            ("", "not understood"),
            ("[1]", "not understood"),
            (r#"{"action":"listen"}"#, "not understood"),
            (r#"{"action":"subscribe","job":"1"}"#, "not understood"),
            (r#"{"action":"subscribe"}"#, "either"),
            (
                r#"{"action":"subscribe","dataset":"a","job":"6c616e64-6661-8c6c-8000-00006a6f6273"}"#,
                "either",
            ),
            (
                r#"{"action":"subscribe","dataset":"../secrets"}"#,
                "dataset name",
            ),
        ] {
            let detail = ClientMessage::parse(frame).unwrap_err();
            assert!(detail.contains(expected), "{frame}: {detail}");
        }
    }
}
