//! The inbox: objects whose notification never came.
//!
//! S3 lists by key, so finding them means listing the whole bucket, a part in each run. An object without a job is
//! started at certain ages, each twice the one before. So the notification of an object that only waits for a free
//! splitter is repeated a few times, not in every round.

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use landfall_aws::AwsError;
use landfall_domain::ObjectRef;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{error, warn};

use crate::report::Report;
use crate::{Context, JanitorError, Patience, notification};

/// The name of the cursor.
const TASK: &str = "inbox";
/// The maximum number of calls in a run, each of which lists up to 1,000 versions.
const MAX_CALLS: usize = 5;
/// The maximum number of objects that a run starts. The others follow at their next age.
const MAX_STARTS: usize = 500;
/// Heads that are read at the same time.
const HEADS_AT_ONCE: usize = 16;

/// A version of an object in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVersion {
    /// The object.
    pub object: ObjectRef,
    /// When it was created. S3 cuts it to seconds, and for a multipart upload, it is when the upload began.
    pub created_at: Timestamp,
}

/// A position in the list of all versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionMarker {
    /// The key to continue after, or with if there is a version.
    pub key: String,
    /// The version of the key to continue after.
    pub version: Option<String>,
}

/// Lists the versions of all objects in the inbox.
#[async_trait]
pub trait Inventory: Send + Sync {
    /// Returns up to 1,000 versions after a position, and where to continue unless they are the last.
    async fn versions(
        &self,
        after: Option<&VersionMarker>,
    ) -> Result<(Vec<StoredVersion>, Option<VersionMarker>), AwsError>;
}

/// How far the current round through the bucket is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Round {
    /// When it began, in milliseconds since 1970.
    began_at: Option<i64>,
    /// When the round before began.
    previous: Option<i64>,
    /// Where it continues; `None` if it is over.
    after: Option<VersionMarker>,
}

/// Lists a part of the inbox, and starts the jobs of objects that have none.
pub(crate) async fn take(
    context: &Context,
    report: &mut Report,
    stop_at: Instant,
) -> Result<(), JanitorError> {
    let invalid = |source| JanitorError::Cursor { task: TASK, source };
    let saved = context.cursors.cursor(TASK).await?;
    let saved = saved.map(|saved| serde_json::from_str(&saved).map_err(invalid));
    let mut round: Round = saved.transpose()?.unwrap_or_default();
    if round.after.is_none() {
        let now = Timestamp::now().as_millisecond();
        let pause = context.patience.between_inventories().as_millis();
        if round
            .began_at
            .is_some_and(|began| i128::from(now - began) < pause)
        {
            return Ok(());
        }
        round.previous = round.began_at.replace(now);
    }
    for _ in 0..MAX_CALLS {
        let (versions, next) = context.inventory.versions(round.after.as_ref()).await?;
        report.objects += versions.len();
        start_missing(context, &round, versions, report).await?;
        round.after = next;
        if round.after.is_none() || report.started >= MAX_STARTS || Instant::now() >= stop_at {
            break;
        }
    }
    let position = serde_json::to_string(&round).map_err(invalid)?;
    Ok(context.cursors.save_cursor(TASK, &position).await?)
}

async fn start_missing(
    context: &Context,
    round: &Round,
    versions: Vec<StoredVersion>,
    report: &mut Report,
) -> Result<(), JanitorError> {
    let due = versions.into_iter().filter(|version| {
        !version.object.is_marker() && is_due(version.created_at, round, context.patience)
    });
    let missing: Vec<StoredVersion> = stream::iter(due)
        .map(|version| async move {
            let event = notification::of_object(&version.object, version.created_at);
            let job = notification::created(&event)?.first().map(|it| it.job);
            let head = match job {
                Some(job) => context.ledger.head(job).await?,
                None => None,
            };
            Ok::<_, JanitorError>(head.is_none().then_some(version))
        })
        .buffered(HEADS_AT_ONCE)
        .try_filter_map(async |missing| Ok(missing))
        .try_collect()
        .await?;
    for StoredVersion { object, created_at } in missing {
        let event = notification::of_object(&object, created_at);
        match context.splitter.invoke(&event).await {
            Ok(()) => {
                warn!(key = object.key, %created_at, "an object has no job: the splitter is run");
                report.started += 1;
            }
            Err(error) => {
                error!(key = object.key, %error, "an object has no job, and cannot be started");
                report.failed += 1;
            }
        }
    }
    Ok(())
}

/// Returns whether an object has reached a further age at which it is started, since the round before.
fn is_due(created_at: Timestamp, round: &Round, patience: Patience) -> bool {
    let age = |time: i64| i128::from(time - created_at.as_millisecond());
    let first = patience.notified_within().as_millis();
    let Some(began) = round.began_at.map(age) else {
        return false;
    };
    if began >= patience.max_object_age.as_millis() {
        return false;
    }
    let before = round.previous.map_or(0, |time| starts(age(time), first));
    first == 0 || starts(began, first) > before
}

/// Returns how many of the ages `first`, twice `first`, four times `first` and so on are reached.
fn starts(age: i128, first: i128) -> u32 {
    let times = age / first.max(1);
    u128::try_from(times).map_or(0, |times| u128::BITS - times.leading_zeros())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn an_object_is_started_at_doubling_ages_once_each() {
        let patience = Patience {
            first: SignedDuration::from_secs(120),
            max_attempts: 6,
            split_within: SignedDuration::MAX,
            max_object_age: SignedDuration::from_hours(24),
        };
        let created: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
        let minutes = |minutes: i64| created.as_millisecond() + minutes * 60_000;
        let mut started = Vec::new();
        let mut round = Round::default();
        for age in (0..3_000).step_by(10) {
            round.previous = round.began_at.replace(minutes(age));
            if is_due(created, &round, patience) {
                started.push(age);
            }
        }
        // After 16, 32, 64, ... minutes.
        assert_eq!(started, [20, 40, 70, 130, 260, 520, 1030]);
        let first_round = Round {
            began_at: Some(minutes(100)),
            ..Round::default()
        };
        assert!(is_due(created, &first_round, patience));
    }
}
