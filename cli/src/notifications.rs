//! Notifications of webhooks.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use landfall_destinations::Webhook;
use landfall_ledger::{NotificationState, NotificationTable, NotificationView, NotificationsQuery};
use landfall_runtime::Environment;
use uuid::Uuid;

use crate::check::{print_lines, read_definitions};

/// The number of notifications that are read at once.
const PAGE: usize = 100;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List notifications that wait or are set aside. Like `redrive`, it needs the functions' `LANDFALL_LEDGER_TABLE`,
    /// as in the environment file that `cargo local` prints
    List {
        /// Their state
        #[arg(long, default_value = "set_aside")]
        state: State,
    },
    /// Send a notification again, and retry it for three days again
    Redrive {
        /// Id of the notification
        notification: Uuid,
    },
    /// Check files with webhooks, such as notify.toml, and print the file, line and setting of the first error in each
    Check {
        /// Files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum State {
    Waiting,
    SetAside,
}

/// Does what a command says.
pub(crate) async fn act(command: Command) -> Result<ExitCode> {
    match command {
        Command::List { state } => {
            let table = Environment::load().await.ledger_table()?;
            let state = match state {
                State::Waiting => NotificationState::Waiting,
                State::SetAside => NotificationState::SetAside,
            };
            list(&table, state).await?;
        }
        Command::Redrive { notification } => {
            let table = Environment::load().await.ledger_table()?;
            let redriven = table.redrive_notification(notification, Timestamp::now());
            let redriven = redriven.await.context("cannot send it again")?;
            match redriven.map(|redriven| redriven.state) {
                None => bail!("there is no notification {notification}"),
                Some(NotificationState::Delivered) => {
                    bail!("the notification is delivered, and is not sent again")
                }
                Some(_) => println!("{notification} is sent within a minute"),
            }
        }
        Command::Check { files } => return Ok(print_lines(check(&files)?)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a line about each notification in a state.
async fn list(table: &dyn NotificationTable, state: NotificationState) -> Result<()> {
    let mut query = NotificationsQuery {
        state,
        until: i64::MAX,
        after: None,
        limit: PAGE,
    };
    loop {
        let page = table.list_notifications(&query).await?;
        let ids: Vec<Uuid> = page.listed.iter().map(|listed| listed.place.id).collect();
        let mut found = table.notifications(&ids).await?;
        found.retain(|notification| notification.state == state);
        found.sort_unstable_by_key(|notification| notification.due_at);
        for notification in found {
            println!("{}", describe(&notification.into()));
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(());
        }
    }
}

fn describe(view: &NotificationView) -> String {
    let mut parts = vec![
        format!("{}: {} of job {}", view.id, view.event, view.job),
        view.url.clone(),
        format!("{} attempts", view.attempts),
    ];
    parts.extend(view.due_at.as_ref().map(|at| format!("due {at}")));
    let set_aside = view.set_aside_at.as_ref();
    parts.extend(set_aside.map(|at| format!("set aside {at}")));
    parts.extend(view.answer.clone());
    parts.join(", ")
}

/// Checks files. Returns a line about each webhook, or one with the error of a file.
fn check(files: &[PathBuf]) -> Result<Vec<Result<String, String>>> {
    let mut lines = Vec::new();
    for (file, text) in read_definitions(files)? {
        match Webhook::of_installation(&file.display().to_string(), &text) {
            Err(error) => lines.push(Err(error.to_string())),
            Ok(webhooks) => lines.extend(webhooks.iter().map(|webhook| {
                let secrets = webhook.secrets().join(", ");
                Ok(format!("{}: secrets {secrets}", webhook.url()))
            })),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use landfall_domain::JobId;

    use super::*;

    #[test]
    fn the_line_about_a_notification_says_where_it_was_sent_and_what_came_of_it() {
        let view = NotificationView {
            id: Uuid::nil(),
            event: "job.failed".to_owned(),
            job: JobId::for_object("inbox", "orders/1.csv", "v1"),
            dataset: Some("orders".to_owned()),
            url: "https://a.example/hook".to_owned(),
            state: NotificationState::SetAside,
            created_at: "2026-11-20T08:30:00Z".to_owned(),
            due_at: None,
            set_aside_at: Some("2026-11-23T08:30:00.000Z".to_owned()),
            attempts: 80,
            answer: Some("status 503: down".to_owned()),
        };
        let line = describe(&view);
        let expected = "https://a.example/hook, 80 attempts, set aside 2026-11-23T08:30:00.000Z, status 503: down";
        assert!(line.starts_with("00000000-0000-0000-0000-000000000000: job.failed of job"));
        assert!(line.ends_with(expected), "{line}");
    }

    #[test]
    fn the_examples_of_the_page_are_valid() {
        let page = include_str!("../../docs/notifications.md");
        let examples: Vec<&str> = page.split("```toml\n").skip(1).collect();
        assert_eq!(examples.len(), 2);
        for example in examples {
            let text = example.split("```").next().unwrap();
            let webhooks = Webhook::of_installation("notify.toml", text).unwrap();
            assert_eq!(webhooks.len(), 1, "{text}");
        }
    }
}
