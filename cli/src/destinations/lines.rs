//! What is printed about destinations.

use anyhow::Result;
use jiff::Timestamp;
use landfall_domain::{Dataset, JsonOf};
use landfall_ledger::{DestinationNotes, DestinationView, Task};
use landfall_stores::{ChangeSummary, ListedChange};
use serde_json::{Map, json};

/// Describes a destination in a line.
pub(super) fn describe(view: &DestinationView) -> String {
    let mut parts = vec![format!("{}: dataset {}", view.name, view.dataset)];
    let paused = view.paused.as_ref();
    parts.extend(paused.map(|pause| format!("paused by {} since {}", pause.by, pause.at)));
    parts.push(format!("circuit {}", view.circuit.as_str()));
    parts.extend(view.problem.clone());
    parts.join(", ")
}

/// Describes a destination in lines.
pub(super) fn describe_details<'t>(
    view: &DestinationView,
    summary: &ChangeSummary,
    notes: &DestinationNotes,
    tasks: impl Iterator<Item = &'t Task>,
    now: Timestamp,
) -> Vec<String> {
    let mut lines = vec![describe(view)];
    let oldest = summary.oldest_wanted_at.map(|oldest| {
        let lag = now.duration_since(oldest).as_secs().max(0);
        format!("; the oldest change has waited for {lag} s")
    });
    lines.push(format!(
        "{} keys wait: {} due, {} being sent{}",
        summary.waiting,
        summary.due,
        summary.leased,
        oldest.unwrap_or_default()
    ));
    let (set_aside, unknown) = (summary.set_aside, summary.unknown);
    lines.push(format!(
        "{set_aside} set aside, {unknown} with an unknown outcome"
    ));
    lines.push(format!("{} changes not looked at", summary.recorded));
    let errors = notes.errors.iter();
    lines.extend(errors.map(|error| format!("error at {}: {}", error.at, error.message)));
    lines.extend(tasks.map(describe_task));
    lines
}

/// Describes a task in a line.
pub(super) fn describe_task(task: &Task) -> String {
    let state = match (&task.problem, task.finished_at) {
        (Some(problem), _) => format!("failed: {problem}"),
        (None, Some(at)) => format!("finished {at:.0}"),
        (None, None) => "unfinished".to_owned(),
    };
    format!(
        "task {}: {} by {} since {:.0}, {} keys made due, {state}",
        task.id,
        task.kind.as_str(),
        task.requested_by,
        task.requested_at,
        task.keys
    )
}

/// Describes a change as a line of JSON.
pub(super) fn describe_change(dataset: &Dataset, change: &ListedChange) -> Result<String> {
    let mut key = Map::new();
    for (field, value) in dataset.key_fields().zip(&change.key.values) {
        key.insert(field.name.clone(), serde_json::to_value(JsonOf(value))?);
    }
    let sent = change.sent.as_ref().filter(|sent| sent.exists);
    let line = json!({
        "key": key,
        "wanted_at": format!("{:.3}", change.wanted_at),
        "due_at": format!("{:.3}", change.due_at),
        "attempts": change.attempts,
        "sent": sent.is_some(),
        "remote_id": sent.and_then(|sent| sent.id.as_deref()),
        "is_leased": change.is_leased,
        "is_uncertain": change.is_uncertain,
        "holds": change.holds,
        "answer": change.answer,
    });
    Ok(line.to_string())
}

#[cfg(test)]
mod tests {
    use landfall_destinations::{Breaker, Draft};
    use landfall_ledger::{
        DestinationError, DestinationTable, MemoryTable, TaskRequest, request_task,
    };

    use super::*;

    #[tokio::test]
    async fn the_lines_about_a_destination_say_what_waits_and_what_went_wrong() {
        let fields = "fields = [{ name = \"id\", type = \"text\" }]";
        let dataset = format!("name = \"stock\"\nkey = [\"id\"]\n{fields}");
        let dataset = Dataset::from_toml("stock.toml", &dataset).unwrap();
        let text =
            "dataset = \"stock\"\nurl = \"https://a.example\"\nupdate = { path = \"/{{ id }}\" }\n";
        let draft = Draft::parse("shop", "shop.toml", text).unwrap();
        let destination = draft.check(&dataset).unwrap();
        let table = MemoryTable::default();
        let now: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
        let view = |stored: &_| DestinationView::new(&destination, stored, now);
        let stored = table.destination("shop").await.unwrap();
        assert_eq!(
            describe(&view(&stored)),
            "shop: dataset stock, circuit closed"
        );

        let mut breaker = Breaker::default();
        for _ in 0..5 {
            breaker.failed(now, "503", None, 0.5, false);
        }
        table.save_breaker("shop", &breaker, 0).await.unwrap();
        let mut notes = DestinationNotes::default();
        notes.add([DestinationError::new(now, "422: no price")]);
        table.save_notes("shop", &notes).await.unwrap();
        table.pause_destination("shop", "ann").await.unwrap();
        request_task(&table, "shop", &TaskRequest::Sync, "bob", now)
            .await
            .unwrap()
            .unwrap();
        let stored = table.destination("shop").await.unwrap();
        let summary = ChangeSummary {
            waiting: 3,
            due: 2,
            set_aside: 1,
            oldest_wanted_at: Some("2026-11-20T07:59:00Z".parse().unwrap()),
            ..ChangeSummary::default()
        };
        let tasks = table.tasks("shop").await.unwrap().tasks;
        let lines = describe_details(
            &view(&stored),
            &summary,
            &stored.notes,
            tasks.kept(now),
            now,
        );
        let first = "shop: dataset stock, paused by ann since ";
        assert!(lines[0].starts_with(first), "{}", lines[0]);
        assert!(
            lines[0].contains("circuit open, the service has failed since"),
            "{}",
            lines[0]
        );
        assert_eq!(
            lines[1..],
            [
                "3 keys wait: 2 due, 0 being sent; the oldest change has waited for 60 s",
                "1 set aside, 0 with an unknown outcome",
                "0 changes not looked at",
                "error at 2026-11-20T08:00:00.000Z: 422: no price",
                "task 1: sync by bob since 2026-11-20T08:00:00Z, 0 keys made due, unfinished",
            ]
        );
    }
}
