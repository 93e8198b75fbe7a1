use async_trait::async_trait;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use futures::future::try_join_all;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{Item, ItemError, find, is_condition_failure, number, require, text};
use landfall_domain::{Numbers, ParentRow};

use crate::dynamo::{Updated, attribute};
use crate::item::parent_key;
use crate::partitions::{OPEN, parents_partition, parents_place, parents_shards, place_of_parents};
use crate::{
    CheckedNumbers, DynamoTable, LedgerError, Listed, ListedStage, Parent, ParentTable, Relisting,
};

/// The index whose partitions of their own have the parents with numbers that are not checked.
const OPEN_JOBS: &str = "open_jobs";
/// The attribute by which the index sorts.
const SINCE: &str = "created_at";
/// What the names of the attributes of a child begin with.
const LAST: &str = "last_";
const CHECKED: &str = "checked_";
const SEEN: &str = "seen_";
const VOIDS: &str = "voids_";

#[async_trait]
impl ParentTable for DynamoTable {
    async fn create_parent(&self, row: &ParentRow) -> Result<bool, LedgerError> {
        let key = parent_key(row);
        let item = Item::from([("parent".to_owned(), attribute(&key, row)?)]);
        self.put_new(&key, item).await
    }

    async fn delete_parent(&self, row: &ParentRow) -> Result<(), LedgerError> {
        let key = parent_key(row);
        let update = self
            .update(&key)
            .update_expression("SET deleted = :true, parent = :parent")
            .expression_attribute_values(":true", attribute(&key, true)?)
            .expression_attribute_values(":parent", attribute(&key, row)?);
        self.apply(&key, update).await.map(drop)
    }

    async fn allocate(
        &self,
        parent: &ParentRow,
        child: &str,
        creates: bool,
        now: i64,
    ) -> Result<Option<u64>, LedgerError> {
        let key = parent_key(parent);
        let last = format!("{LAST}{child}");
        let condition = if creates {
            "attribute_not_exists(deleted)"
        } else {
            "attribute_exists(pk) AND attribute_not_exists(deleted)"
        };
        let (partition, since) = parents_place(parent, ListedStage::New, now);
        let update = self
            .update(&key)
            .condition_expression(condition)
            .update_expression(
                "SET parent = :parent, #open = if_not_exists(#open, :partition), \
                 #since = if_not_exists(#since, :since) \
                 ADD #last :one, given :one",
            )
            .expression_attribute_names("#open", OPEN)
            .expression_attribute_names("#since", SINCE)
            .expression_attribute_names("#last", &last)
            .expression_attribute_values(":parent", attribute(&key, parent)?)
            .expression_attribute_values(":partition", text(partition))
            .expression_attribute_values(":since", text(since))
            .expression_attribute_values(":one", number(1));
        let Some(item) = self.apply(&key, update).await? else {
            return Ok(None);
        };
        let number = require(&item, &last);
        number
            .map(Some)
            .map_err(|error| LedgerError::corrupt(&key, error))
    }

    async fn parents(&self, rows: &[ParentRow]) -> Result<Vec<Parent>, LedgerError> {
        let items = self.get_all(rows.iter().map(parent_key)).await?;
        items.iter().map(read_parent).collect()
    }

    async fn listed_parents(
        &self,
        stage: ListedStage,
        until: i64,
        limit: usize,
    ) -> Result<Vec<Parent>, LedgerError> {
        let shards = parents_shards();
        let share = limit.div_ceil(shards.len()).max(1);
        let queries = shards.map(|shard| self.listed_keys(stage, shard, until, share));
        let keys: Vec<String> = try_join_all(queries).await?.into_iter().flatten().collect();
        let mut parents = Vec::with_capacity(keys.len());
        // The most that one request reads.
        for keys in keys.chunks(100) {
            let items = self.get_all(keys.iter().cloned()).await?;
            for item in &items {
                parents.push(read_parent(item)?);
            }
        }
        // The index may be behind its table.
        let is_due = |listed: &Listed| listed.stage == stage && listed.at <= until;
        parents.retain(|parent| parent.listed.as_ref().is_some_and(is_due));
        parents.sort_by_key(|parent| parent.listed.map(|listed| listed.at));
        Ok(parents)
    }

    async fn relist(
        &self,
        parent: &Parent,
        relisting: Relisting,
        now: i64,
    ) -> Result<bool, LedgerError> {
        let Some(listed) = parent.listed else {
            return Ok(false);
        };
        let key = parent_key(&parent.row);
        let (_, since) = parents_place(&parent.row, listed.stage, listed.at);
        let update = self
            .update(&key)
            .expression_attribute_names("#open", OPEN)
            .expression_attribute_names("#since", SINCE)
            .expression_attribute_values(":seen_since", text(since));
        if relisting == Relisting::Remove {
            let update = update
                .condition_expression("#since = :seen_since AND given = :given")
                .update_expression("REMOVE #open, #since")
                .expression_attribute_values(":given", number(parent.given));
            return Ok(self.apply(&key, update).await?.is_some());
        }
        let (partition, since) = parents_place(&parent.row, ListedStage::Seen, now);
        let mut update = update
            .condition_expression("#since = :seen_since")
            .expression_attribute_values(":partition", text(partition))
            .expression_attribute_values(":since", text(since));
        let mut set = vec![
            "#open = :partition".to_owned(),
            "#since = :since".to_owned(),
        ];
        if relisting == Relisting::See {
            for (index, (child, numbers)) in parent.children.iter().enumerate() {
                set.push(format!("#seen{index} = :seen{index}"));
                update = update
                    .expression_attribute_names(format!("#seen{index}"), format!("{SEEN}{child}"))
                    .expression_attribute_values(format!(":seen{index}"), number(numbers.last));
            }
        }
        let updated = self
            .apply(
                &key,
                update.update_expression(format!("SET {}", set.join(", "))),
            )
            .await?;
        Ok(updated.is_some())
    }

    async fn record_checked(
        &self,
        parent: &ParentRow,
        child: &str,
        checked: &CheckedNumbers,
    ) -> Result<bool, LedgerError> {
        let key = parent_key(parent);
        let item = self.get(&key).await?.unwrap_or_default();
        let voids = format!("{VOIDS}{child}");
        let stored: Option<Vec<u64>> =
            find(&item, &voids).map_err(|error| LedgerError::corrupt(&key, error))?;
        let listed = checked.listed(stored.unwrap_or_default().len());
        let listed: Vec<String> = listed.map(|void| void.to_string()).collect();
        let update = self
            .update(&key)
            // Only this changes the voids, so that they are those that were read if the condition is met.
            .condition_expression(
                "attribute_exists(#last) AND (#checked = :from OR (attribute_not_exists(#checked) AND :from = :zero))",
            )
            .expression_attribute_names("#last", format!("{LAST}{child}"))
            .expression_attribute_names("#checked", format!("{CHECKED}{child}"))
            .expression_attribute_values(":from", number(checked.from))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":to", number(checked.to));
        let update = if listed.is_empty() {
            update.update_expression("SET #checked = :to")
        } else {
            update
                .update_expression("SET #checked = :to ADD #voids :voids")
                .expression_attribute_names("#voids", voids)
                .expression_attribute_values(":voids", AttributeValue::Ns(listed))
        };
        match self.send(key, update).await {
            Ok(updated) => Ok(matches!(updated, Updated::Applied(_))),
            Err(LedgerError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl DynamoTable {
    /// Sends an update. Returns the attributes that it has set, or `None` if its condition is not met. The item may
    /// have many voids, so it is not returned.
    async fn apply(
        &self,
        key: &str,
        update: UpdateItemFluentBuilder,
    ) -> Result<Option<Item>, LedgerError> {
        match update.return_values(ReturnValue::UpdatedNew).send().await {
            Ok(output) => Ok(Some(output.attributes.unwrap_or_default())),
            Err(error) if is_condition_failure(&error) => Ok(None),
            Err(error) => Err(AwsError::from_sdk("UpdateItem", key, &error).into()),
        }
    }

    /// Returns the keys of parents in a partition of the index.
    async fn listed_keys(
        &self,
        stage: ListedStage,
        shard: u8,
        until: i64,
        limit: usize,
    ) -> Result<Vec<String>, LedgerError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(OPEN_JOBS)
            .key_condition_expression("#open = :partition AND #since <= :until")
            .expression_attribute_names("#open", OPEN)
            .expression_attribute_names("#since", SINCE)
            .expression_attribute_values(":partition", text(parents_partition(stage, shard)))
            .expression_attribute_values(":until", text(place_of_parents(until)))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("Query", OPEN_JOBS, &error))?;
        let keys = answer.items.unwrap_or_default().into_iter();
        keys.map(|item| {
            require(&item, "pk").map_err(|error| LedgerError::corrupt(OPEN_JOBS, error))
        })
        .collect()
    }
}

fn read_parent(item: &Item) -> Result<Parent, LedgerError> {
    parent(item).map_err(|error| LedgerError::corrupt("of a parent", error))
}

fn parent(item: &Item) -> Result<Parent, ItemError> {
    let count = |name: String| find(item, &name).map(Option::unwrap_or_default);
    let children = item.keys().filter_map(|name| name.strip_prefix(LAST));
    let children = children.map(|child| {
        let numbers = Numbers {
            last: count(format!("{LAST}{child}"))?,
            checked: count(format!("{CHECKED}{child}"))?,
            seen: count(format!("{SEEN}{child}"))?,
            voids: find(item, &format!("{VOIDS}{child}"))?.unwrap_or_default(),
        };
        Ok((child.to_owned(), numbers))
    });
    let partition: Option<String> = find(item, OPEN)?;
    let since: Option<String> = find(item, SINCE)?;
    let listed = partition.zip(since).and_then(|(partition, since)| {
        Some(Listed {
            stage: ListedStage::of_partition(&partition)?,
            at: since.parse().ok()?,
        })
    });
    Ok(Parent {
        row: require(item, "parent")?,
        is_deleted: find(item, "deleted")?.unwrap_or_default(),
        children: children.collect::<Result<_, ItemError>>()?,
        given: count("given".to_owned())?,
        listed,
    })
}
