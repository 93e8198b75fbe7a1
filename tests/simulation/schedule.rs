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

/// Running invocations and their causes.
pub struct Schedule<C, T> {
    running: Vec<(C, Task<T>)>,
}

/// How a step of the schedule ended.
pub enum Step<C, T> {
    /// A task made progress and has not ended.
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

    pub fn start(&mut self, cause: C, task: Task<T>) {
        self.running.push((cause, task));
    }

    /// Polls one task, or drops it.
    pub async fn step(&mut self, rng: &mut StdRng, dies: bool) -> Step<C, T> {
        let index = rng.random_range(0..self.running.len());
        if dies {
            return Step::Died(self.running.swap_remove(index).0);
        }
        let task = &mut self.running[index].1;
        let polled = std::future::poll_fn(|context: &mut Context<'_>| {
            Poll::Ready(task.as_mut().poll(context))
        });
        match polled.await {
            Poll::Pending => Step::Progress,
            Poll::Ready(value) => Step::Ended(self.running.swap_remove(index).0, value),
        }
    }
}
