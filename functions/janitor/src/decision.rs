//! What to do for a job, decided from its head and its shards.

use jiff::Timestamp;
use landfall_domain::JobState;
use landfall_ledger::{JobHead, Repairs, Shard, Unfinished};

use crate::Patience;
use crate::patience::is_over;

/// What to do for an open job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing, for now.
    Wait,
    /// Run the splitter again, as this attempt.
    Split(u32),
    /// Seal the job as failed: the splitter has failed in every attempt.
    FailSplit,
    /// Read the shards: chunks are missing.
    ReadShards,
    /// Enqueue a message to send dead chunks again, as this attempt: a redrive has not sent all of them.
    Redrive(u32),
    /// No chunk is missing: do this to finish the job.
    Finish(Finish),
}

/// What to do for a job that only has to be closed, or whose event or confirmed prune is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Nothing, for now.
    Wait,
    /// Enqueue a close message, as this attempt.
    Close(u32),
    /// Have the job closed as failed, as this attempt: it could not be pruned.
    Fail(u32),
}

/// What to do for a sealed job with missing chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunksDecision {
    /// Nothing, for now.
    Wait,
    /// Send the message of this chunk again, as this attempt. Once the chunk is marked, the other messages are lost.
    Probe(u32, u32),
    /// Send the messages of all missing chunks again, as this attempt.
    SendAll(u32),
    /// Mark the missing chunks dead: they were not marked after any attempt.
    GiveUp,
    /// No chunk is missing: do this to finish the job.
    Finish(Finish),
}

/// Decides what to do for an unfinished job, from its head, and from when the splitter has last read a part of the
/// object.
pub(crate) fn decide(
    head: &JobHead,
    read_at: Option<&str>,
    patience: Patience,
    now: Timestamp,
) -> Decision {
    let read_at = read_at.and_then(|time| time.parse().ok());
    let Some(progress) = head.last_progress().max(read_at) else {
        return Decision::Wait;
    };
    let History { attempts, since } = History::new(head, progress);
    let due = |pause| is_over(since, pause, now);
    // A shard of a job that was opened again may be full in the head, although chunks of it are missing again.
    let is_complete = head.awaits_close() && !is_reopened(head);
    if is_complete || (head.published && head.awaits_prune()) {
        return Decision::Finish(decide_finish(head, progress, patience, now));
    }
    // A worker plans a derived job, too: the splitter would plan the whole object instead of the dead chunks.
    let is_unplanned = head.redrive_of.is_some() && head.chunks.is_none();
    if head.resending || is_unplanned {
        return if due(patience.pause(attempts)) {
            Decision::Redrive(attempts + 1)
        } else {
            Decision::Wait
        };
    }
    if head.chunks.is_some() {
        return if due(patience.pause(0)) {
            Decision::ReadShards
        } else {
            Decision::Wait
        };
    }
    if !due(patience.pause_of_splitter(attempts, head.packed.is_some())) {
        return Decision::Wait;
    }
    if attempts >= patience.max_attempts {
        Decision::FailSplit
    } else {
        Decision::Split(attempts + 1)
    }
}

/// Returns whether a job is open again, in a later attempt.
fn is_reopened(head: &JobHead) -> bool {
    head.state == JobState::Open && head.attempt > 1
}

fn decide_finish(
    head: &JobHead,
    progress: Timestamp,
    patience: Patience,
    now: Timestamp,
) -> Finish {
    let History { attempts, since } = History::new(head, progress);
    if !is_over(since, patience.pause(attempts), now) {
        return Finish::Wait;
    }
    // A job whose event cannot be published is closed: there is nothing to give up.
    if attempts >= patience.max_attempts && head.state == JobState::Open && head.problem.is_none() {
        Finish::Fail(attempts + 1)
    } else {
        Finish::Close(attempts + 1)
    }
}

/// Decides what to do for a sealed job, from its shards with missing chunks, and the time of the last mark in others.
/// `idle` means that no message is in the chunk queue, and none is being processed.
pub(crate) fn decide_chunks(
    head: &JobHead,
    Unfinished { shards, marked_at }: &Unfinished,
    idle: bool,
    patience: Patience,
    now: Timestamp,
) -> ChunksDecision {
    let marks = shards.iter().filter_map(|shard| shard.marked_at.as_ref());
    let marks = marks.chain(marked_at);
    let marks = marks.filter_map(|time| time.parse().ok());
    let Some(progress) = head.last_progress().into_iter().chain(marks).max() else {
        return ChunksDecision::Wait;
    };
    let Some(last) = shards.iter().rev().find_map(|shard| shard.missing().last()) else {
        // Unless it is opened again, its head says so from now on.
        return if is_reopened(head) {
            ChunksDecision::Finish(decide_finish(head, progress, patience, now))
        } else {
            ChunksDecision::Wait
        };
    };
    let History { attempts, since } = History::new(head, progress);
    let probe = head.repairs.as_ref().and_then(|repairs| repairs.probe);
    let is_missing = |probe| {
        let shard = shards.iter();
        shard.flat_map(Shard::missing).any(|chunk| chunk == probe)
    };
    // The queue has delivered all messages that were sent before the probe.
    let passed = probe.is_some_and(|probe| !is_missing(probe));
    if !idle && !passed {
        return if is_over(since, patience.pause_while_busy(attempts), now) {
            ChunksDecision::Probe(last, attempts + 1)
        } else {
            ChunksDecision::Wait
        };
    }
    // Probes are no attempts to repair the other chunks.
    let attempts = if probe.is_some() { 0 } else { attempts };
    if !is_over(since, patience.pause(attempts), now) {
        ChunksDecision::Wait
    } else if attempts >= patience.max_attempts {
        ChunksDecision::GiveUp
    } else {
        ChunksDecision::SendAll(attempts + 1)
    }
}

/// What has happened since the last progress of a job.
struct History {
    /// Attempts to repair it.
    attempts: u32,
    /// When the last of them began, or else the time of the progress.
    since: Timestamp,
}

impl History {
    fn new(head: &JobHead, progress: Timestamp) -> Self {
        let last_at = |repairs: &Repairs| repairs.last_at.parse().ok();
        let last = head.repairs.as_ref();
        let last = last.and_then(|repairs| Some((repairs.attempts, last_at(repairs)?)));
        let (attempts, since) = last
            .filter(|(_, at)| *at >= progress)
            .unwrap_or((0, progress));
        Self { attempts, since }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use landfall_domain::{Codec, JobId, ObjectOrder, ObjectRef, Packed};

    use super::*;

    const PATIENCE: Patience = Patience {
        first: SignedDuration::from_mins(2),
        max_attempts: 6,
        split_within: SignedDuration::MAX,
        max_object_age: SignedDuration::MAX,
    };

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    /// Returns the head of a job that was created at minute 0, with this number of chunks.
    fn head(chunks: Option<u32>) -> JobHead {
        let job = JobId::for_object("inbox", "products/a.csv", "v1");
        let object = ObjectRef {
            bucket: "inbox".to_owned(),
            key: "products/a.csv".to_owned(),
            version: Some("v1".to_owned()),
            etag: String::new(),
            size: 1_000,
        };
        let order = ObjectOrder::new(1, "", job).unwrap();
        let mut head = JobHead::new(job, object, order);
        head.created_at = at(0).to_string();
        head.chunks = chunks;
        head
    }

    fn tried(mut head: JobHead, attempts: u32, minute: i64, probe: Option<u32>) -> JobHead {
        head.repairs = Some(Repairs {
            attempts,
            last_at: at(minute).to_string(),
            probe,
        });
        head
    }

    /// Returns the minutes after minute 0 at which each further attempt is due, and the last decision.
    fn attempts(mut head: JobHead) -> (Vec<i64>, Decision) {
        let mut minutes = Vec::new();
        for minute in 0.. {
            match decide(&head, None, PATIENCE, at(minute)) {
                Decision::Wait | Decision::Finish(Finish::Wait) => {}
                Decision::Split(attempt)
                | Decision::Redrive(attempt)
                | Decision::Finish(Finish::Close(attempt)) => {
                    minutes.push(minute);
                    head = tried(head, attempt, minute, None);
                }
                last => return (minutes, last),
            }
            if minutes.len() > 8 {
                break;
            }
        }
        (minutes, Decision::Wait)
    }

    #[test]
    fn a_job_that_is_not_sealed_is_split_again_and_fails_in_the_end() {
        let (minutes, last) = attempts(head(None));
        assert_eq!(minutes, [10, 30, 70, 134, 198, 262]);
        assert_eq!(last, Decision::FailSplit);
    }

    #[test]
    fn the_splitter_of_a_packed_object_has_time_to_unpack_it_again() {
        let mut head = head(None);
        head.packed = Some(Packed {
            codec: Codec::Gzip,
            job: head.job,
            part_bytes: 1,
        });
        let (minutes, last) = attempts(head);
        assert_eq!(minutes, [16, 48, 112, 176, 240, 304]);
        assert_eq!(last, Decision::FailSplit);
    }

    #[test]
    fn a_complete_job_gets_close_messages_and_fails_in_the_end() {
        let (minutes, last) = attempts(head(Some(0)));
        assert_eq!(minutes, [2, 6, 14, 30, 62, 126]);
        assert_eq!(last, Decision::Finish(Finish::Fail(7)));
    }

    #[test]
    fn publishing_is_attempted_forever() {
        let mut head = head(Some(0));
        head.state = JobState::Succeeded;
        head.closed_at = Some(at(0).to_string());
        let (minutes, _) = attempts(head);
        assert_eq!(minutes, [2, 6, 14, 30, 62, 126, 190, 254, 318]);
    }

    #[test]
    fn a_worker_is_sent_to_plan_a_derived_job_forever() {
        let mut head = head(None);
        head.redrive_of = Some(JobId::for_object("inbox", "products/a.csv", "v0"));
        let (minutes, _) = attempts(head);
        assert_eq!(minutes, [2, 6, 14, 30, 62, 126, 190, 254, 318]);
    }

    #[test]
    fn progress_restarts_the_pauses() {
        let mut head = tried(head(None), 5, 10, None);
        head.progressed_at = Some(at(11).to_string());
        assert_eq!(decide(&head, None, PATIENCE, at(20)), Decision::Wait);
        assert_eq!(decide(&head, None, PATIENCE, at(21)), Decision::Split(1));
        let read_at = at(21).to_string();
        let decided = |minute| decide(&head, Some(&read_at), PATIENCE, at(minute));
        assert_eq!(decided(30), Decision::Wait);
        assert_eq!(decided(31), Decision::Split(1));
    }

    fn shard(missing: &[u32], marked_at: Option<i64>) -> Shard {
        Shard {
            chunks: 8,
            done: (0..8).filter(|chunk| !missing.contains(chunk)).collect(),
            marked_at: marked_at.map(|minute| at(minute).to_string()),
            ..Shard::default()
        }
    }

    fn unfinished(shard: Shard) -> Unfinished {
        Unfinished {
            shards: vec![shard],
            marked_at: None,
        }
    }

    #[test]
    fn a_job_that_is_open_again_is_closed_only_if_no_chunk_is_missing() {
        let mut head = head(Some(8));
        // The shard was full in the first attempt.
        head.full.insert(0);
        let close = decide(&head, None, PATIENCE, at(9));
        assert_eq!(close, Decision::Finish(Finish::Close(1)));
        head.attempt = 2;
        let read = decide(&head, None, PATIENCE, at(9));
        assert_eq!(read, Decision::ReadShards);
        let decided = |shards, minute| decide_chunks(&head, &shards, true, PATIENCE, at(minute));
        let missing = unfinished(shard(&[3], Some(10)));
        assert_eq!(decided(missing, 12), ChunksDecision::SendAll(1));
        let complete = |minute| {
            let shards = Unfinished {
                shards: Vec::new(),
                marked_at: Some(at(10).to_string()),
            };
            decided(shards, minute)
        };
        assert_eq!(complete(11), ChunksDecision::Finish(Finish::Wait));
        assert_eq!(complete(12), ChunksDecision::Finish(Finish::Close(1)));
    }

    #[test]
    fn lost_messages_are_sent_again_while_the_queue_is_empty() {
        let shards = unfinished(shard(&[3, 5], Some(10)));
        let decided =
            |head: &JobHead, minute| decide_chunks(head, &shards, true, PATIENCE, at(minute));
        let head = head(Some(8));
        assert_eq!(decided(&head, 11), ChunksDecision::Wait);
        assert_eq!(decided(&head, 12), ChunksDecision::SendAll(1));
        let head = tried(head, 6, 12, None);
        assert_eq!(decided(&head, 75), ChunksDecision::Wait);
        assert_eq!(decided(&head, 76), ChunksDecision::GiveUp);
    }

    #[test]
    fn one_message_is_sent_while_others_wait() {
        let decided = |head: &JobHead, shards: &Unfinished, minute| {
            decide_chunks(head, shards, false, PATIENCE, at(minute))
        };
        let shards = unfinished(shard(&[3, 5], Some(10)));
        let new = head(Some(8));
        assert_eq!(decided(&new, &shards, 15), ChunksDecision::Wait);
        assert_eq!(decided(&new, &shards, 16), ChunksDecision::Probe(5, 1));
        // Nothing is given up, however long the queue is.
        let waiting = tried(new.clone(), 9, 16, Some(5));
        assert_eq!(decided(&waiting, &shards, 207), ChunksDecision::Wait);
        assert_eq!(
            decided(&waiting, &shards, 208),
            ChunksDecision::Probe(5, 10)
        );
        // The probe is marked, so the other message is lost.
        let shards = unfinished(shard(&[3], Some(40)));
        assert_eq!(decided(&waiting, &shards, 41), ChunksDecision::Wait);
        assert_eq!(decided(&waiting, &shards, 42), ChunksDecision::SendAll(1));
    }
}
