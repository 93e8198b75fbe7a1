use super::*;

#[test]
fn an_answer_that_has_not_changed_costs_no_records() {
    let source = source("");
    let mut first = start(&source, &State::default());
    walk_with(&source, &mut first, |_, request| {
        assert!(request.headers.is_empty());
        let headers = vec![
            ("etag", "\"v1\"".to_owned()),
            ("last-modified", "Fri, 20 Nov 2026 08:30:00 GMT".to_owned()),
        ];
        Reply {
            status: 200,
            headers,
            body: json!({"rows": rows(0..3)}),
        }
    })
    .unwrap();
    let state = first.proposal(&source);
    let mut second = start(&source, &state);
    let records = walk_with(&source, &mut second, |_, request| {
        let sent: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        assert_eq!(
            sent,
            [
                "if-none-match: \"v1\"",
                "if-modified-since: Fri, 20 Nov 2026 08:30:00 GMT"
            ]
        );
        Reply {
            status: 304,
            headers: Vec::new(),
            body: Value::Null,
        }
    });
    assert_eq!(records.unwrap().len(), 0);
    assert!(second.progress().not_modified);
    assert_eq!(second.proposal(&source), state);
    // Another request may have another answer.
    let other = super::source("query = { a = 1 }\n");
    let request = start(&other, &state).request(&other).unwrap();
    assert!(request.headers.is_empty());
}

const CHANGES: &str =
    "[incremental]\nfield = \"at\"\ntype = \"timestamp\"\nparameter = \"since\"\n";

fn timed(times: &[&str]) -> Value {
    let rows: Vec<Value> = times
        .iter()
        .enumerate()
        .map(|(id, at)| json!({"id": id, "at": at}))
        .collect();
    json!({ "rows": rows })
}

#[test]
fn the_next_run_starts_an_overlap_before_the_greatest_value() {
    let source = source(CHANGES);
    let mut first = start(&source, &State::default());
    walk_with(&source, &mut first, |request, _| {
        assert_eq!(request.get("since"), None);
        timed(&[
            "2026-11-20T10:00:00Z",
            "2026-11-20T11:00:00Z",
            "2026-11-20T10:30:00Z",
        ])
    })
    .unwrap();
    let state = first.proposal(&source);
    let sent = parameters(&start(&source, &state).request(&source).unwrap());
    assert_eq!(sent["since"], "2026-11-20T10:50:00Z");
    // A run without newer rows keeps the place.
    let mut second = start(&source, &state);
    walk_with(&source, &mut second, |_, _| {
        timed(&["2026-11-20T10:55:00Z"])
    })
    .unwrap();
    assert_eq!(second.proposal(&source), state);
    let full = Walk::start(&source, &state, true, at("2026-11-20T12:00:00Z"));
    assert_eq!(
        parameters(&full.request(&source).unwrap()).get("since"),
        None
    );
}

#[test]
fn a_time_in_the_future_does_not_hide_the_rows_until_then() {
    let source = source(CHANGES);
    for (date, expected) in [
        (
            Some("Fri, 20 Nov 2026 11:58:00 GMT"),
            "2026-11-20T11:58:00Z",
        ),
        (None, "2026-11-20T12:00:00Z"),
    ] {
        let mut walk = start(&source, &State::default());
        walk_with(&source, &mut walk, |_, _| Reply {
            status: 200,
            headers: date
                .map(|date| ("date", date.to_owned()))
                .into_iter()
                .collect(),
            body: timed(&["2026-11-20T10:00:00Z", "2126-11-20T10:00:00Z"]),
        })
        .unwrap();
        assert_eq!(
            walk.proposal(&source).watermark,
            Some(Mark::Timestamp(at(expected))),
            "{date:?}"
        );
    }
}

#[test]
fn a_record_without_the_field_is_an_error_and_null_is_none() {
    let source = source(CHANGES);
    let missing = walk(&source, |_, _| json!({"rows": [{"at": null}, {"id": 1}]}));
    assert!(matches!(missing, Err(WalkError::Field { record: 2, .. })));
    let wrong = walk(&source, |_, _| json!({"rows": [{"at": "yesterday"}]}));
    assert!(matches!(wrong, Err(WalkError::Field { record: 1, .. })));
    let null = walk(&source, |_, _| json!({"rows": [{"at": null}]}));
    assert_eq!(null.unwrap().len(), 1);
}

#[test]
fn ranges_follow_each_other_without_gaps_and_end_at_the_clock_of_the_server() {
    let rest = "start = \"2026-11-20T09:30:00Z\"\nuntil_parameter = \"until\"\nstep = \"1 hour\"\n\
                time_format = \"unix\"\n";
    let source = source(&format!("{CHANGES}{rest}"));
    let mut ranges = Vec::new();
    let mut walk = start(&source, &State::default());
    walk_with(&source, &mut walk, |request, _| {
        ranges.push((
            number(request, "since").unwrap(),
            number(request, "until").unwrap(),
        ));
        // The clock of the server is five minutes behind.
        Reply {
            status: 200,
            headers: vec![("date", "Fri, 20 Nov 2026 11:55:00 GMT".into())],
            body: json!({"rows": []}),
        }
    })
    .unwrap();
    let hour = |text: &str| u64::try_from(at(text).as_second()).unwrap();
    assert_eq!(ranges.len(), 3);
    assert_eq!(ranges[0].0, hour("2026-11-20T09:30:00Z"));
    assert_eq!(ranges[2].1, hour("2026-11-20T12:00:00Z"));
    assert!(
        ranges.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "{ranges:?}"
    );
    let state = walk.proposal(&source);
    assert_eq!(
        state.watermark,
        Some(Mark::Timestamp(at("2026-11-20T11:55:00Z")))
    );
    let next = parameters(&start(&source, &state).request(&source).unwrap());
    assert_eq!(number(&next, "since"), Some(hour("2026-11-20T11:45:00Z")));
}

#[test]
fn a_cursor_of_the_envelope_is_continued() {
    let rest = "paging = { kind = \"page\", parameter = \"page\" }\n\
         incremental = { cursor = \"sync\", parameter = \"token\" }\n";
    let source = source(rest);
    let mut walk = start(&source, &State::default());
    walk_with(&source, &mut walk, |request, _| {
        assert_eq!(request.get("token"), None);
        let page = number(request, "page").unwrap();
        json!({"rows": if page < 3 { rows(page..=page) } else { json!([]) }, "sync": format!("s{page}")})
    })
    .unwrap();
    let state = walk.proposal(&source);
    assert_eq!(state.cursor.as_deref(), Some("s3"));
    let sent = parameters(&start(&source, &state).request(&source).unwrap());
    assert_eq!(sent["token"], "s3");
}

#[test]
fn rows_that_are_committed_late_are_found_in_the_overlap_and_older_ones_by_a_full_refresh() {
    let source = source(CHANGES);
    let mut served = vec![(0, "2026-11-20T10:00:00Z"), (1, "2026-11-20T11:00:00Z")];
    // Walks, and returns the ids and the state.
    let fetch = |served: &[(u64, &str)], state: &State, is_full: bool| {
        let mut walk = Walk::start(&source, state, is_full, at("2026-11-20T12:00:00Z"));
        let found = walk_with(&source, &mut walk, |request, _| {
            let since = request.get("since").map(|since| at(since));
            let rows = served
                .iter()
                .filter(|(_, time)| since.is_none_or(|since| at(time) >= since));
            let rows: Vec<Value> = rows
                .map(|(id, time)| json!({"id": id, "at": time}))
                .collect();
            json!({ "rows": rows })
        });
        let ids: Vec<u64> = found
            .unwrap()
            .iter()
            .map(|row| row["id"].as_u64().unwrap())
            .collect();
        (ids, walk.proposal(&source))
    };
    let (ids, state) = fetch(&served, &State::default(), false);
    assert_eq!(ids, [0, 1]);
    // Both are committed after that run, 8 and 20 minutes late. The overlap is 10 minutes.
    served.extend([(2, "2026-11-20T10:52:00Z"), (3, "2026-11-20T10:40:00Z")]);
    let (ids, state) = fetch(&served, &state, false);
    assert_eq!(ids, [1, 2]);
    let (ids, state) = fetch(&served, &state, true);
    assert_eq!(ids, [0, 1, 2, 3]);
    assert_eq!(fetch(&served, &state, false).0, [1, 2]);
}
