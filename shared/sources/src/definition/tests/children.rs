//! Requests for each row of another dataset.

use landfall_domain::Dataset;

use super::{check_mistake, parse};

const ITEMS: &str = "dataset = \"items\"\nurl = \"https://a.example/orders/{id}/items?of={shop}\"\nevery = \"1 hour\"\n\
    [children]\nof = \"orders\"\n[children.fields]\norder_id = \"id\"\n";

#[test]
fn children_are_parsed() {
    let source = parse(ITEMS).unwrap();
    let children = source.children.as_ref().unwrap();
    assert_eq!((children.of.as_str(), children.max), ("orders", 10_000));
    assert_eq!(children.parent_fields(), ["id", "shop"]);
    assert_eq!(
        source.shown_url(),
        "https://a.example/orders/{id}/items?of={shop}"
    );
    let ndjson = ITEMS.replace("every", "format = \"ndjson\"\nevery");
    assert!(!parse(&ndjson).unwrap().streams());
    let other = parse(&ITEMS.replace("order_id", "of_order")).unwrap();
    assert_ne!(source.fingerprint(), other.fingerprint());
}

#[test]
fn mistakes_in_children_are_reported_at_their_settings() {
    for (from, to, start) in [
        (
            "\"orders\"",
            "\"items\"",
            "5: children.of: is the dataset of the source",
        ),
        ("\"orders\"", "\"Orders\"", "5: children.of: "),
        (
            "\"orders\"",
            "\"orders\"\nmax = 0",
            "6: children.max: must be from 1",
        ),
        ("= \"id\"", "= \"a-b\"", "7: children.fields.order_id: "),
        ("/{id}/items?of={shop}", "/items", "2: url: has no {field}"),
        ("{id}", "{id", "2: url: has {id/items?of={shop}"),
        ("{id}", "..", "2: url: must not have . or .."),
        (
            "every",
            "format = \"csv\"\nevery",
            "5: children: needs records in JSON",
        ),
        (
            "[children]",
            "incremental = { field = \"a\", type = \"text\", parameter = \"p\" }\n[children]",
            "4: incremental: contradicts [children]",
        ),
        (
            "every",
            "complete = true\npaging = { kind = \"page\", parameter = \"p\" }\nevery",
            "3: complete: is refused with pages by number",
        ),
    ] {
        check_mistake(ITEMS, from, to, start);
    }
    let alone = ITEMS.split("[children]").next().unwrap();
    check_mistake(alone, "every", "every", "2: url: has a field in {}");
}

#[test]
fn parents_need_the_fields_that_are_used() {
    let children = parse(ITEMS).unwrap().children.unwrap();
    let parents = |shop: &str| {
        let text = format!(
            "name = \"orders\"\nkey = [\"id\"]\nfields = [{{ name = \"id\", type = \"integer\" }}{shop}]\n"
        );
        Dataset::from_toml("orders.toml", &text).unwrap()
    };
    let good = parents(", { name = \"shop\", type = \"text\" }");
    assert_eq!(children.check_parents(&good), Ok(()));
    let missing = children.check_parents(&parents("")).unwrap_err();
    assert!(missing.contains("has no field \"shop\""), "{missing}");
    let json = parents(", { name = \"shop\", type = \"json\" }");
    assert!(
        children
            .check_parents(&json)
            .unwrap_err()
            .contains("is JSON")
    );
}
