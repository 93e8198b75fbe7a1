//! Tasks that operators have requested for a destination, and that relays carry out in steps.

use jiff::{SignedDuration, Timestamp};
use landfall_domain::ChangeState;
use serde::{Deserialize, Serialize};

/// The maximum number of unfinished tasks of a destination.
pub const MAX_OPEN_TASKS: usize = 16;
/// The maximum number of bytes of the keys of a task, so that all tasks of a destination fit an item.
pub const MAX_TASK_BYTES: usize = 16 * 1024;
/// The maximum number of finished tasks that are kept.
const MAX_FINISHED: usize = 32;
/// How long finished tasks are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TaskKind {
    /// Makes keys due whose changes are not sent, or that are to be sent again.
    Redrive,
    /// Makes the rows due that the destination has never had to do with.
    Sync,
}

impl TaskKind {
    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Sync => "sync",
        }
    }
}

/// The keys that a redrive is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskSelection {
    /// These keys: the texts of their values, in the order of the key.
    Keys(Vec<Vec<String>>),
    /// Keys by what has become of them.
    Matching {
        /// Their states.
        states: Vec<ChangeState>,
        /// A part of the last answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<String>,
    },
}

/// A task of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its number, from 1.
    pub id: u64,
    /// What it does.
    pub kind: TaskKind,
    /// The keys that a redrive is about, until it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<TaskSelection>,
    /// The number of keys after which a redrive ends: some may come back to the state that they are selected by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u64>,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// The name of the token, or what the command line was given.
    pub requested_by: String,
    /// The number of keys that it has made due.
    pub keys: u64,
    /// When it was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Why it could not be carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A task as requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskRequest {
    /// To make keys due.
    Redrive {
        /// Which.
        selection: TaskSelection,
        /// The number of keys after which it ends.
        most: u64,
    },
    /// To make rows due that the destination has never had to do with.
    Sync,
}

/// There are [`MAX_OPEN_TASKS`] unfinished tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the destination has {MAX_OPEN_TASKS} unfinished tasks: wait until some are finished")]
pub struct TooManyTasks;

/// The tasks of a destination: those that are unfinished, and the last ones that are finished.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tasks {
    /// The number of tasks so far.
    last: u64,
    tasks: Vec<Task>,
}

impl Tasks {
    /// Returns the tasks that are unfinished, or were finished in the last seven days, oldest first.
    pub fn kept(&self, now: Timestamp) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(move |task| is_kept(task, now))
    }

    /// Returns a task, unless it was finished more than seven days ago.
    pub fn find(&self, id: u64, now: Timestamp) -> Option<&Task> {
        self.kept(now).find(|task| task.id == id)
    }

    /// Returns the unfinished tasks, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| task.finished_at.is_none())
    }

    /// Adds a task, unless one that does the same is unfinished. Returns the task.
    pub fn add(
        &mut self,
        request: TaskRequest,
        by: &str,
        now: Timestamp,
    ) -> Result<Task, TooManyTasks> {
        let (kind, selection, most) = match request {
            TaskRequest::Redrive { selection, most } => {
                (TaskKind::Redrive, Some(selection), Some(most))
            }
            TaskRequest::Sync => (TaskKind::Sync, None, None),
        };
        let is_same = |task: &&Task| task.kind == kind && task.selection == selection;
        if let Some(task) = self.open().find(is_same) {
            return Ok(task.clone());
        }
        if self.open().count() >= MAX_OPEN_TASKS {
            return Err(TooManyTasks);
        }
        self.prune(now);
        self.last += 1;
        let task = Task {
            id: self.last,
            kind,
            selection,
            most,
            requested_at: now,
            requested_by: by.to_owned(),
            keys: 0,
            finished_at: None,
            problem: None,
        };
        self.tasks.push(task.clone());
        Ok(task)
    }

    /// Changes a task that is unfinished. Returns whether it was.
    pub fn update(&mut self, id: u64, change: impl FnOnce(&mut Task)) -> bool {
        let open = self
            .tasks
            .iter_mut()
            .filter(|task| task.finished_at.is_none());
        let Some(task) = open.into_iter().find(|task| task.id == id) else {
            return false;
        };
        change(task);
        true
    }

    /// Forgets finished tasks that are old, or too many.
    fn prune(&mut self, now: Timestamp) {
        self.tasks.retain(|task| is_kept(task, now));
        let finished = self.tasks.iter().filter(|task| task.finished_at.is_some());
        let mut surplus = finished.count().saturating_sub(MAX_FINISHED);
        self.tasks.retain(|task| {
            let goes = surplus > 0 && task.finished_at.is_some();
            surplus -= usize::from(goes);
            !goes
        });
    }
}

impl Task {
    /// Records that the task is finished, or that it cannot be carried out.
    pub fn finish(&mut self, now: Timestamp, problem: Option<String>) {
        self.finished_at = Some(now);
        self.selection = None;
        self.problem = problem;
    }
}

fn is_kept(task: &Task, now: Timestamp) -> bool {
    task.finished_at
        .is_none_or(|finished| now.duration_since(finished) < KEPT)
}

/// A task as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = DestinationTask))]
pub struct TaskView {
    /// Its number, from 1.
    pub id: u64,
    /// What it does.
    pub kind: TaskKind,
    /// When it was requested; RFC 3339.
    pub requested_at: String,
    /// The name of the token, or what the command line was given.
    pub requested_by: String,
    /// The number of keys that it has made due so far.
    pub keys: u64,
    /// When it was finished; RFC 3339. The keys may not all be sent yet.
    pub finished_at: Option<String>,
    /// Why it could not be carried out.
    pub problem: Option<String>,
}

impl From<&Task> for TaskView {
    fn from(task: &Task) -> Self {
        Self {
            id: task.id,
            kind: task.kind,
            requested_at: format!("{:.3}", task.requested_at),
            requested_by: task.requested_by.clone(),
            keys: task.keys,
            finished_at: task.finished_at.map(|at| format!("{at:.3}")),
            problem: task.problem.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap()
    }

    fn redrive(key: &str) -> TaskRequest {
        TaskRequest::Redrive {
            selection: TaskSelection::Keys(vec![vec![key.to_owned()]]),
            most: 1,
        }
    }

    #[test]
    fn a_task_that_is_requested_again_is_the_same_until_it_is_finished() {
        let mut tasks = Tasks::default();
        let first = tasks.add(TaskRequest::Sync, "ann", at(0)).unwrap();
        assert_eq!(tasks.add(TaskRequest::Sync, "bob", at(1)).unwrap(), first);
        let other = tasks.add(redrive("a"), "ann", at(1)).unwrap();
        assert_eq!((first.id, other.id), (1, 2));
        assert!(tasks.update(1, |task| task.finish(at(2), None)));
        assert!(!tasks.update(1, |task| task.keys = 7));
        let again = tasks.add(TaskRequest::Sync, "bob", at(3)).unwrap();
        assert_eq!(again.id, 3);
        let open: Vec<u64> = tasks.open().map(|task| task.id).collect();
        assert_eq!(open, [2, 3]);
        assert_eq!(tasks.find(1, at(3)).unwrap().keys, 0);
    }

    #[test]
    fn tasks_are_bounded_and_finished_ones_are_kept_for_a_week() {
        let mut tasks = Tasks::default();
        for number in 0..MAX_OPEN_TASKS {
            tasks
                .add(redrive(&number.to_string()), "ann", at(0))
                .unwrap();
        }
        let refused = tasks.add(TaskRequest::Sync, "ann", at(0));
        assert_eq!(refused, Err(TooManyTasks));
        // The same as an unfinished one needs no place.
        assert!(tasks.add(redrive("3"), "ann", at(0)).is_ok());
        for round in 0..60 {
            let id = tasks.open().next().unwrap().id;
            tasks.update(id, |task| task.finish(at(1), Some("x".to_owned())));
            tasks
                .add(redrive(&format!("new {round}")), "ann", at(1))
                .unwrap();
        }
        assert_eq!(tasks.open().count(), MAX_OPEN_TASKS);
        assert!(tasks.kept(at(2)).count() <= MAX_OPEN_TASKS + MAX_FINISHED + 1);
        let last = tasks.last;
        tasks.update(last, |task| task.finish(at(2), None));
        assert!(tasks.find(last, at(24 * 7)).is_some());
        assert_eq!(tasks.find(last, at(24 * 7 + 3)), None);
        let text = serde_json::to_string(&tasks).unwrap();
        assert_eq!(serde_json::from_str::<Tasks>(&text).unwrap(), tasks);
    }
}
