//! What is said over a connection. JSON, one document a frame.

use landfall_domain::{JobId, is_name};
use landfall_ledger::JobView;
use serde::{Deserialize, Serialize};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Subscribe(Topic),
    Unsubscribe(Topic),
    Ping,
}

/// What can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Job(JobId),
    /// The jobs of a dataset, also those to come.
    Dataset(String),
}

impl Topic {
    /// The key of its subscriptions.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Job(job) => format!("job/{job}"),
            Self::Dataset(name) => format!("dataset/{name}"),
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
enum Written {
    Subscribe(WrittenTopic),
    Unsubscribe(WrittenTopic),
    Ping,
}

#[derive(Deserialize)]
struct WrittenTopic {
    job: Option<JobId>,
    dataset: Option<String>,
}

impl Ask {
    /// Reads a frame, or says what is wrong with it.
    pub(crate) fn parse(frame: &str) -> Result<Self, String> {
        let written = serde_json::from_str(frame).map_err(|error| {
            format!(
                "not understood ({error}): send {{\"action\":\"subscribe\",\"job\":\"<id>\"}}, \
                 {{\"action\":\"subscribe\",\"dataset\":\"<name>\"}}, the same with \"unsubscribe\", or {{\"action\":\"ping\"}}"
            )
        })?;
        Ok(match written {
            Written::Subscribe(topic) => Self::Subscribe(topic.check()?),
            Written::Unsubscribe(topic) => Self::Unsubscribe(topic.check()?),
            Written::Ping => Self::Ping,
        })
    }
}

impl WrittenTopic {
    fn check(self) -> Result<Topic, String> {
        match (self.job, self.dataset) {
            (Some(job), None) => Ok(Topic::Job(job)),
            (None, Some(name)) if is_name(&name) => Ok(Topic::Dataset(name)),
            (None, Some(_)) => Err("that cannot be the name of a dataset".to_owned()),
            _ => Err("give either a job or a dataset".to_owned()),
        }
    }
}

/// What is sent to a client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Told<'a> {
    /// How a job stands.
    Job {
        job: &'a JobView,
    },
    /// That it is closed, and how; once a connection.
    Completed {
        job: &'a JobView,
    },
    /// What could not be done, and what to do.
    Error {
        detail: &'a str,
    },
    Pong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_ask_for() {
        let job = JobId::of("inbox", "products/a.csv", "1");
        assert_eq!(
            Ask::parse(&format!(r#"{{"action":"subscribe","job":"{job}"}}"#)),
            Ok(Ask::Subscribe(Topic::Job(job)))
        );
        assert_eq!(
            Ask::parse(r#"{"action":"unsubscribe","dataset":"products"}"#),
            Ok(Ask::Unsubscribe(Topic::Dataset("products".to_owned())))
        );
        assert_eq!(Ask::parse(r#"{"action":"ping"}"#), Ok(Ask::Ping));
    }

    #[test]
    fn says_what_is_wrong_with_other_frames() {
        for (frame, told) in [
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
                "name of a dataset",
            ),
        ] {
            let detail = Ask::parse(frame).unwrap_err();
            assert!(detail.contains(told), "{frame}: {detail}");
        }
    }
}
