//! How progress is reported.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often a log shows a counter that changes.
const LOG_INTERVAL: Duration = Duration::from_secs(15);

/// Receives the steps of a start.
pub trait Progress: Send + Sync {
    /// Reports the current step, which replaces the one before. What follows a colon is a counter.
    fn step(&self, step: &str);
    /// Prints a line that stays on the screen.
    fn note(&self, line: &str);
}

/// Discards everything.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _step: &str) {}
    fn note(&self, _line: &str) {}
}

/// Writes to standard error: one line that is redrawn on a terminal, and plain lines elsewhere.
#[derive(Debug, Default)]
pub struct Lines {
    last: Mutex<Option<(Instant, String)>>,
}

impl Lines {
    /// Clears the line that is redrawn.
    pub fn clear(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[2K");
        }
    }
}

impl Progress for Lines {
    fn step(&self, step: &str) {
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        if std::io::stderr().is_terminal() {
            // A longer line would wrap, and could not be redrawn.
            let visible: String = step.chars().take(terminal_width() - 1).collect();
            eprint!("\r\x1b[2K{visible}");
        } else {
            // In a log, a new step appears at once, and a counter now and then.
            if last.as_ref().is_some_and(|(at, before)| {
                before == step
                    || (without_counter(before) == without_counter(step)
                        && at.elapsed() < LOG_INTERVAL)
            }) {
                return;
            }
            eprintln!("{step}");
        }
        *last = Some((Instant::now(), step.to_owned()));
    }

    fn note(&self, line: &str) {
        if std::io::stderr().is_terminal() {
            eprintln!("\r\x1b[2K{line}");
        } else {
            eprintln!("{line}");
        }
    }
}

fn terminal_width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    if columns < 20 { 80 } else { columns.into() }
}

fn without_counter(step: &str) -> &str {
    step.split(':').next().unwrap_or(step)
}

/// The progress of tasks that run at the same time, on one line.
pub struct Tasks<'a> {
    progress: &'a dyn Progress,
    steps: Mutex<Vec<Option<String>>>,
}

impl<'a> Tasks<'a> {
    /// Returns an empty list of tasks, reported through `progress`.
    pub fn new(progress: &'a dyn Progress) -> Self {
        Self {
            progress,
            steps: Mutex::default(),
        }
    }

    /// Adds a task.
    pub fn add(&self) -> Task<'_> {
        let mut index = 0;
        if let Ok(mut steps) = self.steps.lock() {
            index = steps.len();
            steps.push(None);
        }
        Task { tasks: self, index }
    }

    fn set(&self, index: usize, step: Option<String>) {
        let Ok(mut steps) = self.steps.lock() else {
            return;
        };
        if let Some(slot) = steps.get_mut(index) {
            *slot = step;
        }
        let running: Vec<_> = steps.iter().flatten().map(String::as_str).collect();
        if !running.is_empty() {
            self.progress.step(&running.join(" | "));
        }
    }
}

/// One of several tasks. Its step disappears when it is dropped.
pub struct Task<'a> {
    tasks: &'a Tasks<'a>,
    index: usize,
}

impl Progress for Task<'_> {
    fn step(&self, step: &str) {
        self.tasks.set(self.index, Some(step.to_owned()));
    }

    fn note(&self, line: &str) {
        self.tasks.progress.note(line);
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.tasks.set(self.index, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Last(Mutex<String>);

    impl Progress for Last {
        fn step(&self, step: &str) {
            step.clone_into(&mut self.0.lock().unwrap());
        }
        fn note(&self, _line: &str) {}
    }

    #[test]
    fn running_tasks_share_one_line() {
        let last = Last::default();
        let tasks = Tasks::new(&last);
        let (first, second) = (tasks.add(), tasks.add());
        first.step("Landfall 1/9 crates");
        second.step("MongoDB 2/8 crates");
        let line = || last.0.lock().unwrap().clone();
        assert_eq!(line(), "Landfall 1/9 crates | MongoDB 2/8 crates");
        drop(first);
        assert_eq!(line(), "MongoDB 2/8 crates");
    }
}
