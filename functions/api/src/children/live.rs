//! Whether rows exist, by what the ledger has of their parents.

use landfall_domain::ParentRow;
use landfall_ledger::Parent;

/// Returns whether rows exist, each of which is the parent of the next one: the first is recorded, the numbers of the
/// others are given out and are not voids, and none is deleted.
pub(super) fn is_live(rows: &[ParentRow], found: &[Parent]) -> bool {
    exists(rows, found) && !rows.iter().any(|row| is_deleted(row, found))
}

/// Returns whether rows exist, or did.
pub(super) fn exists(rows: &[ParentRow], found: &[Parent]) -> bool {
    let find = |row: &ParentRow| found.iter().find(|parent| parent.row == *row);
    let is_first = rows.first().is_some_and(|first| find(first).is_some());
    is_first
        && rows.windows(2).all(|pair| {
            let [parent, row] = pair else { return false };
            let number = row.key.last().and_then(|number| number.parse().ok());
            // Only parents with children are recorded.
            find(parent)
                .zip(number)
                .is_some_and(|(parent, number)| parent.numbers(&row.dataset).has(number))
        })
}

fn is_deleted(row: &ParentRow, found: &[Parent]) -> bool {
    found
        .iter()
        .any(|parent| parent.row == *row && parent.is_deleted)
}

#[cfg(test)]
mod tests {
    use landfall_domain::Numbers;

    use super::*;

    fn row(dataset: &str, key: &[&str]) -> ParentRow {
        ParentRow {
            dataset: dataset.to_owned(),
            key: key.iter().map(ToString::to_string).collect(),
        }
    }

    fn parent(row: ParentRow, child: &str, last: u64, voids: &[u64]) -> Parent {
        let numbers = Numbers {
            last,
            voids: voids.iter().copied().collect(),
            ..Numbers::default()
        };
        Parent {
            row,
            is_deleted: false,
            children: [(child.to_owned(), numbers)].into(),
            given: last,
            listed: None,
        }
    }

    #[test]
    fn a_row_exists_if_its_number_is_given_out_and_no_row_above_is_deleted() {
        let application = row("applications", &["a"]);
        let chat = |number: &str| row("chats", &["a", number]);
        let mut found = vec![
            parent(application.clone(), "chats", 3, &[2]),
            parent(chat("1"), "messages", 5, &[]),
        ];
        for (number, expected) in [
            ("0", false),
            ("1", true),
            ("2", false),
            ("3", true),
            ("4", false),
        ] {
            let rows = [application.clone(), chat(number)];
            assert_eq!(is_live(&rows, &found), expected, "{number}");
        }
        let message = |chat_number: &str, number: &str| {
            let key = ["a", chat_number, number];
            [
                application.clone(),
                chat(chat_number),
                row("messages", &key),
            ]
        };
        assert!(is_live(&message("1", "5"), &found));
        assert!(!is_live(&message("1", "6"), &found));
        // No message was created in the third chat.
        assert!(!is_live(&message("3", "1"), &found));
        found[1].is_deleted = true;
        assert!(!is_live(&message("1", "5"), &found) && exists(&message("1", "5"), &found));
        found[0].is_deleted = true;
        let application = std::slice::from_ref(&application);
        assert!(!is_live(application, &found));
        assert!(!exists(application, &[]) && !is_live(&[], &found));
    }
}
