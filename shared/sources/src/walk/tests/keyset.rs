use proptest::prelude::*;

use super::*;

const KEYSET: &str = r#"[paging]
kind = "keyset"
parameter = "after"
field = "id"
type = "integer"
size = 3
"#;

#[test]
fn keyset_pages_must_be_sorted_and_lead_forward() {
    let source = source(KEYSET);
    let unsorted = walk(&source, |_, _| json!({"rows": rows([2, 1])}));
    assert!(matches!(unsorted, Err(WalkError::NotSorted(1))));
    let ignored = walk(&source, |_, _| json!({"rows": rows(0..3)}));
    assert!(matches!(ignored, Err(WalkError::NotSorted(2))));
    let repeated = walk(&source, |_, _| json!({"rows": rows([1, 1, 2])}));
    assert!(matches!(repeated, Err(WalkError::RepeatedKey(1))));
    let inclusive = super::source(&format!("{KEYSET}inclusive = true\n"));
    // More rows of one value than a page has.
    let stuck = walk(&inclusive, |_, _| json!({"rows": rows([5, 5, 5])}));
    assert!(matches!(stuck, Err(WalkError::NoNewKey(2))));
}

/// How the rows of a server change between two requests.
#[derive(Clone, Debug)]
enum Change {
    Insert(u64),
    Delete(u64),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        (0_u64..40).prop_map(Change::Insert),
        (0_u64..40).prop_map(Change::Delete)
    ];
    prop::collection::vec(change, 0..20)
}

proptest! {
    /// What is promised for keyset paging: every row that was there all the time is found, and the walk ends.
    #[test]
    fn keyset_paging_finds_every_row_that_stays(
        ids in prop::collection::btree_set(0_u64..40, 0..30),
        changes in changes(),
        size in 2_usize..6,
        values in 1_u64..3,
        is_inclusive in any::<bool>(),
    ) {
        // With `inclusive`, neighbours can have the same value, but fewer than a page.
        let shared = if is_inclusive { values } else { 1 };
        let size = size.max(usize::try_from(shared).unwrap() + 1);
        let value = |id: u64| id / shared;
        let text = KEYSET.replace("\"id\"", "\"v\"").replace("size = 3", &format!("size = {size}"));
        let source = source(&format!("{text}inclusive = {is_inclusive}\n"));
        let mut rows = ids.clone();
        let mut stayed = ids;
        let mut changes = changes.into_iter();
        let records = walk(&source, |request, _| {
            let after = number(request, "after");
            let is_after = |value: u64| {
                after.is_none_or(|after| value > after || (is_inclusive && value == after))
            };
            let page = rows.iter().filter(|id| is_after(value(**id))).take(size);
            let page: Vec<Value> = page.map(|id| json!({"id": id, "v": value(*id)})).collect();
            match changes.next() {
                Some(Change::Insert(id)) => { rows.insert(id); }
                Some(Change::Delete(id)) => { rows.remove(&id); stayed.remove(&id); }
                None => {}
            }
            json!({ "rows": page })
        });
        let records = records.unwrap();
        let found: std::collections::BTreeSet<u64> = records.iter().map(|row| row["id"].as_u64().unwrap()).collect();
        prop_assert!(stayed.is_subset(&found), "{stayed:?} {found:?}");
    }

    /// Whatever a server answers, a walk ends or fails within its limits, and it never panics.
    #[test]
    fn no_server_keeps_a_walk_for_ever(
        kind in 0_usize..7,
        answers in prop::collection::vec((prop::collection::vec(0_u64..5, 0..4), 0_u64..4, any::<bool>()), 1..12),
    ) {
        let kinds = [
            "", "paging = { kind = \"page\", parameter = \"after\" }\n",
            "paging = { kind = \"offset\", parameter = \"after\" }\n",
            "paging = { kind = \"cursor\", parameter = \"after\", cursor = \"next\" }\n",
            "paging = { kind = \"next_url\", next = \"next\" }\n", KEYSET,
            "paging = { kind = \"page\", parameter = \"after\", more = \"more\" }\n",
        ];
        let limits = "limits.pages = 200\n";
        let source = super::source(&format!("{limits}{}", kinds[kind]));
        let mut sent = 0;
        let _ = walk(&source, |_, _| {
            let (ids, next, more) = &answers[sent % answers.len()];
            sent += 1;
            let next = if *next == 0 { Value::Null } else { json!(next.to_string()) };
            json!({"rows": rows(ids.clone()), "next": next, "more": more})
        });
        prop_assert!(sent <= 201);
    }
}
