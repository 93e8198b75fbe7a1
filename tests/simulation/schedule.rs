//! A scheduler that polls tasks in an order determined by the seed, and drops some of them before they end.

use std::pin::Pin;
use std::task::{Context, Poll};

use rand::Rng;
use rand::rngs::StdRng;

/// An invocation of a function. It has no result if it is dropped.
pub type Task<T> = Pin<Box<dyn Future<Output = T>>>;

/// Lets other tasks run. Every call of a dependency pauses before its effect and after it. So a dropped task has died
/// before the effect, or after it with the response lost.
pub async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|context| {
        if paused {
            return Poll::Ready(());
        }
        paused = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A slow task makes progress in one of so many steps, so that all others can end between two of them.
const SLOWNESS: u32 = 20;

/// Running invocations and their causes.
pub struct Schedule<C, T> {
    running: Vec<Running<C, T>>,
}

struct Running<C, T> {
    cause: C,
    task: Task<T>,
    is_slow: bool,
}

/// How a step of the schedule ended.
pub enum Step<C, T> {
    /// No task ended.
    Progress,
    /// A task ended.
    Ended(C, T),
    /// A task died.
    Died(C),
}

impl<C, T> Schedule<C, T> {
    pub fn new() -> Self {
        Self {
            running: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Starts a task. A few are slow.
    pub fn start(&mut self, rng: &mut StdRng, cause: C, task: Task<T>) {
        let is_slow = rng.random_ratio(1, 10);
        self.running.push(Running {
            cause,
            task,
            is_slow,
        });
    }

    /// Polls one task, or drops it.
    pub async fn step(&mut self, rng: &mut StdRng, dies: bool) -> Step<C, T> {
        let index = rng.random_range(0..self.running.len());
        if dies {
            return Step::Died(self.running.swap_remove(index).cause);
        }
        let running = &mut self.running[index];
        if running.is_slow && !rng.random_ratio(1, SLOWNESS) {
            return Step::Progress;
        }
        let polled = std::future::poll_fn(|context: &mut Context<'_>| {
            Poll::Ready(running.task.as_mut().poll(context))
        });
        match polled.await {
            Poll::Pending => {
                // The runtime wakes the tasks that have yielded to it.
                tokio::task::yield_now().await;
                Step::Progress
            }
            Poll::Ready(value) => Step::Ended(self.running.swap_remove(index).cause, value),
        }
    }
}
