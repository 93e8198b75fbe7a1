//! Conditional updates of heads, each a step of a job.

use aws_sdk_dynamodb::types::AttributeValue;
use landfall_aws::dynamo::{number, number_set, text};
use landfall_domain::{JobId, JobState};

use crate::dynamo::{DynamoTable, Updated, attribute};
use crate::head::now;
use crate::item::{head_key, read};
use crate::partitions::{OPEN, index_shard, open_partition};
use crate::{HeadUpdate, JobHead, LedgerError};

/// Conditions on the state and the attempt of a head. Heads of an earlier release have no attempt: it is their first.
const OPEN_ATTEMPT: &str = "#state = :open AND \
    (attempt = :attempt OR (attribute_not_exists(attempt) AND :attempt = :first))";
const CLOSED_ATTEMPT: &str = "#state <> :open AND \
    (attempt = :attempt OR (attribute_not_exists(attempt) AND :attempt = :first))";

/// The condition that the redrives of a head are as many as were known.
const NO_OTHER_REDRIVE: &str =
    "(size(redrives) = :known OR (attribute_not_exists(redrives) AND :known = :none))";

/// The job has caused maintenance that is not finished.
const UNFINISHED: &str = "attribute_type(maintenance.finished_at, :null)";

impl DynamoTable {
    /// Applies an update if its condition is met. Returns the head as it is afterwards.
    pub(crate) async fn apply_update(
        &self,
        job: JobId,
        update: &HeadUpdate,
    ) -> Result<JobHead, LedgerError> {
        let key = head_key(job);
        let request = self.update(&key);
        let request = match update {
            HeadUpdate::Full(shard) => request
                .condition_expression("attribute_exists(pk) AND NOT contains(#full, :index)")
                .update_expression("SET progressed_at = :now ADD #full :shard")
                .expression_attribute_names("#full", "full")
                .expression_attribute_values(":index", number(shard))
                .expression_attribute_values(":now", text(now()))
                .expression_attribute_values(":shard", number_set(shard)),
            HeadUpdate::Problem(problem) => request
                .condition_expression("#state = :open AND attribute_type(problem, :null)")
                .update_expression("SET problem = :problem")
                .expression_attribute_names("#state", "state")
                .expression_attribute_values(":open", text(JobState::Open.as_str()))
                .expression_attribute_values(":null", text("NULL"))
                .expression_attribute_values(":problem", attribute(&key, problem)?),
            HeadUpdate::Seal(seal) => {
                let request = request
                    .condition_expression("attribute_exists(pk) AND attribute_type(chunks, :null)")
                    .expression_attribute_values(":null", text("NULL"))
                    .expression_attribute_values(":chunks", number(seal.chunks))
                    .expression_attribute_values(":warnings", attribute(&key, &seal.warnings)?)
                    .expression_attribute_values(":now", text(now()));
                let set = "SET chunks = :chunks, warnings = :warnings, progressed_at = :now";
                // What the job keeps if it is opened again.
                match &seal.problem {
                    None => request.update_expression(set),
                    Some(problem) => request
                        .update_expression(format!(
                            "{set}, problem = :problem, plan_problem = :problem"
                        ))
                        .expression_attribute_values(":problem", attribute(&key, problem)?),
                }
            }
            HeadUpdate::Cancel(cancelled) => request
                .condition_expression(
                    "#state = :open AND attribute_not_exists(cancelled) AND attribute_not_exists(prune)",
                )
                .update_expression("SET cancelled = :cancelled")
                .expression_attribute_names("#state", "state")
                .expression_attribute_values(":open", text(JobState::Open.as_str()))
                .expression_attribute_values(":cancelled", attribute(&key, cancelled)?),
            HeadUpdate::Prune(decision) => request
                .condition_expression(
                    "#state = :open AND attribute_not_exists(prune) AND attribute_not_exists(cancelled)",
                )
                .update_expression("SET prune = :prune")
                .expression_attribute_names("#state", "state")
                .expression_attribute_values(":open", text(JobState::Open.as_str()))
                .expression_attribute_values(":prune", attribute(&key, decision)?),
            HeadUpdate::Close(close) => request
                .condition_expression(match close.state {
                    JobState::Cancelled => format!("{OPEN_ATTEMPT} AND attribute_exists(cancelled)"),
                    _ => format!("{OPEN_ATTEMPT} AND attribute_not_exists(cancelled)"),
                })
                .update_expression(
                    "SET #state = :state, problem = :problem, #counts = :counts, dead = :dead, \
                     dead_chunks = :dead_chunks, closed_at = :closed_at, redrives = :redrives",
                )
                .expression_attribute_names("#state", "state")
                .expression_attribute_names("#counts", "counts")
                .expression_attribute_values(":open", text(JobState::Open.as_str()))
                .expression_attribute_values(":state", text(close.state.as_str()))
                .expression_attribute_values(":problem", attribute(&key, &close.problem)?)
                .expression_attribute_values(":counts", attribute(&key, &close.counts)?)
                .expression_attribute_values(":attempt", number(close.attempt))
                .expression_attribute_values(":first", number(1))
                .expression_attribute_values(":redrives", attribute(&key, &close.redrives)?)
                .expression_attribute_values(":dead", number(close.dead))
                .expression_attribute_values(
                    ":dead_chunks",
                    attribute(&key, &close.dead_chunks)?,
                )
                .expression_attribute_values(":closed_at", text(&close.closed_at)),
            HeadUpdate::Published { attempt, at } => request
                .condition_expression(CLOSED_ATTEMPT)
                .update_expression(
                    "SET published = :yes, published_at = if_not_exists(published_at, :at) REMOVE #open",
                )
                .expression_attribute_names("#state", "state")
                .expression_attribute_names("#open", OPEN)
                .expression_attribute_values(":open", text(JobState::Open.as_str()))
                .expression_attribute_values(":attempt", number(*attempt))
                .expression_attribute_values(":first", number(1))
                .expression_attribute_values(":yes", AttributeValue::Bool(true))
                .expression_attribute_values(":at", text(at)),
            HeadUpdate::Derive(derive) => request
                .condition_expression(format!(
                    "{CLOSED_ATTEMPT} AND published = :yes AND {NO_OTHER_REDRIVE}"
                ))
                .update_expression("SET redrives = :redrives")
                .expression_attribute_names("#state", "state")
                .expression_attribute_values(":open", text(JobState::Open.as_str()))
                .expression_attribute_values(":attempt", number(derive.attempt))
                .expression_attribute_values(":first", number(1))
                .expression_attribute_values(":known", number(derive.redrives.len() - 1))
                .expression_attribute_values(":none", number(0))
                .expression_attribute_values(":yes", AttributeValue::Bool(true))
                .expression_attribute_values(":redrives", attribute(&key, &derive.redrives)?),
            HeadUpdate::Reopen(reopen) => request
                .condition_expression(format!(
                    "{CLOSED_ATTEMPT} AND published = :yes AND {NO_OTHER_REDRIVE}"
                ))
                .update_expression(
                    "SET #state = :open, attempt = :next, resending = :yes, redrives = :redrives, \
                     problem = :problem, #counts = :null, dead = :zero, closed_at = :null, published = :no, \
                     #open = :partition REMOVE cancelled, dead_chunks, published_at",
                )
                .expression_attribute_names("#state", "state")
                .expression_attribute_names("#counts", "counts")
                .expression_attribute_values(":open", text(JobState::Open.as_str()))
                .expression_attribute_values(":attempt", number(reopen.attempt))
                .expression_attribute_values(":first", number(1))
                .expression_attribute_names("#open", OPEN)
                .expression_attribute_values(":partition", text(open_partition(index_shard(job))))
                .expression_attribute_values(":known", number(reopen.redrives.len() - 1))
                .expression_attribute_values(":none", number(0))
                .expression_attribute_values(":next", number(reopen.attempt + 1))
                .expression_attribute_values(":redrives", attribute(&key, &reopen.redrives)?)
                .expression_attribute_values(":problem", attribute(&key, &reopen.problem)?)
                .expression_attribute_values(":zero", number(0))
                .expression_attribute_values(":null", AttributeValue::Null(true))
                .expression_attribute_values(":yes", AttributeValue::Bool(true))
                .expression_attribute_values(":no", AttributeValue::Bool(false)),
            HeadUpdate::Resent { attempt } => request
                .condition_expression("attempt = :attempt")
                .update_expression("SET resending = :no")
                .expression_attribute_values(":attempt", number(*attempt))
                .expression_attribute_values(":no", AttributeValue::Bool(false)),
            HeadUpdate::ConfirmPrune(at) => request
                .condition_expression(
                    "attribute_exists(pk) AND attribute_not_exists(prune_confirmed_at)",
                )
                .update_expression("SET prune_confirmed_at = :at, #open = :open")
                .expression_attribute_names("#open", OPEN)
                .expression_attribute_values(":open", text(open_partition(index_shard(job))))
                .expression_attribute_values(":at", text(at)),
            HeadUpdate::Pruned(pruned) => request
                .condition_expression("attribute_exists(pk)")
                .update_expression("SET pruned = if_not_exists(pruned, :pruned)")
                .expression_attribute_values(":pruned", attribute(&key, pruned)?),
            HeadUpdate::PrunePublished => request
                .condition_expression("attribute_exists(pk)")
                .update_expression("SET prune_published = :yes REMOVE #open")
                .expression_attribute_names("#open", OPEN)
                .expression_attribute_values(":yes", AttributeValue::Bool(true)),
            HeadUpdate::Progress => request
                .condition_expression("attribute_exists(pk)")
                .update_expression("SET progressed_at = :now")
                .expression_attribute_values(":now", text(now())),
            HeadUpdate::Repair { seen, repairs } => {
                let request = request
                    .update_expression("SET #repairs = :repairs")
                    .expression_attribute_names("#repairs", "repairs")
                    .expression_attribute_values(":repairs", attribute(&key, repairs)?);
                match seen {
                    None => request.condition_expression(
                        "attribute_exists(pk) AND attribute_not_exists(#repairs)",
                    ),
                    Some(seen) => request
                        .condition_expression("#repairs.last_at = :seen")
                        .expression_attribute_values(":seen", text(&seen.last_at)),
                }
            }
            HeadUpdate::SplitError(error) => request
                .condition_expression("attribute_exists(pk) AND attribute_type(chunks, :null)")
                .update_expression("SET split_error = :error")
                .expression_attribute_values(":null", text("NULL"))
                .expression_attribute_values(":error", text(error)),
            // As `JobHead::is_unfinished`.
            HeadUpdate::ListAsOpen => request
                .condition_expression(
                    "published = :no OR (attribute_exists(prune_confirmed_at) AND \
                     (attribute_not_exists(prune_published) OR prune_published = :no))",
                )
                .update_expression("SET #open = :partition")
                .expression_attribute_names("#open", OPEN)
                .expression_attribute_values(":partition", text(open_partition(index_shard(job))))
                .expression_attribute_values(":no", AttributeValue::Bool(false)),
            HeadUpdate::Maintains(maintenance) => request
                .condition_expression(format!(
                    "attribute_exists(pk) AND (attribute_not_exists(maintenance) OR {UNFINISHED})"
                ))
                .update_expression("SET maintenance = :maintenance")
                .expression_attribute_values(":null", text("NULL"))
                .expression_attribute_values(":maintenance", attribute(&key, maintenance)?),
            HeadUpdate::AwaitsMaintenance(maintenance) => request
                .condition_expression("attribute_exists(pk) AND attribute_not_exists(maintenance)")
                .update_expression("SET maintenance = :maintenance")
                .expression_attribute_values(":maintenance", attribute(&key, maintenance)?),
            HeadUpdate::Maintained(at) => request
                .condition_expression(UNFINISHED)
                .update_expression(
                    "SET maintenance.finished_at = :at, maintenance.#step = :none, maintenance.#error = :none",
                )
                .expression_attribute_names("#step", "step")
                .expression_attribute_names("#error", "error")
                .expression_attribute_values(":null", text("NULL"))
                .expression_attribute_values(":none", AttributeValue::Null(true))
                .expression_attribute_values(":at", text(at)),
        };
        let (Updated::Applied(item) | Updated::Unmet(item)) =
            self.send(key.clone(), request).await?;
        read(&key, item)
    }
}
