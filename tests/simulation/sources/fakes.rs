//! The servers of the sources, and the inbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use landfall_aws::AwsError;
use landfall_domain::{Dataset, Start, StoreKind, Value};
use landfall_fetch::{FetchError, Received, Response};
use landfall_sources::{Request, Source};
use landfall_stores::{RowPage, StoreError, StoredRow};
use puller::{Fetcher, Fetching, ParentRows, ParentsError, Target};
use rand::Rng;
use tokio::time::Instant;

use super::world::World;
use crate::fakes::locked;
use crate::schedule::pause;

pub(super) struct Api(pub(super) Arc<World>);

impl Fetcher for Api {
    fn open<'a>(&'a self, _: &'a Source, _: Instant) -> Box<dyn Fetching + 'a> {
        Box::new(Session {
            world: &self.0,
            requests: 0,
        })
    }
}

struct Session<'a> {
    world: &'a World,
    requests: u64,
}

#[async_trait]
impl Fetching for Session<'_> {
    async fn fetch(&mut self, request: &Request) -> Result<Response, FetchError> {
        pause().await;
        self.requests += 1;
        if self.world.goes_wrong(0.05) {
            return Err(match locked(&self.world.rng).random_range(0..4) {
                0 => FetchError::Wait(Duration::from_secs(20)),
                1 => FetchError::Failed {
                    attempts: 5,
                    reason: "no answer".into(),
                },
                2 => FetchError::Answer {
                    status: StatusCode::NOT_FOUND,
                    start: String::new(),
                },
                _ => FetchError::Time,
            });
        }
        let body = self.world.page(request).to_string().into_bytes();
        pause().await;
        Ok(Response {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body,
        })
    }

    async fn receive(&mut self, _: &Request) -> Result<Received, FetchError> {
        unreachable!("all sources have pages of JSON")
    }

    fn requests(&self) -> u64 {
        self.requests
    }
}

/// The rows that are stored.
pub(super) struct Stored(pub(super) Arc<World>);

/// The rows of a page.
const PARENTS: usize = 4;

#[async_trait]
impl ParentRows for Stored {
    async fn page(&self, dataset: &Dataset, start: Start) -> Result<RowPage, ParentsError> {
        pause().await;
        if self.0.goes_wrong(0.05) {
            let (store, reason) = (StoreKind::Postgres, "no reply".into());
            return Err(StoreError::Unavailable { store, reason }.into());
        }
        let after = match start {
            Start::After(key) => match key[..] {
                [Value::Integer(id)] => id,
                _ => panic!("{key:?} is no key of {}", dataset.name),
            },
            _ => -1,
        };
        let ids = self.0.stored_ids(&dataset.name, after);
        let row = |id: &i64| StoredRow {
            values: vec![Value::Integer(*id)],
            extra: None,
        };
        let page = &ids[..ids.len().min(PARENTS)];
        let last = page.last().filter(|_| ids.len() > PARENTS);
        let page = RowPage {
            rows: page.iter().map(row).collect(),
            next: last.map(|id| vec![Value::Integer(*id)]),
        };
        pause().await;
        Ok(page)
    }
}

pub(super) struct Inbox(pub(super) Arc<World>);

impl Inbox {
    /// Lets other tasks run. An error after the effect is a lost reply.
    async fn reply(&self) -> Result<(), AwsError> {
        pause().await;
        if self.0.goes_wrong(0.05) {
            return Err(AwsError::unavailable("a call", "the inbox", "no reply"));
        }
        Ok(())
    }
}

#[async_trait]
impl Target for Inbox {
    fn bucket(&self) -> &'static str {
        "inbox"
    }

    async fn create(&self, key: &str, _: &str, body: Bytes) -> Result<(), AwsError> {
        self.reply().await?;
        locked(&self.0.objects)
            .entry(key.to_owned())
            .or_insert(body);
        self.reply().await
    }

    async fn begin(&self, key: &str, _: &str) -> Result<String, AwsError> {
        self.reply().await?;
        let id = {
            let mut uploads = locked(&self.0.uploads);
            let id = format!("{key}#{}", uploads.len());
            uploads.insert(id.clone(), BTreeMap::new());
            id
        };
        self.reply().await.map(|()| id)
    }

    async fn put_part(
        &self,
        key: &str,
        upload: &str,
        number: usize,
        body: Bytes,
    ) -> Result<String, AwsError> {
        self.reply().await?;
        let etag = etag(&body);
        match locked(&self.0.uploads).get_mut(upload) {
            Some(parts) => parts.insert(number, body),
            None => return Err(AwsError::refused("UploadPart", key, "NoSuchUpload")),
        };
        self.reply().await.map(|()| etag)
    }

    async fn complete(&self, key: &str, upload: &str, parts: &[String]) -> Result<(), AwsError> {
        self.reply().await?;
        let stored = locked(&self.0.uploads).get(upload).cloned();
        let bodies: Option<Vec<Bytes>> = stored.and_then(|stored| {
            let named = parts.iter().enumerate().map(|(index, part)| {
                let body = stored.get(&(index + 1))?;
                (etag(body) == *part).then(|| body.clone())
            });
            named.collect()
        });
        if let Some(bodies) = bodies {
            locked(&self.0.objects).insert(key.to_owned(), bodies.concat().into());
            locked(&self.0.uploads).remove(upload);
        }
        self.reply().await
    }

    async fn abort(&self, _: &str, upload: &str) -> Result<(), AwsError> {
        self.reply().await?;
        locked(&self.0.uploads).remove(upload);
        self.reply().await
    }

    async fn version(&self, key: &str) -> Result<Option<String>, AwsError> {
        self.reply().await?;
        Ok(locked(&self.0.objects).get(key).map(|_| "1".to_owned()))
    }
}

fn etag(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}
