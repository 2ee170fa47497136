//! The engine: tasks, and the turn of the loop that polls them and enters the kernel once.
//!
//! A turn polls what is ready, hands over what that queued, waits for the first completion or the
//! next timer, and wakes who waited. One thread, one engine; nothing here is locked.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::alarms::Alarms;
use super::block::Blocks;
use super::buffers::{BufferSizes, Buffers};
use super::driver::{Completion, Driver, DriverCounters, Wait};
use super::io::{Io, STALL_INTERVAL};
use super::notify::{Notified, Notify};
use super::panics;
use super::pipes::{PipeSizes, Pipes};
use super::ready::{ROOT, Ready, TaskName};
use super::remote::Remote;
use super::time::Time;
use super::timers::{TimerId, Timers};

/// What an engine is made with.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    pub buffers: BufferSizes,
    pub pipes: PipeSizes,
    /// A send that lasts so long has stalled: its session watches its source, and may lose the
    /// buffer when others wait for one.
    pub stall_after: Duration,
    /// Buffers that the stalled sends of one owner may hold.
    pub stalled_share: usize,
}

/// A handle to the engine of this thread.
#[derive(Clone)]
pub struct Engine(Rc<Core>);

/// The engine itself. Every part is borrowed for one call and never across a poll.
pub(super) struct Core {
    pub(super) io: RefCell<Io>,
    pub(super) pipes: RefCell<Pipes>,
    pub(super) timers: RefCell<Timers>,
    pub(super) alarms: RefCell<Alarms>,
    tasks: RefCell<Tasks>,
    ready: Rc<Ready>,
    remote: Arc<Remote>,
    /// Raised when the remote was: something may lie in an inbox.
    pub(super) called: Notify,
    now: Cell<Time>,
    next_stall_check: Cell<Time>,
    stall_after: Duration,
    stalled_share: usize,
    panics: Cell<u64>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
struct Tasks {
    slots: Vec<TaskSlot>,
    free: Vec<u32>,
}

struct TaskSlot {
    generation: u32,
    /// Absent while it is polled, and when the slot is free.
    task: Option<Task>,
}

/// What the engine holds and what it has counted, for metrics and for tests of what is left over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStatus {
    pub tasks: usize,
    pub operations: usize,
    pub descriptors: usize,
    pub buffers_held: usize,
    /// Memory that sessions fill themselves, in buffers' worth.
    pub blocks_held: usize,
    pub pipes_held: usize,
    pub timers: usize,
    /// Receives that found no buffer.
    pub buffers_exhausted: u64,
    /// Promotions that found no pipe.
    pub pipes_exhausted: u64,
    /// Tasks that ended in a panic.
    pub panics: u64,
    pub driver: DriverCounters,
}

impl Engine {
    /// An engine on `driver`, whose wake-ups from other threads come through `remote`.
    pub fn new(
        driver: Box<dyn Driver>,
        remote: Arc<Remote>,
        settings: &EngineSettings,
    ) -> io::Result<Engine> {
        panics::watch();
        let now = driver.now();
        let (buffers, blocks) = (Buffers::new(settings.buffers)?, Blocks::new(settings.buffers));
        let io = Io::new(driver, buffers, blocks);
        Ok(Engine(Rc::new(Core {
            io: RefCell::new(io),
            pipes: RefCell::new(Pipes::new(settings.pipes)),
            timers: RefCell::new(Timers::new(now)),
            alarms: RefCell::default(),
            tasks: RefCell::default(),
            ready: Ready::register(&remote),
            remote,
            called: Notify::default(),
            now: Cell::new(now),
            next_stall_check: Cell::new(now),
            stall_after: settings.stall_after,
            stalled_share: settings.stalled_share,
            panics: Cell::new(0),
        })))
    }

    /// The time at which this turn began.
    pub fn now(&self) -> Time {
        self.0.now.get()
    }

    pub fn remote(&self) -> &Arc<Remote> {
        &self.0.remote
    }

    pub(super) fn core(&self) -> &Core {
        &self.0
    }

    /// Starts a task on this thread. A panic in it ends it alone.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.0.tasks.borrow_mut();
        let task: Task = Box::pin(task);
        let slot = tasks.free.pop().unwrap_or_else(|| {
            tasks.slots.push(TaskSlot { generation: 0, task: None });
            tasks.slots.len() as u32 - 1
        });
        assert!(slot < ROOT, "tasks are limited by descriptors long before");
        let entry = &mut tasks.slots[slot as usize];
        entry.task = Some(task);
        self.0.ready.push(TaskName { slot, generation: entry.generation });
    }

    /// Runs `root` and all tasks until `root` is done; `each_turn` is called once per turn of
    /// the loop, before the tasks. An error means that the kernel broke its promises.
    pub fn block_on<F: Future>(
        &self,
        root: F,
        mut each_turn: impl FnMut(),
    ) -> io::Result<F::Output> {
        let _entered = self.0.ready.enter();
        let mut root = pin!(root);
        self.0.ready.push(TaskName { slot: ROOT, generation: 0 });
        let mut scratch = Scratch::default();
        loop {
            each_turn();
            // Only what is ready now: what tasks wake meanwhile waits for the next turn, so that
            // tasks that wake each other cannot keep the kernel waiting.
            for _ in 0..self.0.ready.len() {
                let Some(task) = self.0.ready.pop() else { break };
                if task.slot != ROOT {
                    self.poll_task(task);
                } else if let Poll::Ready(output) = self.poll_root(root.as_mut()) {
                    return Ok(output);
                }
            }
            self.turn(&mut scratch)?;
        }
    }

    fn poll_root<F: Future>(&self, root: Pin<&mut F>) -> Poll<F::Output> {
        let waker = self.0.ready.waker(TaskName { slot: ROOT, generation: 0 });
        root.poll(&mut Context::from_waker(&waker))
    }

    fn poll_task(&self, name: TaskName) {
        let taken = {
            let mut tasks = self.0.tasks.borrow_mut();
            let slot = tasks.slots.get_mut(name.slot as usize);
            slot.filter(|slot| slot.generation == name.generation).and_then(|slot| slot.task.take())
        };
        let Some(mut task) = taken else { return };
        let waker = self.0.ready.waker(name);
        let polled =
            catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(&waker))));
        match polled {
            Ok(Poll::Pending) => {
                self.0.tasks.borrow_mut().slots[name.slot as usize].task = Some(task);
            }
            Ok(Poll::Ready(())) => self.end_task(name, task),
            // The engine's accounts cannot be trusted any more: the thread must end.
            Err(panic) if panics::last_was_in_engine() => resume_unwind(panic),
            Err(panic) => {
                self.0.panics.set(self.0.panics.get() + 1);
                tracing::error!(panic = panic_text(&*panic), "a task panicked and was ended");
                self.end_task(name, task);
            }
        }
    }

    fn end_task(&self, name: TaskName, task: Task) {
        if catch_unwind(AssertUnwindSafe(|| drop(task))).is_err() {
            self.0.panics.set(self.0.panics.get() + 1);
        }
        let mut tasks = self.0.tasks.borrow_mut();
        let slot = &mut tasks.slots[name.slot as usize];
        slot.generation = Ready::next_generation(slot.generation);
        tasks.free.push(name.slot);
    }

    fn turn(&self, scratch: &mut Scratch) -> io::Result<()> {
        let core = &*self.0;
        let wait = self.wait();
        let woken = {
            let mut io = core.io.borrow_mut();
            io.offer_buffers();
            let woken = io.driver.turn(wait, &mut scratch.completions)?;
            core.now.set(io.driver.now());
            for completion in scratch.completions.drain(..) {
                scratch.wakers.extend(io.complete(completion));
            }
            self.check_stalled(&mut io, &mut scratch.wakers);
            woken
        };
        core.timers.borrow_mut().expire(core.now.get(), &mut scratch.wakers);
        core.alarms.borrow_mut().expire(core.now.get(), &mut scratch.wakers);
        if woken {
            core.remote.lower();
            core.ready.take_remote(&core.remote);
            core.called.notify_all();
        }
        scratch.wakers.drain(..).for_each(Waker::wake);
        Ok(())
    }

    /// How long the coming turn may wait: not at all with work to do, else for the next timer.
    fn wait(&self) -> Wait {
        if self.0.ready.len() > 0 {
            return Wait::No;
        }
        let timers = [self.0.timers.borrow().next(), self.0.alarms.borrow().next()];
        let mut next = timers.into_iter().flatten().min();
        if self.0.io.borrow().sends_in_flight() > 0 {
            let check = self.0.next_stall_check.get();
            next = Some(next.map_or(check, |next| next.min(check)));
        }
        next.map_or(Wait::Forever, |next| Wait::For(next.since(self.0.now.get())))
    }

    fn check_stalled(&self, io: &mut Io, wakers: &mut Vec<Waker>) {
        let now = self.0.now.get();
        if now >= self.0.next_stall_check.get() {
            self.0.next_stall_check.set(now + STALL_INTERVAL);
            if io.sends_in_flight() > 0 {
                wakers.extend(io.mark_stalled(now, self.0.stall_after, self.0.stalled_share));
            }
        }
    }

    /// Drops every task. Returns when the kernel has let go of everything they used, or after
    /// `limit`; what is left then is in `status`.
    pub fn wind_up(&self, limit: Duration) -> io::Result<()> {
        let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
        drop(tasks);
        self.0.pipes.borrow_mut().close_all(&mut self.0.io.borrow_mut());
        let deadline = self.now() + limit;
        let mut scratch = Scratch::default();
        while self.0.io.borrow().live_operations() > 0 && self.now() < deadline {
            let timer = self.0.timers.borrow_mut().start(deadline, Waker::noop().clone());
            self.turn(&mut scratch)?;
            self.0.timers.borrow_mut().cancel(timer);
        }
        Ok(())
    }

    pub fn status(&self) -> EngineStatus {
        let (io, pipes) = (self.0.io.borrow(), self.0.pipes.borrow());
        let tasks = self.0.tasks.borrow();
        EngineStatus {
            tasks: tasks.slots.len() - tasks.free.len(),
            operations: io.live_operations(),
            descriptors: io.open_descriptors(),
            buffers_held: io.buffers.held(),
            blocks_held: io.blocks.held(),
            pipes_held: pipes.held(),
            timers: self.0.timers.borrow().pending() + self.0.alarms.borrow().pending(),
            buffers_exhausted: io.buffers.exhausted(),
            pipes_exhausted: pipes.exhausted(),
            panics: self.0.panics.get(),
            driver: io.driver.counters(),
        }
    }

    /// The operations in flight in words, for reports of what should not be.
    pub fn describe_operations(&self) -> Vec<String> {
        self.0.io.borrow().describe()
    }

    /// Completes when the remote is raised the next time.
    pub fn called(&self) -> Notified<'_> {
        self.0.called.notified()
    }

    /// Completes at `deadline`.
    pub fn sleep_until(&self, deadline: Time) -> Sleep {
        Sleep { engine: self.clone(), deadline, timer: None }
    }

    /// Lets every other ready task run, and the kernel be entered, before going on.
    pub async fn pause(&self) {
        let mut paused = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut paused, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// Vectors that are filled and emptied in each turn, kept for their memory.
#[derive(Default)]
struct Scratch {
    completions: Vec<Completion>,
    wakers: Vec<Waker>,
}

/// A deadline as a future.
pub struct Sleep {
    engine: Engine,
    deadline: Time,
    timer: Option<TimerId>,
}

impl Sleep {
    /// Moves the deadline; takes effect with the next poll.
    pub fn reset(&mut self, deadline: Time) {
        self.stop();
        self.deadline = deadline;
    }

    fn stop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.engine.0.timers.borrow_mut().cancel(timer);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.engine.now() >= self.deadline {
            self.stop();
            return Poll::Ready(());
        }
        let waker = context.waker();
        let mut timers = self.engine.0.timers.borrow_mut();
        let running = self.timer.is_some_and(|timer| timers.rewake(timer, waker));
        if !running {
            let timer = timers.start(self.deadline, waker.clone());
            drop(timers);
            self.timer = Some(timer);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.stop();
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
