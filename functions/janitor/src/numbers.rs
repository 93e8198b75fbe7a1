//! Numbers of rows whose requests may have died before they sent the row: what is done about them.

use std::time::Duration;

use jiff::Timestamp;
use landfall_aws::{Earlier, Work, WorkMessage};
use landfall_domain::NumbersToCheck;
use landfall_ledger::{ListedStage, Parent, Relisting};
use tokio::time::Instant;
use tracing::error;

use crate::report::Report;
use crate::{Context, JanitorError};

/// Parents that are read at once.
const PAGE: usize = 100;
/// The maximum number of parents of a stage in a run.
const MAX_PARENTS: usize = 1_000;
/// The longest time until a message is delivered, in seconds. Longer than rows wait before they are delivered again.
const MAX_DELAY: u64 = 900;

/// What to do about a parent with numbers that are not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    /// Record the last numbers. They are checked when the time is over.
    See,
    /// Enqueue messages to check these numbers.
    Check(Vec<NumbersToCheck>),
    /// Remove it from the list, as all its numbers are checked.
    Remove,
}

/// Decides what to do about a parent whose time in its stage is over.
fn decide(parent: &Parent, stage: ListedStage) -> Decision {
    if stage == ListedStage::New {
        return Decision::See;
    }
    let checks = parent.children.iter().filter_map(|(child, numbers)| {
        let (from, to) = numbers.unchecked()?;
        Some(NumbersToCheck {
            parent: parent.row.clone(),
            child: child.clone(),
            from,
            to,
        })
    });
    let checks: Vec<_> = checks.collect();
    if !checks.is_empty() {
        Decision::Check(checks)
    } else if parent.is_checked() {
        Decision::Remove
    } else {
        Decision::See
    }
}

/// Returns after how many seconds a check is delivered: after all rows that wait because a store was down.
fn delay(void_after: Duration) -> u32 {
    let seconds = (void_after.as_secs() / 4).min(MAX_DELAY);
    u32::try_from(seconds).unwrap_or_default()
}

/// Looks at parents with numbers that are not checked.
pub(crate) async fn look(
    context: &Context,
    report: &mut Report,
    stop_at: Instant,
) -> Result<(), JanitorError> {
    for stage in [ListedStage::Seen, ListedStage::New] {
        let now = (context.clock)();
        let until = match stage {
            ListedStage::New => now.as_millisecond(),
            ListedStage::Seen => before(now, context.void_after),
        };
        let mut parents = 0;
        while parents < MAX_PARENTS && Instant::now() < stop_at {
            let page = context.parents.listed_parents(stage, until, PAGE).await?;
            if page.is_empty() {
                break;
            }
            parents += page.len();
            let failed = report.failed;
            for parent in page {
                if let Err(error) = act(context, &parent, stage, report).await {
                    report.failed += 1;
                    error!(parent = %parent.row, %error, "the numbers of a parent could not be looked at");
                }
            }
            if report.failed > failed {
                // They would be listed again.
                break;
            }
        }
    }
    Ok(())
}

fn before(now: Timestamp, pause: Duration) -> i64 {
    let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
    now.as_millisecond().saturating_sub(pause)
}

async fn act(
    context: &Context,
    parent: &Parent,
    stage: ListedStage,
    report: &mut Report,
) -> Result<(), JanitorError> {
    report.parents += 1;
    let now = (context.clock)().as_millisecond();
    let relisting = match decide(parent, stage) {
        Decision::See => Relisting::See,
        Decision::Remove => Relisting::Remove,
        Decision::Check(checks) => {
            for check in checks {
                send(context, check).await?;
                report.checks += 1;
            }
            Relisting::Wait
        }
    };
    context.parents.relist(parent, relisting, now).await?;
    Ok(())
}

async fn send(context: &Context, check: NumbersToCheck) -> Result<(), JanitorError> {
    let work = Work {
        message: WorkMessage::Check(Box::new(check)),
        earlier: Earlier::default(),
    };
    let delay = delay(context.void_after);
    Ok(context.queue.send_later(&work, delay).await?)
}

/// Sends a check again that has failed in every attempt, if its voids are recorded: they may lack their tombstones. Any
/// other one is requested again when its time is over.
pub(crate) async fn failed(context: &Context, check: NumbersToCheck) -> Result<(), JanitorError> {
    let parents = std::slice::from_ref(&check.parent);
    let found = context.parents.parents(parents).await?;
    let numbers = found.first().map(|parent| parent.numbers(&check.child));
    if numbers.is_some_and(|numbers| numbers.checked > check.from) {
        error!(parent = %check.parent, child = check.child, "voids may lack their tombstones: they are written again");
        send(context, check).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use landfall_domain::{Numbers, ParentRow};

    use super::*;

    fn parent(children: &[(&str, [u64; 3])]) -> Parent {
        let children = children.iter().map(|(child, [checked, seen, last])| {
            let numbers = Numbers {
                last: *last,
                checked: *checked,
                seen: *seen,
                voids: BTreeSet::new(),
            };
            ((*child).to_owned(), numbers)
        });
        let children: BTreeMap<_, _> = children.collect();
        Parent {
            row: ParentRow {
                dataset: "applications".to_owned(),
                key: vec!["a1".to_owned()],
            },
            is_deleted: false,
            given: children.values().map(|numbers| numbers.last).sum(),
            children,
            listed: None,
        }
    }

    #[test]
    fn numbers_are_checked_once_they_were_seen_for_long() {
        let new = parent(&[("chats", [0, 0, 3])]);
        assert_eq!(decide(&new, ListedStage::New), Decision::See);
        // Other numbers were given out since.
        let seen = parent(&[
            ("chats", [1, 3, 9]),
            ("files", [4, 4, 5]),
            ("notes", [0, 2, 2]),
        ]);
        let Decision::Check(checks) = decide(&seen, ListedStage::Seen) else {
            panic!("a check");
        };
        let checks: Vec<_> = checks
            .iter()
            .map(|check| (check.child.as_str(), check.from, check.to))
            .collect();
        assert_eq!(checks, [("chats", 1, 3), ("notes", 0, 2)]);
        let rest = parent(&[("chats", [3, 3, 9])]);
        assert_eq!(decide(&rest, ListedStage::Seen), Decision::See);
        let checked = parent(&[("chats", [9, 9, 9])]);
        assert_eq!(decide(&checked, ListedStage::Seen), Decision::Remove);
    }

    #[test]
    fn checks_follow_rows_that_wait() {
        let seconds = |seconds| delay(Duration::from_secs(seconds));
        assert_eq!([3_600, 86_400, 60, 0].map(seconds), [900, 900, 15, 0]);
    }
}
