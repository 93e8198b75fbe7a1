//! Which call is next, and what its reply means.

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use landfall_destinations::{Call, Destination, Due, MAX_ATTEMPTS, Outcome, Plan, Reply};
use landfall_domain::Value;
use landfall_requests::Secrets;

use crate::definitions::parse;

/// A service that gives ids, and supports no idempotency keys.
const OWN_ID: &str = "dataset = \"orders\"\nurl = \"http://shop.example\"\nid_from = \"id\"\n\
                      when = \"status != draft\"\n\
                      create = { path = \"/o\" }\nupdate = { path = \"/o/{{ remote_id }}\" }\n\
                      delete = { path = \"/o/{{ remote_id }}\" }\n";
/// A service whose keys are those of the rows.
const OWN_KEY: &str = "dataset = \"orders\"\nurl = \"http://shop.example\"\n\
                       create = { path = \"/o\" }\nupdate = { path = \"/o/{{ number }}\", not_found = \"create\" }\n\
                       delete = { path = \"/o/{{ number }}\" }\n";
const LOOKUP: &str = "lookup = { path = \"/o?number={{ number }}\", id_from = \"items.0.id\" }\n";
const IDEMPOTENT: &str = "idempotency_header = \"Idempotency-Key\"\n";

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn row(status: &str) -> Vec<Value> {
    vec![text("a/b"), text(status), Value::Null, Value::Null]
}

/// Returns a plan as one line.
fn planned(destination: &Destination, due: &Due<'_>) -> String {
    match destination.plan(due) {
        Plan::Call(call) => format!(
            "{} {}",
            call.method,
            call.url.as_str().trim_start_matches("http://shop.example")
        ),
        Plan::Nothing { exists } => format!("nothing, {exists}"),
        Plan::Unknown(_) => "unknown".to_owned(),
        Plan::Refused(reason) => reason,
    }
}

#[test]
fn the_next_call_follows_from_row_and_service() {
    let key = [text("a/b")];
    let (open, draft) = (row("open"), row("draft"));
    let own_id = parse(OWN_ID).unwrap();
    let own_key = parse(OWN_KEY).unwrap();
    let with_lookup = parse(&format!("{OWN_ID}{LOOKUP}")).unwrap();
    let idempotent = parse(&format!("{IDEMPOTENT}{OWN_ID}")).unwrap();
    let due = Due {
        key: &key,
        version: b"1",
        ..Due::default()
    };
    let (wanted, gone, left) = (
        Due {
            row: Some(&open),
            ..due
        },
        due,
        Due {
            row: Some(&draft),
            ..due
        },
    );
    let known = |due| Due {
        exists: true,
        remote_id: Some("7 ?"),
        ..due
    };
    let nameless = |due| Due {
        exists: true,
        ..due
    };
    let unsure = |due| Due {
        is_uncertain: true,
        ..due
    };
    for (destination, due, expected) in [
        (&own_id, wanted, "POST /o"),
        (&own_id, known(wanted), "PUT /o/7%20%3F"),
        (&own_id, nameless(wanted), "unknown"),
        (&own_id, unsure(wanted), "unknown"),
        (&own_id, unsure(known(wanted)), "PUT /o/7%20%3F"),
        (&own_id, gone, "nothing, false"),
        (&own_id, left, "nothing, false"),
        (&own_id, known(gone), "DELETE /o/7%20%3F"),
        (&own_id, known(left), "DELETE /o/7%20%3F"),
        (&own_id, unsure(gone), "unknown"),
        (&own_key, wanted, "POST /o"),
        (&own_key, unsure(wanted), "PUT /o/a%2Fb"),
        (&own_key, unsure(gone), "DELETE /o/a%2Fb"),
        (&with_lookup, wanted, "POST /o"),
        (&with_lookup, unsure(wanted), "GET /o?number=a%2Fb"),
        (&with_lookup, nameless(wanted), "GET /o?number=a%2Fb"),
        (&with_lookup, unsure(gone), "GET /o?number=a%2Fb"),
        (&with_lookup, known(gone), "DELETE /o/7%20%3F"),
        (&idempotent, unsure(wanted), "POST /o"),
    ] {
        assert_eq!(planned(destination, &due), expected, "{due:?}");
    }
}

#[test]
fn a_value_cannot_lead_to_another_place() {
    let destination = parse(OWN_KEY).unwrap();
    for (number, expected) in [
        ("..", "the path of update: it would lead to another place"),
        (".", "the path of update: it would lead to another place"),
        ("", "the path of update: a value in the path is empty"),
        ("../../x?y#z", "PUT /o/..%2F..%2Fx%3Fy%23z"),
        ("%2e%2e", "PUT /o/%252e%252e"),
    ] {
        let key = [text(number)];
        let row = [text(number), Value::Null, Value::Null, Value::Null];
        let due = Due {
            key: &key,
            row: Some(&row),
            exists: true,
            ..Due::default()
        };
        assert_eq!(planned(&destination, &due), expected, "{number}");
    }
}

#[test]
fn a_repeated_create_has_the_id_of_the_first_one() {
    let destination = parse(&format!("{IDEMPOTENT}{OWN_ID}")).unwrap();
    let key = [text("a")];
    let (open, paid) = (row("open"), row("paid"));
    let id = |due: &Due<'_>| match destination.plan(due) {
        Plan::Call(call) => {
            let now = Timestamp::UNIX_EPOCH;
            let request = call.reveal(&destination, &Secrets::default(), now).unwrap();
            request.headers["idempotency-key"]
                .to_str()
                .unwrap()
                .to_owned()
        }
        other => panic!("{other:?}"),
    };
    let first = Due {
        key: &key,
        row: Some(&open),
        version: b"1",
        ..Due::default()
    };
    let again = Due {
        row: Some(&paid),
        version: b"2",
        is_uncertain: true,
        ..first
    };
    assert_eq!(id(&first), id(&again));
    let later = Due {
        wanted_at: Timestamp::from_second(1).unwrap(),
        ..first
    };
    assert_ne!(id(&first), id(&later));
    let other_key = [text("b")];
    assert_ne!(
        id(&first),
        id(&Due {
            key: &other_key,
            ..first
        })
    );
    let update = |due| Due {
        exists: true,
        remote_id: Some("7"),
        ..due
    };
    assert_ne!(id(&update(first)), id(&update(again)));
    assert_ne!(id(&first), id(&update(first)));
}

/// Returns what a reply means as one line.
fn judged(destination: &Destination, due: &Due<'_>, reply: &Reply<'_>) -> String {
    let Plan::Call(call) = destination.plan(due) else {
        panic!("no call")
    };
    let now = Timestamp::UNIX_EPOCH;
    let secrets = Secrets::from_iter([("shop", "s3cret")]);
    match destination.judge(due, &call, reply, &secrets, now, 0.0) {
        Outcome::Sent { exists, id } => format!("sent, {exists}, {}", id.unwrap_or_default()),
        Outcome::Again { exists, id, .. } => format!("again, {exists}, {}", id.unwrap_or_default()),
        Outcome::Retry { at, uncertain, .. } => format!("retry, {}, {uncertain}", at.as_second()),
        Outcome::SetAside(answer) => format!("set aside, {answer}"),
        Outcome::Unknown(answer) => format!("unknown, {answer}"),
    }
}

fn answer<'a>(status: u16, headers: &'a HeaderMap, body: &'a str) -> Reply<'a> {
    Reply::Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: body.as_bytes(),
    }
}

#[test]
fn replies_are_judged_by_status_and_definition() {
    let own_id = parse(OWN_ID).unwrap();
    let own_key = parse(OWN_KEY).unwrap();
    let strict = parse(&format!(
        "{}success = [201]\n{}",
        "dataset = \"orders\"\nurl = \"http://shop.example\"\n",
        "create = { path = \"/o\", conflict = \"update\" }\n\
         update = { path = \"/o/{{ number }}\", conflict = \"retry\" }\n\
         delete = { path = \"/o/{{ number }}\", not_found = \"refused\" }\n"
    ))
    .unwrap();
    let lookup = parse(&format!("{OWN_ID}{LOOKUP}")).unwrap();
    let key = [text("a")];
    let open = row("open");
    let gone = Due {
        key: &key,
        exists: true,
        remote_id: Some("7"),
        ..Due::default()
    };
    let create = Due {
        key: &key,
        row: Some(&open),
        ..Due::default()
    };
    let update = Due {
        row: Some(&open),
        ..gone
    };
    let unsure = |due| Due {
        is_uncertain: true,
        ..due
    };
    let none = HeaderMap::new();
    let asked = HeaderMap::from_iter([(RETRY_AFTER, "30".parse().unwrap())]);
    for (destination, due, status, body, expected) in [
        (&own_id, create, 201, r#"{"id": 12}"#, "sent, true, 12"),
        (&own_id, create, 200, r#"{"id": "x-1"}"#, "sent, true, x-1"),
        (&own_id, create, 204, "", "sent, true, "),
        (
            &own_id,
            create,
            404,
            "no",
            "set aside, status 404 Not Found: no",
        ),
        (
            &own_id,
            create,
            400,
            "bad\n s3cret",
            "set aside, status 400 Bad Request: bad {secret:shop}",
        ),
        (&own_id, create, 302, "", "set aside, status 302 Found: "),
        (&own_id, create, 401, "", "retry, 0, false"),
        (&own_id, create, 429, "", "retry, 0, false"),
        (&own_id, create, 503, "", "retry, 0, false"),
        (&own_id, create, 500, "", "retry, 0, true"),
        (
            &own_id,
            update,
            404,
            "",
            "set aside, status 404 Not Found: ",
        ),
        (&own_id, unsure(update), 404, "", "again, false, "),
        (&own_key, update, 404, "", "again, false, "),
        (&own_key, update, 410, "", "again, false, "),
        (&own_key, gone, 404, "", "sent, false, "),
        (&own_key, gone, 200, "", "sent, false, "),
        (&strict, create, 200, "", "set aside, status 200 OK: "),
        (&strict, create, 201, "", "sent, true, "),
        (&strict, create, 409, "", "again, true, "),
        (&strict, update, 409, "", "retry, 0, false"),
        (&strict, gone, 404, "", "set aside, status 404 Not Found: "),
        (&strict, unsure(gone), 404, "", "sent, false, "),
        (
            &lookup,
            unsure(create),
            200,
            r#"{"items": [{"id": 5}]}"#,
            "again, true, 5",
        ),
        (
            &lookup,
            unsure(create),
            200,
            r#"{"items": []}"#,
            "again, false, ",
        ),
        (&lookup, unsure(create), 404, "", "again, false, "),
        (&lookup, unsure(create), 500, "", "retry, 0, false"),
    ] {
        let judged = judged(destination, &due, &answer(status, &none, body));
        assert_eq!(judged, expected, "{due:?} {status}");
    }
    assert_eq!(
        judged(&own_id, &create, &answer(503, &asked, "")),
        "retry, 30, false"
    );
    assert_eq!(
        judged(&own_id, &create, &Reply::NotSent("refused")),
        "retry, 0, false"
    );
    assert_eq!(
        judged(&own_id, &create, &Reply::Lost("closed")),
        "retry, 0, true"
    );
    let last = Due {
        attempts: MAX_ATTEMPTS - 1,
        ..create
    };
    assert_eq!(
        judged(&own_id, &last, &Reply::NotSent("refused")),
        "set aside, refused"
    );
    assert_eq!(
        judged(&own_id, &last, &Reply::Lost("closed")),
        "unknown, closed"
    );
}

#[test]
fn only_a_service_that_is_down_opens_the_circuit() {
    let (now, none) = (Timestamp::UNIX_EPOCH, HeaderMap::new());
    for (status, expected) in [
        (200, false),
        (400, false),
        (404, false),
        (408, true),
        (429, true),
        (500, true),
        (503, true),
    ] {
        assert_eq!(
            answer(status, &none, "").failure(now).is_some(),
            expected,
            "{status}"
        );
    }
    assert!(Reply::Lost("x").failure(now).is_some() && Reply::NotSent("x").failure(now).is_some());
}

#[test]
fn retries_go_on_for_days() {
    let destination = parse(OWN_ID).unwrap();
    let (key, open) = ([text("a")], row("open"));
    let now = Timestamp::UNIX_EPOCH;
    let mut waited = SignedDuration::ZERO;
    for attempts in 0..MAX_ATTEMPTS - 1 {
        let due = Due {
            key: &key,
            row: Some(&open),
            attempts,
            ..Due::default()
        };
        let Plan::Call(call) = destination.plan(&due) else {
            panic!()
        };
        let reply = Reply::NotSent("down");
        match destination.judge(&due, &call, &reply, &Secrets::default(), now, 0.5) {
            Outcome::Retry { at, .. } => waited += at.duration_since(now),
            other => panic!("{other:?}"),
        }
    }
    let hours = waited.as_hours();
    assert!((48..120).contains(&hours), "{hours} hours");
}

#[test]
fn calls_of_several_rows_have_one_operation_and_an_array() {
    let bulk = "dataset = \"orders\"\nurl = \"http://shop.example\"\nfields = [\"number\"]\nbatch = { size = 2 }\n\
                update = { path = \"/o\", method = \"POST\" }\ndelete = { path = \"/gone\", method = \"POST\" }\n";
    let destination = parse(bulk).unwrap();
    let keys = ["1", "2", "3", "4"].map(|key| [text(key)]);
    let rows = keys.clone().map(|[number]| vec![number, text("open")]);
    let dues = keys.iter().zip(&rows).map(|(key, row)| Due {
        key,
        row: (key[0] != text("2")).then_some(row.as_slice()),
        // A call whose reply was lost is repeated, whatever its method.
        is_uncertain: true,
        version: b"1",
        ..Due::default()
    });
    let calls = dues.map(|due| match destination.plan(&due) {
        Plan::Call(call) => ((), call),
        plan => panic!("{plan:?}"),
    });
    let batches = destination.batches(calls.collect());
    let joined = batches.iter().map(|batch| {
        let call = Call::join(batch.iter().map(|((), call)| call)).unwrap();
        let body = String::from_utf8(call.body.unwrap()).unwrap();
        format!("{} {} {body}", call.method, call.url.path())
    });
    assert_eq!(
        joined.collect::<Vec<_>>(),
        [
            r#"POST /o [{"number":"1"},{"number":"3"}]"#,
            r#"POST /gone [{"number":"2"}]"#,
            r#"POST /o [{"number":"4"}]"#,
        ]
    );
    let none = HeaderMap::new();
    let refused = [200, 204, 400, 404, 422, 401, 429, 500, 503].map(|status| {
        let status = StatusCode::from_u16(status).unwrap();
        destination.refuses(&Reply::Answer {
            status,
            headers: &none,
            body: b"",
        })
    });
    let expected = [false, false, true, true, true, false, false, false, false];
    assert_eq!(refused, expected);
    assert!(!destination.refuses(&Reply::Lost("closed")));
}

#[test]
fn updates_under_another_id_are_other_calls() {
    let destination = parse(&format!("{IDEMPOTENT}{OWN_ID}")).unwrap();
    let (key, row) = ([text("a/b")], row("open"));
    let id_of = |remote_id| {
        let due = Due {
            key: &key,
            row: Some(&row),
            version: b"1",
            exists: true,
            remote_id: Some(remote_id),
            ..Due::default()
        };
        match destination.plan(&due) {
            Plan::Call(call) => call.id,
            plan => panic!("{plan:?}"),
        }
    };
    assert_eq!(id_of("7"), id_of("7"));
    assert_ne!(id_of("7"), id_of("8"));
}
