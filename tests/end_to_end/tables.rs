//! Snapshots, deletes, totals, and changed definitions, including invalid changes.

use std::iter;
use std::time::Duration;

use landfall_domain::{CompletionEvent, JobState, ProblemCode, StoreCounts};
use landfall_local::{Sql, Stack};

use crate::support::{documents, forget_definitions, land, products_file, start};

const STOCK: &str = r#"
name = "stock"
key = ["sku"]
fields = [
    { name = "sku", type = "text" },
    { name = "shelf", type = "text" },
    { name = "pieces", type = "integer" },
]
totals = [{ name = "stock_by_shelf", by = ["shelf"], columns = { products = "count", pieces = "sum(pieces)" } }]
"#;

/// Replaces the definition, and waits until no function uses the previous one.
async fn replace_dataset(stack: &Stack, definition: &str) {
    stack.put_dataset("stock", definition).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
}

/// Runs a query on the SQLite database, and returns the rows as texts.
fn query(stack: &Stack, sql: &str) -> Vec<Vec<String>> {
    let path = stack.sql_url().strip_prefix("sqlite://").unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>, index| {
        let value: rusqlite::types::Value = row.get(index).unwrap();
        match value {
            rusqlite::types::Value::Null => "-".to_owned(),
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => panic!("{other:?}"),
        }
    };
    let rows = statement
        .query_map([], |row| {
            Ok((0..columns).map(|index| text(row, index)).collect())
        })
        .unwrap();
    rows.map(Result::unwrap).collect()
}

/// Returns the skus, which must be the same in both databases.
async fn skus(stack: &Stack) -> Vec<String> {
    let in_sql: Vec<_> = query(stack, "SELECT sku FROM stock ORDER BY sku").concat();
    let mut in_mongodb: Vec<_> = documents(stack.mongodb_uri(), "stock")
        .await
        .iter()
        .map(|document| document.get_str("_id").unwrap().to_owned())
        .collect();
    in_mongodb.sort();
    assert_eq!(in_sql, in_mongodb);
    in_sql
}

fn each(event: &CompletionEvent, count: fn(&StoreCounts) -> u64) -> Vec<u64> {
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    event.counts.stores.values().map(count).collect()
}

fn totals(stack: &Stack) -> Vec<Vec<String>> {
    let kept = query(
        stack,
        "SELECT shelf, products, pieces FROM stock_by_shelf ORDER BY shelf",
    );
    let counted = query(
        stack,
        "SELECT shelf, COUNT(*), COALESCE(SUM(pieces), 0) FROM stock GROUP BY shelf ORDER BY shelf",
    );
    assert_eq!(kept, counted);
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_deletes_the_rows_that_it_lacks() {
    let stack = start(Sql::Sqlite, &[]).await;
    let definition = STOCK.replacen("key", "mode = \"snapshot\"\nkey", 1);
    stack.put_dataset("stock", &definition).await.unwrap();
    let first = "sku,shelf,pieces\na,left,1\nb,left,2\nc,right,3\nd,right,4\n";
    let event = land(&stack, "stock/1.csv", first.as_bytes().to_vec()).await;
    assert_eq!(each(&event, |counts| counts.inserted), [4, 4]);

    let second = "sku,shelf,pieces\na,left,1\nc,left,9\n";
    let event = land(&stack, "stock/2.csv", second.as_bytes().to_vec()).await;
    assert_eq!(each(&event, |counts| counts.pruned), [2, 2]);
    assert_eq!(skus(&stack).await, ["a", "c"]);
    assert_eq!(totals(&stack), [["left", "2", "10"]]);

    // Incomplete, because the rejected row could have the key c.
    let third = "sku,shelf,pieces\na,left,5\nb,left,many\n";
    let event = land(&stack, "stock/3.csv", third.as_bytes().to_vec()).await;
    assert_eq!(each(&event, |counts| counts.pruned), [0, 0]);
    assert_eq!(event.problem.unwrap().code, ProblemCode::NotPruned);
    assert_eq!(skus(&stack).await, ["a", "c"]);

    // An empty file is most likely a mistake.
    let event = land(&stack, "stock/4.csv", b"sku,shelf,pieces\n".to_vec()).await;
    assert_eq!(event.problem.unwrap().code, ProblemCode::NoRecords);
    assert_eq!(skus(&stack).await, ["a", "c"]);
}

const CATALOG: &str = r#"
name = "stock"
mode = "merge"
key = ["sku"]
fields = [
    { name = "sku", type = "text" },
    { name = "title", type = "text", required = true },
    { name = "description", type = "text" },
    { name = "price", type = "decimal" },
]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_a_file_lacks_keep_their_values() {
    let stack = start(Sql::Sqlite, &[]).await;
    stack.put_dataset("stock", CATALOG).await.unwrap();
    let whole = "sku,title,description,price\na,Ant,small,1.50\nb,Bee,,2\n";
    let event = land(&stack, "stock/1.csv", whole.as_bytes().to_vec()).await;
    assert_eq!(each(&event, |counts| counts.inserted), [2, 2]);
    let prices = "sku,price\na,1.75\nb,\nc,3\n";
    let event = land(&stack, "stock/2.csv", prices.as_bytes().to_vec()).await;
    assert_eq!(
        (event.state, event.warnings.len()),
        (JobState::Succeeded, 0)
    );
    assert_eq!(each(&event, |counts| counts.updated), [2, 2]);
    assert_eq!(each(&event, |counts| counts.inserted), [1, 1]);
    let words = "{\"sku\": \"c\", \"title\": \"Cat\"}\n{\"sku\": \"a\", \"description\": null}\n";
    let event = land(&stack, "stock/3.ndjson", words.as_bytes().to_vec()).await;
    assert_eq!(each(&event, |counts| counts.updated), [2, 2]);

    let expected = [
        ["a", "Ant", "-", "1.75"],
        ["b", "Bee", "-", "-"],
        ["c", "Cat", "-", "3"],
    ];
    let select = "SELECT sku, title, description, price FROM stock ORDER BY sku";
    assert_eq!(query(&stack, select), expected);
    let mut found: Vec<_> = documents(stack.mongodb_uri(), "stock")
        .await
        .iter()
        .map(|document| {
            let text = |name: &str| match document.get(name).unwrap() {
                mongodb::bson::Bson::Null => "-".to_owned(),
                mongodb::bson::Bson::String(text) => text.clone(),
                other => other.to_string(),
            };
            ["sku", "title", "description", "price"].map(text)
        })
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_and_updates_change_the_totals() {
    let stack = start(Sql::Sqlite, &[("ChunkBytes", "1024")]).await;
    let definition = STOCK.replacen("key", "operation = { column = \"op\" }\nkey", 1);
    stack.put_dataset("stock", &definition).await.unwrap();
    let rows = (0..1_000).map(|number| format!("s{number:03},shelf {},{number}\n", number % 7));
    let first = iter::once("sku,shelf,pieces\n".to_owned()).chain(rows);
    let event = land(
        &stack,
        "stock/1.csv",
        first.collect::<String>().into_bytes(),
    )
    .await;
    assert!(event.chunks > 8);
    assert_eq!(each(&event, |counts| counts.inserted), [1_000, 1_000]);
    assert_eq!(totals(&stack).len(), 7);

    let rows = (0..900).map(|number| match number % 3 {
        0 => format!("delete,s{number:03},,\n"),
        1 => format!("upsert,s{number:03},another,1\n"),
        _ => format!(",s{number:03},shelf {},{number}\n", number % 7),
    });
    let second = iter::once("op,sku,shelf,pieces\n".to_owned())
        .chain(rows)
        .chain(["d,nobody,,\n".to_owned()]);
    let event = land(
        &stack,
        "stock/2.csv",
        second.collect::<String>().into_bytes(),
    )
    .await;
    assert_eq!(each(&event, |counts| counts.deleted), [300, 300]);
    assert_eq!(each(&event, |counts| counts.updated), [300, 300]);
    assert_eq!(each(&event, |counts| counts.unchanged), [301, 301]);
    assert_eq!(skus(&stack).await.len(), 700);
    assert_eq!(totals(&stack).len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_is_added_and_a_changed_type_is_refused() {
    let stack = start(Sql::Sqlite, &[]).await;
    stack.put_dataset("stock", STOCK).await.unwrap();
    let first = "sku,shelf,pieces\na,left,1\n";
    land(&stack, "stock/1.csv", first.as_bytes().to_vec()).await;

    let key = "\"pieces\", type = \"integer\" },";
    let wider = STOCK.replace(
        key,
        &format!("{key} {{ name = \"maker\", type = \"text\" }},"),
    );
    replace_dataset(&stack, &wider).await;
    let second = "sku,shelf,pieces,maker\nb,left,2,Ana\n";
    land(&stack, "stock/2.csv", second.as_bytes().to_vec()).await;
    assert_eq!(
        query(&stack, "SELECT sku, maker FROM stock ORDER BY sku"),
        [["a", "-"], ["b", "Ana"]]
    );

    let changed = wider.replace("\"maker\", type = \"text\"", "\"maker\", type = \"date\"");
    stack.put_dataset("stock", &changed).await.unwrap();
    forget_definitions(&stack);
    let third = "sku,shelf,pieces,maker\na,right,1,2026-11-21\nc,left,3,2026-11-21\n";
    let event = land(&stack, "stock/3.csv", third.as_bytes().to_vec()).await;
    assert_eq!(event.state, JobState::Failed);
    let problem = event.problem.unwrap();
    assert_eq!(problem.code, ProblemCode::SchemaMismatch);
    assert!(
        problem.message.contains("field maker is date"),
        "{}",
        problem.message
    );
    assert_eq!(skus(&stack).await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_products_per_name_is_correct() {
    let stack = start(Sql::Sqlite, &[]).await;
    land(&stack, "products/1.csv", products_file(50_000, 3)).await;
    land(&stack, "products/2.csv", products_file(50_000, 4)).await;
    let kept = "SELECT name, no_of_products FROM products_by_name ORDER BY name";
    let counted = "SELECT name, COUNT(*) FROM products GROUP BY name ORDER BY name";
    let kept = query(&stack, kept);
    assert_eq!(kept, query(&stack, counted));
    assert!(kept.len() > 100);
}
