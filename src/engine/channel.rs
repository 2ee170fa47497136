//! A bounded queue between tasks of one engine. Between threads there is the `Inbox`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::notify::Notify;

/// A channel that holds at most `capacity` values, at least one.
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        queue: RefCell::new(VecDeque::new()),
        capacity: capacity.max(1),
        senders: Cell::new(1),
        closed: Cell::new(false),
        changed: Notify::default(),
    });
    (Sender(Rc::clone(&shared)), Receiver(shared))
}

/// The sending side; clones send into the same channel.
pub struct Sender<T>(Rc<Shared<T>>);

/// The receiving side. Dropped, it makes every `send` fail.
pub struct Receiver<T>(Rc<Shared<T>>);

struct Shared<T> {
    queue: RefCell<VecDeque<T>>,
    capacity: usize,
    senders: Cell<usize>,
    /// The receiver is gone.
    closed: Cell<bool>,
    /// Rings whenever somebody may go on.
    changed: Notify,
}

impl<T> Sender<T> {
    /// Queues a value, when there is room; gives it back when nobody will receive it.
    pub async fn send(&self, value: T) -> Result<(), T> {
        loop {
            let changed = self.0.changed.notified();
            if self.0.closed.get() {
                return Err(value);
            }
            if self.0.queue.borrow().len() < self.0.capacity {
                self.0.queue.borrow_mut().push_back(value);
                self.0.changed.notify_all();
                return Ok(());
            }
            changed.await;
        }
    }
}

impl<T> Receiver<T> {
    /// The next value; `None` when all senders are gone and the queue is empty.
    pub async fn receive(&self) -> Option<T> {
        loop {
            let changed = self.0.changed.notified();
            if let Some(value) = self.0.queue.borrow_mut().pop_front() {
                self.0.changed.notify_all();
                return Some(value);
            }
            if self.0.senders.get() == 0 {
                return None;
            }
            changed.await;
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.senders.set(self.0.senders.get() + 1);
        Sender(Rc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        self.0.changed.notify_all();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.closed.set(true);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn values_arrive_in_order_and_a_full_channel_holds_the_sender() {
        let (sender, receiver) = channel(2);
        assert_eq!(poll(sender.send(1)), Poll::Ready(Ok(())));
        assert_eq!(poll(sender.send(2)), Poll::Ready(Ok(())));
        let mut third = pin!(sender.send(3));
        let context = &mut Context::from_waker(Waker::noop());
        assert!(third.as_mut().poll(context).is_pending());
        assert_eq!(poll(receiver.receive()), Poll::Ready(Some(1)));
        assert_eq!(third.as_mut().poll(context), Poll::Ready(Ok(())));
        assert_eq!(poll(receiver.receive()), Poll::Ready(Some(2)));
        assert_eq!(poll(receiver.receive()), Poll::Ready(Some(3)));
        assert!(poll(receiver.receive()).is_pending());
    }

    #[test]
    fn each_side_notices_when_the_other_is_gone() {
        let (sender, receiver) = channel(1);
        let other = sender.clone();
        assert_eq!(poll(sender.send(1)), Poll::Ready(Ok(())));
        drop((sender, other));
        assert_eq!(poll(receiver.receive()), Poll::Ready(Some(1)));
        assert_eq!(poll(receiver.receive()), Poll::Ready(None));
        let (sender, receiver) = channel(1);
        drop(receiver);
        assert_eq!(poll(sender.send(1)), Poll::Ready(Err(1)));
    }
}
