//! What is shown with rows that are parents: the counts and the last numbers of their children.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::future::try_join_all;
use landfall_domain::{Dataset, ParentRow, Value};
use landfall_ledger::Parent;
use landfall_stores::{Reader, StoreError, StoredRow};
use serde_json::{Map, Value as Json, json};

use super::place::{parent_row, text};
use crate::{ApiError, Context};

/// The most rows of a page, which are one read of the ledger.
pub(super) const MAX_ROWS: u32 = 100;
/// Name of the property with the last numbers of the children, by dataset.
pub(super) const LAST_NUMBERS: &str = "_last_numbers";

/// Returns the further properties of each row: the counts of its children under their names, and their last numbers.
/// Counts are null where no SQL database keeps them.
pub(super) async fn of_rows(
    context: &Context,
    reader: &dyn Reader,
    dataset: &Dataset,
    rows: &[StoredRow],
) -> Result<Vec<Map<String, Json>>, ApiError> {
    let children = context.families.children(context, &dataset.name).await?;
    if children.is_empty() || rows.is_empty() {
        return Ok(rows.iter().map(|_| Map::new()).collect());
    }
    let keys: Vec<Vec<Value>> = rows.iter().map(|row| key_of(dataset, row)).collect();
    let parents: Vec<ParentRow> = keys
        .iter()
        .map(|key| parent_row(&dataset.name, &key.iter().map(text).collect::<Vec<_>>()))
        .collect();
    let counts = try_join_all(children.iter().map(|child| counts(reader, child, &keys)));
    let recorded = async {
        context
            .parents
            .parents(&parents)
            .await
            .map_err(ApiError::from)
    };
    let (counts, recorded) = futures::future::try_join(counts, recorded).await?;
    let recorded: HashMap<&ParentRow, &Parent> = recorded
        .iter()
        .map(|parent| (&parent.row, parent))
        .collect();
    let shown = parents.iter().enumerate().map(|(index, row)| {
        let mut shown = Map::new();
        for (child, counts) in children.iter().zip(&counts) {
            if let Some(name) = child.child.as_ref().and_then(|child| child.count.as_ref()) {
                shown.insert(name.clone(), counts[index].map_or(Json::Null, Json::from));
            }
        }
        let last = |child: &Arc<Dataset>| {
            let parent = recorded.get(row);
            let last = parent.map_or(0, |parent| parent.numbers(&child.name).last);
            (child.name.clone(), last)
        };
        let last: BTreeMap<String, u64> = children.iter().map(last).collect();
        shown.insert(LAST_NUMBERS.to_owned(), json!(last));
        shown
    });
    Ok(shown.collect())
}

/// Returns the values of the key of a row.
pub(super) fn key_of(dataset: &Dataset, row: &StoredRow) -> Vec<Value> {
    let key = dataset.key_indexes().iter();
    key.map(|field| row.values[*field].clone()).collect()
}

/// Returns the number of rows of a child with each of these parents.
async fn counts(
    reader: &dyn Reader,
    child: &Dataset,
    keys: &[Vec<Value>],
) -> Result<Vec<Option<i64>>, ApiError> {
    let none = keys.iter().map(|_| None).collect();
    let Some(total) = child.count_in_parent() else {
        return Ok(none);
    };
    // The rows of a page have a common beginning, that of their parent.
    let Some((_, first)) = keys.first().and_then(|key| key.split_last()) else {
        return Ok(none);
    };
    let last: Vec<Value> = keys.iter().filter_map(|key| key.last().cloned()).collect();
    let groups = match reader.groups(child, total, first, &last).await {
        Ok(groups) => groups,
        Err(StoreError::Query(_) | StoreError::Building(_)) => return Ok(none),
        Err(error) => return Err(error.into()),
    };
    let by = first.len();
    let counts: HashMap<String, i64> = groups
        .iter()
        .filter_map(|group| match group.get(by + 1) {
            Some(Value::Integer(count)) => Some((text(&group[by]), *count)),
            _ => None,
        })
        .collect();
    // A parent without rows has no group.
    let count = |last: &Value| Some(counts.get(&text(last)).copied().unwrap_or_default());
    Ok(last.iter().map(count).collect())
}

/// Writes a row with its further properties, given the row as a JSON object.
pub(super) fn extend(object: &mut Vec<u8>, shown: &Map<String, Json>) {
    if shown.is_empty() || object.pop() != Some(b'}') {
        return;
    }
    // A row has at least its key.
    object.push(b',');
    object.extend_from_slice(&Json::Object(shown.clone()).to_string().as_bytes()[1..]);
}
