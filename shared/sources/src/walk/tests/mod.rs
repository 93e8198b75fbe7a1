mod incremental;
mod keyset;
mod parents;
mod table;

use std::collections::BTreeMap;

use http::header::LINK;
use serde_json::{Value, json};

use super::*;
use crate::request::Request;

const PATH: &str = "https://shop.example/orders";

fn source(rest: &str) -> Source {
    let base = format!(
        "dataset = \"orders\"\nurl = \"{PATH}\"\nevery = \"10 minutes\"\nrecords = \"rows\"\n"
    );
    Source::from_toml("orders", "orders.toml", &format!("{base}{rest}")).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A request as the server sees it.
fn parameters(request: &Request) -> BTreeMap<String, String> {
    let revealed = request
        .reveal(&[("key", "s3cret")].into_iter().collect())
        .unwrap();
    let pairs = revealed.url.query_pairs();
    pairs
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl From<Value> for Reply {
    fn from(body: Value) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body,
        }
    }
}

/// Walks to the end or to an error, through a stored walk after each page. Returns the records.
fn walk_with<R: Into<Reply>>(
    source: &Source,
    walk: &mut Walk,
    mut server: impl FnMut(&BTreeMap<String, String>, &Request) -> R,
) -> Result<Vec<Value>, WalkError> {
    let mut lines = Vec::new();
    while let Some(request) = walk.request(source) {
        let reply = server(&parameters(&request), &request).into();
        let headers: HeaderMap = reply
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<http::HeaderName>().unwrap(),
                    value.parse().unwrap(),
                )
            })
            .collect();
        let body = reply.body.to_string();
        let answer = Answer {
            status: StatusCode::from_u16(reply.status).unwrap(),
            headers: &headers,
            body: body.as_bytes(),
        };
        walk.accept(source, &answer, &mut lines)?;
        *walk = serde_json::from_str(&serde_json::to_string(walk).unwrap()).unwrap();
    }
    let lines = str::from_utf8(&lines).unwrap().lines();
    Ok(lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect())
}

fn start(source: &Source, state: &State) -> Walk {
    Walk::start(source, state, false, at("2026-11-20T12:00:00Z"))
}

fn walk<R: Into<Reply>>(
    source: &Source,
    server: impl FnMut(&BTreeMap<String, String>, &Request) -> R,
) -> Result<Vec<Value>, WalkError> {
    walk_with(source, &mut start(source, &State::default()), server)
}

fn rows(ids: impl IntoIterator<Item = u64>) -> Value {
    ids.into_iter().map(|id| json!({"id": id})).collect()
}

fn number(parameters: &BTreeMap<String, String>, name: &str) -> Option<u64> {
    Some(parameters.get(name)?.parse().unwrap())
}

#[test]
fn pages_by_number_and_offset_end_with_an_empty_page() {
    let page = source("paging = { kind = \"page\", parameter = \"page\", first = 0 }\n");
    let all = walk(&page, |request, _| {
        let page = number(request, "page").unwrap();
        json!({"rows": rows(page * 10..(page * 10 + 10).min(25).max(page * 10))})
    });
    assert_eq!(all.unwrap().len(), 25);
    let offset = source(
        "paging = { kind = \"offset\", parameter = \"skip\", size = 10, size_parameter = \"n\" }\n",
    );
    let all = walk(&offset, |request, _| {
        let (skip, size) = (
            number(request, "skip").unwrap(),
            number(request, "n").unwrap(),
        );
        // The server has smaller pages than requested.
        json!({"rows": rows(skip..(skip + size.min(7)).min(25).max(skip))})
    });
    assert_eq!(all.unwrap().len(), 25);
}

#[test]
fn a_short_page_is_the_last_one_only_after_a_full_one() {
    let short =
        source("paging = { kind = \"page\", parameter = \"page\", size = 10, stop = \"short\" }\n");
    for (of_server, total, requests) in
        [(10, 25, 3), (10, 30, 4), (7, 25, 5), (10, 5, 2), (10, 0, 1)]
    {
        let mut sent = 0;
        let all = walk(&short, |request, _| {
            sent += 1;
            let start = ((number(request, "page").unwrap() - 1) * of_server).min(total);
            json!({"rows": rows(start..(start + of_server).min(total))})
        });
        let seen = (all.unwrap().len() as u64, sent);
        assert_eq!(seen, (total, requests), "{of_server} {total}");
    }
}

#[test]
fn an_empty_page_ends_nothing_if_the_server_says_that_there_are_more() {
    let source = source("paging = { kind = \"page\", parameter = \"page\", more = \"more\" }\n");
    let pages = [rows(0..3), rows(0..0), rows(3..5)];
    let all = walk(&source, |request, _| {
        let page = number(request, "page").unwrap();
        json!({"rows": pages[usize::try_from(page).unwrap() - 1], "more": page < 3})
    });
    assert_eq!(all.unwrap().len(), 5);
    let silent = walk(&source, |_, _| json!({"rows": [{"id": 1}]}));
    assert!(matches!(silent, Err(WalkError::More { page: 1, .. })));
}

#[test]
fn cursors_are_followed_in_bodies_and_headers_also_over_empty_pages() {
    let body = source("paging = { kind = \"cursor\", parameter = \"after\", cursor = \"next\" }\n");
    let all = walk(&body, |request, _| {
        let page = number(request, "after").unwrap_or(0);
        let next = if page < 4 { json!(page + 1) } else { json!("") };
        json!({"rows": if page == 2 { json!([]) } else { rows(page * 2..page * 2 + 2) }, "next": next})
    });
    assert_eq!(all.unwrap().len(), 8);
    let header = source(
        "paging = { kind = \"cursor\", parameter = \"after\", cursor_header = \"X-Next\" }\n",
    );
    let all = walk(&header, |request, _| {
        let page = number(request, "after").unwrap_or(0);
        let headers = if page < 3 {
            vec![("x-next", (page + 1).to_string())]
        } else {
            Vec::new()
        };
        Reply {
            status: 200,
            headers,
            body: json!({"rows": rows(page..=page)}),
        }
    });
    assert_eq!(all.unwrap().len(), 4);
}

#[test]
fn a_token_of_the_server_reveals_no_secret() {
    let source = source(
        "query = { key = \"{secret:key}\" }\n\
         paging = { kind = \"cursor\", parameter = \"after\", cursor = \"next\" }\n",
    );
    let mut seen = Vec::new();
    walk(&source, |request, _| {
        seen.push(request.clone());
        let number = seen.len() as u64;
        let next = if number < 2 { "{secret:key}" } else { "" };
        json!({"rows": rows(number..=number), "next": next})
    })
    .unwrap();
    assert_eq!(seen[1]["after"], "{secret:key}");
    assert_eq!(seen[1]["key"], "s3cret");
}

#[test]
fn links_are_followed_on_the_same_server_and_keep_tokens_out() {
    let next_url = source(
        "query = { key = \"{secret:key}\" }\npaging = { kind = \"next_url\", next = \"next\" }\n",
    );
    let mut urls = Vec::new();
    let all = walk(&next_url, |request, sent| {
        urls.push(sent.shown_url());
        assert_eq!(request["key"], "s3cret");
        match urls.len() {
            1 => json!({"rows": rows(0..2), "next": "/orders?page=2&key=s3cret"}),
            2 => json!({"rows": rows(2..4), "next": "http://shop.example/orders?page=3"}),
            _ => json!({"rows": rows(4..5), "next": null}),
        }
    });
    assert_eq!(all.unwrap().len(), 5);
    assert_eq!(urls[1], format!("{PATH}?page=2&key={{secret:key}}"));
    assert_eq!(urls[2], format!("{PATH}?page=3&key={{secret:key}}"));
    for other in [
        "https://evil.example/orders",
        "//evil.example/",
        "https://shop.example:8443/",
        "https://a:b@shop.example/",
    ] {
        let refused = walk(&next_url, |_, _| json!({"rows": rows(0..1), "next": other}));
        assert!(matches!(refused, Err(WalkError::OtherServer(_))), "{other}");
    }
    let link = source("paging = { kind = \"link\" }\n");
    let all = walk(&link, |request, _| {
        let page = number(request, "p").unwrap_or(1);
        let headers = if page < 3 {
            vec![(LINK.as_str(), format!("<?p={}>; rel=\"next\"", page + 1))]
        } else {
            vec![]
        };
        let headers = headers
            .into_iter()
            .map(|(_, value)| ("link", value))
            .collect();
        Reply {
            status: 200,
            headers,
            body: json!({"rows": rows(page..=page)}),
        }
    });
    assert_eq!(all.unwrap().len(), 3);
}

#[test]
fn walks_that_turn_in_a_circle_fail() {
    let page = source("paging = { kind = \"page\", parameter = \"page\" }\n");
    // The server ignores the parameter, or has no page after the third one.
    let ignored = walk(&page, |_, _| json!({"rows": rows(0..5), "time": 1}));
    assert!(matches!(ignored, Err(WalkError::Loop { page: 2, .. })));
    let clamped = walk(&page, |request, _| {
        let page = number(request, "page").unwrap().min(3);
        json!({"rows": rows(page..page + 5)})
    });
    assert!(matches!(clamped, Err(WalkError::Loop { page: 4, .. })));
    let cursor =
        source("paging = { kind = \"cursor\", parameter = \"after\", cursor = \"next\" }\n");
    let same_token = walk(&cursor, |_, _| json!({"rows": [], "next": "a"}));
    assert!(matches!(same_token, Err(WalkError::Loop { page: 2, .. })));
    let mut sent = 0;
    let circle = walk(&cursor, |_, _| {
        sent += 1;
        json!({"rows": rows(sent..=sent), "next": (sent % 7).to_string()})
    });
    assert!(
        matches!(circle, Err(WalkError::Loop { page: ..=21, .. })),
        "{circle:?}"
    );
    let offset = source("paging = { kind = \"offset\", parameter = \"skip\", more = \"more\" }\n");
    let stuck = walk(&offset, |_, _| json!({"rows": [], "more": true}));
    assert!(matches!(stuck, Err(WalkError::Loop { page: 1, .. })));
}

#[test]
fn limits_end_walks_as_failures() {
    let pages =
        source("paging = { kind = \"page\", parameter = \"page\" }\nlimits = { pages = 3 }\n");
    let endless = |request: &BTreeMap<String, String>, _: &Request| {
        let page = number(request, "page").unwrap();
        json!({"rows": rows(page..=page)})
    };
    assert!(matches!(
        walk(&pages, endless),
        Err(WalkError::Limit {
            what: "pages",
            limit: 3
        })
    ));
    let bytes =
        source("paging = { kind = \"page\", parameter = \"page\" }\nlimits = { bytes = 100 }\n");
    assert!(matches!(
        walk(&bytes, endless),
        Err(WalkError::Limit {
            what: "bytes",
            limit: 100
        })
    ));
}

#[test]
fn only_whole_successful_answers_are_pages() {
    let source = source("");
    for status in [206, 300, 304, 404, 500] {
        let failed = walk(&source, |_, _| Reply {
            status,
            headers: Vec::new(),
            body: json!({"rows": []}),
        });
        assert!(matches!(failed, Err(WalkError::Status(_))), "{status}");
    }
    let empty = walk(&source, |_, _| Reply {
        status: 204,
        headers: Vec::new(),
        body: Value::Null,
    });
    assert_eq!(empty.unwrap().len(), 0);
}
