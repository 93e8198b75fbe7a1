//! How progress is reported.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often a log shows a counter that changes.
const LOG_INTERVAL: Duration = Duration::from_secs(15);

/// Receives the steps of a start.
pub trait Progress: Send + Sync {
    /// Reports the current step, which replaces the one before. What follows a colon is a counter.
    fn step(&self, step: &str);
}

/// Discards everything.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _step: &str) {}
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

    /// Prints a line that stays on the screen.
    pub fn note(&self, line: &str) {
        self.clear();
        eprintln!("{line}");
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
}

fn terminal_width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    if columns < 20 { 80 } else { columns.into() }
}

fn without_counter(step: &str) -> &str {
    step.split(':').next().unwrap_or(step)
}

/// One of the tasks that run at the same time and share a line. Its step disappears when it is dropped.
pub struct Task<'a> {
    progress: &'a dyn Progress,
    steps: Arc<Mutex<[String; 2]>>,
    index: usize,
}

/// Returns two tasks, reported through `progress`.
pub fn tasks(progress: &dyn Progress) -> [Task<'_>; 2] {
    let steps = Arc::default();
    [0, 1].map(|index| Task {
        progress,
        steps: Arc::clone(&steps),
        index,
    })
}

impl Progress for Task<'_> {
    fn step(&self, step: &str) {
        let Ok(mut steps) = self.steps.lock() else {
            return;
        };
        step.clone_into(&mut steps[self.index]);
        let mut running = steps.to_vec();
        running.retain(|step| !step.is_empty());
        if !running.is_empty() {
            self.progress.step(&running.join(" | "));
        }
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.step("");
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
    }

    #[test]
    fn running_tasks_share_one_line() {
        let last = Last::default();
        let [first, second] = tasks(&last);
        first.step("Landfall 1/9 crates");
        second.step("MongoDB 2/8 crates");
        let line = || last.0.lock().unwrap().clone();
        assert_eq!(line(), "Landfall 1/9 crates | MongoDB 2/8 crates");
        drop(first);
        assert_eq!(line(), "MongoDB 2/8 crates");
    }
}
