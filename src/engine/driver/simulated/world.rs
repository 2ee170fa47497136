//! The world that a test holds: it makes listeners, drivers and actors, moves the clock while a
//! driver waits, and tells at the end what is left.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::super::{Completion, Descriptor, Driver, Wait};
use super::actor::{Actor, Next, Peers};
use super::agenda::Event;
use super::descriptors::Object;
use super::driver::SimulatedDriver;
use super::endpoint::Link;
use super::faults::{Dice, Faults};
use super::kernel::Kernel;
use super::network::Network;
use super::ring::Ring;
use super::{ActorId, Owner, RingId};
use crate::engine::remote::Remote;
use crate::engine::time::Time;

/// A handle; its clones are the same world.
///
/// Time passes in a driver's turns and in `run`, nowhere else. When nothing is left that could
/// happen, a wait without an end is an error of `turn`, with a dump: an idle worker is ended by
/// raising its `Remote`, or waits with a limit. Where the process breaks a rule of the driver (a
/// close under an operation, a descriptor or buffer used twice) the world panics.
#[derive(Clone)]
pub struct World {
    pub(super) state: Rc<RefCell<State>>,
}

/// What the process under test holds at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    pub listeners: usize,
    pub sockets: usize,
    /// Pipes with an end open.
    pub pipes: usize,
    /// Operations whose last completion was not taken.
    pub operations: usize,
    /// Buffers that wait for receives: all there are, when none is held.
    pub buffers_provided: usize,
}

impl World {
    /// The same seed, faults and calls make the same run.
    pub fn new(seed: u64, faults: Faults) -> World {
        let mut random = Rng::with_seed(seed);
        let network = Network::new(Dice::new(faults, random.fork()));
        let state = State {
            kernel: Kernel::new(network, Dice::new(faults, random.fork())),
            actors: Vec::new(),
            steps_left: STEPS,
            recent: VecDeque::new(),
            fingerprint: DefaultHasher::new(),
        };
        World { state: Rc::new(RefCell::new(state)) }
    }

    /// A kernel for one worker. Drivers of one world share descriptors and time. A turn of one ends
    /// when another has something to do, so whoever holds several turns them one after the other.
    /// `turn` reports a raised `remote` until the engine lowers it.
    pub fn driver(&self, remote: Arc<Remote>) -> Box<dyn Driver> {
        let rings = &mut self.state.borrow_mut().kernel.rings;
        rings.push(Some(Ring::new(remote)));
        Box::new(SimulatedDriver { state: self.state.clone(), ring: RingId(rings.len() - 1) })
    }

    /// A listening socket of the process. Several may listen at one address: connections are
    /// spread over them.
    ///
    /// # Panics
    /// When no descriptor is left.
    pub fn listen(&self, address: SocketAddr, backlog: usize) -> Descriptor {
        let kernel = &mut self.state.borrow_mut().kernel;
        let descriptor = kernel.descriptors.vacant().expect("no descriptor is left to listen");
        let listener = kernel.network.listen(address, backlog, Owner::Process(descriptor));
        kernel.descriptors.insert(descriptor, Object::Listener(listener));
        descriptor
    }

    /// The process may hold descriptors below this number only, as RLIMIT_NOFILE has it.
    pub fn limit_descriptors(&self, limit: usize) {
        self.state.borrow_mut().kernel.descriptors.limit = limit;
    }

    /// The ends of connections that are opened from now on are alike, rather than drawn from the
    /// seed: with room for so many bytes to be read and to be sent, and so far apart.
    pub fn even_out(&self, room: usize, latency: Duration) {
        let link = Link { window: room, capacity: room, latency };
        self.state.borrow_mut().kernel.network.link = Some(link);
    }

    /// How often the process has sent bytes so far, by an operation or at once. Pipes are apart.
    pub fn sends(&self) -> u64 {
        self.state.borrow().kernel.sends
    }

    /// Gives `actor` its first step at `time`.
    pub fn spawn(&self, time: Time, actor: impl Actor + 'static) {
        let state = &mut *self.state.borrow_mut();
        state.actors.push(Some(Cast { actor: Box::new(actor), alarm: Some(time) }));
        let actor = ActorId(state.actors.len() - 1);
        state.kernel.network.agenda.at(time, Event::Alarm(actor));
    }

    /// Acts outside on the spot. Nobody is told when something changes at the ends made here.
    pub fn outside<R>(&self, act: impl FnOnce(&mut Peers<'_>) -> R) -> R {
        let network = &mut self.state.borrow_mut().kernel.network;
        act(&mut Peers { network, actor: BYSTANDER })
    }

    pub fn now(&self) -> Time {
        self.state.borrow().kernel.network.agenda.now()
    }

    /// Actors that are not done.
    pub fn actors_left(&self) -> usize {
        self.state.borrow().actors.iter().flatten().count()
    }

    /// Lets the world outside go on for so long while the process does nothing.
    ///
    /// # Panics
    /// When that takes more events than any sensible run has.
    pub fn run(&self, duration: Duration) {
        let state = &mut *self.state.borrow_mut();
        let until = state.kernel.network.agenda.now() + duration;
        while state.step(until) {}
        assert!(state.steps_left > 0, "the run does not end\n{state}");
    }

    pub fn leftovers(&self) -> Leftovers {
        self.state.borrow().leftovers()
    }

    /// Tells whether two runs were the same: made from each event and completion, and its time.
    pub fn fingerprint(&self) -> u64 {
        self.state.borrow().fingerprint.finish()
    }
}

/// What is open, what is in flight and what happened last, for whoever looks for a defect.
impl fmt::Display for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.borrow().fmt(out)
    }
}

pub(super) struct State {
    pub(super) kernel: Kernel,
    /// None when it is done.
    actors: Vec<Option<Cast>>,
    /// Turns and events until the run counts as one that will never end.
    steps_left: u64,
    recent: VecDeque<(Time, Happening)>,
    fingerprint: DefaultHasher,
}

/// An actor and the time it asked for.
struct Cast {
    actor: Box<dyn Actor>,
    alarm: Option<Time>,
}

/// What a trace consists of.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Event(Event),
    Taken(RingId, Completion),
}

impl State {
    pub(super) fn turn(
        &mut self,
        ring: RingId,
        wait: Wait,
        completions: &mut Vec<Completion>,
    ) -> io::Result<bool> {
        self.kernel.ring(ring).counters.turns += 1;
        self.kernel.roll_overflow(ring);
        self.kernel.hand_over(ring);
        self.steps_left = self.steps_left.saturating_sub(1);
        let now = self.kernel.network.agenda.now();
        self.kernel.ring(ring).deadline = match wait {
            Wait::No => Some(now),
            Wait::For(duration) => Some(now + duration),
            Wait::Forever => None,
        };
        while self.step(now + TURN) {}
        self.wait()?;
        let first = completions.len();
        self.kernel.take_completions(ring, completions);
        for completion in &completions[first..] {
            self.record(Happening::Taken(ring, *completion));
        }
        Ok(self.kernel.ring(ring).remote.is_raised())
    }

    /// Lets time pass until a worker has something to do.
    fn wait(&mut self) -> io::Result<()> {
        loop {
            if self.steps_left == 0 {
                return Err(io::Error::other(format!("the run does not end\n{self}")));
            }
            let now = self.kernel.network.agenda.now();
            if self.kernel.rings.iter().flatten().any(|ring| ring.is_awake(now)) {
                return Ok(());
            }
            let deadlines = self.kernel.rings.iter().flatten().filter_map(|ring| ring.deadline);
            let next = deadlines.chain(self.kernel.network.agenda.next_time()).min();
            match next {
                Some(next) => self.step(next),
                None => return Err(io::Error::other(format!("nothing can happen\n{self}"))),
            };
        }
    }

    /// Lets the next event up to `until` happen; without one, the clock moves to `until`.
    fn step(&mut self, until: Time) -> bool {
        if self.steps_left == 0 {
            return false;
        }
        let Some(event) = self.kernel.network.agenda.advance(until) else { return false };
        self.steps_left -= 1;
        self.record(Happening::Event(event));
        match event {
            Event::Stir(actor) => {
                self.kernel.network.stir_again(actor);
                self.act(actor);
            }
            Event::Alarm(actor) => self.ring_alarm(actor),
            Event::Publish(ring, completion) => self.kernel.publish(ring, completion),
            Event::Look(ring, token) => self.kernel.look(ring, token),
            travelled => self.kernel.network.arrive(travelled),
        }
        self.kernel.settle();
        true
    }

    /// Only the latest alarm that an actor set counts.
    fn ring_alarm(&mut self, id: ActorId) {
        let now = self.kernel.network.agenda.now();
        if let Some(cast) = &mut self.actors[id.0]
            && cast.alarm.take_if(|time| *time == now).is_some()
        {
            self.act(id);
        }
    }

    fn act(&mut self, id: ActorId) {
        let Some(Some(cast)) = self.actors.get_mut(id.0) else { return };
        let network = &mut self.kernel.network;
        let alarm = match cast.actor.step(&mut Peers { network, actor: id }) {
            Next::At(time) => Some(time.max(network.agenda.now())),
            Next::OnEvent => None,
            Next::Done => {
                self.actors[id.0] = None;
                return;
            }
        };
        if let Some(time) = alarm
            && alarm != cast.alarm
        {
            network.agenda.at(time, Event::Alarm(id));
        }
        cast.alarm = alarm;
    }

    fn record(&mut self, happening: Happening) {
        let now = self.kernel.network.agenda.now();
        now.hash(&mut self.fingerprint);
        match happening {
            Happening::Event(event) => {
                std::mem::discriminant(&event).hash(&mut self.fingerprint);
            }
            Happening::Taken(_, completion) => {
                (completion.token, completion.result).hash(&mut self.fingerprint);
                (completion.buffer, completion.more).hash(&mut self.fingerprint);
            }
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((now, happening));
    }

    fn leftovers(&self) -> Leftovers {
        let mut left =
            Leftovers { pipes: self.kernel.descriptors.open_pipes(), ..Leftovers::default() };
        for (_, entry) in self.kernel.descriptors.open_entries() {
            match entry.object {
                Object::Socket { .. } => left.sockets += 1,
                Object::Listener(_) => left.listeners += 1,
                Object::PipeReader(_) | Object::PipeWriter(_) => {}
            }
        }
        for ring in self.kernel.rings.iter().flatten() {
            left.operations += ring.operations.len();
            left.buffers_provided += ring.buffers_provided();
        }
        left
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = &self.kernel;
        let agenda = &kernel.network.agenda;
        let actors = self.actors.iter().flatten().count();
        let (now, events) = (agenda.now().as_nanos(), agenda.len());
        writeln!(out, "at {now} ns, {events} events to come, {actors} actors left")?;
        for (descriptor, entry) in kernel.descriptors.open_entries() {
            writeln!(out, "{descriptor:?} {:?}", entry.object)?;
            if let Object::Socket { end, .. } = entry.object {
                writeln!(out, "    {}", kernel.network.endpoint(end))?;
            }
        }
        for (index, ring) in kernel.rings.iter().enumerate() {
            let Some(ring) = ring else { continue };
            writeln!(out, "ring {index}, {} buffers provided", ring.buffers_provided())?;
            for operation in ring.operations.values() {
                let (kind, stage) = (&operation.operation, operation.stage);
                writeln!(out, "    {stage:?} {kind:?}, {} sent", operation.sent)?;
            }
        }
        writeln!(out, "what happened last:")?;
        for (time, happening) in &self.recent {
            match happening {
                Happening::Event(event) => writeln!(out, "    {} {event:?}", time.as_nanos())?,
                Happening::Taken(ring, completion) => {
                    writeln!(out, "    {} {ring:?} takes {completion:?}", time.as_nanos())?;
                }
            }
        }
        Ok(())
    }
}

/// Owns what a test does outside without an actor.
const BYSTANDER: ActorId = ActorId(usize::MAX);

/// What a turn costs, so that time passes for a worker that never waits.
const TURN: Duration = Duration::from_micros(1);

/// Turns and events of one run. One that needs more is taken for an endless loop.
const STEPS: u64 = 5_000_000;

/// Happenings that are kept to be shown.
const RECENT: usize = 64;
