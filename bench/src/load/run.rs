//! Owns the course of one run: open, warm up, measure, finish; what a unit is, is its client's.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, mem};

use rustix::event::epoll::{Event, EventFlags};
use rustix::io::Errno;
use rustls::pki_types::CertificateDer;

use super::backends::{Backends, Flow, Service};
use super::connections::Connections;
use super::dialer::Dialer;
use super::download::Download;
use super::pattern::CHUNK;
use super::pingpong::PingPong;
use super::poller::{Poller, Token};
use super::schedule::Schedule;
use super::sockets::Sources;
use super::tally::Tally;
use super::upload::Upload;
use super::{Fault, Pace, Shape, Terms};
use crate::clock::{Clock, SECOND};

/// One run against one proxy.
pub struct Plan {
    pub shape: Shape,
    /// What clients and proxy are to agree on, if there is TLS.
    pub terms: Option<Terms>,
    pub pace: Pace,
    pub target: SocketAddrV4,
    pub warm_up: Duration,
    pub window: Duration,
}

/// What was counted in the window. `before` and `after` are the meter's readings at its ends.
pub struct Outcome<R> {
    pub tally: Tally,
    pub elapsed: Duration,
    pub before: R,
    pub after: R,
}

/// The client side of a work.
pub(super) trait Client {
    /// Whether everything is open that must be before the first unit.
    fn is_ready(&self, backends: &Backends) -> bool;
    fn start(&mut self, schedule: Schedule, poller: &Poller) -> Result<(), Fault>;
    /// Begins what can begin now.
    fn advance(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault>;
    fn event(&mut self, place: usize, flags: EventFlags, turn: &mut Turn<'_>) -> Result<(), Fault>;
    /// Begins nothing more.
    fn finish(&mut self, poller: &Poller) -> Result<(), Fault>;
    /// Whether everything that has begun has ended.
    fn is_finished(&self, backends: &Backends) -> bool;
    /// What can only be checked at the end.
    fn verify(&self, _backends: &Backends) -> Result<(), Fault> {
        Ok(())
    }
}

/// What a client may use during one turn of the loop.
pub(super) struct Turn<'a> {
    pub now: u64,
    pub poller: &'a Poller,
    pub tally: &'a mut Tally,
    pub sources: &'a mut Sources,
}

/// The generator's side of all runs: the poller, the backends, and the clock.
pub struct Site {
    poller: Poller,
    backends: Backends,
    /// Kept from run to run, as TIME_WAIT is.
    sources: Sources,
    events: Vec<Event>,
    clock: Clock,
    stop: Arc<AtomicBool>,
    /// Whom clients trust.
    root: CertificateDer<'static>,
}

impl Site {
    /// Once `stop` is set, runs end with `Fault::Interrupted`. Servers must show a certificate that
    /// `root` has signed.
    pub fn new(stop: Arc<AtomicBool>, root: CertificateDer<'static>) -> Result<Self, Errno> {
        Ok(Self {
            poller: Poller::new()?,
            backends: Backends::new(),
            sources: Sources::default(),
            events: Vec::with_capacity(EVENTS),
            clock: Clock::start(),
            stop,
            root,
        })
    }

    pub(super) fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Opens the backends of one candidate.
    pub fn add_backends(&mut self, network: u8, count: u8) -> Result<Vec<SocketAddrV4>, Errno> {
        self.backends.listen(network, count, &self.poller)
    }

    /// Serves for a while without load, so that connections made to see whether a proxy accepts
    /// are gone before the first run.
    pub fn idle(&mut self, duration: Duration) -> Result<(), Fault> {
        let mut idle = Progress::new(Box::new(NoClient), Tally::new());
        self.backends.serve(Service::Echo);
        self.turn_for(&mut idle, duration)
    }

    /// `meter` is read at both ends of the window, outside of the time that counts.
    pub fn run<R>(
        &mut self,
        plan: &Plan,
        meter: impl FnMut() -> io::Result<R>,
    ) -> Result<Outcome<R>, Fault> {
        self.guarded(|site| site.measure(plan, meter))
    }

    /// After a fault there are connections left, and they are no part of the next run.
    pub(super) fn guarded<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let outcome = run(self);
        self.backends.serve(Service::Echo);
        outcome
    }

    fn measure<R>(
        &mut self,
        plan: &Plan,
        mut meter: impl FnMut() -> io::Result<R>,
    ) -> Result<Outcome<R>, Fault> {
        let dialer = Dialer::new(plan.target, plan.terms, self.root())?;
        let mut progress = self.prepare(client(plan.shape, dialer), service(plan.shape))?;
        let start = self.clock.now();
        self.begin(&mut progress, Schedule::new(steps(plan.shape, plan.pace), start))?;
        let warm = start + plan.warm_up.as_nanos() as u64;
        self.turn_until(&mut progress, |_, _, now| now >= warm)?;

        let before = meter().map_err(host_fault)?;
        let from = self.clock.now();
        progress.tally.open_window(from);
        let end = from + plan.window.as_nanos() as u64;
        self.turn_until(&mut progress, |_, _, now| now >= end)?;
        let until = self.clock.now();
        let after = meter().map_err(host_fault)?;

        let tally = self.conclude(progress)?;
        Ok(Outcome { tally, elapsed: Duration::from_nanos(until - from), before, after })
    }

    /// Opens everything that must be before the first unit.
    pub(super) fn prepare(
        &mut self,
        client: Box<dyn Client>,
        service: Service,
    ) -> Result<Progress, Fault> {
        self.backends.serve(service);
        let mut progress = Progress::new(client, Tally::new());
        self.turn_until_ready(&mut progress)?;
        Ok(progress)
    }

    pub(super) fn begin(
        &mut self,
        progress: &mut Progress,
        schedule: Schedule,
    ) -> Result<(), Fault> {
        if schedule.is_paced() {
            progress.patience = Duration::ZERO;
        }
        progress.client.start(schedule, &self.poller)?;
        self.backends.start(schedule, &self.poller)?;
        Ok(())
    }

    /// Lets everything end that has begun, and checks it. The tally is of what was before.
    pub(super) fn conclude(&mut self, mut progress: Progress) -> Result<Tally, Fault> {
        let tally = mem::replace(&mut progress.tally, Tally::new());
        progress.patience = PATIENCE_PER_TURN;
        progress.client.finish(&self.poller)?;
        self.backends.finish(&self.poller)?;
        self.turn_by(Fault::Stalled, &mut progress, |client, backends| {
            client.is_finished(backends)
        })?;
        progress.client.verify(&self.backends)?;
        progress.client = Box::new(NoClient);
        self.turn_by(Fault::Lingering, &mut progress, |_, backends| backends.open() == 0)?;
        Ok(tally)
    }

    pub(super) fn turn_until_ready(&mut self, progress: &mut Progress) -> Result<(), Fault> {
        self.turn_by(Fault::Stalled, progress, |client, backends| client.is_ready(backends))
    }

    pub(super) fn turn_for(
        &mut self,
        progress: &mut Progress,
        duration: Duration,
    ) -> Result<(), Fault> {
        let end = self.clock.now() + duration.as_nanos() as u64;
        self.turn_until(progress, |_, _, now| now >= end)
    }

    /// Turns until `done`, which has to come in `PATIENCE`; otherwise `late` is what is wrong.
    fn turn_by(
        &mut self,
        late: Fault,
        progress: &mut Progress,
        done: impl Fn(&dyn Client, &Backends) -> bool,
    ) -> Result<(), Fault> {
        let deadline = self.clock.now() + PATIENCE;
        let mut met = false;
        self.turn_until(progress, |client, backends, now| {
            met = done(client, backends);
            met || now >= deadline
        })?;
        if met { Ok(()) } else { Err(late) }
    }

    fn turn_until(
        &mut self,
        progress: &mut Progress,
        mut done: impl FnMut(&dyn Client, &Backends, u64) -> bool,
    ) -> Result<(), Fault> {
        loop {
            self.turn(progress)?;
            if done(&*progress.client, &self.backends, self.clock.now()) {
                return Ok(());
            }
        }
    }

    fn turn(&mut self, progress: &mut Progress) -> Result<(), Fault> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Fault::Interrupted);
        }
        let Self { poller, backends, sources, events, clock, .. } = self;
        let Progress { client, tally, patience } = progress;
        let now = clock.now();
        backends.advance(now);
        client.advance(&mut Turn { now, poller, tally, sources })?;
        poller.wait(events, *patience)?;
        for event in events.iter() {
            match Token::of(event) {
                Token::Listener(index) => backends.accept(index, poller)?,
                Token::Backend(place) => tally.add(backends.event(place, event.flags)?),
                Token::Client(place) => {
                    let turn = &mut Turn { now: clock.now(), poller, tally, sources };
                    client.event(place, event.flags, turn)?;
                }
            }
        }
        Ok(())
    }
}

/// The client of the run that is on, and what it has counted.
pub(super) struct Progress {
    client: Box<dyn Client>,
    tally: Tally,
    /// How long a turn waits for events. Zero while a schedule runs: the poller counts in
    /// milliseconds, and the generator has its CPU for itself.
    patience: Duration,
}

impl Progress {
    fn new(client: Box<dyn Client>, tally: Tally) -> Self {
        Self { client, tally, patience: PATIENCE_PER_TURN }
    }
}

/// Nobody: the backends see their connections end.
struct NoClient;

impl Client for NoClient {
    fn is_ready(&self, _: &Backends) -> bool {
        true
    }
    fn start(&mut self, _: Schedule, _: &Poller) -> Result<(), Fault> {
        Ok(())
    }
    fn advance(&mut self, _: &mut Turn<'_>) -> Result<(), Fault> {
        Ok(())
    }
    fn event(&mut self, _: usize, _: EventFlags, _: &mut Turn<'_>) -> Result<(), Fault> {
        Ok(())
    }
    fn finish(&mut self, _: &Poller) -> Result<(), Fault> {
        Ok(())
    }
    fn is_finished(&self, _: &Backends) -> bool {
        true
    }
}

fn client(shape: Shape, dialer: Dialer) -> Box<dyn Client> {
    match shape {
        Shape::Download => Box::new(Download::new(dialer)),
        Shape::Upload => Box::new(Upload::new(dialer)),
        Shape::PingPong { lines } => Box::new(PingPong::new(dialer, lines)),
        Shape::Connect(ending) => Box::new(Connections::new(dialer, ending)),
    }
}

fn service(shape: Shape) -> Service {
    match shape {
        Shape::Download => Service::Stream(Flow::Waiting),
        Shape::Upload => Service::Take,
        Shape::PingPong { .. } | Shape::Connect(_) => Service::Echo,
    }
}

/// A stream is paced by chunks, everything else by units.
fn steps(shape: Shape, pace: Pace) -> Pace {
    match (shape, pace) {
        (Shape::Download | Shape::Upload, Pace::Rate(bytes)) => Pace::Rate(bytes / CHUNK as f64),
        _ => pace,
    }
}

pub(super) fn host_fault(error: io::Error) -> Fault {
    Fault::Host(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

const EVENTS: usize = 256;
const PATIENCE: u64 = 10 * SECOND;
const PATIENCE_PER_TURN: Duration = Duration::from_millis(5);
