//! TCP between two ends on virtual time: listeners, connections, and the segments under way.
//!
//! It knows descriptors and actors only as owners that are told when something changed.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;

use super::super::Descriptor;
use super::agenda::{Agenda, Event};
use super::endpoint::{Endpoint, Link, Outgoing, Phase};
use super::faults::Dice;
use super::{ActorId, EndpointId, ListenerId, Owner};

pub(super) struct Network {
    pub(super) agenda: Agenda,
    dice: Dice,
    endpoints: Vec<Endpoint>,
    listeners: Vec<Listener>,
    /// Addresses where connection requests vanish.
    black_holes: BTreeSet<SocketAddr>,
    /// Descriptors at which something changed since they were last taken.
    touched: Vec<Descriptor>,
    /// Actors whose turn is on the agenda because something changed.
    stirred: BTreeSet<ActorId>,
    next_port: u16,
    /// The longest segment.
    segment: usize,
    /// What all ends have, if the test says so.
    pub(super) link: Option<Link>,
}

struct Listener {
    address: SocketAddr,
    backlog: usize,
    queue: VecDeque<EndpointId>,
    owner: Owner,
}

impl Network {
    pub(super) fn new(mut dice: Dice) -> Network {
        let segment = 1 << dice.random.u32(8..=15);
        Network {
            agenda: Agenda::default(),
            dice,
            endpoints: Vec::new(),
            listeners: Vec::new(),
            black_holes: BTreeSet::new(),
            touched: Vec::new(),
            stirred: BTreeSet::new(),
            next_port: FIRST_PORT,
            segment,
            link: None,
        }
    }

    pub(super) fn listen(
        &mut self,
        address: SocketAddr,
        backlog: usize,
        owner: Owner,
    ) -> ListenerId {
        self.listeners.push(Listener { address, backlog, queue: VecDeque::new(), owner });
        ListenerId(self.listeners.len() - 1)
    }

    /// Connections that were not accepted are reset, also where another listener serves the
    /// address.
    pub(super) fn close_listener(&mut self, listener: ListenerId) {
        let listener = &mut self.listeners[listener.0];
        listener.owner = Owner::Nobody;
        for end in std::mem::take(&mut listener.queue) {
            self.close(end, true);
        }
    }

    pub(super) fn listener_address(&self, listener: ListenerId) -> SocketAddr {
        self.listeners[listener.0].address
    }

    pub(super) fn has_waiting(&self, listener: ListenerId) -> bool {
        !self.listeners[listener.0].queue.is_empty()
    }

    pub(super) fn accept(&mut self, listener: ListenerId, owner: Owner) -> Option<EndpointId> {
        let end = self.listeners[listener.0].queue.pop_front()?;
        self.endpoints[end.0].owner = owner;
        Some(end)
    }

    pub(super) fn black_hole(&mut self, address: SocketAddr) {
        self.black_holes.insert(address);
    }

    /// An end that is not connected yet.
    pub(super) fn open(&mut self, local: SocketAddr, owner: Owner) -> EndpointId {
        let drawn = Link {
            window: 1 << self.dice.random.u32(9..=16),
            capacity: 1 << self.dice.random.u32(11..=17),
            latency: Duration::from_micros(1 << self.dice.random.u32(3..=10)),
        };
        let link = self.link.unwrap_or(drawn);
        self.endpoints.push(Endpoint::new(owner, local, UNSPECIFIED, link));
        EndpointId(self.endpoints.len() - 1)
    }

    pub(super) fn bind(&mut self, end: EndpointId, local: SocketAddr) {
        self.endpoints[end.0].local = local;
    }

    pub(super) fn connect(&mut self, end: EndpointId, target: SocketAddr) -> Result<(), Errno> {
        match self.endpoints[end.0].phase {
            Phase::Fresh => {}
            Phase::Connecting => return Err(Errno::ALREADY),
            Phase::Open | Phase::Closed => return Err(Errno::ISCONN),
        }
        let port = self.next_port;
        let endpoint = &mut self.endpoints[end.0];
        if endpoint.local.ip().is_unspecified() {
            endpoint.local.set_ip(loopback(target));
        }
        if endpoint.local.port() == 0 {
            endpoint.local.set_port(port);
            self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        }
        endpoint.remote = target;
        endpoint.phase = Phase::Connecting;
        if self.is_of_process(end) && self.dice.strikes(|faults| faults.gives_up) {
            let patience = self.drawn_time();
            self.agenda.after(patience, Event::GivenUp { end });
        }
        self.send(end, Event::Request { from: end, attempt: 0 });
        Ok(())
    }

    /// Whether the connection came about; its failure is reported once.
    pub(super) fn connected(&mut self, end: EndpointId) -> Result<bool, Errno> {
        let endpoint = &mut self.endpoints[end.0];
        match endpoint.error.take() {
            Some(errno) => Err(errno),
            None => Ok(endpoint.phase != Phase::Connecting),
        }
    }

    pub(super) fn read(&mut self, end: EndpointId, into: &mut [u8]) -> Result<usize, Errno> {
        let length = self.endpoints[end.0].read(into)?;
        if length > 0
            && let Some(peer) = self.endpoints[end.0].peer
        {
            self.transmit(peer);
        }
        Ok(length)
    }

    pub(super) fn write(&mut self, end: EndpointId, data: &[u8]) -> Result<usize, Errno> {
        let length = self.endpoints[end.0].write(data)?;
        self.transmit(end);
        Ok(length)
    }

    pub(super) fn shutdown_write(&mut self, end: EndpointId) -> Result<(), Errno> {
        if self.endpoints[end.0].shutdown_write()? {
            self.transmit(end);
            self.touch(end);
        }
        Ok(())
    }

    /// Closes for good. Unread bytes make it a reset, as in Linux; otherwise what was written
    /// still travels, then the end.
    pub(super) fn close(&mut self, end: EndpointId, reset: bool) {
        let endpoint = &mut self.endpoints[end.0];
        endpoint.owner = Owner::Nobody;
        let unread = endpoint.discard_received();
        if endpoint.phase != Phase::Open {
            endpoint.phase = Phase::Closed;
        } else if reset || unread {
            self.abort(end);
        } else {
            // An end of the stream that was sent before is no error here.
            if endpoint.outgoing == Outgoing::Open {
                endpoint.outgoing = Outgoing::Ending;
            }
            self.transmit(end);
        }
    }

    pub(super) fn endpoint(&self, end: EndpointId) -> &Endpoint {
        &self.endpoints[end.0]
    }

    pub(super) fn take_touched(&mut self) -> Vec<Descriptor> {
        std::mem::take(&mut self.touched)
    }

    /// The actor takes its turn now: the next change is news to it.
    pub(super) fn stir_again(&mut self, actor: ActorId) {
        self.stirred.remove(&actor);
    }

    /// Something that travelled arrives.
    pub(super) fn arrive(&mut self, event: Event) {
        match event {
            Event::Request { from, attempt } => self.request(from, attempt),
            Event::Granted { to, by } => self.granted(to, by),
            Event::Data { to, length } => self.data(to, length),
            Event::End { to } => self.end(to),
            Event::Reset { to } => {
                self.endpoints[to.0].reset();
                self.touch(to);
            }
            // Linux gives a connection out with the third segment, and would have kept this one to
            // itself; here the first segment is enough, so that whoever accepted it is told.
            Event::Withdrawn { to } => {
                self.endpoints[to.0].fail(Errno::CONNABORTED);
                self.touch(to);
            }
            Event::Cut { end, errno } => self.cut(end, errno),
            Event::GivenUp { end } if self.endpoints[end.0].phase == Phase::Connecting => {
                self.cut(end, Errno::TIMEDOUT);
            }
            Event::GivenUp { .. } => {}
            Event::Stir(_) | Event::Alarm(_) | Event::Publish(..) | Event::Look(..) => {
                unreachable!("this event does not travel")
            }
        }
    }

    fn request(&mut self, from: EndpointId, attempt: u32) {
        let Endpoint { phase, local: source, remote: target, link, .. } = self.endpoints[from.0];
        if phase != Phase::Connecting {
            return;
        }
        let lost = attempt < MOST_LOST && self.dice.strikes(|faults| faults.lost_request);
        if lost || self.black_holes.contains(&target) {
            return self.ask_again(from, attempt);
        }
        let delay = link.latency + self.delay_of_answer();
        if self.is_of_process(from) && self.dice.strikes(|faults| faults.unreachable) {
            let event = Event::Cut { end: from, errno: Errno::HOSTUNREACH };
            return self.agenda.after(delay, event);
        }
        let serving: Vec<usize> = (0..self.listeners.len())
            .filter(|index| self.listeners[*index].serves(target))
            .collect();
        let Some(&chosen) = self.dice.random.choice(&serving) else {
            return self.agenda.after(delay, Event::Reset { to: from });
        };
        if self.listeners[chosen].is_full() {
            return self.ask_again(from, attempt);
        }
        let to = self.open(target, Owner::Queue);
        let accepted = &mut self.endpoints[to.0];
        accepted.remote = source;
        accepted.peer = Some(from);
        accepted.phase = Phase::Open;
        accepted.link.latency = link.latency;
        // Nothing from there overtakes the answer.
        accepted.last_arrival = self.agenda.now() + delay;
        self.listeners[chosen].queue.push_back(to);
        self.tell(self.listeners[chosen].owner);
        self.send(to, Event::Granted { to: from, by: to });
    }

    /// What keeps an answer longer than its way takes.
    fn delay_of_answer(&mut self) -> Duration {
        let mut delay = Duration::ZERO;
        if self.dice.strikes(|faults| faults.lost_answer) {
            // Lost once or twice.
            delay += Duration::from_secs(if self.dice.random.bool() { 1 } else { 3 });
        }
        if self.dice.strikes(|faults| faults.late_answer) {
            delay += self.drawn_time();
        }
        delay
    }

    /// From a millisecond to four seconds: a power of two, or little beside it. A timer for that
    /// time strikes just before or just after.
    fn drawn_time(&mut self) -> Duration {
        let around = 1000 << self.dice.random.u64(0..=12);
        Duration::from_micros(around - 1000 + self.dice.random.u64(0..=3000))
    }

    fn is_of_process(&self, end: EndpointId) -> bool {
        matches!(self.endpoints[end.0].owner, Owner::Process(_))
    }

    /// The request got no answer: Linux repeats it with doubled pauses, then gives up.
    fn ask_again(&mut self, from: EndpointId, attempt: u32) {
        let pause = Duration::from_secs(1 << attempt);
        let event = if attempt < REQUEST_REPEATS {
            Event::Request { from, attempt: attempt + 1 }
        } else {
            Event::Cut { end: from, errno: Errno::TIMEDOUT }
        };
        self.agenda.after(pause, event);
    }

    fn granted(&mut self, to: EndpointId, by: EndpointId) {
        let endpoint = &mut self.endpoints[to.0];
        endpoint.peer = Some(by);
        if endpoint.phase != Phase::Connecting {
            return self.send(to, Event::Withdrawn { to: by });
        }
        endpoint.phase = Phase::Open;
        self.touch(to);
        if self.dice.strikes(|faults| faults.cut_reset) {
            self.cut_later(to, Errno::CONNRESET);
        }
        if self.dice.strikes(|faults| faults.cut_timeout) {
            self.cut_later(to, Errno::TIMEDOUT);
        }
    }

    /// From microseconds to a second: early and late cuts are equally likely.
    fn cut_later(&mut self, end: EndpointId, errno: Errno) {
        let delay = Duration::from_micros(1 << self.dice.random.u32(0..=20));
        self.agenda.after(delay, Event::Cut { end, errno });
    }

    fn data(&mut self, to: EndpointId, length: usize) {
        let from = self.peer(to);
        if self.endpoints[to.0].phase == Phase::Closed {
            return self.send(to, Event::Reset { to: from });
        }
        if self.endpoints[to.0].owner == Owner::Nobody {
            // Nobody will read it: Linux ends the connection (tcp_rcv_state_process).
            return self.abort(to);
        }
        let [source, target] = self.pair(from, to);
        source.deliver(target, length);
        self.touch(to);
        self.touch(from);
    }

    fn end(&mut self, to: EndpointId) {
        let from = self.peer(to);
        if self.endpoints[to.0].phase == Phase::Closed {
            return self.send(to, Event::Reset { to: from });
        }
        let [source, target] = self.pair(from, to);
        source.end_acknowledged();
        target.end();
        self.touch(to);
        self.touch(from);
    }

    fn cut(&mut self, end: EndpointId, errno: Errno) {
        let peer = self.endpoints[end.0].peer;
        for end in [Some(end), peer].into_iter().flatten() {
            self.endpoints[end.0].fail(errno);
            self.touch(end);
        }
    }

    /// Ends the connection with a reset to the peer, behind what is under way already.
    fn abort(&mut self, end: EndpointId) {
        let peer = self.peer(end);
        self.endpoints[end.0].phase = Phase::Closed;
        self.send(end, Event::Reset { to: peer });
    }

    /// Sends what the peer's window has room for, and the end behind the last byte.
    fn transmit(&mut self, from: EndpointId) {
        let source = &self.endpoints[from.0];
        let (Phase::Open, Some(to)) = (source.phase, source.peer) else { return };
        let window = self.endpoints[to.0].link.window;
        loop {
            let source = &self.endpoints[from.0];
            let waiting = source.unsent() - source.under_way;
            let free = self.endpoints[to.0].window_left().saturating_sub(source.under_way);
            // Like TCP, use no window that has opened by a few bytes only (RFC 1122, 4.2.3.4).
            if waiting == 0 || free < waiting.min(window / 2) {
                break;
            }
            let length = waiting.min(free).min(self.dice.random.usize(1..=self.segment));
            self.endpoints[from.0].under_way += length;
            self.send(from, Event::Data { to, length });
        }
        let source = &mut self.endpoints[from.0];
        if source.outgoing == Outgoing::Ending && source.unsent() == source.under_way {
            source.outgoing = Outgoing::Ended;
            self.send(from, Event::End { to });
        }
    }

    /// Puts what leaves `from` on its way; it arrives after all that left before.
    fn send(&mut self, from: EndpointId, event: Event) {
        let endpoint = &mut self.endpoints[from.0];
        let jitter = self.dice.random.u64(0..=endpoint.link.latency.as_nanos() as u64 / 2);
        let earliest = self.agenda.now() + endpoint.link.latency + Duration::from_nanos(jitter);
        endpoint.last_arrival = endpoint.last_arrival.max(earliest);
        self.agenda.at(endpoint.last_arrival, event);
    }

    fn touch(&mut self, end: EndpointId) {
        self.tell(self.endpoints[end.0].owner);
    }

    fn tell(&mut self, owner: Owner) {
        match owner {
            Owner::Process(descriptor) => self.touched.push(descriptor),
            Owner::Actor(actor) => {
                if self.stirred.insert(actor) {
                    let reaction = Duration::from_nanos(self.dice.random.u64(0..=REACTION_NANOS));
                    self.agenda.after(reaction, Event::Stir(actor));
                }
            }
            Owner::Queue | Owner::Nobody => {}
        }
    }

    fn peer(&self, end: EndpointId) -> EndpointId {
        // The first segment either way is the answer to a request, and it names both ends.
        self.endpoints[end.0].peer.expect("only connected ends exchange segments")
    }

    fn pair(&mut self, one: EndpointId, other: EndpointId) -> [&mut Endpoint; 2] {
        // Both exist, for endpoints are never removed, and a request always makes a new end.
        self.endpoints.get_disjoint_mut([one.0, other.0]).expect("an end is not its own peer")
    }
}

impl Listener {
    fn serves(&self, target: SocketAddr) -> bool {
        let ip = self.address.ip();
        self.owner != Owner::Nobody
            && self.address.port() == target.port()
            && (ip == target.ip() || ip.is_unspecified() && ip.is_ipv4() == target.is_ipv4())
    }

    /// Linux holds one connection more than the backlog says (sk_acceptq_is_full).
    fn is_full(&self) -> bool {
        self.queue.len() > self.backlog
    }
}

fn loopback(target: SocketAddr) -> IpAddr {
    match target {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The first local port that is given out, as in Linux.
const FIRST_PORT: u16 = 32768;

/// tcp_syn_retries: with the doubled pauses a connect gives up after 127 seconds.
const REQUEST_REPEATS: u32 = 6;

/// A request is lost at most so often where somebody would answer.
const MOST_LOST: u32 = 3;

/// The longest an actor takes to notice a change.
const REACTION_NANOS: u64 = 20_000;
