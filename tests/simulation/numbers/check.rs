//! What is true in the end.

use std::collections::BTreeSet;

use landfall_domain::Value;
use landfall_ledger::ParentTable as _;

use super::{Clients, DATASET};
use crate::fakes::locked;
use crate::world::World;

/// Checks rule 11, and that the numbers of rows, of deleted rows and of voids add up.
pub(super) async fn check(world: &World, clients: &Clients) {
    let mut total = 0;
    for parent in world.table.0.parents(&clients.parents).await.unwrap() {
        assert_eq!((parent.listed, parent.is_checked()), (None, true));
        let numbers = parent.numbers(DATASET);
        let (mut rows, mut deleted) = (0, 0);
        for number in 1..=numbers.last {
            let place = (parent.row.clone(), number);
            let key = format!("{}@{number}", parent.row.key.join("@"));
            let is_void = numbers.voids.contains(&number);
            let is_deleted = clients.deleted.contains(&place);
            let is_late = clients.late.contains(&place);
            let stored = world.stores.each_ref().map(|store| {
                let rows = locked(&store.rows);
                let (_, values) = rows.get(&key).unwrap_or_else(|| panic!("{key} is lost"));
                values.clone()
            });
            assert_eq!(stored[0], stored[1], "the stores differ in {key}");
            let request = clients.answered.get(&place);
            match &stored[0] {
                Some(values) => {
                    assert!(!is_void, "the row of {key} is there after its void");
                    assert!(!is_deleted, "the deleted row {key} is there");
                    let body =
                        request.map(|request| Value::Text(request.to_string().as_str().into()));
                    assert!(
                        body.is_none_or(|body| values.contains(&body)),
                        "{key}: {values:?}"
                    );
                    rows += 1;
                }
                None if is_void => {
                    assert!(
                        request.is_none() || is_late,
                        "the acknowledged row {key} is a void"
                    );
                }
                // A delete that died may have been sent.
                None => deleted += 1,
            }
        }
        let voids = u64::try_from(numbers.voids.len()).unwrap();
        assert_eq!(rows + deleted + voids, numbers.last);
        total += rows;
    }
    let keys = locked(&world.stores[0].rows);
    let is_message = |key: &str| key.matches('@').count() == 2;
    let rows = keys.iter().filter(|(key, _)| is_message(key));
    let rows = rows.filter(|(_, (_, values))| values.is_some()).count();
    assert_eq!(u64::try_from(rows).unwrap(), total, "rows without numbers");
    let answered: BTreeSet<_> = clients.answered.values().collect();
    assert!(clients.pending.is_empty() && answered.len() >= clients.parents.len().min(1));
}
