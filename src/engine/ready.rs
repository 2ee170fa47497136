//! Which tasks are to be polled, and the wakers that say so.
//!
//! A waker is one pointer-sized word, no reference count: engine 12 bits, generation 24 bits,
//! task slot 28 bits. On its own thread it puts the task on the ready queue; from any other
//! thread it goes through the engine's `Remote`. So it keeps the contract of `Waker`, which is
//! Send and Sync. An old waker finds another generation, and nothing happens.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, RwLock, Weak};
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::remote::Remote;

/// A task as its wakers know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskName {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// The tasks to poll, queued once however often they are woken. Shared between the engine and its
/// thread.
pub(super) struct Ready {
    engine: u64,
    queue: RefCell<VecDeque<TaskName>>,
    /// By task slot: the generation that is in the queue. An old waker may bring in a generation
    /// that is over, which must not keep out its successor.
    queued: RefCell<Vec<Option<u32>>>,
}

const SLOT_BITS: u32 = 28;
const GENERATION_BITS: u32 = 24;
const ENGINES: usize = 1 << 12;
/// The slot of the future that `block_on` was given.
pub(super) const ROOT: u32 = (1 << SLOT_BITS) - 1;

/// Engines by number, for wakes from other threads. Engines come and go with worker threads, so
/// the lock is never contended.
static ENGINES_BY_NUMBER: RwLock<Vec<Weak<Remote>>> = RwLock::new(Vec::new());

thread_local! {
    /// The engine that runs on this thread, if any.
    static CURRENT: RefCell<Option<Rc<Ready>>> = const { RefCell::new(None) };
    static CURRENT_ENGINE: Cell<u64> = const { Cell::new(u64::MAX) };
}

const _: () = assert!(size_of::<usize>() == 8, "a waker packs 64 bits into a pointer");

impl Ready {
    /// Registers an engine, whose number its wakers carry.
    pub(super) fn register(remote: &Arc<Remote>) -> Rc<Ready> {
        let mut engines = ENGINES_BY_NUMBER.write().unwrap_or_else(|poison| poison.into_inner());
        let vacant = engines.iter().position(|engine| engine.strong_count() == 0);
        let number = vacant.unwrap_or_else(|| {
            engines.push(Weak::new());
            engines.len() - 1
        });
        assert!(number < ENGINES, "at most {ENGINES} engines live in one process");
        engines[number] = Arc::downgrade(remote);
        let (queue, queued) = (RefCell::new(VecDeque::new()), RefCell::new(Vec::new()));
        Rc::new(Ready { engine: number as u64, queue, queued })
    }

    /// Makes this thread's wakes reach the engine directly, until the guard is dropped.
    pub(super) fn enter(self: &Rc<Self>) -> Entered {
        CURRENT_ENGINE.set(self.engine);
        Entered(CURRENT.replace(Some(Rc::clone(self))))
    }

    pub(super) fn push(&self, task: TaskName) {
        let mut queued = self.queued.borrow_mut();
        let index = if task.slot == ROOT { 0 } else { task.slot as usize + 1 };
        if index >= queued.len() {
            queued.resize(index + 1, None);
        }
        if queued[index].replace(task.generation) != Some(task.generation) {
            self.queue.borrow_mut().push_back(task);
        }
    }

    pub(super) fn pop(&self) -> Option<TaskName> {
        let task = self.queue.borrow_mut().pop_front()?;
        let index = if task.slot == ROOT { 0 } else { task.slot as usize + 1 };
        self.queued.borrow_mut()[index].take_if(|queued| *queued == task.generation);
        Some(task)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Takes over the wakes that came from other threads.
    pub(super) fn take_remote(&self, remote: &Remote) {
        while let Some(word) = remote.next_woken_task() {
            self.push(unpack(word).1);
        }
    }

    pub(super) fn waker(&self, task: TaskName) -> Waker {
        let word = self.engine << (SLOT_BITS + GENERATION_BITS)
            | u64::from(task.generation) << SLOT_BITS
            | u64::from(task.slot);
        // SAFETY: the functions of the table treat the pointer as a number and never follow it;
        // they may be called on any thread.
        unsafe { Waker::from_raw(raw(word)) }
    }

    /// The generation after this one, as wide as a waker carries it.
    pub(super) fn next_generation(generation: u32) -> u32 {
        (generation + 1) & ((1 << GENERATION_BITS) - 1)
    }
}

/// Restores what the thread ran before.
pub(super) struct Entered(Option<Rc<Ready>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let outer = self.0.take();
        CURRENT_ENGINE.set(outer.as_ref().map_or(u64::MAX, |ready| ready.engine));
        CURRENT.replace(outer);
    }
}

fn unpack(word: u64) -> (u64, TaskName) {
    let slot = (word & ((1 << SLOT_BITS) - 1)) as u32;
    let generation = (word >> SLOT_BITS & ((1 << GENERATION_BITS) - 1)) as u32;
    (word >> (SLOT_BITS + GENERATION_BITS), TaskName { slot, generation })
}

fn raw(word: u64) -> RawWaker {
    const TABLE: RawWakerVTable = RawWakerVTable::new(|word| raw(word as u64), wake, wake, |_| ());
    RawWaker::new(std::ptr::without_provenance(word as usize), &TABLE)
}

fn wake(word: *const ()) {
    let word = word.addr() as u64;
    let (engine, task) = unpack(word);
    if CURRENT_ENGINE.get() == engine {
        CURRENT.with_borrow(|current| {
            if let Some(ready) = current {
                ready.push(task);
            }
        });
        return;
    }
    let engines = ENGINES_BY_NUMBER.read().unwrap_or_else(|poison| poison.into_inner());
    if let Some(remote) = engines.get(engine as usize).and_then(Weak::upgrade) {
        remote.wake_task(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_on_the_engines_thread_queues_the_task_once() {
        let remote = Arc::new(Remote::without_signal());
        let ready = Ready::register(&remote);
        let _entered = ready.enter();
        let task = TaskName { slot: 7, generation: 3 };
        let waker = ready.waker(task);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(ready.pop(), Some(task));
        assert_eq!(ready.pop(), None);
        assert!(!remote.is_raised());
    }

    #[test]
    fn an_old_waker_does_not_hide_the_task_that_came_after() {
        let ready = Ready::register(&Arc::new(Remote::without_signal()));
        let _entered = ready.enter();
        let [old, new] = [3, 4].map(|generation| TaskName { slot: 7, generation });
        ready.waker(old).wake();
        ready.push(new);
        assert_eq!(ready.pop(), Some(old));
        assert_eq!(ready.pop(), Some(new));
        assert_eq!(ready.pop(), None);
    }

    #[test]
    fn a_wake_from_another_thread_goes_through_the_remote() {
        let remote = Arc::new(Remote::with_signal().unwrap());
        let ready = Ready::register(&remote);
        let _entered = ready.enter();
        let task = TaskName { slot: ROOT, generation: 0 };
        let waker = ready.waker(task);
        std::thread::spawn(move || waker.wake()).join().unwrap();
        assert_eq!(ready.pop(), None);
        assert!(remote.lower());
        ready.take_remote(&remote);
        assert_eq!(ready.pop(), Some(task));
    }

    #[test]
    fn a_waker_that_outlives_its_engine_does_nothing() {
        let remote = Arc::new(Remote::without_signal());
        let ready = Ready::register(&remote);
        let waker = ready.waker(TaskName { slot: 1, generation: 1 });
        drop((ready, remote));
        waker.wake();
    }
}
