//! The peers of a simulated run: clients and backends that check every byte they receive.
//!
//! Where a byte arrives that is not the stream's, the actor panics. What became of a connection is
//! for the test to judge, from `Outcome` and `Log`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use ringmain::engine::Time;
use ringmain::engine::driver::simulated::{Actor, ListenerId, Next, Peers};

use crate::channel::Channel;
use crate::security::Wire;
use crate::stream::{NUMBER, answer_to, check, fill, greeting_to, number};

/// What a client does, and what it expects.
#[derive(Clone, Debug)]
pub struct Plan {
    pub stream: u64,
    pub target: SocketAddr,
    /// Its own address; the port, or all, may be left open (0).
    pub source: SocketAddr,
    /// Bytes to send, the stream's number included.
    pub length: u64,
    /// It writes up to so many bytes at once, then pauses up to so long.
    pub chunk: usize,
    pub pause: Duration,
    /// It reads nothing before.
    pub deaf_until: Time,
    pub answer: Answer,
    pub ending: Ending,
    pub wire: Wire,
}

/// The bytes that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Those it sent.
    Echo,
    /// Those of a `Kind::Source`.
    Source,
    /// Those of a `Kind::Greeter`: which stream it is shows in them.
    Greeting,
}

/// What a client does when it has sent all its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Ends its stream and reads until the other ends.
    HalfClose,
    /// Ends its stream as its connection does, without a word of TLS, and reads until the other
    /// ends.
    Cut,
    /// Closes at once; a reset, when there are unread bytes.
    Close,
    Reset,
    /// Stays until the other side ends, and closes then.
    Stay,
    /// Closes once it has received so many bytes.
    CloseAfter {
        received: u64,
    },
    ResetAfter {
        received: u64,
    },
}

/// What became of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub sent: u64,
    pub received: u64,
    /// The stream that it was greeted with.
    pub greeting: Option<u64>,
    /// The end of the other side's stream was seen.
    pub end_seen: bool,
    /// What was seen is where it was cut, and no end.
    pub cut_seen: bool,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Connecting,
    Open,
    /// It did as planned, to the end.
    Done,
    Failed(io::ErrorKind),
}

pub struct Client {
    plan: Plan,
    random: Rng,
    channel: Option<Channel>,
    next_write: Time,
    /// It has ended its stream.
    shut: bool,
    /// The first bytes that came back, as far as they name their stream.
    answer: Vec<u8>,
    outcome: Rc<Cell<Outcome>>,
}

impl Client {
    /// The cell tells how far it got, at any time.
    pub fn new(plan: Plan) -> (Client, Rc<Cell<Outcome>>) {
        let outcome = Rc::new(Cell::new(Outcome {
            sent: 0,
            received: 0,
            greeting: None,
            end_seen: false,
            cut_seen: false,
            fate: Fate::Connecting,
        }));
        let client = Client {
            random: Rng::with_seed(plan.stream),
            plan,
            channel: None,
            next_write: Time::default(),
            shut: false,
            answer: Vec::new(),
            outcome: outcome.clone(),
        };
        (client, outcome)
    }

    fn proceed(&mut self, peers: &mut Peers<'_>, outcome: &mut Outcome) -> io::Result<Next> {
        if self.channel.is_none() {
            let end = peers.connect(self.plan.source, self.plan.target)?;
            self.channel = Some(Channel::new(end, &self.plan.wire));
        }
        let Some(channel) = &mut self.channel else { return Ok(Next::Done) };
        if outcome.fate == Fate::Connecting {
            if !channel.is_connected(peers)? {
                return Ok(Next::OnEvent);
            }
            outcome.fate = Fate::Open;
        }
        self.plan.read(peers, channel, &mut self.answer, outcome)?;
        let next = self.write(peers, outcome)?;
        if outcome.sent == self.plan.length && self.finish(peers, outcome)? {
            outcome.fate = Fate::Done;
            return Ok(Next::Done);
        }
        let deaf = peers.now() < self.plan.deaf_until;
        Ok(if deaf && next == Next::OnEvent { Next::At(self.plan.deaf_until) } else { next })
    }

    fn write(&mut self, peers: &mut Peers<'_>, outcome: &mut Outcome) -> io::Result<Next> {
        let Some(channel) = &mut self.channel else { return Ok(Next::Done) };
        channel.flush(peers)?;
        let rest = self.plan.length - outcome.sent;
        if rest == 0 {
            return Ok(Next::OnEvent);
        }
        if peers.now() < self.next_write {
            return Ok(Next::At(self.next_write));
        }
        let mut chunk = vec![0; rest.min(self.random.u64(1..=self.plan.chunk as u64)) as usize];
        fill(self.plan.stream, outcome.sent, &mut chunk);
        let Some(length) = unless_blocked(channel.write(peers, &chunk))? else {
            return Ok(Next::OnEvent);
        };
        outcome.sent += length as u64;
        let pause = self.random.u64(0..=self.plan.pause.as_nanos() as u64);
        self.next_write = peers.now() + Duration::from_nanos(pause);
        Ok(Next::At(self.next_write))
    }

    /// Everything is sent. Whether the client is done.
    fn finish(&mut self, peers: &mut Peers<'_>, outcome: &Outcome) -> io::Result<bool> {
        let Some(channel) = &mut self.channel else { return Ok(true) };
        let over = outcome.end_seen || outcome.cut_seen;
        match self.plan.ending {
            Ending::HalfClose if !over => {
                self.shut = self.shut || channel.shutdown_write(peers)?;
                Ok(false)
            }
            Ending::Cut if !over => {
                self.shut = self.shut || channel.cut_write(peers)?;
                Ok(false)
            }
            Ending::Stay if !over => Ok(false),
            Ending::CloseAfter { received } | Ending::ResetAfter { received }
                if outcome.received < received && !over =>
            {
                Ok(false)
            }
            Ending::Reset | Ending::ResetAfter { .. } => {
                channel.reset(peers);
                Ok(true)
            }
            Ending::Cut => {
                let flushed = channel.flush(peers).unwrap_or(true);
                if flushed {
                    channel.abandon(peers);
                }
                Ok(flushed)
            }
            Ending::HalfClose | Ending::Stay | Ending::Close | Ending::CloseAfter { .. } => {
                channel.close(peers)
            }
        }
    }
}

impl Plan {
    fn read(
        &self,
        peers: &mut Peers<'_>,
        channel: &mut Channel,
        answer: &mut Vec<u8>,
        outcome: &mut Outcome,
    ) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while !outcome.end_seen && !outcome.cut_seen && peers.now() >= self.deaf_until {
            match unless_blocked(channel.read(peers, &mut buffer))? {
                None => break,
                Some(0) if channel.is_cut() => outcome.cut_seen = true,
                Some(0) => outcome.end_seen = true,
                Some(length) => {
                    answer.extend(&buffer[..length.min(NUMBER - answer.len())]);
                    if self.answer == Answer::Greeting {
                        outcome.greeting = number(answer);
                    }
                    if let Some(stream) = self.expected(outcome) {
                        check(stream, outcome.received, &buffer[..length]);
                    }
                    outcome.received += length as u64;
                }
            }
        }
        Ok(())
    }

    /// The stream that comes back, as far as it is known.
    fn expected(&self, outcome: &Outcome) -> Option<u64> {
        match self.answer {
            Answer::Echo => Some(self.stream),
            Answer::Source => Some(answer_to(self.stream)),
            Answer::Greeting => outcome.greeting,
        }
    }
}

impl Actor for Client {
    fn step(&mut self, peers: &mut Peers<'_>) -> Next {
        let mut outcome = self.outcome.get();
        let next = self.proceed(peers, &mut outcome).unwrap_or_else(|error| {
            outcome.fate = Fate::Failed(error.kind());
            if let Some(channel) = &mut self.channel {
                channel.abandon(peers);
            }
            Next::Done
        });
        self.outcome.set(outcome);
        next
    }
}

/// How a backend treats its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Returns what it receives, and then the end.
    Echo,
    /// Sends so many bytes once it knows the stream, then the end; reads all.
    Source {
        length: u64,
    },
    /// Like `Source`, but ends when the client has ended.
    StayingSource {
        length: u64,
    },
    /// Sends so many bytes of a stream of its own as soon as it has accepted, then the end; reads
    /// all.
    Greeter {
        length: u64,
    },
    /// Resets when it has sent them, and reads nothing.
    RudeGreeter {
        length: u64,
    },
    /// Reads all, and ends when the client has ended.
    Sink,
    /// Like `Sink`, but up to so many bytes at a time, with a pause after each.
    SlowReader {
        chunk: usize,
        pause: Duration,
    },
    NeverRead,
    /// Resets once it has received so many bytes.
    ResetAfter {
        received: u64,
    },
    /// Closes once it has received so many bytes.
    CloseAfter {
        received: u64,
    },
    /// The same without a word of TLS.
    CutAfter {
        received: u64,
    },
    /// Listens, and never accepts.
    NeverAccept,
    /// Requests to connect vanish.
    BlackHole,
}

/// What a backend saw.
#[derive(Debug, Default)]
pub struct Log {
    pub accepted: u64,
    /// The streams that its connections were to be greeted with.
    pub greetings: BTreeSet<u64>,
    /// Received bytes, by stream.
    pub received: BTreeMap<u64, u64>,
    /// Streams whose end was seen.
    pub ended: BTreeSet<u64>,
    /// Streams that were cut.
    pub cut: BTreeSet<u64>,
    /// Connections that ended with an error.
    pub failed: u64,
}

pub struct Backend {
    address: SocketAddr,
    backlog: usize,
    kind: Kind,
    wire: Wire,
    listener: Option<ListenerId>,
    conversations: Vec<Conversation>,
    log: Rc<RefCell<Log>>,
}

/// One connection of a backend.
struct Conversation {
    channel: Channel,
    /// The stream that it greets with.
    greeting: u64,
    /// The first 8 bytes, as far as they came.
    number: Vec<u8>,
    received: u64,
    end_seen: bool,
    /// Echoed bytes that are still to be written.
    pending: Vec<u8>,
    answered: u64,
    shut: bool,
    next_read: Time,
}

impl Backend {
    /// It listens from its first step on; a refusing backend is an address without one.
    pub fn new(
        address: SocketAddr,
        backlog: usize,
        kind: Kind,
        wire: Wire,
    ) -> (Backend, Rc<RefCell<Log>>) {
        let log = Rc::new(RefCell::new(Log::default()));
        let backend = Backend {
            address,
            backlog,
            kind,
            wire,
            listener: None,
            conversations: Vec::new(),
            log: log.clone(),
        };
        (backend, log)
    }

    fn accept(&mut self, peers: &mut Peers<'_>) {
        let backlog = self.backlog;
        let address = self.address;
        let listener = *self.listener.get_or_insert_with(|| peers.listen(address, backlog));
        if self.kind == Kind::NeverAccept {
            return;
        }
        while let Some(end) = peers.accept(listener) {
            let greeting = greeting_to(peers.remote_address(end));
            let mut log = self.log.borrow_mut();
            log.accepted += 1;
            log.greetings.insert(greeting);
            self.conversations.push(Conversation::new(Channel::new(end, &self.wire), greeting));
        }
    }
}

impl Actor for Backend {
    fn step(&mut self, peers: &mut Peers<'_>) -> Next {
        if self.kind == Kind::BlackHole {
            peers.black_hole(self.address);
            return Next::Done;
        }
        self.accept(peers);
        let mut log = self.log.borrow_mut();
        let mut next_read = None;
        self.conversations.retain_mut(|conversation| {
            match conversation.proceed(peers, self.kind, &mut log) {
                Ok(true) => {
                    if conversation.next_read > peers.now() {
                        let earliest = next_read.unwrap_or(conversation.next_read);
                        next_read = Some(conversation.next_read.min(earliest));
                    }
                    true
                }
                Ok(false) => false,
                Err(error) => {
                    assert_ne!(error.kind(), io::ErrorKind::InvalidData, "{error}");
                    // Before TLS has brought a word it has served nobody.
                    let served = conversation.channel.is_plain() || conversation.received > 0;
                    // Given up before it had come about: a backend on Linux hears nothing of it.
                    let withdrawn = error.kind() == io::ErrorKind::ConnectionAborted;
                    log.failed += u64::from(served && !withdrawn);
                    conversation.channel.abandon(peers);
                    false
                }
            }
        });
        next_read.map_or(Next::OnEvent, Next::At)
    }
}

impl Conversation {
    fn new(channel: Channel, greeting: u64) -> Conversation {
        Conversation {
            channel,
            greeting,
            number: Vec::new(),
            received: 0,
            end_seen: false,
            pending: Vec::new(),
            answered: 0,
            shut: false,
            next_read: Time::default(),
        }
    }

    /// Whether the connection goes on.
    fn proceed(&mut self, peers: &mut Peers<'_>, kind: Kind, log: &mut Log) -> io::Result<bool> {
        if kind == Kind::NeverRead {
            return Ok(true);
        }
        if let Kind::RudeGreeter { length } = kind {
            self.channel.flush(peers)?;
            let said = self.send_own(peers, self.greeting, length)?;
            if said {
                self.channel.reset(peers);
            }
            return Ok(!said);
        }
        self.read(peers, kind, log)?;
        self.channel.flush(peers)?;
        match kind {
            Kind::ResetAfter { received } if self.received >= received => {
                self.channel.reset(peers);
                return Ok(false);
            }
            Kind::CutAfter { received } if self.received >= received => {
                self.channel.abandon(peers);
                return Ok(false);
            }
            Kind::CloseAfter { received } if self.received >= received => {
                return Ok(!self.channel.close(peers)?);
            }
            _ => {}
        }
        if self.answer(peers, kind)? && !self.shut {
            self.shut = self.channel.shutdown_write(peers)?;
        }
        if self.shut && self.end_seen {
            self.channel.abandon(peers);
            return Ok(false);
        }
        Ok(true)
    }

    fn read(&mut self, peers: &mut Peers<'_>, kind: Kind, log: &mut Log) -> io::Result<()> {
        let mut buffer = [0; 4096];
        // Back-pressure: an echo reads on when the bytes before are written.
        while !self.end_seen && self.pending.is_empty() && peers.now() >= self.next_read {
            let most = match kind {
                Kind::SlowReader { chunk, .. } => chunk.min(buffer.len()),
                Kind::ResetAfter { received }
                | Kind::CloseAfter { received }
                | Kind::CutAfter { received } => {
                    (received.saturating_sub(self.received) as usize).min(buffer.len())
                }
                _ => buffer.len(),
            };
            if most == 0 {
                break;
            }
            match unless_blocked(self.channel.read(peers, &mut buffer[..most]))? {
                None => break,
                Some(0) => {
                    self.end_seen = true;
                    match self.channel.is_cut() {
                        true => log.cut.extend(self.stream()),
                        false => log.ended.extend(self.stream()),
                    }
                }
                Some(length) => {
                    if let Kind::SlowReader { pause, .. } = kind {
                        self.next_read = peers.now() + pause;
                    }
                    self.take(peers, kind, &buffer[..length], log)?;
                }
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        peers: &mut Peers<'_>,
        kind: Kind,
        bytes: &[u8],
        log: &mut Log,
    ) -> io::Result<()> {
        let missing = (NUMBER - self.number.len()).min(bytes.len());
        self.number.extend(&bytes[..missing]);
        if let Some(stream) = self.stream() {
            let before = self.received.max(NUMBER as u64);
            check(stream, before, &bytes[missing..]);
            *log.received.entry(stream).or_default() = self.received + bytes.len() as u64;
        }
        self.received += bytes.len() as u64;
        if kind == Kind::Echo {
            self.pending.extend(bytes);
            self.echo(peers)?;
        }
        Ok(())
    }

    fn stream(&self) -> Option<u64> {
        number(&self.number)
    }

    /// Whether all that there is to send was written.
    fn answer(&mut self, peers: &mut Peers<'_>, kind: Kind) -> io::Result<bool> {
        match kind {
            Kind::Source { length } => match self.stream() {
                Some(stream) => self.send_own(peers, answer_to(stream), length),
                None => Ok(self.end_seen),
            },
            Kind::Greeter { length } => self.send_own(peers, self.greeting, length),
            Kind::StayingSource { length } => {
                if let (Some(stream), false) = (self.stream(), self.end_seen) {
                    self.send_own(peers, answer_to(stream), length)?;
                }
                Ok(self.end_seen)
            }
            _ => {
                self.echo(peers)?;
                Ok(self.end_seen && self.pending.is_empty())
            }
        }
    }

    fn echo(&mut self, peers: &mut Peers<'_>) -> io::Result<()> {
        while !self.pending.is_empty() {
            let Some(length) = unless_blocked(self.channel.write(peers, &self.pending))? else {
                break;
            };
            self.pending.drain(..length);
        }
        Ok(())
    }

    fn send_own(&mut self, peers: &mut Peers<'_>, stream: u64, length: u64) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        while self.answered < length {
            let most = (length - self.answered).min(buffer.len() as u64) as usize;
            fill(stream, self.answered, &mut buffer[..most]);
            let Some(written) = unless_blocked(self.channel.write(peers, &buffer[..most]))? else {
                return Ok(false);
            };
            self.answered += written as u64;
        }
        Ok(true)
    }
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
