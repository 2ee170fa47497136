//! Owns the end of a run as something that every task waits for beside its work; it ends nothing
//! itself.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Known to all tasks of a stage. However many they are, each is found at its place.
#[derive(Default)]
pub struct Ending {
    is_here: Cell<bool>,
    waiting: RefCell<Waiting>,
}

#[derive(Default)]
struct Waiting {
    wakers: Vec<Option<Waker>>,
    /// Places in `wakers` that belong to nobody.
    free: Vec<usize>,
}

impl Ending {
    pub fn is_here(&self) -> bool {
        self.is_here.get()
    }

    /// Wakes everybody who waits for it.
    pub fn come(&self) {
        self.is_here.set(true);
        // Taken out first: a waker may be foreign, and run anything.
        let wakers: Vec<Waker> =
            self.waiting.borrow_mut().wakers.iter_mut().filter_map(Option::take).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Completes when it is here.
    pub fn awaited(&self) -> Awaited<'_> {
        Awaited { ending: self, place: None }
    }
}

/// See [`Ending::awaited`].
pub struct Awaited<'e> {
    ending: &'e Ending,
    place: Option<usize>,
}

impl Future for Awaited<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.ending.is_here() {
            return Poll::Ready(());
        }
        let ending = self.ending;
        let mut waiting = ending.waiting.borrow_mut();
        let place = *self.place.get_or_insert_with(|| waiting.vacant());
        match &mut waiting.wakers[place] {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut waiting = self.ending.waiting.borrow_mut();
            waiting.wakers[place] = None;
            waiting.free.push(place);
        }
    }
}

impl Waiting {
    fn vacant(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn everybody_who_still_waits_is_woken_once_and_places_are_used_again() {
        let (ending, count) = (Ending::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let mut first = pin!(ending.awaited());
        for _ in 0..3 {
            assert!(first.as_mut().poll(&mut context).is_pending());
        }
        for _ in 0..10 {
            assert!(pin!(ending.awaited()).poll(&mut context).is_pending());
        }
        assert_eq!(ending.waiting.borrow().wakers.len(), 2);
        ending.come();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(first.as_mut().poll(&mut context).is_ready());
        assert!(pin!(ending.awaited()).poll(&mut context).is_ready());
    }
}
