//! What the versions of a key and the jobs of a version say: decisions without I/O.

use landfall_domain::{KeyState, OriginKind, Outcome, Source};
use landfall_stores::KeyVersions;

/// What is to be explained about a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) state: KeyState,
    /// The versions, the newest first, with the columns that have them if the row is merged by column.
    pub(super) versions: Vec<(Vec<u8>, Vec<String>)>,
    pub(super) deleted_at: Option<String>,
    /// The least version of the snapshot that may have deleted the row.
    pub(super) floor: Option<Vec<u8>>,
}

impl Subject {
    /// Decides what is to be explained. While a worker writes, a key may have both a row and a tombstone: the greater
    /// version counts.
    pub(super) fn of(found: KeyVersions) -> Self {
        let KeyVersions {
            row,
            tombstone,
            floor,
        } = found;
        let newest = tombstone.as_ref().map(|tombstone| &tombstone.version);
        if let Some(row) = row.filter(|row| newest.is_none_or(|newest| row.version > *newest)) {
            let mut versions = row.columns;
            // The newest record may have had nothing but the key.
            if versions
                .first()
                .is_none_or(|(first, _)| *first != row.version)
            {
                versions.insert(0, (row.version, Vec::new()));
            }
            return Self {
                state: KeyState::Present,
                versions,
                deleted_at: None,
                floor: None,
            };
        }
        match tombstone {
            Some(tombstone) => Self {
                state: KeyState::Deleted,
                versions: vec![(tombstone.version, Vec::new())],
                deleted_at: Some(tombstone.deleted_at),
                floor: None,
            },
            None => Self {
                state: KeyState::Absent,
                versions: Vec::new(),
                deleted_at: None,
                floor,
            },
        }
    }
}

/// A job that may have given a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) source: Source,
    /// Whether the chunk that has the record is dead.
    pub(super) is_dead: bool,
    /// Whether no other job can have processed a record of its object: none is rejected, and no chunk is dead.
    pub(super) is_only: bool,
}

impl Candidate {
    /// Returns whether the job has given the row, whatever other jobs have: rows of the same place count as unchanged
    /// after the first.
    pub(super) fn is_certain(&self) -> bool {
        self.is_only || (self.gives_row() && !self.is_dead)
    }

    fn gives_row(&self) -> bool {
        let record = self.source.record.as_ref();
        record.is_some_and(|record| record.outcome != Outcome::Reject)
    }
}

/// Returns the job that gave the row, and that of the object which its version names if that is another one.
/// `candidates` are in the order in which they were created.
///
/// Without a certain one, the next best is a job with a dead chunk, as a worker may have written its rows before it
/// failed, then one whose record cannot be read.
pub(super) fn choose(mut candidates: Vec<Candidate>) -> (Option<Source>, Option<Source>) {
    let is_unread = |candidate: &Candidate| candidate.source.missing.is_some();
    let place = |is: &dyn Fn(&Candidate) -> bool| candidates.iter().position(is);
    let chosen = place(&Candidate::is_certain)
        .or_else(|| place(&Candidate::gives_row))
        .or_else(|| place(&is_unread))
        .or(if candidates.is_empty() { None } else { Some(0) });
    let Some(chosen) = chosen else {
        return (None, None);
    };
    let source = candidates.remove(chosen).source;
    let mut others = candidates.into_iter().map(|candidate| candidate.source);
    let original = others.find(|other| other.kind == OriginKind::File);
    (
        Some(source.clone()),
        original.filter(|_| source.kind != OriginKind::File),
    )
}

#[cfg(test)]
mod tests {
    use landfall_domain::{JobId, JobState, MissingRecord, OriginObject, OriginRecord};
    use landfall_stores::{StoredVersions, Tombstone};

    use super::*;

    fn row(version: u8) -> StoredVersions {
        StoredVersions {
            version: vec![version],
            columns: Vec::new(),
        }
    }

    fn subject(row: Option<StoredVersions>, tombstone: Option<u8>) -> Subject {
        let tombstone = tombstone.map(|version| Tombstone {
            version: vec![version],
            deleted_at: "2026-11-20T08:30:00Z".to_owned(),
        });
        Subject::of(KeyVersions {
            row,
            tombstone,
            floor: Some(vec![5]),
        })
    }

    #[test]
    fn the_greater_version_of_row_and_tombstone_counts() {
        for (version, tombstone, state, expected) in [
            (Some(2), None, KeyState::Present, Some(2)),
            (Some(2), Some(1), KeyState::Present, Some(2)),
            (Some(2), Some(3), KeyState::Deleted, Some(3)),
            (None, Some(3), KeyState::Deleted, Some(3)),
            (None, None, KeyState::Absent, None),
        ] {
            let subject = subject(version.map(row), tombstone);
            assert_eq!(subject.state, state);
            let versions = subject.versions.into_iter().map(|(version, _)| version[0]);
            assert_eq!(versions.collect::<Vec<_>>(), Vec::from_iter(expected));
            assert_eq!(subject.deleted_at.is_some(), state == KeyState::Deleted);
            // A snapshot matters only to a key without a trace.
            assert_eq!(subject.floor.is_some(), state == KeyState::Absent);
        }
    }

    #[test]
    fn a_merged_row_has_a_version_for_each_group_of_columns() {
        let group = |version: u8, name: &str| (vec![version], vec![name.to_owned()]);
        let merged = |columns: Vec<_>| {
            let row = StoredVersions {
                version: vec![3],
                columns,
            };
            subject(Some(row), None).versions
        };
        let both = vec![group(3, "name"), group(1, "price")];
        assert_eq!(merged(both.clone()), both);
        // The newest record had only the key.
        let older = vec![group(2, "name"), group(1, "price")];
        let expected = [(vec![3], Vec::new()), older[0].clone(), older[1].clone()];
        assert_eq!(merged(older), expected);
    }

    fn candidate(kind: OriginKind, outcome: Option<Outcome>) -> Candidate {
        Candidate {
            source: Source {
                job: JobId::for_object("inbox", &format!("{kind:?}"), "1"),
                kind,
                state: JobState::Succeeded,
                created_at: String::new(),
                object: OriginObject {
                    key: "products/1.csv".to_owned(),
                    version: None,
                    size: 9,
                },
                definition: None,
                release: None,
                chunk: None,
                line: None,
                record: outcome.map(|outcome| OriginRecord {
                    text: String::new(),
                    bytes: 0,
                    outcome,
                    reason: None,
                }),
                missing: outcome.is_none().then_some(MissingRecord::ObjectGone),
            },
            is_dead: false,
            is_only: false,
        }
    }

    fn kinds(candidates: Vec<Candidate>) -> (Option<OriginKind>, Option<OriginKind>) {
        let (source, original) = choose(candidates);
        (
            source.map(|source| source.kind),
            original.map(|original| original.kind),
        )
    }

    #[test]
    fn the_first_job_that_made_a_row_of_the_record_gave_it() {
        use OriginKind::{DeadChunks, File, FixedRejects};
        let (row, delete, reject) = (
            Some(Outcome::Row),
            Some(Outcome::Delete),
            Some(Outcome::Reject),
        );
        let dead = |kind, outcome| Candidate {
            is_dead: true,
            ..candidate(kind, outcome)
        };
        assert_eq!(kinds(Vec::new()), (None, None));
        for (candidates, source, original) in [
            (vec![candidate(File, row)], File, None),
            (vec![candidate(File, delete)], File, None),
            (
                vec![candidate(File, row), candidate(FixedRejects, row)],
                File,
                None,
            ),
            (
                vec![candidate(File, reject), candidate(FixedRejects, row)],
                FixedRejects,
                Some(File),
            ),
            // The fix of a fix.
            (
                vec![candidate(File, reject), candidate(FixedRejects, reject)],
                File,
                None,
            ),
            (
                vec![dead(File, row), candidate(DeadChunks, row)],
                DeadChunks,
                Some(File),
            ),
            // Nothing else has the record, so the worker wrote it before the chunk was dead.
            (
                vec![dead(File, row), candidate(FixedRejects, None)],
                File,
                None,
            ),
            (
                vec![candidate(File, None), candidate(FixedRejects, row)],
                FixedRejects,
                Some(File),
            ),
            (vec![candidate(File, None)], File, None),
            (
                vec![candidate(File, reject), candidate(FixedRejects, None)],
                FixedRejects,
                Some(File),
            ),
        ] {
            assert_eq!(
                kinds(candidates.clone()),
                (Some(source), original),
                "{candidates:?}"
            );
        }
    }

    #[test]
    fn a_file_without_rejects_gave_the_row_even_if_it_is_gone() {
        let gone = candidate(OriginKind::File, None);
        assert!(!gone.is_certain());
        let only = Candidate {
            is_only: true,
            ..gone
        };
        assert!(only.is_certain());
        assert!(!candidate(OriginKind::File, Some(Outcome::Reject)).is_certain());
    }
}
