//! Open jobs that an earlier release created: the index of open jobs lacks them, so the sweep does not find them.
//!
//! The janitor walks through the list of all jobs and adds to the index those that are unfinished. Splitters of the
//! earlier release may still create jobs during the upgrade. So it repeats the walk until one has begun an hour after
//! the first. From then on, a run only reads the cursor.

use jiff::Timestamp;
use landfall_ledger::{JobsCursor, JobsQuery};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::info;

use crate::report::Report;
use crate::{Context, JanitorError};

/// The name of the cursor.
const TASK: &str = "unlisted_jobs";
/// Jobs that are read at once.
const PAGE: usize = 100;
/// Pages that a run reads.
const MAX_PAGES: usize = 10;

/// How far the walks are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Walks {
    /// When the first one began, in milliseconds since 1970.
    first_began_at: i64,
    /// When the present one began.
    began_at: i64,
    /// Where it continues; `None` at its start.
    after: Option<JobsCursor>,
    /// Whether the last one is over.
    is_over: bool,
}

/// Walks through a part of the list of jobs, unless that was done.
pub(crate) async fn adopt(
    context: &Context,
    report: &mut Report,
    stop_at: Instant,
) -> Result<(), JanitorError> {
    let invalid = |source| JanitorError::Cursor { task: TASK, source };
    let now = Timestamp::now().as_millisecond();
    let saved = context.cursors.cursor(TASK).await?;
    let saved = saved.map(|saved| serde_json::from_str(&saved).map_err(invalid));
    let mut walks = saved.transpose()?.unwrap_or(Walks {
        first_began_at: now,
        ..Walks::default()
    });
    if walks.is_over {
        return Ok(());
    }
    if walks.after.is_none() {
        walks.began_at = now;
    }
    for _ in 0..MAX_PAGES {
        walks.after = adopt_page(context, walks.after, report).await?;
        if walks.after.is_none() || Instant::now() >= stop_at {
            break;
        }
    }
    let upgrades_within = context.patience.upgrades_within().as_millis();
    walks.is_over = walks.after.is_none()
        && i128::from(walks.began_at - walks.first_began_at) >= upgrades_within;
    let position = serde_json::to_string(&walks).map_err(invalid)?;
    Ok(context.cursors.save_cursor(TASK, &position).await?)
}

/// Adds the unfinished jobs of a page to the index of open jobs. Returns where the next page begins.
async fn adopt_page(
    context: &Context,
    after: Option<JobsCursor>,
    report: &mut Report,
) -> Result<Option<JobsCursor>, JanitorError> {
    let query = JobsQuery {
        limit: PAGE,
        after,
        ..JobsQuery::default()
    };
    let page = context.index.jobs(&query).await?;
    for head in page.heads.iter().filter(|head| head.is_unfinished()) {
        context.ledger.list_as_open(head.job).await?;
        report.listed += 1;
        info!(job = %head.job, "the job is in the index of open jobs");
    }
    Ok(page.next)
}
