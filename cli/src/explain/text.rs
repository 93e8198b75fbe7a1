//! Where a row is from, as text for people.

use std::fmt::{self, Write as _};

use landfall_domain::{
    KeyState, MAX_ORIGINS, Origin, OriginKind, OriginWrite, Outcome, RowOrigin, Source,
};

/// An answer as text for people.
pub(crate) struct Explained<'a>(pub(crate) &'a RowOrigin);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = self.0;
        let store = answer.store;
        match answer.state {
            KeyState::Present => writeln!(f, "{store} has a row of this key")?,
            KeyState::Deleted => {
                let at = answer.deleted_at.as_deref().unwrap_or("an unknown time");
                writeln!(
                    f,
                    "{store} has no row of this key: a record deleted it (applied {at})"
                )?;
            }
            KeyState::Absent => {
                writeln!(
                    f,
                    "{store} has no row of this key, and no record of a delete"
                )?;
            }
        }
        for origin in &answer.origins {
            write_origin(f, origin)?;
        }
        if answer.more > 0 {
            let more = answer.more;
            writeln!(
                f,
                "\nand from {more} older records: only {MAX_ORIGINS} are looked up"
            )?;
        }
        if answer.state != KeyState::Absent {
            return Ok(());
        }
        match &answer.pruned_by {
            None => writeln!(
                f,
                "No snapshot has deleted rows of the dataset. There never was such a row, or it was deleted more than \
                 30 days ago."
            ),
            Some(snapshot) => {
                writeln!(
                    f,
                    "If there ever was one, this snapshot or an earlier one has deleted it, or it was deleted more \
                     than 30 days ago. Which rows a snapshot has deleted is not kept."
                )?;
                write_origin(f, snapshot)
            }
        }
    }
}

fn write_origin(f: &mut fmt::Formatter<'_>, origin: &Origin) -> fmt::Result {
    writeln!(f)?;
    if !origin.columns.is_empty() {
        writeln!(f, "columns     {}", origin.columns.join(", "))?;
    }
    if let Some(write) = &origin.write {
        return write_write(f, write, &origin.version);
    }
    if let Some(source) = &origin.source {
        write_source(f, source, origin.offset)?;
    } else {
        let (time, offset) = (&origin.event_time, origin.offset);
        writeln!(f, "object      of {time}, the record at byte {offset}")?;
        writeln!(
            f,
            "job         not in the ledger, which keeps jobs for 90 days"
        )?;
    }
    if let Some(original) = &origin.original {
        writeln!(f, "the version is that of the first record:")?;
        write_source(f, original, origin.offset)?;
    }
    if origin.is_cut_short {
        writeln!(
            f,
            "note        too many jobs followed the object to look at all of them: another one may have fixed the \
             record"
        )?;
    }
    writeln!(f, "version     {}", origin.version)
}

fn write_write(f: &mut fmt::Formatter<'_>, write: &OriginWrite, version: &str) -> fmt::Result {
    writeln!(f, "write       {}", write.write)?;
    match (write.operation, &write.by, &write.at) {
        (Some(operation), Some(by), Some(at)) => {
            let operation = operation.as_str().to_uppercase();
            writeln!(
                f,
                "written     by the API, {operation} with the token {by} at {at}"
            )?;
        }
        _ => writeln!(
            f,
            "written     by the API; the ledger keeps writes for 7 days"
        )?,
    }
    if let Some(definition) = &write.definition {
        writeln!(f, "definition  version {definition}")?;
    }
    writeln!(f, "version     {version}")
}

fn write_source(f: &mut fmt::Formatter<'_>, source: &Source, offset: u64) -> fmt::Result {
    let object = &source.object;
    let version = object.version.as_deref();
    let version = version.map(|version| format!(" (version {version})"));
    let key = &object.key;
    writeln!(f, "object      {key}{}", version.unwrap_or_default())?;
    let mut place = match (source.line, source.kind) {
        (Some(line), OriginKind::FixedRejects) => format!("line {line}"),
        (Some(line), _) => format!("line {line}, byte {offset}"),
        (None, _) => format!("byte {offset}"),
    };
    if let Some(chunk) = source.chunk {
        let _ = write!(place, ", chunk {chunk}");
    }
    if source.record.is_some() || source.missing.is_some() {
        writeln!(f, "place       {place}")?;
    }
    if let Some(record) = &source.record {
        let (text, bytes) = (&record.text, record.bytes);
        let cut = if text.len() as u64 == bytes || text.contains('\u{fffd}') {
            String::new()
        } else {
            format!(" (the beginning of {bytes} bytes)")
        };
        // A record may have several lines.
        writeln!(
            f,
            "record      {}{cut}",
            text.replace('\n', "\n            ")
        )?;
        match (record.outcome, &record.reason) {
            (Outcome::Row, _) => {}
            (Outcome::Delete, _) => writeln!(f, "            which deletes its key")?,
            (Outcome::Reject, reason) => {
                let reason = reason.as_deref().unwrap_or_default();
                writeln!(f, "            which is rejected: {reason}")?;
            }
        }
    }
    if let Some(missing) = source.missing {
        writeln!(f, "record      {}", missing.as_text())?;
    }
    let kind = match source.kind {
        OriginKind::File => "",
        OriginKind::DeadChunks => ", dead chunks with a newer definition",
        OriginKind::FixedRejects => ", fixed rejects",
    };
    let (job, state, at) = (source.job, source.state.as_str(), &source.created_at);
    writeln!(f, "job         {job}, {state}, of {at}{kind}")?;
    let definition = source.definition.as_deref();
    writeln!(
        f,
        "definition  version {}",
        definition.unwrap_or("unknown: the configuration bucket had none")
    )?;
    match &source.release {
        Some(release) => writeln!(f, "release     {release}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use landfall_domain::{
        JobId, JobState, KeyDigest, MissingRecord, OriginObject, OriginRecord, StoreKind,
        WriteOperation,
    };

    use super::*;

    fn source() -> Source {
        Source {
            job: JobId::for_object("inbox", "products/1.csv", "v1"),
            kind: OriginKind::File,
            state: JobState::Succeeded,
            created_at: "2026-11-20T08:30:01Z".to_owned(),
            object: OriginObject {
                key: "products/1.csv".to_owned(),
                version: Some("v1".to_owned()),
                size: 99,
            },
            definition: Some("d7".to_owned()),
            release: Some("0.1.0".to_owned()),
            chunk: Some(0),
            line: Some(3),
            record: Some(OriginRecord {
                text: "A-1,Lamp".to_owned(),
                bytes: 8,
                outcome: Outcome::Row,
                reason: None,
            }),
            missing: None,
        }
    }

    fn origin(source: Option<Source>) -> Origin {
        Origin {
            version: "0199".to_owned(),
            columns: Vec::new(),
            event_time: "2026-11-20T08:30:00Z".to_owned(),
            offset: 21,
            write: None,
            source,
            original: None,
            is_cut_short: false,
        }
    }

    fn answer(state: KeyState, origins: Vec<Origin>) -> RowOrigin {
        RowOrigin {
            dataset: "products".to_owned(),
            store: StoreKind::Sqlite,
            state,
            origins,
            more: 0,
            deleted_at: None,
            pruned_by: None,
        }
    }

    fn text(answer: &RowOrigin) -> String {
        Explained(answer).to_string()
    }

    #[test]
    fn the_text_says_object_place_record_job_definition_and_release() {
        let found = text(&answer(KeyState::Present, vec![origin(Some(source()))]));
        let job = source().job;
        let expected = format!(
            "sqlite has a row of this key\n\n\
             object      products/1.csv (version v1)\n\
             place       line 3, byte 21, chunk 0\n\
             record      A-1,Lamp\n\
             job         {job}, succeeded, of 2026-11-20T08:30:01Z\n\
             definition  version d7\n\
             release     0.1.0\n\
             version     0199\n"
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn the_text_says_what_is_not_kept() {
        let none = text(&answer(KeyState::Present, vec![origin(None)]));
        assert!(
            none.contains("of 2026-11-20T08:30:00Z, the record at byte 21"),
            "{none}"
        );
        assert!(none.contains("keeps jobs for 90 days"), "{none}");
        let gone = Source {
            record: None,
            missing: Some(MissingRecord::ObjectGone),
            ..source()
        };
        let gone = text(&answer(KeyState::Present, vec![origin(Some(gone))]));
        assert!(
            gone.contains("no longer exists, or the object has changed"),
            "{gone}"
        );
        let absent = answer(KeyState::Absent, Vec::new());
        assert!(text(&absent).contains("No snapshot has deleted rows"));
        let pruned = RowOrigin {
            pruned_by: Some(origin(Some(source()))),
            ..absent
        };
        let pruned = text(&pruned);
        assert!(
            pruned.contains("this snapshot or an earlier one"),
            "{pruned}"
        );
        assert!(pruned.contains("object      products/1.csv"), "{pruned}");
    }

    #[test]
    fn a_fixed_reject_is_shown_with_the_record_that_it_replaces() {
        let fixed = Source {
            kind: OriginKind::FixedRejects,
            ..source()
        };
        let mut original = source();
        if let Some(record) = &mut original.record {
            record.outcome = Outcome::Reject;
            record.reason = Some("not a decimal".to_owned());
        }
        let origin = Origin {
            original: Some(original),
            ..origin(Some(fixed))
        };
        let found = text(&answer(KeyState::Present, vec![origin]));
        assert!(found.contains(", fixed rejects\n"), "{found}");
        assert!(
            found.contains("which is rejected: not a decimal"),
            "{found}"
        );
    }

    #[test]
    fn a_row_of_the_api_is_shown_with_its_write() {
        let write = KeyDigest::new("products", &[]).write_at(1_764_520_000_000, 0);
        let known = OriginWrite {
            write: write.unwrap(),
            operation: Some(WriteOperation::Put),
            by: Some("shop".to_owned()),
            at: Some("2026-11-20T08:30:00Z".to_owned()),
            definition: None,
        };
        let expired = OriginWrite {
            operation: None,
            by: None,
            at: None,
            ..known.clone()
        };
        for (write, expected) in [
            (
                known,
                "by the API, PUT with the token shop at 2026-11-20T08:30:00Z",
            ),
            (expired, "by the API; the ledger keeps writes for 7 days"),
        ] {
            let origin = Origin {
                write: Some(write),
                ..origin(None)
            };
            let found = text(&answer(KeyState::Present, vec![origin]));
            assert!(found.contains(expected), "{found}");
            assert!(!found.contains("job  "), "{found}");
        }
    }
}
