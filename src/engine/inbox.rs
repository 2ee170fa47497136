//! A bounded queue into an engine from other threads.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::executor::Engine;
use super::remote::Remote;

/// Messages for one engine; clones are senders.
pub struct Inbox<T> {
    queue: Arc<ArrayQueue<T>>,
    remote: Arc<Remote>,
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Inbox<T> {
        Inbox { queue: Arc::clone(&self.queue), remote: Arc::clone(&self.remote) }
    }
}

impl<T> Inbox<T> {
    pub fn new(capacity: usize, remote: Arc<Remote>) -> Inbox<T> {
        Inbox { queue: Arc::new(ArrayQueue::new(capacity)), remote }
    }

    /// Queues a message and wakes the engine; gives it back when the queue is full.
    pub fn push(&self, message: T) -> Result<(), T> {
        self.queue.push(message)?;
        self.remote.raise();
        Ok(())
    }

    /// Makes the engine look up without a message.
    pub fn wake(&self) {
        self.remote.raise();
    }

    /// The next message, awaited on the engine's own thread.
    pub async fn next(&self, engine: &Engine) -> T {
        loop {
            let called = engine.core().called.notified();
            if let Some(message) = self.queue.pop() {
                return message;
            }
            called.await;
        }
    }
}
