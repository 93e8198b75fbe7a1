use landfall_destinations::{Destination, Draft};
use landfall_domain::{Dataset, InvalidDefinition};

const SHOP: &str = r#"dataset = "orders"
url = "https://shop.example/api/"
fields = ["number", "status"]
when = "status != draft"
id_from = "data.id"
success = [200, 201, 204]
on_refused = "skip"
idempotency_header = "Idempotency-Key"

[headers]
Authorization = "Bearer {secret:shop}"

[create]
path = "/orders"
body = '{"no": {{ number }}, "title": {{ status ~ "!" }}}'
conflict = "update"

[update]
method = "PATCH"
path = "/orders/{{ remote_id }}"
not_found = "create"

[delete]
path = "/orders/{{ remote_id }}?by={{ number }}"

[lookup]
path = "/orders?number={{ number }}"
id_from = "items.0.id"

[limits]
per_second = 20
concurrency = 8
timeout_seconds = 5

[signature]
kind = "standard_webhooks"
secret = "{secret:hook}"
old_secret = "{secret:old_hook}"
"#;

pub fn dataset() -> Dataset {
    let definition = r#"
name = "orders"
key = ["number"]
fields = [
    { name = "number", type = "text" },
    { name = "status", type = "text" },
    { name = "total", type = "decimal" },
    { name = "details", type = "json" },
]
"#;
    Dataset::from_toml("orders.toml", definition).unwrap()
}

pub fn parse(text: &str) -> Result<Destination, InvalidDefinition> {
    Draft::parse("shop", "shop.toml", text)?.check(&dataset())
}

#[test]
fn a_definition_is_read() {
    let shop = parse(SHOP).unwrap();
    assert_eq!(shop.secrets(), ["hook", "old_hook", "shop"]);
    assert_eq!((shop.limits.per_second, shop.limits.concurrency), (20.0, 8));
    assert_eq!(shop.dataset().name, "orders");
}

#[test]
fn mistakes_are_reported_with_line_and_setting() {
    for (from, to, expected) in [
        (
            "dataset = \"orders\"",
            "dataset = \"Or ders\"",
            "1: dataset: ",
        ),
        (
            "https://shop.example/api/",
            "https://shop.example/?a=1",
            "2: url: must not contain a query",
        ),
        (
            "https://shop",
            "https://{secret:shop}@shop",
            "2: url: must not contain a secret",
        ),
        (
            "\"number\", \"status\"]",
            "\"number\", \"state\"]",
            "3: fields: the dataset orders has no field \"state\"",
        ),
        (
            "when = \"status",
            "when = \"state",
            "4: when: the dataset orders has no field \"state\"",
        ),
        ("\"data.id\"", "\"data..id\"", "5: id_from: must be 1 to 16"),
        ("204]", "304]", "6: success: must be status codes"),
        (
            "\"skip\"",
            "\"slip\"",
            "7: on_refused: there is no value \"slip\"; did you mean \"skip\"?",
        ),
        (
            "\"Idempotency-Key\"",
            "\"Host\"",
            "8: idempotency_header: Host is set by the connection",
        ),
        ("{secret:shop}", "{secret:}", "11: headers.Authorization: "),
        (
            "\"/orders\"\nbody",
            "\"orders\"\nbody",
            "14: create.path: must start with /",
        ),
        (
            "\"/orders\"\nbody",
            "\"/or ders\"\nbody",
            "14: create.path: with sample values, it is not written",
        ),
        (
            "\"/orders\"\nbody",
            "\"/o/../{{ number }}\"\nbody",
            "14: create.path: with sample values, it is not written",
        ),
        (
            "\"/orders\"\nbody",
            "\"/o#{{ number }}\"\nbody",
            "14: create.path: with sample values, it contains a fragment",
        ),
        (
            "\"/orders\"\nbody",
            "\"/o/{{ remote_id }}\"\nbody",
            "14: create.path: uses remote_id, which the service gives",
        ),
        (
            "{{ number }}, ",
            "{{ numbre }}, ",
            "15: create.body: uses \"numbre\", but the dataset orders has no",
        ),
        (
            "{{ number }}, ",
            "{{ number, ",
            "15: create.body: is not a template: ",
        ),
        (
            "{{ number }}, ",
            "{{ number | upper }}, ",
            "15: create.body: ",
        ),
        (
            "\"title\": {{",
            "\"title\" {{",
            "15: create.body: with sample values, it is not JSON",
        ),
        (
            "conflict = \"update\"",
            "conflict = \"create\"",
            "16: conflict: there is no value \"create\"",
        ),
        ("\"PATCH\"", "\"GET\"", "19: update.method: must be"),
        (
            "not_found = \"create\"",
            "not_found = \"done\"",
            "21: update.not_found: is not possible",
        ),
        (
            "by={{ number }}",
            "by={{ status }}",
            "24: delete.path: uses \"status\", but a deleted row has only its key and",
        ),
        (
            "number={{ number }}",
            "number={{ remote_id }}",
            "27: lookup.path: must not contain remote_id",
        ),
        (
            "per_second = 20",
            "per_second = 0",
            "31: limits.per_second: must be from 0.001",
        ),
        (
            "concurrency = 8",
            "concurrency = 65",
            "32: limits.concurrency: must be from 1 to 64",
        ),
        (
            "concurrency = 8",
            "concurency = 8",
            "32: concurency: there is no setting \"concurency\"; did you mean",
        ),
        (
            "timeout_seconds = 5",
            "timeout_seconds = 31",
            "33: limits.timeout_seconds: must be from 1 to 30",
        ),
        (
            "kind = \"standard_webhooks\"",
            "kind = \"hmac\"",
            "38: signature.old_secret: is a setting of kind",
        ),
        (
            "\"{secret:hook}\"",
            "\"hook\"",
            "37: signature.secret: must be the name of a secret",
        ),
        (
            "\"{secret:hook}\"",
            "\"{secret:hook}\"\nheader = \"X\"",
            "38: signature.header: is a setting of kind",
        ),
        (
            "on_refused",
            "batch = { size = 10 }\non_refused",
            "7: batch: needs an [update] that also creates rows",
        ),
    ] {
        assert!(SHOP.contains(from), "{from}");
        let error = parse(&SHOP.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("shop.toml:{expected}")),
            "{to}: {error}"
        );
    }
}

#[test]
fn operations_go_together() {
    let base = "dataset = \"orders\"\nurl = \"http://a.example\"\n";
    for (rest, expected) in [
        (
            "delete = { path = \"/a/{{ number }}\" }\n",
            "1: create: there is neither",
        ),
        (
            "update = { path = \"/a\", not_found = \"create\" }\n",
            "3: update.not_found: needs [create]",
        ),
        (
            "update = { path = \"/a/{{ remote_id }}\" }\nid_from = \"id\"\n",
            "3: update: creates keys, too",
        ),
        (
            "create = { path = \"/a\" }\nupdate = { path = \"/a/{{ remote_id }}\" }\n",
            "4: update.path: uses remote_id, the service's own id, which needs id_from",
        ),
        (
            "batch = { size = 2 }\nupdate = { path = \"/a/{{ number }}\" }\n",
            "3: batch: needs paths without fields",
        ),
        (
            "idempotency_header = \"Key\"\nbatch = { size = 2 }\nupdate = { path = \"/a\" }\n",
            "4: batch: is not possible with idempotency_header",
        ),
        (
            "batch = { size = 201 }\nupdate = { path = \"/a\" }\n",
            "3: batch.size: must be from 1 to 200",
        ),
    ] {
        let error = parse(&format!("{base}{rest}")).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("shop.toml:{expected}")),
            "{rest}: {error}"
        );
    }
    assert!(
        parse(&format!(
            "{base}create = {{ path = \"/a\", body = '{{ \"d\": {{{{ details.x }}}} }}' }}\n"
        ))
        .is_ok()
    );
}
