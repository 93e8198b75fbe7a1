mod children;
mod fits;

use landfall_domain::Format;

use super::*;
use crate::auth::Auth;
use crate::mark::{MarkKind, Overlap};
use crate::request::{Body, Parameter};
use crate::source::{Place, Progress, Stop};

const ORDERS: &str = r#"
dataset = "orders"
url = "https://shop.example/api/orders"
every = "10 minutes"
records = "data.orders"

[headers]
X-Shop = "eu"

[query]
status = "any"
key = "{secret:shop_key}"

[paging]
kind = "cursor"
parameter = "after"
cursor = "data.next"
size = 250
size_parameter = "limit"

[incremental]
field = "updated_at"
type = "timestamp"
parameter = "updated_since"
start = "2026-01-01"

[auth]
kind = "oauth2"
token_url = "https://login.example/token"
client_id = "landfall"
client_secret = "{secret:shop_secret}"

[limits]
requests_per_second = 2.5
"#;

fn parse(text: &str) -> Result<Source, InvalidDefinition> {
    Source::from_toml("shop_orders", "s.toml", text)
}

/// Replaces `from` in a definition, and checks how the error starts after the name of the file.
fn check_mistake(definition: &str, from: &str, to: &str, start: &str) {
    assert!(definition.contains(from), "{from}");
    let error = parse(&definition.replacen(from, to, 1))
        .map(|source| source.name)
        .unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with(&format!("s.toml:{start}")), "{error}");
}

#[test]
fn a_definition_is_parsed() {
    let source = parse(ORDERS).unwrap();
    assert_eq!(
        (source.name.as_str(), source.dataset.as_str()),
        ("shop_orders", "orders")
    );
    assert_eq!(
        (source.method.as_str(), source.format),
        ("GET", Format::Json)
    );
    assert_eq!(source.records, ["data", "orders"]);
    let PagingKind::Cursor { parameter, from } = &source.paging.kind else {
        panic!()
    };
    assert_eq!(*parameter, Parameter::Query("after".into()));
    assert_eq!(*from, Place::Body(vec!["data".into(), "next".into()]));
    assert_eq!(source.paging.stop, Stop::Unlinked);
    assert_eq!(source.secrets(), ["shop_key", "shop_secret"]);
    let incremental = source.incremental.unwrap();
    let Progress::Field { path, kind } = incremental.progress else {
        panic!()
    };
    assert_eq!(
        (path.as_slice(), kind),
        (["updated_at".to_owned()].as_slice(), MarkKind::Timestamp)
    );
    assert_eq!(incremental.overlap, None);
    assert!(matches!(source.auth, Some(Auth::ClientCredentials(_))));
    assert_eq!(source.limits.response_bytes, 16 << 20);
}

#[test]
fn the_least_definition_has_three_settings() {
    let text = "dataset = \"rates\"\nurl = \"https://bank.example/rates.csv\"\ncron = \"0 16 * * MON-FRI\"\n";
    let source = parse(&format!(
        "{text}time_zone = \"Europe/Berlin\"\nformat = \"csv\"\n"
    ))
    .unwrap();
    assert!(source.streams());
    assert_eq!(source.object_format(), Format::Csv);
    let next = source
        .schedule
        .after("2026-11-28T00:00:00Z".parse().unwrap())
        .unwrap();
    assert_eq!(next.to_string(), "2026-11-30T15:00:00Z");
    assert!(!parse(text).unwrap().streams());
}

#[test]
fn bodies_are_json_forms_or_graphql() {
    let base = "dataset = \"d\"\nurl = \"https://a.example\"\nevery = \"1 hour\"\n";
    let with = |rest: &str| parse(&format!("{base}{rest}")).unwrap();
    let json = with(
        "[body]\njson = { filter = { status = [\"open\", 1, true] }, key = \"{secret:k}\" }\n",
    );
    assert_eq!(
        (json.method.as_str(), json.secrets()),
        ("POST", vec!["k".to_owned()])
    );
    let graphql = "[body]\ngraphql = \"query($after: String) { orders(after: $after) { id } }\"\n\
         [paging]\nkind = \"cursor\"\nparameter = \"variables.after\"\ncursor = \"data.end\"\n";
    let graphql = with(graphql);
    assert!(graphql.graphql);
    let PagingKind::Cursor { parameter, .. } = graphql.paging.kind else {
        panic!()
    };
    assert_eq!(
        parameter,
        Parameter::Body(vec!["variables".into(), "after".into()])
    );
    let form = with(
        "body = { form = { q = \"a\" } }\npaging = { kind = \"page\", parameter = \"query:p\" }\n",
    );
    assert!(matches!(form.body, Some(Body::Form(_))));
    let PagingKind::Page {
        parameter,
        first: 1,
    } = form.paging.kind
    else {
        panic!()
    };
    assert_eq!(parameter, Parameter::Query("p".into()));
}

#[test]
fn a_misspelt_setting_is_named_with_the_right_one() {
    check_mistake(
        ORDERS,
        "records =",
        "record =",
        "5: record: there is no setting \"record\"; did you mean \"records\"?",
    );
    check_mistake(
        ORDERS,
        "size = 250",
        "sise = 250",
        "18: sise: there is no setting \"sise\"; did you mean \"size\"?",
    );
    check_mistake(
        ORDERS,
        "every =",
        "cursor = \"a\"\nevery =",
        "4: cursor: there is no setting \"cursor\" here",
    );
    check_mistake(
        ORDERS,
        "\"cursor\"",
        "\"curser\"",
        "15: kind: there is no value \"curser\"; did you mean \"cursor\"?",
    );
}

#[test]
fn mistakes_are_refused_with_their_line() {
    for (from, to, start) in [
        (
            "\"orders\"",
            "\"Orders\"",
            "2: dataset: must start with a letter",
        ),
        (
            "https://shop",
            "ftp://shop",
            "3: url: must start with https:// or http://",
        ),
        (
            "https://shop",
            "https://a:b@shop",
            "3: url: must not contain credentials",
        ),
        (
            "api/orders",
            "{secret:a}",
            "3: url: must not contain a secret",
        ),
        ("every = \"10 minutes\"", "", "1: every: is missing"),
        (
            "10 minutes",
            "10 seconds",
            "4: every: must be whole minutes",
        ),
        (
            "every =",
            "cron = \"* * * * *\"\nevery =",
            "4: cron: contradicts every",
        ),
        (
            "every =",
            "time_zone = \"UTC\"\nevery =",
            "4: time_zone: is the zone of a cron",
        ),
        ("every = \"10 minutes\"", "cron = \"* *\"", "4: cron: "),
        ("every =", "method = \"PUT\"\nevery =", "4: method: must be"),
        (
            "data.orders",
            "data..orders",
            "5: records: must be 1 to 16 property names",
        ),
        (
            "X-Shop",
            "Authorization",
            "8: headers.Authorization: is set by [auth]",
        ),
        (
            "X-Shop",
            "Host",
            "8: headers.Host: Host is set by the connection",
        ),
        (
            "{secret:shop_key}",
            "{secret:Shop}",
            "12: query.key: \"Shop\" cannot be the name of a secret",
        ),
        (
            "\"after\"",
            "\"status\"",
            "16: paging.parameter: status is in [query] too",
        ),
        (
            "\"after\"",
            "\"body:after\"",
            "16: paging.parameter: is in the body, but the request has none",
        ),
        (
            "cursor = \"data.next\"",
            "",
            "14: paging.cursor: is missing; kind = \"cursor\" needs",
        ),
        (
            "cursor = \"data.next\"",
            "next = \"a\"",
            "17: paging.next: is no setting of kind = \"cursor\", only",
        ),
        ("size = 250\n", "", "14: paging.size: is missing"),
        (
            "size = 250",
            "stop = \"short\"\nsize = 250",
            "18: paging.stop: a short page ends nothing here",
        ),
        (
            "type = \"timestamp\"\n",
            "",
            "21: incremental.type: is missing",
        ),
        (
            "\"2026-01-01\"",
            "\"soon\"",
            "25: incremental.start: \"soon\" is not of type \"timestamp\"",
        ),
        (
            "start =",
            "overlap = 5\nstart =",
            "25: incremental.overlap: must be a time",
        ),
        (
            "start =",
            "step = \"1 day\"\nstart =",
            "25: incremental.step: needs until_parameter",
        ),
        (
            "{secret:shop_secret}",
            "hunter2",
            "31: auth.client_secret: must be the name of a secret",
        ),
        (
            "client_id = \"landfall\"\n",
            "",
            "27: auth.client_id: is missing",
        ),
        (
            "client_id",
            "user = \"a\"\nclient_id",
            "30: auth.user: is no setting of kind = \"oauth2\"",
        ),
        ("2.5", "0.0", "34: limits.requests_per_second: must be from"),
    ] {
        check_mistake(ORDERS, from, to, start);
    }
    let error = Source::from_toml("Shop", "s.toml", ORDERS)
        .map(|source| source.name)
        .unwrap_err();
    assert!(error.to_string().starts_with("s.toml:1: name: "), "{error}");
}

#[test]
fn an_overlap_has_the_unit_of_its_field() {
    let base = "dataset = \"d\"\nurl = \"https://a.example\"\nevery = \"1 hour\"\n";
    let with = |kind: &str, overlap: &str| {
        let table = format!(
            "[incremental]\nfield = \"a\"\ntype = \"{kind}\"\nparameter = \"p\"\noverlap = {overlap}\n"
        );
        let overlap = parse(&format!("{base}{table}"))
            .map(|source| source.incremental.and_then(|it| it.overlap));
        overlap.ok().flatten()
    };
    assert_eq!(with("integer", "100"), Some(Overlap::Numbers(100)));
    assert_eq!(
        with("timestamp", "\"1 hour\""),
        Some(Overlap::Time(jiff::SignedDuration::from_hours(1)))
    );
    assert_eq!(with("timestamp", "0"), Some(Overlap::None));
    for (kind, overlap) in [
        ("integer", "\"1 hour\""),
        ("timestamp", "5"),
        ("text", "5"),
        ("integer", "-1"),
    ] {
        assert_eq!(with(kind, overlap), None, "{kind} {overlap}");
    }
}
