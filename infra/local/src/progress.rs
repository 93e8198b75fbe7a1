//! How the local stack tells what it is doing.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Where the steps of a start are told.
pub trait Progress: Send + Sync {
    /// What is being done now. It takes the place of what was told before.
    fn doing(&self, what: &str);
    /// Something to keep on the screen.
    fn note(&self, what: &str);
}

/// Tells nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn doing(&self, _what: &str) {}
    fn note(&self, _what: &str) {}
}

/// Tells on standard error: one changing line on a terminal, and plain lines elsewhere.
#[derive(Debug, Default)]
pub struct Lines {
    last: Mutex<Option<(Instant, String)>>,
}

impl Lines {
    /// Clears the changing line.
    pub fn done(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[2K");
        }
    }
}

impl Progress for Lines {
    fn doing(&self, what: &str) {
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[2K{what}");
        } else {
            let step = step_of(what);
            // In a log, a counter that moves is told now and then, a new step at once.
            if last.as_ref().is_some_and(|(at, told)| {
                told == what || (step_of(told) == step && at.elapsed() < Duration::from_secs(15))
            }) {
                return;
            }
            eprintln!("{what}");
        }
        *last = Some((Instant::now(), what.to_owned()));
    }

    fn note(&self, what: &str) {
        if std::io::stderr().is_terminal() {
            eprintln!("\r\x1b[2K{what}");
        } else {
            eprintln!("{what}");
        }
    }
}

fn step_of(what: &str) -> &str {
    what.split(':').next().unwrap_or(what)
}
