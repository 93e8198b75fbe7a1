use async_trait::async_trait;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{Item, find, require, text};
use landfall_domain::{JobState, ObjectOrder};

use crate::dynamo::attribute;
use crate::item::{dataset_key, head_key, job_of_item, read};
use crate::partitions::{
    Answer, DATASET, Direction, KIND, OPEN, UNSHARDED_KIND, dataset_partition, index_shards,
    kind_partition, open_partition, read_page,
};
use crate::{
    DynamoTable, JobHead, JobIndex, JobsCursor, JobsPage, JobsQuery, LedgerError, OrderQuery,
};

/// The index of all jobs, by creation.
const BY_CREATION: &str = "jobs_by_creation";
/// The index of the jobs of each dataset, by creation.
const BY_DATASET: &str = "jobs_by_dataset";
/// The index of unfinished jobs, by creation. It has only the keys of the heads.
const OPEN_JOBS: &str = "open_jobs";
/// Items that one query with a filter evaluates.
const MAX_ITEMS: usize = 100;
/// Items that a query without a filter reads beyond its share of the page, so that the first query of each partition
/// mostly suffices.
const SPARE_ITEMS: usize = 8;

/// A partition of an index.
struct Partition {
    /// The value of the attribute that selects it.
    key: String,
    /// Values of the attribute `dataset_name` to select; empty for all. At most 100.
    datasets: Vec<String>,
}

/// A query of an index.
struct IndexQuery<'a> {
    index: &'static str,
    /// The attribute that selects a partition.
    attribute: &'static str,
    direction: Direction,
    after: Option<&'a JobsCursor>,
    state: Option<JobState>,
    order: Option<ObjectOrder>,
    /// Items that one query evaluates.
    limit: usize,
}

impl DynamoTable {
    /// Queries a partition from `start`, or from the position of the query. Positions before that may be included.
    async fn query_index(
        &self,
        query: &IndexQuery<'_>,
        partition: &Partition,
        start: Option<JobsCursor>,
    ) -> Result<(Vec<(JobsCursor, Item)>, Option<JobsCursor>), LedgerError> {
        let mut condition = String::from("#partition = :partition");
        let mut request = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(query.index)
            .scan_index_forward(query.direction == Direction::OldestFirst)
            .limit(i32::try_from(query.limit).unwrap_or(i32::MAX))
            .expression_attribute_names("#partition", query.attribute)
            .expression_attribute_values(":partition", text(&partition.key));
        if let Some(after) = query.after {
            condition.push_str(match query.direction {
                Direction::NewestFirst => " AND created_at <= :after",
                Direction::OldestFirst => " AND created_at >= :after",
            });
            request = request.expression_attribute_values(":after", text(&after.created_at));
        }
        let mut filters = Vec::new();
        if let Some(state) = query.state {
            filters.push("#state = :state".to_owned());
            request = request
                .expression_attribute_names("#state", "state")
                .expression_attribute_values(":state", text(state.as_str()));
        }
        if let Some(order) = &query.order {
            filters.push("#order = :order".to_owned());
            request = request
                .expression_attribute_names("#order", "order")
                .expression_attribute_values(":order", attribute("of an index", order)?);
        }
        if !partition.datasets.is_empty() {
            let datasets = &partition.datasets;
            let names: Vec<String> = (0..datasets.len()).map(|at| format!(":d{at}")).collect();
            filters.push(format!("#dataset IN ({})", names.join(", ")));
            request = request.expression_attribute_names("#dataset", DATASET);
            for (name, dataset) in names.into_iter().zip(datasets) {
                request = request.expression_attribute_values(name, text(dataset));
            }
        }
        if !filters.is_empty() {
            request = request.filter_expression(filters.join(" AND "));
        }
        if let Some(start) = start {
            request = request
                .exclusive_start_key("pk", text(head_key(start.job)))
                .exclusive_start_key(query.attribute, text(&partition.key))
                .exclusive_start_key("created_at", text(start.created_at));
        }
        let answer = request
            .key_condition_expression(condition)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("Query", query.index, &error))?;
        let last = answer.last_evaluated_key.as_ref();
        let last = last.map(position).transpose()?;
        let mut items = Vec::new();
        for item in answer.items.unwrap_or_default() {
            let position = position(&item)?;
            let is_after = |after| query.direction.compare(&position, after).is_gt();
            if query.after.is_none_or(is_after) {
                items.push((position, item));
            }
        }
        Ok((items, last))
    }
}

#[async_trait]
impl JobIndex for DynamoTable {
    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, LedgerError> {
        // One dataset has partitions of an index; several datasets are selected by a filter.
        let (index, attribute, partitions) = match query.datasets.as_deref() {
            Some([]) => (BY_CREATION, KIND, Vec::new()),
            Some([dataset]) => (BY_DATASET, DATASET, of_dataset(dataset)),
            datasets => (BY_CREATION, KIND, of_all(datasets.unwrap_or_default())),
        };
        let is_filtered =
            query.state.is_some() || query.datasets.as_ref().is_some_and(|names| names.len() > 1);
        let share = query.limit / index_shards().len() + SPARE_ITEMS;
        let index_query = IndexQuery {
            index,
            attribute,
            direction: Direction::NewestFirst,
            after: query.after.as_ref(),
            state: query.state,
            order: None,
            limit: if is_filtered { MAX_ITEMS } else { share },
        };
        let read = async |partition: usize, start: Option<JobsCursor>| {
            let partition = &partitions[partition];
            let (items, last) = self.query_index(&index_query, partition, start).await?;
            let mut heads = Vec::with_capacity(items.len());
            for (position, item) in items {
                let head: JobHead = read(index, item)?;
                // The name of an unsharded partition of one dataset may be that of a sharded one of another.
                if query.matches(&head) {
                    heads.push((position, head));
                }
            }
            Ok::<_, LedgerError>(Answer { items: heads, last })
        };
        let page = read_page(Direction::NewestFirst, query.limit, partitions.len(), read);
        let (heads, next) = page.await?;
        Ok(JobsPage { heads, next })
    }

    async fn open_jobs(
        &self,
        after: Option<&JobsCursor>,
        limit: usize,
    ) -> Result<JobsPage, LedgerError> {
        let shards = index_shards().map(open_partition);
        let partitions: Vec<Partition> = shards.map(Partition::whole).collect();
        let limit = limit.min(MAX_ITEMS);
        let index_query = IndexQuery {
            index: OPEN_JOBS,
            attribute: OPEN,
            direction: Direction::OldestFirst,
            after,
            state: None,
            order: None,
            limit: MAX_ITEMS,
        };
        let read_keys = async |partition: usize, start: Option<JobsCursor>| {
            let partition = &partitions[partition];
            let (items, last) = self.query_index(&index_query, partition, start).await?;
            let items = items.into_iter();
            let items = items
                .map(|(position, _)| (position.clone(), position))
                .collect();
            Ok::<_, LedgerError>(Answer { items, last })
        };
        let page = read_page(Direction::OldestFirst, limit, partitions.len(), read_keys);
        let (found, next) = page.await?;
        let keys = found.iter().map(|position| head_key(position.job));
        let mut heads = Vec::with_capacity(found.len());
        for item in self.get_all(keys).await? {
            let head: JobHead = read(OPEN_JOBS, item)?;
            // The index may be a second behind.
            if head.is_unfinished() {
                heads.push(head);
            }
        }
        heads.sort_unstable_by_key(JobsCursor::after);
        Ok(JobsPage { heads, next })
    }

    async fn jobs_of_order(&self, query: &OrderQuery) -> Result<JobsPage, LedgerError> {
        let partitions = of_dataset(&query.dataset);
        let index_query = IndexQuery {
            index: BY_DATASET,
            attribute: DATASET,
            direction: Direction::OldestFirst,
            after: Some(&query.after),
            state: None,
            order: Some(query.order),
            limit: MAX_ITEMS,
        };
        let read = async |partition: usize, start: Option<JobsCursor>| {
            let partition = &partitions[partition];
            let (items, last) = self.query_index(&index_query, partition, start).await?;
            let mut heads = Vec::with_capacity(items.len());
            for (position, item) in items {
                let head: JobHead = read(BY_DATASET, item)?;
                if query.matches(&head) {
                    heads.push((position, head));
                }
            }
            Ok::<_, LedgerError>(Answer { items: heads, last })
        };
        let page = read_page(Direction::OldestFirst, MAX_ITEMS, partitions.len(), read);
        let (heads, next) = page.await?;
        Ok(JobsPage { heads, next })
    }

    async fn generation(&self, dataset: &str) -> Result<u64, LedgerError> {
        let key = dataset_key(dataset);
        let Some(item) = self.get(&key).await? else {
            return Ok(0);
        };
        // The floor of the dataset may have been first.
        let generation = find(&item, "generation").map(Option::unwrap_or_default);
        generation.map_err(|error| LedgerError::corrupt(&key, error))
    }
}

impl Partition {
    fn whole(key: String) -> Self {
        Self {
            key,
            datasets: Vec::new(),
        }
    }
}

/// Returns the partitions of one dataset.
fn of_dataset(dataset: &str) -> Vec<Partition> {
    let shards = index_shards().map(|shard| dataset_partition(dataset, shard));
    let unsharded = std::iter::once(dataset.to_owned());
    shards.chain(unsharded).map(Partition::whole).collect()
}

/// Returns the partitions of all jobs, with only these datasets selected, unless there are none.
fn of_all(datasets: &[String]) -> Vec<Partition> {
    let sharded = index_shards().map(|shard| Partition {
        key: kind_partition(shard),
        datasets: datasets
            .iter()
            .map(|dataset| dataset_partition(dataset, shard))
            .collect(),
    });
    let unsharded = Partition {
        key: UNSHARDED_KIND.to_owned(),
        datasets: datasets.to_vec(),
    };
    sharded.chain([unsharded]).collect()
}

/// Returns the position of an item of an index.
fn position(item: &Item) -> Result<JobsCursor, LedgerError> {
    let attribute = |name| -> Result<String, LedgerError> {
        require(item, name).map_err(|error| LedgerError::corrupt("of an index", error))
    };
    let key = attribute("pk")?;
    let job = job_of_item(&key);
    Ok(JobsCursor {
        created_at: attribute("created_at")?,
        job: job.ok_or_else(|| LedgerError::corrupt(&key, "this is not the key of a job"))?,
    })
}
