//! Owns the course of one run: open, warm up, measure, finish; what a unit is, is its client's.

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::epoll::{Event, EventFlags};
use rustix::io::Errno;

use super::backends::{Backends, CHUNK, Flow, Service};
use super::bulk::Bulk;
use super::connections::{Connections, Ending};
use super::pingpong::PingPong;
use super::poller::{Poller, Token};
use super::schedule::Schedule;
use super::sockets::Sources;
use super::tally::Tally;
use super::{Fault, Pace, Work};
use crate::clock::{Clock, SECOND};

/// One run against one proxy.
pub struct Plan {
    pub work: Work,
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
    fn start(&mut self, schedule: Schedule);
    /// Begins what can begin now.
    fn advance(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault>;
    fn event(&mut self, place: usize, flags: EventFlags, turn: &mut Turn<'_>) -> Result<(), Fault>;
    /// Begins nothing more.
    fn finish(&mut self);
    /// Whether everything that has begun has ended.
    fn is_finished(&self) -> bool;
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
}

impl Site {
    /// Once `stop` is set, runs end with `Fault::Interrupted`.
    pub fn new(stop: Arc<AtomicBool>) -> Result<Self, Errno> {
        Ok(Self {
            poller: Poller::new()?,
            backends: Backends::new(),
            sources: Sources::default(),
            events: Vec::with_capacity(EVENTS),
            clock: Clock::start(),
            stop,
        })
    }

    /// Opens the backends of one candidate.
    pub fn add_backends(&mut self, network: u8, count: u8) -> Result<Vec<SocketAddrV4>, Errno> {
        self.backends.listen(network, count, &self.poller)
    }

    /// Serves for a while without load, so that connections made to see whether a proxy accepts
    /// are gone before the first run.
    pub fn idle(&mut self, duration: Duration) -> Result<(), Fault> {
        let end = self.clock.now() + duration.as_nanos() as u64;
        let mut idle = Progress::new(Box::new(NoClient), Tally::new());
        self.backends.serve(Service::Echo);
        self.turn_until(&mut idle, |_, _, now| now >= end)
    }

    /// `meter` is read at both ends of the window, outside of the time that counts.
    pub fn run<R>(
        &mut self,
        plan: &Plan,
        meter: impl FnMut() -> io::Result<R>,
    ) -> Result<Outcome<R>, Fault> {
        let outcome = self.measure(plan, meter);
        // After a fault there are connections left, and they are no part of the next run.
        self.backends.serve(Service::Echo);
        outcome
    }

    fn measure<R>(
        &mut self,
        plan: &Plan,
        mut meter: impl FnMut() -> io::Result<R>,
    ) -> Result<Outcome<R>, Fault> {
        self.backends.serve(service(plan.work));
        let mut progress = Progress::new(client(plan), Tally::new());
        self.turn_by(Fault::Stalled, &mut progress, |client, backends| client.is_ready(backends))?;

        let start = self.clock.now();
        let schedule = Schedule::new(steps(plan.work, plan.pace), start);
        progress.begin(schedule);
        self.backends.start(schedule, &self.poller)?;
        let warm = start + plan.warm_up.as_nanos() as u64;
        self.turn_until(&mut progress, |_, _, now| now >= warm)?;

        let before = meter().map_err(host_fault)?;
        let from = self.clock.now();
        progress.tally.open_window(from);
        let end = from + plan.window.as_nanos() as u64;
        self.turn_until(&mut progress, |_, _, now| now >= end)?;
        let until = self.clock.now();
        let after = meter().map_err(host_fault)?;

        let tally = progress.end();
        self.backends.finish(&self.poller)?;
        self.turn_by(Fault::Stalled, &mut progress, |client, _| client.is_finished())?;
        progress.client.verify(&self.backends)?;
        progress.client = Box::new(NoClient);
        self.turn_by(Fault::Lingering, &mut progress, |_, backends| backends.open() == 0)?;
        Ok(Outcome { tally, elapsed: Duration::from_nanos(until - from), before, after })
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
                Token::Backend(place) => backends.event(place, event.flags)?,
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
struct Progress {
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

    fn begin(&mut self, schedule: Schedule) {
        if schedule.is_paced() {
            self.patience = Duration::ZERO;
        }
        self.client.start(schedule);
    }

    fn end(&mut self) -> Tally {
        self.client.finish();
        self.patience = PATIENCE_PER_TURN;
        std::mem::replace(&mut self.tally, Tally::new())
    }
}

/// Nobody: the backends see their connections end.
struct NoClient;

impl Client for NoClient {
    fn is_ready(&self, _: &Backends) -> bool {
        true
    }
    fn start(&mut self, _: Schedule) {}
    fn advance(&mut self, _: &mut Turn<'_>) -> Result<(), Fault> {
        Ok(())
    }
    fn event(&mut self, _: usize, _: EventFlags, _: &mut Turn<'_>) -> Result<(), Fault> {
        Ok(())
    }
    fn finish(&mut self) {}
    fn is_finished(&self) -> bool {
        true
    }
}

fn client(plan: &Plan) -> Box<dyn Client> {
    match plan.work {
        Work::Bulk => Box::new(Bulk::new(plan.target)),
        Work::PingPong64 => Box::new(PingPong::new(plan.target, 64)),
        Work::PingPong2000 => Box::new(PingPong::new(plan.target, 2000)),
        Work::ConnectReset => Box::new(Connections::new(plan.target, Ending::Reset)),
        Work::ConnectFin => Box::new(Connections::new(plan.target, Ending::Fin)),
    }
}

fn service(work: Work) -> Service {
    match work {
        Work::Bulk => Service::Stream(Flow::Waiting),
        _ => Service::Echo,
    }
}

/// A stream is paced by chunks, everything else by units.
fn steps(work: Work, pace: Pace) -> Pace {
    match (work, pace) {
        (Work::Bulk, Pace::Rate(bytes)) => Pace::Rate(bytes / CHUNK as f64),
        _ => pace,
    }
}

fn host_fault(error: io::Error) -> Fault {
    Fault::Host(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

const EVENTS: usize = 256;
const PATIENCE: u64 = 10 * SECOND;
const PATIENCE_PER_TURN: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use crate::load::sockets;
    use crate::peer;

    fn site() -> (Site, SocketAddr) {
        let mut site = Site::new(Arc::default()).unwrap();
        let backends = site.add_backends(200, 1).unwrap();
        (site, backends[0].into())
    }

    fn listener() -> (TcpListener, SocketAddrV4) {
        let socket = sockets::listener(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = sockets::local_port(&socket).unwrap();
        (socket.into(), SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    }

    /// The proxy's thread ends with the test process.
    fn plain_proxy(backend: SocketAddr) -> SocketAddrV4 {
        let (listener, address) = listener();
        thread::spawn(move || peer::run_tokio(listener, vec![backend]));
        address
    }

    /// Changes bytes; `None` ends the connection.
    type Spoil = fn(&mut [u8]) -> Option<&[u8]>;

    /// Spoils what comes back from the backend. Its threads end with their connections and, the
    /// first, with the test process.
    fn broken_proxy(backend: SocketAddr, spoil: Spoil) -> SocketAddrV4 {
        let (listener, address) = listener();
        listener.set_nonblocking(false).unwrap();
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect(backend).unwrap();
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || relay(client, server, |bytes| Some(bytes)));
                thread::spawn(move || relay(back.0, back.1, spoil));
            }
        });
        address
    }

    fn relay(mut source: TcpStream, mut target: TcpStream, spoil: Spoil) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = source.read(&mut buffer) {
            let Some(bytes) = spoil(&mut buffer[..length]) else { break };
            if target.write_all(bytes).is_err() {
                break;
            }
        }
        target.shutdown(Shutdown::Write).ok();
    }

    fn plan(work: Work, pace: Pace, target: SocketAddrV4) -> Plan {
        let warm_up = Duration::from_millis(20);
        Plan { work, pace, target, warm_up, window: Duration::from_millis(200) }
    }

    fn fault(work: Work, spoil: Spoil) -> Option<Fault> {
        let (mut site, backend) = site();
        let target = broken_proxy(backend, spoil);
        site.run(&plan(work, Pace::Full, target), || Ok(())).err()
    }

    #[test]
    fn a_paced_pingpong_through_a_plain_proxy_is_counted_and_timed() {
        let (mut site, backend) = site();
        let plan = plan(Work::PingPong64, Pace::Rate(2_000.0), plain_proxy(backend));
        let outcome = site.run(&plan, || Ok(())).unwrap();
        // 400 are due in the window. Before it 40 were: some of those may have been late.
        assert!((100..=440).contains(&outcome.tally.units), "{}", outcome.tally.units);
        assert!(outcome.tally.latency.len() <= outcome.tally.units);
        assert!(outcome.tally.latency.max() > 0);
    }

    #[test]
    fn every_work_goes_through_a_plain_proxy_at_both_paces() {
        let (mut site, backend) = site();
        let target = plain_proxy(backend);
        for work in [Work::Bulk, Work::PingPong64, Work::ConnectReset, Work::ConnectFin] {
            let rate = if work == Work::Bulk { 1e8 } else { 500.0 };
            for pace in [Pace::Full, Pace::Rate(rate)] {
                let outcome = site.run(&plan(work, pace, target), || Ok(())).unwrap();
                assert!(outcome.tally.units > 0, "{work:?} {pace:?}");
            }
        }
    }

    #[test]
    fn a_changed_byte_is_found_out() {
        let change: Spoil = |bytes| {
            bytes[bytes.len() - 1] ^= 1;
            Some(bytes)
        };
        for work in [Work::PingPong64, Work::ConnectReset, Work::Bulk] {
            assert_eq!(fault(work, change), Some(Fault::WrongBytes), "{work:?}");
        }
    }

    #[test]
    fn a_stream_that_loses_its_end_is_found_out() {
        static PASSED: AtomicUsize = AtomicUsize::new(0);
        let cut: Spoil = |bytes| {
            let is_late = PASSED.fetch_add(bytes.len(), Ordering::Relaxed) > 1_000_000;
            Some(if is_late { &[] } else { bytes })
        };
        assert_eq!(fault(Work::Bulk, cut), Some(Fault::WrongBytes));
    }

    #[test]
    fn a_connection_closed_early_is_found_out() {
        assert_eq!(fault(Work::ConnectFin, |_| None), Some(Fault::ClosedEarly));
    }

    #[test]
    fn a_stop_ends_the_run() {
        let (mut site, backend) = site();
        site.stop.store(true, Ordering::Relaxed);
        let result = site.run(&plan(Work::Bulk, Pace::Full, plain_proxy(backend)), || Ok(()));
        assert_eq!(result.err(), Some(Fault::Interrupted));
    }
}
