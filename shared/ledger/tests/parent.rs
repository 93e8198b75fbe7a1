//! Parents of numbered rows, in memory.

#![expect(clippy::unwrap_used, reason = "a test")]

use landfall_domain::ParentRow;
use landfall_ledger::{CheckedNumbers, ListedStage, MemoryTable, Parent, ParentTable, Relisting};

fn application() -> ParentRow {
    ParentRow {
        dataset: "applications".to_owned(),
        key: vec!["a1".to_owned()],
    }
}

async fn parent(table: &MemoryTable) -> Parent {
    table.parents(&[application()]).await.unwrap().remove(0)
}

async fn listed(table: &MemoryTable, stage: ListedStage, until: i64) -> usize {
    table.listed_parents(stage, until, 10).await.unwrap().len()
}

#[tokio::test]
async fn numbers_are_given_out_only_under_parents_that_exist() {
    let (table, row) = (MemoryTable::default(), application());
    assert_eq!(table.allocate(&row, "chats", false, 1).await.unwrap(), None);
    assert!(table.create_parent(&row).await.unwrap());
    assert!(!table.create_parent(&row).await.unwrap());
    for number in 1..4 {
        let given = table.allocate(&row, "chats", false, 1).await.unwrap();
        assert_eq!(given, Some(number));
    }
    assert_eq!(
        table.allocate(&row, "files", false, 1).await.unwrap(),
        Some(1)
    );
    let found = parent(&table).await;
    assert_eq!((found.given, found.numbers("chats").last), (4, 3));
    assert!(found.numbers("chats").has(3) && !found.numbers("chats").has(4));
    table.delete_parent(&row).await.unwrap();
    for creates in [false, true] {
        let given = table.allocate(&row, "chats", creates, 1).await.unwrap();
        assert_eq!(given, None);
    }
    assert!(parent(&table).await.is_deleted);
}

#[tokio::test]
async fn a_parent_is_listed_until_all_its_numbers_are_checked() {
    let (table, row) = (MemoryTable::default(), application());
    table.create_parent(&row).await.unwrap();
    assert_eq!(listed(&table, ListedStage::New, i64::MAX).await, 0);
    table.allocate(&row, "chats", false, 100).await.unwrap();
    assert_eq!(listed(&table, ListedStage::New, 99).await, 0);
    assert_eq!(listed(&table, ListedStage::New, 100).await, 1);

    let new = parent(&table).await;
    assert!(table.relist(&new, Relisting::See, 200).await.unwrap());
    // Another janitor was slower.
    assert!(!table.relist(&new, Relisting::See, 201).await.unwrap());
    assert_eq!(listed(&table, ListedStage::New, i64::MAX).await, 0);
    assert_eq!(listed(&table, ListedStage::Seen, 200).await, 1);
    table.allocate(&row, "chats", false, 300).await.unwrap();
    let seen = parent(&table).await;
    assert_eq!(seen.numbers("chats").unchecked(), Some((0, 1)));

    let checked = CheckedNumbers {
        from: 0,
        to: 1,
        voids: [1].into(),
    };
    assert!(table.record_checked(&row, "chats", &checked).await.unwrap());
    assert!(!table.record_checked(&row, "chats", &checked).await.unwrap());
    let found = parent(&table).await;
    let numbers = found.numbers("chats");
    assert_eq!((numbers.checked, numbers.unchecked()), (1, None));
    assert!(!numbers.has(1) && numbers.has(2) && !found.is_checked());

    assert!(table.relist(&found, Relisting::See, 400).await.unwrap());
    let checked = CheckedNumbers {
        from: 1,
        to: 2,
        voids: [].into(),
    };
    assert!(table.record_checked(&row, "chats", &checked).await.unwrap());
    let found = parent(&table).await;
    assert!(found.is_checked());
    // A number that was given out meanwhile keeps it in the list.
    table.allocate(&row, "chats", false, 500).await.unwrap();
    assert!(!table.relist(&found, Relisting::Remove, 600).await.unwrap());
    let found = parent(&table).await;
    assert!(table.relist(&found, Relisting::Remove, 600).await.unwrap());
    assert_eq!(listed(&table, ListedStage::Seen, i64::MAX).await, 0);
}
