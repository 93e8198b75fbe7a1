//! The partitions of the indexes, and how a list is read from several of them.

use std::cmp::Ordering;
use std::future::Future;

use futures::future::try_join_all;
use landfall_domain::{JobId, ParentRow};

use crate::{JobsCursor, ListedStage};

/// The attributes that select a partition of an index. Only heads have them.
pub(crate) const KIND: &str = "kind";
pub(crate) const DATASET: &str = "dataset_name";
pub(crate) const OPEN: &str = "open_shard";

/// The partition of heads that earlier releases created. They expire 90 days after that.
pub(crate) const UNSHARDED_KIND: &str = "job";

/// What the partitions of parents in the index of open jobs begin with.
const NEW_PARENTS: &str = "new_parents#";
const SEEN_PARENTS: &str = "seen_parents#";

/// Partitions per value of an index. One accepts about 1,000 writes per second, and a job needs about five. Each page
/// of a list queries all of them.
const INDEX_SHARDS: u8 = 8;
/// Queries of each partition for one page. If few items match the filter, a page is short rather than slow.
const MAX_QUERIES: usize = 4;

/// Returns the shard of a job in every index.
pub(crate) fn index_shard(job: JobId) -> u8 {
    let [.., last] = job.as_bytes();
    last % INDEX_SHARDS
}

pub(crate) fn index_shards() -> std::ops::Range<u8> {
    0..INDEX_SHARDS
}

pub(crate) fn kind_partition(shard: u8) -> String {
    format!("{UNSHARDED_KIND}#{shard}")
}

pub(crate) fn dataset_partition(dataset: &str, shard: u8) -> String {
    format!("{dataset}#{shard}")
}

pub(crate) fn open_partition(shard: u8) -> String {
    shard.to_string()
}

/// Returns the shards of the list of parents with numbers that are not checked.
pub(crate) fn parents_shards() -> std::ops::Range<u8> {
    index_shards()
}

/// Returns the partition of such parents in a stage.
pub(crate) fn parents_partition(stage: ListedStage, shard: u8) -> String {
    let stage = match stage {
        ListedStage::New => NEW_PARENTS,
        ListedStage::Seen => SEEN_PARENTS,
    };
    format!("{stage}{shard}")
}

/// Returns the place in a partition of parents that are there since this time, in milliseconds since 1970. Places sort
/// like times.
pub(crate) fn place_of_parents(since: i64) -> String {
    format!("{since:015}")
}

/// Returns the partition of a parent, and its place there.
pub(crate) fn parents_place(row: &ParentRow, stage: ListedStage, since: i64) -> (String, String) {
    let bytes = row.to_string().into_bytes().into_iter();
    let sum = bytes.fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    let partition = parents_partition(stage, sum % INDEX_SHARDS);
    (partition, place_of_parents(since))
}

impl ListedStage {
    /// Returns the stage of the parents in a partition.
    pub(crate) fn of_partition(partition: &str) -> Option<Self> {
        if partition.starts_with(NEW_PARENTS) {
            Some(Self::New)
        } else if partition.starts_with(SEEN_PARENTS) {
            Some(Self::Seen)
        } else {
            None
        }
    }
}

/// The direction of a list, by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    NewestFirst,
    OldestFirst,
}

impl Direction {
    pub(crate) fn compare<T: Ord>(self, one: &T, other: &T) -> Ordering {
        match self {
            Self::NewestFirst => other.cmp(one),
            Self::OldestFirst => one.cmp(other),
        }
    }

    /// Returns the position before all jobs that were created at this time.
    fn before(self, created_at: String) -> JobsCursor {
        let job = match self {
            Self::NewestFirst => JobId::MAX,
            Self::OldestFirst => JobId::MIN,
        };
        JobsCursor { created_at, job }
    }
}

/// The answer to a query of one partition.
pub(crate) struct Answer<T> {
    /// The selected items, with their positions.
    pub(crate) items: Vec<(JobsCursor, T)>,
    /// The position of the last item that was evaluated, unless it is the last of the partition.
    pub(crate) last: Option<JobsCursor>,
}

/// Reads a page of a list from several partitions.
///
/// `query` reads a partition after a position: it gets the index of the partition, and where its previous answer ended.
///
/// Items that were created at the same time are in no order within a partition. Therefore only items that were created
/// before all unread ones (or after them, if the newest are first) are in the page.
pub(crate) async fn read_page<T, E, F>(
    direction: Direction,
    limit: usize,
    partitions: usize,
    query: impl Fn(usize, Option<JobsCursor>) -> F,
) -> Result<(Vec<T>, Option<JobsCursor>), E>
where
    F: Future<Output = Result<Answer<T>, E>>,
{
    let mut found = Vec::new();
    let mut unread: Vec<(usize, Option<JobsCursor>)> =
        (0..partitions).map(|partition| (partition, None)).collect();
    for _ in 0..MAX_QUERIES {
        let queries = unread.drain(..).map(|(partition, start)| {
            let answer = query(partition, start);
            async move { Ok((partition, answer.await?)) }
        });
        for (partition, answer) in try_join_all(queries).await? {
            found.extend(answer.items);
            if answer.last.is_some() {
                unread.push((partition, answer.last));
            }
        }
        if unread.is_empty() || known(direction, &found, &unread) >= limit {
            break;
        }
    }
    found.sort_unstable_by(|(one, _), (other, _)| direction.compare(one, other));
    let known = known(direction, &found, &unread);
    found.truncate(known.min(limit));
    let next = if known > limit {
        found.last().map(|(position, _)| position.clone())
    } else {
        first(direction, &unread).map(|created_at| direction.before(created_at.to_owned()))
    };
    let items = found.into_iter().map(|(_, item)| item).collect();
    Ok((items, next))
}

/// Returns how many items certainly precede all unread ones.
fn known<T>(
    direction: Direction,
    found: &[(JobsCursor, T)],
    unread: &[(usize, Option<JobsCursor>)],
) -> usize {
    let Some(first) = first(direction, unread) else {
        return found.len();
    };
    let precedes = |position: &JobsCursor| {
        let created_at = position.created_at.as_str();
        direction.compare(&created_at, &first).is_lt()
    };
    found
        .iter()
        .filter(|(position, _)| precedes(position))
        .count()
}

/// Returns the creation of the first job that may be unread.
fn first(direction: Direction, unread: &[(usize, Option<JobsCursor>)]) -> Option<&str> {
    let starts = unread.iter().filter_map(|(_, start)| start.as_ref());
    starts
        .map(|start| start.created_at.as_str())
        .min_by(|one, other| direction.compare(one, other))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Returns jobs, several of which were created at the same time.
    fn jobs(number: usize) -> Vec<JobsCursor> {
        (0..number)
            .map(|at| JobsCursor {
                created_at: format!("{:04}", at * 7 % 23),
                job: JobId::for_object("inbox", "a/1.csv", &at.to_string()),
            })
            .collect()
    }

    /// Lists jobs page by page. Every third query of a partition selects nothing.
    async fn list(
        direction: Direction,
        jobs: &[JobsCursor],
        limit: usize,
        query_limit: usize,
    ) -> Vec<JobsCursor> {
        let mut partitions = vec![Vec::new(); usize::from(INDEX_SHARDS)];
        for job in jobs {
            partitions[usize::from(index_shard(job.job))].push(job.clone());
        }
        for partition in &mut partitions {
            // As in an index: by creation alone. Ties have an order of their own.
            partition.sort_by(|one: &JobsCursor, other| {
                let order = direction.compare(&one.created_at, &other.created_at);
                order.then_with(|| other.job.as_bytes()[0].cmp(&one.job.as_bytes()[0]))
            });
        }
        let mut listed = Vec::new();
        let mut after: Option<JobsCursor> = None;
        for _ in 0..1_000 {
            let query = |partition: usize, start: Option<JobsCursor>| {
                let all = &partitions[partition];
                let begin = match (&start, &after) {
                    (Some(start), _) => all.iter().position(|job| job == start).unwrap() + 1,
                    (None, Some(after)) => all.partition_point(|job| {
                        let order = direction.compare(&job.created_at, &after.created_at);
                        order.is_lt()
                    }),
                    (None, None) => 0,
                };
                let end = (begin + query_limit).min(all.len());
                let last = (end < all.len()).then(|| all[end - 1].clone());
                let is_after = |job: &&JobsCursor| {
                    after
                        .as_ref()
                        .is_none_or(|after| direction.compare(*job, after).is_gt())
                };
                let items = all[begin..end].iter().filter(is_after);
                let items = items.map(|job| (job.clone(), job.clone())).collect();
                async move { Ok::<_, Infallible>(Answer { items, last }) }
            };
            let page = read_page(direction, limit, partitions.len(), query).await;
            let (page, next) = page.unwrap();
            assert!(page.len() <= limit);
            listed.extend(page);
            match next {
                Some(next) => after = Some(next),
                None => return listed,
            }
        }
        panic!("the list does not end");
    }

    #[tokio::test]
    async fn pages_of_several_partitions_contain_each_job_once_in_order() {
        for direction in [Direction::NewestFirst, Direction::OldestFirst] {
            for number in [0, 1, 9, 200] {
                let jobs = jobs(number);
                let mut expected = jobs.clone();
                expected.sort_by(|one, other| direction.compare(one, other));
                // More per query than jobs of one partition were created at the same time.
                for (limit, query_limit) in [(1, 8), (3, 8), (20, 9), (50, 100), (200, 100)] {
                    let listed = list(direction, &jobs, limit, query_limit).await;
                    assert_eq!(
                        listed, expected,
                        "{direction:?} {number} {limit} {query_limit}"
                    );
                }
            }
        }
    }
}
