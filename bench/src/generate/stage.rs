//! Owns what all tasks of one thread share: its engine, the bench's clock seen through it, its
//! counts, and the end of the run. Each group counts on a part of the stage that is its own.

use std::cell::RefCell;
use std::future::Future;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ringmain::engine::{Either, Engine, Ration, Time, race};

use crate::clock::Clock;

use super::backends::Supply;
use super::bulk::Scratch;
use super::datagrams::Port;
#[cfg(test)]
use super::datagrams::simulated::Network;
use super::ending::Ending;
use super::record::{Recorder, SharedWindow, Tally, Window};

/// One thread's side of a run.
pub struct Stage {
    pub engine: Engine,
    /// The bench's clock at the engine's time 0.
    origin: u64,
    /// None: time is virtual, and stands still within a turn.
    clock: Option<Clock>,
    #[cfg(test)]
    pub network: std::cell::OnceCell<Network>,
    /// Sockets of datagrams, which know what the kernel dropped.
    ports: RefCell<Vec<Weak<Port>>>,
    /// What backends send on their own, some of which may not have left in the end.
    supplies: RefCell<Vec<Rc<Supply>>>,
    pub window: SharedWindow,
    pub recorder: RefCell<Recorder>,
    pub scratch: RefCell<Scratch>,
    /// Of handshakes.
    pub steps: Rc<Ration>,
    /// Those that count for themselves, in the order they were made.
    parts: RefCell<Vec<Rc<Stage>>>,
    ending: Rc<Ending>,
}

impl Stage {
    pub fn new(
        engine: Engine,
        origin: u64,
        clock: Option<Clock>,
        window: SharedWindow,
        recorder: Recorder,
    ) -> Rc<Stage> {
        let shared = (Rc::new(Ration::new(STEPS_PER_TURN)), Rc::default());
        Rc::new(Stage::sharing(shared, engine, origin, clock, window, recorder))
    }

    fn sharing(
        (steps, ending): (Rc<Ration>, Rc<Ending>),
        engine: Engine,
        origin: u64,
        clock: Option<Clock>,
        window: SharedWindow,
        recorder: Recorder,
    ) -> Stage {
        let (scratch, ports, supplies, parts) = Default::default();
        Stage {
            engine,
            origin,
            clock,
            #[cfg(test)]
            network: Default::default(),
            ports,
            supplies,
            window,
            recorder: RefCell::new(recorder),
            scratch,
            steps,
            parts,
            ending,
        }
    }

    /// Another side of the run on the same thread: it counts for itself, and ends by itself.
    pub fn beside(&self) -> Rc<Stage> {
        self.like(Rc::default())
    }

    /// A part of the stage, for one group: it counts for itself, and ends with the stage. Their
    /// counts are kept in the order in which the parts were made.
    pub fn part(&self) -> Rc<Stage> {
        let part = self.like(Rc::clone(&self.ending));
        self.parts.borrow_mut().push(Rc::clone(&part));
        part
    }

    fn like(&self, ending: Rc<Ending>) -> Rc<Stage> {
        let (engine, window) = (self.engine.clone(), self.window.clone());
        let recorder = self.recorder.borrow().beside();
        let shared = (Rc::clone(&self.steps), ending);
        let like = Stage::sharing(shared, engine, self.origin, self.clock, window, recorder);
        #[cfg(test)]
        if let Some(network) = self.network.get() {
            like.network.get_or_init(|| network.clone());
        }
        Rc::new(like)
    }

    /// The bench's clock at the beginning of this turn.
    pub fn now(&self) -> u64 {
        self.origin + self.engine.now().as_nanos()
    }

    /// The bench's clock at this very moment.
    pub fn instant(&self) -> u64 {
        self.clock.map_or_else(|| self.now(), |clock| clock.now())
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

    /// Waits for the beginning of the part that counts; false if the run is over before.
    pub async fn counting(&self) -> bool {
        loop {
            let next = self.window.get().map(|window| window.begin);
            match next {
                Some(begin) if self.now() >= begin => return true,
                Some(begin) if self.unless_over(self.until(begin)).await.is_some() => {}
                None if self.unless_over(self.pause(GLANCE)).await.is_some() => {}
                _ => return false,
            }
        }
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
            self.tick();
            self.unless_over(self.pause(TICK)).await;
        }
    }

    /// Has the books closed with what was dropped here.
    pub fn note_port(&self, port: &Rc<Port>) {
        let mut ports = self.ports.borrow_mut();
        if ports.len() == ports.capacity() {
            ports.retain(|port| port.strong_count() > 0);
        }
        ports.push(Rc::downgrade(port));
    }

    /// Has the books closed with what has not left here.
    pub fn note_supply(&self, supply: &Rc<Supply>) {
        self.supplies.borrow_mut().push(Rc::clone(supply));
    }

    /// Tells of the seconds that are over, of each part by itself.
    pub fn tick(&self) {
        self.recorder.borrow_mut().tick(self.now());
        self.parts.borrow().iter().for_each(|part| part.tick());
    }

    /// Units that have ended so far on all parts, whenever they were due.
    pub fn ended_in_all(&self) -> u64 {
        let parts: u64 = self.parts.borrow().iter().map(|part| part.ended_in_all()).sum();
        self.recorder.borrow().ended_in_all + parts
    }

    /// The counts of each part. Its tasks are gone by now, and so are the parts then.
    pub fn take_parts(&self) -> Vec<Tally> {
        self.parts.borrow_mut().drain(..).map(|part| part.take_tally()).collect()
    }

    /// The counts of a part, or of a stage without parts. Its tasks are gone by now.
    pub fn take_tally(&self) -> Tally {
        let mut recorder = self.recorder.borrow_mut();
        recorder.tick(self.now());
        for port in self.ports.borrow().iter().filter_map(Weak::upgrade) {
            port.settle(&mut recorder);
        }
        for supply in self.supplies.borrow_mut().drain(..) {
            supply.close_books(&mut recorder, self.now());
        }
        let left = Recorder::new(self.window.clone(), None);
        std::mem::replace(&mut *recorder, left).into_tally()
    }
}

/// A step takes about 100 us, by which everything else that is due in the turn is late.
const STEPS_PER_TURN: u32 = 1;
const TICK: Duration = Duration::from_millis(50);
const GLANCE: Duration = Duration::from_millis(5);
