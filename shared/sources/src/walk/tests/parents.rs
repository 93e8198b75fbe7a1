//! Requests for each row of another dataset.

use super::*;
use crate::children::{Parent, ParentError};

fn children(rest: &str) -> Source {
    let base = "dataset = \"items\"\nurl = \"https://shop.example/orders/{id}/items?x=1\"\nevery = \"1 hour\"\n\
        records = \"rows\"\n";
    let end =
        "[children]\nof = \"orders\"\nmax = 5\nfields = { order_id = \"id\", shop = \"shop\" }\n";
    Source::from_toml("items", "items.toml", &format!("{base}{rest}{end}")).unwrap()
}

fn parent(id: i64) -> Parent {
    let values = json!({"id": id, "shop": format!("s{id}")});
    Parent {
        key: vec![id.to_string()],
        values: serde_json::from_value(values).unwrap(),
    }
}

/// Walks over parents, of which there are so many on a page, through a stored walk after each answer. Returns the
/// records, and the requests.
fn walk_over(
    source: &Source,
    ids: std::ops::Range<i64>,
    most: usize,
    mut server: impl FnMut(&str, &BTreeMap<String, String>) -> Value,
) -> Result<(Vec<Value>, Vec<String>), WalkError> {
    let mut walk = start(source, &State::default());
    let (mut lines, mut requests) = (Vec::new(), Vec::new());
    loop {
        if walk.needs_parents() {
            let after: Option<i64> = walk.last_parent().map(|key| key[0].parse().unwrap());
            let rest: Vec<_> = ids
                .clone()
                .filter(|id| after.is_none_or(|after| *id > after))
                .collect();
            let page = rest.iter().take(most).map(|id| parent(*id)).collect();
            walk.add_parents(source, page, rest.len() <= most)?;
            continue;
        }
        let Some(request) = walk.request(source) else {
            break;
        };
        requests.push(request.shown_url());
        let body = server(request.url.path(), &parameters(&request)).to_string();
        let answer = Answer {
            status: StatusCode::OK,
            headers: &HeaderMap::new(),
            body: body.as_bytes(),
        };
        walk.accept(source, &answer, &mut lines)?;
        walk = serde_json::from_str(&serde_json::to_string(&walk).unwrap()).unwrap();
    }
    assert!(walk.is_done());
    let lines = std::str::from_utf8(&lines).unwrap().lines();
    Ok((lines.map(|line| line.parse().unwrap()).collect(), requests))
}

#[test]
fn each_parent_has_its_requests_and_its_records_have_its_fields() {
    let source = children("");
    let server = |path: &str, _: &BTreeMap<String, String>| match path {
        "/orders/2/items" => json!({"rows": []}),
        _ => json!({"rows": [{}, {"n": 1}, {"n": 2, "shop": null, "order_id": {"a": 1}}]}),
    };
    for most in 1..5 {
        let (records, requests) = walk_over(&source, 1..4, most, server).unwrap();
        let expected = [1, 2, 3].map(|id| format!("https://shop.example/orders/{id}/items?x=1"));
        assert_eq!(requests, expected);
        assert_eq!(records.len(), 6);
        let third = [
            json!({"order_id": 3, "shop": "s3"}),
            json!({"order_id": 3, "shop": "s3", "n": 1}),
            json!({"n": 2, "shop": null, "order_id": {"a": 1}}),
        ];
        assert_eq!(records[3..], third);
    }
    assert_eq!(walk_over(&source, 1..1, 2, server).unwrap().1.len(), 0);
}

#[test]
fn pages_of_one_parent_follow_each_other_and_start_again_with_the_next() {
    let source =
        children("paging = { kind = \"cursor\", parameter = \"after\", cursor = \"next\" }\n");
    let server = |path: &str, parameters: &BTreeMap<String, String>| {
        let page = number(parameters, "after").unwrap_or(0);
        json!({"rows": [{"of": path, "page": page}], "next": (page < 2).then_some(page + 1)})
    };
    let (records, requests) = walk_over(&source, 1..3, 5, server).unwrap();
    assert_eq!(requests.len(), 6);
    let pages: Vec<_> = records
        .iter()
        .map(|record| record["page"].as_u64().unwrap())
        .collect();
    assert_eq!(pages, [0, 1, 2, 0, 1, 2]);
    assert_eq!(records[5]["of"], "/orders/2/items");
}

#[test]
fn parents_that_the_server_does_not_have_are_skipped_if_the_definition_says_so() {
    let definition = |missing: &str| {
        let text = format!(
            "dataset = \"items\"\nurl = \"https://shop.example/{{id}}\"\nevery = \"1 hour\"\n\
             children = {{ of = \"orders\"{missing} }}\n"
        );
        Source::from_toml("items", "items.toml", &text).unwrap()
    };
    let source = definition(", missing = \"skip\"");
    let begin = |source: &Source| {
        let mut walk = start(source, &State::default());
        walk.add_parents(source, vec![parent(1), parent(2)], true)
            .unwrap();
        walk
    };
    let mut walk = begin(&source);
    assert!(!walk.skip_parent(&source, StatusCode::FORBIDDEN).unwrap());
    assert!(walk.skip_parent(&source, StatusCode::NOT_FOUND).unwrap());
    let url = walk.request(&source).unwrap().shown_url();
    assert_eq!(url, "https://shop.example/2");
    let error = walk.skip_parent(&source, StatusCode::GONE).unwrap_err();
    assert!(
        matches!(error, WalkError::Parent(ParentError::AllMissing(2))),
        "{error}"
    );

    let mut walk = begin(&source);
    let answer = Answer {
        status: StatusCode::OK,
        headers: &HeaderMap::new(),
        body: b"[]",
    };
    walk.accept(&source, &answer, &mut Vec::new()).unwrap();
    assert!(walk.skip_parent(&source, StatusCode::NOT_FOUND).unwrap());
    assert!(walk.is_done());

    let strict = definition("");
    let mut walk = begin(&strict);
    assert!(!walk.skip_parent(&strict, StatusCode::NOT_FOUND).unwrap());
}

#[test]
fn too_many_parents_and_pages_of_all_of_them_fail_the_walk() {
    let server = |_: &str, _: &BTreeMap<String, String>| json!({"rows": [{"n": 1}]});
    let source = children("");
    assert_eq!(walk_over(&source, 1..6, 2, server).unwrap().0.len(), 5);
    let error = walk_over(&source, 1..7, 2, server).unwrap_err();
    assert!(
        matches!(error, WalkError::Parent(ParentError::TooMany(5))),
        "{error}"
    );
    let source = children("limits = { pages = 3 }\n");
    assert!(matches!(
        walk_over(&source, 1..5, 2, server),
        Err(WalkError::Limit { .. })
    ));
    let server = |_: &str, _: &BTreeMap<String, String>| json!({"rows": [[1]]});
    assert!(matches!(
        walk_over(&source, 1..2, 2, server),
        Err(WalkError::NoObject { .. })
    ));
}
