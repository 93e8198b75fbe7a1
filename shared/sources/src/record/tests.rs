use super::*;

fn source(settings: &str) -> Source {
    let text = format!(
        "dataset = \"orders\"\nurl = \"https://a.example\"\nevery = \"10 minutes\"\n{settings}"
    );
    Source::from_toml("shop", "shop.toml", &text).unwrap()
}

fn at(text: &str) -> Timestamp {
    format!("2026-11-20T{text}Z").parse().unwrap()
}

fn state(fingerprint: &str) -> State {
    State {
        fingerprint: fingerprint.into(),
        ..State::default()
    }
}

/// A record whose first run has ended.
fn after_one(source: &Source) -> Record {
    let mut record = Record::default();
    let Step::Start { next, is_full } = record.step(source, at("08:01:00"), None) else {
        panic!()
    };
    record.start(source, at("08:01:00"), next, is_full);
    record.succeed(state("1"));
    record
}

#[test]
fn a_source_is_due_at_once_and_then_at_its_times() {
    let source = source("");
    let record = after_one(&source);
    assert_eq!(record.step(&source, at("08:09:59"), None), Step::Wait);
    let start = Step::Start {
        next: at("08:20:00"),
        is_full: false,
    };
    assert_eq!(record.step(&source, at("08:10:00"), None), start);
    let requested = record.step(&source, at("08:02:00"), Some(at("08:01:30")));
    assert_eq!(
        requested,
        Step::Start {
            next: at("08:10:00"),
            is_full: false
        }
    );
    assert_eq!(
        record.step(&source, at("08:02:00"), Some(at("08:00:30"))),
        Step::Wait
    );
}

#[test]
fn a_schedule_that_has_changed_counts_from_the_last_run() {
    let source = source("");
    let mut record = after_one(&source);
    let other = |every: &str| {
        let text =
            format!("dataset = \"orders\"\nurl = \"https://a.example\"\nevery = \"{every}\"\n");
        Source::from_toml("shop", "shop.toml", &text).unwrap()
    };
    // It has run at 8:01.
    let (faster, slower) = (other("2 minutes"), other("1 hour"));
    assert_eq!(record.step(&faster, at("08:01:59"), None), Step::Wait);
    let next = at("08:04:00");
    let is_full = false;
    let start = Step::Start { next, is_full };
    assert_eq!(record.step(&faster, at("08:02:00"), None), start);
    assert_eq!(record.step(&slower, at("08:59:59"), None), Step::Wait);
    assert_eq!(record.next_run(&slower, None), Some(at("09:00:00")));
    record.plan(&slower, at("10:00:00"));
    assert_eq!(record.step(&slower, at("09:00:00"), None), Step::Wait);
}

#[test]
fn missed_runs_are_left_out_unless_one_is_requested() {
    let source = source("missed = \"none\"\n");
    let record = after_one(&source);
    assert_eq!(
        record.step(&source, at("09:05:00"), None),
        Step::Skip(at("09:10:00"))
    );
    let requested = record.step(&source, at("09:05:00"), Some(at("09:00:00")));
    assert_eq!(
        requested,
        Step::Start {
            next: at("09:10:00"),
            is_full: false
        }
    );
}

#[test]
fn nobody_works_on_a_leased_source_until_the_lease_ends() {
    let source = source("");
    let mut record = after_one(&source);
    record.start(&source, at("08:10:00"), at("08:20:00"), false);
    record.lease(at("08:12:00"));
    assert_eq!(
        record.step(&source, at("08:11:59"), Some(at("08:11:00"))),
        Step::Wait
    );
    assert_eq!(record.step(&source, at("08:12:00"), None), Step::Walk);
}

#[test]
fn walks_are_repeated_with_pauses_until_the_run_fails() {
    let source = source("");
    let mut record = after_one(&source);
    record.start(&source, at("08:10:00"), at("08:20:00"), false);
    let mut keys = Vec::new();
    for pause in [30, 60, 120, 240] {
        let now = at("08:10:00");
        keys.push(record.run.as_ref().unwrap().object_key(&source));
        assert!(!record.fail_walk(&source, now, false));
        let retry_at = now + SignedDuration::from_secs(pause);
        assert_eq!(
            record.step(&source, retry_at - SignedDuration::from_secs(1), None),
            Step::Wait
        );
        assert_eq!(record.step(&source, retry_at, None), Step::Walk);
    }
    assert_eq!(keys[0], "orders/sources/shop/20261120T081000Z-2-1.ndjson");
    keys.dedup();
    assert_eq!(keys.len(), 4);
    assert!(record.fail_walk(&source, at("08:10:00"), false));
    assert_eq!(record.current, state("1"));
    assert_eq!(record.step(&source, at("08:19:00"), None), Step::Wait);
    record.start(&source, at("08:20:00"), at("08:30:00"), false);
    assert!(record.fail_walk(&source, at("08:20:00"), true));
}

#[test]
fn the_state_becomes_current_only_if_the_job_succeeds() {
    let source = source("");
    let job = JobId::for_object("inbox", "key", "1");
    for (closed, expected) in [
        (JobState::Succeeded, Some((Outcome::Succeeded, state("2")))),
        (JobState::Partial, Some((Outcome::JobFailed, state("1")))),
        (JobState::Failed, Some((Outcome::JobFailed, state("1")))),
        (JobState::Cancelled, Some((Outcome::JobFailed, state("1")))),
        (JobState::Open, None),
    ] {
        let mut record = after_one(&source);
        record.start(&source, at("08:10:00"), at("08:20:00"), false);
        record.run.as_mut().unwrap().phase = Phase::Ingesting {
            job,
            proposal: state("2"),
        };
        assert_eq!(
            record.step(&source, at("08:30:00"), None),
            Step::Settle(job)
        );
        let settled = record.settle(closed);
        assert_eq!(
            settled.map(|outcome| (outcome, record.current.clone())),
            expected
        );
        // Nothing more happens if it is settled again.
        assert_eq!(record.run.is_some(), settled.is_none());
        if settled.is_some() {
            assert_eq!(record.settle(closed), None);
        }
    }
}

#[test]
fn everything_is_read_again_when_that_is_due() {
    let settings = "[incremental]\nfield = \"at\"\ntype = \"timestamp\"\nparameter = \"since\"\n\
         full_refresh = \"0 9 * * *\"\n";
    let source = source(settings);
    let record = after_one(&source);
    assert_eq!(record.last_full, Some(at("08:01:00")));
    let is_full = |time| {
        matches!(
            record.step(&source, at(time), None),
            Step::Start { is_full: true, .. }
        )
    };
    assert!(!is_full("08:50:00"));
    assert!(is_full("09:00:00"));
}

#[test]
fn records_are_stored_as_json() {
    let source = source("");
    let mut record = after_one(&source);
    record.start(&source, at("08:10:00"), at("08:20:00"), false);
    let checkpoint = Checkpoint {
        walk: Walk::start(&source, &record.current, false, at("08:10:00")),
        upload: Some(Upload {
            id: "u".into(),
            parts: vec!["e".into()],
        }),
        aside: None,
    };
    record.run.as_mut().unwrap().phase = Phase::Walking(Some(Box::new(checkpoint)));
    let json = serde_json::to_string(&record).unwrap();
    let read: Record = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    assert_eq!(read.step(&source, at("08:11:00"), None), Step::Walk);
    assert_eq!(
        serde_json::from_str::<Record>("{}")
            .unwrap()
            .step(&source, at("08:11:00"), None),
        Record::default().step(&source, at("08:11:00"), None)
    );
}
