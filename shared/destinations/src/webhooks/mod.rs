//! Webhooks: URLs that are notified when a job closes.
//!
//! A file `notify.toml` and the definitions of datasets name them, in tables `[[notify]]`. A notification is an event
//! for a URL. It is signed as Standard Webhooks says, and retried for [`RETRY_FOR`].

mod definition;
mod delivery;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use landfall_domain::{CompletionEvent, JobState};
use landfall_requests::{RevealError, Revealed, Secrets, Template, header};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use crate::signature::Signature;

pub use delivery::{Delivery, RETRY_FOR, judge_delivery};

/// What a webhook is notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobEvent {
    /// A job closed as succeeded.
    #[serde(rename = "job.completed")]
    Completed,
    /// A job closed as partial, failed or cancelled.
    #[serde(rename = "job.failed")]
    Failed,
}

impl JobEvent {
    /// Returns the event of a job that closed in this state; `None` for one that is open.
    pub fn of(state: JobState) -> Option<Self> {
        match state {
            JobState::Open => None,
            JobState::Succeeded => Some(Self::Completed),
            JobState::Partial | JobState::Failed | JobState::Cancelled => Some(Self::Failed),
        }
    }

    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "job.completed",
            Self::Failed => "job.failed",
        }
    }
}

/// A URL that is notified when a job closes.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    url: Url,
    /// What it is notified of; everything if empty.
    events: Vec<JobEvent>,
    headers: Vec<(HeaderName, Template)>,
    signature: Signature,
}

impl Webhook {
    /// Returns the URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns whether it is notified of an event.
    pub fn wants(&self, event: JobEvent) -> bool {
        self.events.is_empty() || self.events.contains(&event)
    }

    /// Returns the id of the notification of a completion, the same for each delivery of the event.
    pub fn notification_id(&self, completion: Uuid) -> Uuid {
        Uuid::new_v5(&completion, self.url.as_str().as_bytes())
    }

    /// Returns the request with its secrets, signed at `now`.
    ///
    /// # Errors
    /// A secret is missing or unusable.
    pub fn request(
        &self,
        notification: Uuid,
        payload: &str,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<Revealed, RevealError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &self.headers {
            headers.insert(name, header(name, value, secrets)?);
        }
        let mut request = Revealed {
            method: Method::POST,
            url: self.url.clone(),
            headers,
            body: Some(payload.as_bytes().to_vec()),
        };
        let id = notification.to_string();
        self.signature.apply(&mut request, &id, secrets, now)?;
        Ok(request)
    }
}

/// Returns the body of a notification: the type, the time and the completion event.
///
/// # Errors
/// It cannot be serialized, which would be a defect.
pub fn payload(event: JobEvent, completion: &CompletionEvent) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Payload<'a> {
        r#type: JobEvent,
        timestamp: &'a str,
        data: &'a CompletionEvent,
    }
    serde_json::to_string(&Payload {
        r#type: event,
        timestamp: &completion.closed_at,
        data: completion,
    })
}

#[cfg(test)]
mod tests {
    use landfall_domain::{Counts, DeadChunks, JobId, ObjectRef};

    use super::*;

    fn completion(state: JobState) -> CompletionEvent {
        let object = ObjectRef {
            bucket: "inbox".to_owned(),
            key: "orders/1.csv".to_owned(),
            version: Some("v1".to_owned()),
            etag: "e1".to_owned(),
            size: 4,
        };
        let job = JobId::for_object("inbox", "orders/1.csv", "v1");
        CompletionEvent {
            id: CompletionEvent::id_for(job, 1),
            job,
            attempt: 1,
            dataset: Some("orders".to_owned()),
            object,
            codec: None,
            rejects_of: None,
            state,
            problem: None,
            warnings: Vec::new(),
            counts: Counts::default(),
            prune: None,
            chunks: 1,
            dead: 0,
            dead_chunks: DeadChunks::default(),
            rejects: None,
            created_at: "2026-11-20T08:30:00Z".to_owned(),
            closed_at: "2026-11-20T08:31:00Z".to_owned(),
        }
    }

    fn webhooks(text: &str) -> Vec<Webhook> {
        Webhook::of_installation("notify.toml", text).unwrap()
    }

    #[test]
    fn only_a_job_that_succeeded_is_completed() {
        assert_eq!(JobEvent::of(JobState::Open), None);
        assert_eq!(JobEvent::of(JobState::Succeeded), Some(JobEvent::Completed));
        for state in [JobState::Partial, JobState::Failed, JobState::Cancelled] {
            assert_eq!(JobEvent::of(state), Some(JobEvent::Failed), "{state:?}");
        }
        let [failures] = &webhooks(
            "[[notify]]\nurl = \"https://a.example/\"\nsecret = \"{secret:a}\"\nevents = [\"job.failed\"]\n",
        )[..] else {
            panic!("one is defined")
        };
        assert!(failures.wants(JobEvent::Failed) && !failures.wants(JobEvent::Completed));
    }

    #[test]
    fn a_notification_is_a_signed_event_whose_id_depends_on_the_event_and_the_url() {
        let text = "[[notify]]\nurl = \"https://a.example/hook\"\nsecret = \"{secret:hook}\"\n\
                    headers = { Authorization = \"Bearer {secret:token}\" }\n\
                    [[notify]]\nurl = \"https://b.example/hook\"\nsecret = \"{secret:hook}\"\n";
        let [first, second] = &webhooks(text)[..] else {
            panic!("two are defined")
        };
        let event = completion(JobState::Succeeded);
        let id = first.notification_id(event.id);
        assert_eq!(id, first.notification_id(event.id));
        assert_ne!(id, second.notification_id(event.id));
        let redriven = CompletionEvent::id_for(event.job, 2);
        assert_ne!(id, first.notification_id(redriven));

        let body = payload(JobEvent::Completed, &event).unwrap();
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["type"], "job.completed");
        assert_eq!(json["timestamp"], "2026-11-20T08:31:00Z");
        assert_eq!(json["data"]["id"], event.id.to_string());

        let secrets = Secrets::from_iter([
            ("hook", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            ("token", "t"),
        ]);
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let request = first.request(id, &body, &secrets, now).unwrap();
        assert_eq!(request.url.as_str(), "https://a.example/hook");
        assert_eq!(request.headers["authorization"], "Bearer t");
        assert_eq!(request.headers["webhook-id"], id.to_string());
        assert!(
            request.headers["webhook-signature"]
                .to_str()
                .unwrap()
                .starts_with("v1,")
        );
        assert!(first.request(id, &body, &Secrets::default(), now).is_err());
    }
}
