//! Owns what all tasks of one thread share: its engine, the bench's clock seen through it, its
//! counts, and the end of the run.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ringmain::engine::{Either, Engine, Time, race};

use super::bulk::Scratch;
use super::ending::Ending;
use super::record::{Recorder, SharedWindow, Tally, Window};

/// One thread's side of a run.
pub struct Stage {
    pub engine: Engine,
    /// The bench's clock at the engine's time 0.
    origin: u64,
    pub window: SharedWindow,
    pub recorder: RefCell<Recorder>,
    pub scratch: RefCell<Scratch>,
    ending: Ending,
}

impl Stage {
    pub fn new(engine: Engine, origin: u64, window: SharedWindow, recorder: Recorder) -> Rc<Stage> {
        let recorder = RefCell::new(recorder);
        let (scratch, ending) = Default::default();
        Rc::new(Stage { engine, origin, window, recorder, scratch, ending })
    }

    /// Another side of the run on the same thread: it counts for itself, and ends by itself.
    pub fn beside(&self) -> Rc<Stage> {
        let recorder = self.recorder.borrow().beside();
        Stage::new(self.engine.clone(), self.origin, self.window.clone(), recorder)
    }

    /// The bench's clock at the beginning of this turn.
    pub fn now(&self) -> u64 {
        self.origin + self.engine.now().as_nanos()
    }

    /// Waits until the bench's clock says `time`, to the microsecond.
    pub async fn until(&self, time: u64) {
        self.engine.alarm(Time::from_nanos(time.saturating_sub(self.origin))).await;
    }

    pub async fn pause(&self, time: Duration) {
        self.engine.sleep_until(self.engine.now() + time).await;
    }

    /// Begins the part that counts, unless it has begun.
    pub fn open_window(&self, window: Window) -> Window {
        *self.window.get_or_init(|| window)
    }

    /// Has every task that asks stop.
    pub fn end(&self) {
        self.ending.come();
    }

    pub fn is_ending(&self) -> bool {
        self.ending.is_here()
    }

    /// What `task` comes to, unless the run is over before. The task is dropped then.
    pub async fn unless_over<F: Future>(&self, task: F) -> Option<F::Output> {
        match race(task, self.ending.awaited()).await {
            Either::First(output) => Some(output),
            Either::Second(()) => None,
        }
    }

    /// Tells of each second, until the run is over.
    pub async fn tell(self: Rc<Self>) {
        while !self.is_ending() {
            self.recorder.borrow_mut().tick(self.now());
            self.unless_over(self.pause(TICK)).await;
        }
    }

    /// The counts of the thread. Its tasks are gone by now.
    pub fn take_tally(&self) -> Tally {
        let mut recorder = self.recorder.borrow_mut();
        recorder.tick(self.now());
        let left = Recorder::new(self.window.clone(), None);
        std::mem::replace(&mut *recorder, left).into_tally()
    }
}

const TICK: Duration = Duration::from_millis(50);
