//! A scheduler that polls tasks in an order of the seed's, and drops some of them on their way.

use std::pin::Pin;
use std::task::{Context, Poll};

use rand::Rng;
use rand::rngs::StdRng;

/// What a function's invocation leaves when it ends: nothing where it was dropped.
pub type Task<T> = Pin<Box<dyn Future<Output = T>>>;

/// Lets other tasks run. Every call to the outside waits before its effect and after it, so that a task
/// that is dropped has died before the effect, or after it with the answer lost.
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

/// Running invocations, each with what it was called for.
pub struct Schedule<C, T> {
    running: Vec<(C, Task<T>)>,
}

/// How a step of the schedule ended.
pub enum Step<C, T> {
    /// A task went on, and has not ended.
    On,
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

    /// Lets one task go on, or die.
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
            Poll::Pending => Step::On,
            Poll::Ready(value) => Step::Ended(self.running.swap_remove(index).0, value),
        }
    }
}
