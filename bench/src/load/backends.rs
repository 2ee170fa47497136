//! Owns the servers behind the proxy: they echo, or stream a known pattern, or take one; they
//! measure nothing.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::Fault;
use super::pattern::{self, CHUNK, Intake, Pattern};
use super::poller::{Poller, Token, is_end};
use super::schedule::Schedule;
use super::sockets;

/// All addresses that the proxy balances over, and the connections they have accepted.
pub struct Backends {
    listeners: Vec<OwnedFd>,
    servers: Vec<Option<Server>>,
    /// The places in `servers` that are empty.
    free: Vec<usize>,
    service: Service,
    pattern: Pattern,
    /// Bytes of the pattern handed to the kernel since the service was chosen.
    streamed: u64,
    /// Bytes of the pattern that have come since the service was chosen.
    taken: u64,
    scratch: Box<[u8; SCRATCH]>,
    intake_scratch: Vec<u8>,
}

/// What a connection is served.
#[derive(Clone, Copy)]
pub enum Service {
    Echo,
    Stream(Flow),
    /// The client streams.
    Take,
}

#[derive(Clone, Copy)]
pub enum Flow {
    Waiting,
    /// `begun` chunks of the schedule have been given to a connection.
    Running {
        schedule: Schedule,
        begun: u64,
    },
    Ended,
}

struct Server {
    socket: OwnedFd,
    /// The next byte of the pattern.
    position: u64,
    /// Bytes that are due and not yet sent, in a paced flow.
    allowance: u64,
    intake: Intake,
}

impl Backends {
    pub fn new() -> Self {
        Self {
            listeners: Vec::new(),
            servers: Vec::new(),
            free: Vec::new(),
            service: Service::Echo,
            pattern: Pattern::new(),
            streamed: 0,
            taken: 0,
            scratch: Box::new([0; SCRATCH]),
            intake_scratch: vec![0; pattern::SCRATCH],
        }
    }

    /// Listens on `count` addresses of network `127.1.<network>.0`, one network per candidate: no
    /// candidate meets the TIME_WAIT of another, and none runs out of ports.
    pub fn listen(
        &mut self,
        network: u8,
        count: u8,
        poller: &Poller,
    ) -> Result<Vec<SocketAddrV4>, Errno> {
        let mut addresses = Vec::new();
        for host in 1..=count {
            let address = Ipv4Addr::new(127, 1, network, host);
            let listener = sockets::listener(SocketAddrV4::new(address, 0))?;
            addresses.push(SocketAddrV4::new(address, sockets::local_port(&listener)?));
            poller.add(&listener, Token::Listener(self.listeners.len()), EventFlags::IN)?;
            self.listeners.push(listener);
        }
        Ok(addresses)
    }

    /// Closes what a run has left and serves the next one.
    pub fn serve(&mut self, service: Service) {
        self.servers.clear();
        self.free.clear();
        self.streamed = 0;
        self.taken = 0;
        self.service = service;
    }

    pub fn open(&self) -> usize {
        self.servers.len() - self.free.len()
    }

    pub fn streamed(&self) -> u64 {
        self.streamed
    }

    pub fn taken(&self) -> u64 {
        self.taken
    }

    pub fn accept(&mut self, listener: usize, poller: &Poller) -> Result<(), Errno> {
        // One connection per event: the poller reports a listener that has more.
        let socket = match sockets::accept(&self.listeners[listener]) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::CONNABORTED) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.servers.push(None);
            self.servers.len() - 1
        });
        poller.add(&socket, Token::Backend(place), self.interest())?;
        self.servers[place] =
            Some(Server { socket, position: 0, allowance: 0, intake: Intake::default() });
        Ok(())
    }

    /// Returns the bytes of a client's stream that have come.
    pub fn event(&mut self, place: usize, flags: EventFlags) -> Result<u64, Fault> {
        let Some(server) = self.servers.get_mut(place).and_then(Option::as_mut) else {
            return Ok(0);
        };
        let mut taken = 0;
        let after = match self.service {
            Service::Echo => server.echo(&mut *self.scratch, is_end(flags))?,
            Service::Stream(_) if flags.contains(EventFlags::IN) || is_end(flags) => {
                server.expect_end()?
            }
            Service::Stream(_) => {
                let (sent, after) = server.stream(&self.pattern, CHUNK);
                self.streamed += sent;
                after
            }
            Service::Take => {
                let (length, after) = server.take(&mut self.intake_scratch, &self.pattern)?;
                taken = length;
                after
            }
        };
        self.taken += taken;
        self.settle(place, after);
        Ok(taken)
    }

    /// Begins to stream. An echo needs no beginning.
    pub fn start(&mut self, schedule: Schedule, poller: &Poller) -> Result<(), Errno> {
        if matches!(self.service, Service::Stream(_)) {
            self.service = Service::Stream(Flow::Running { schedule, begun: 0 });
            self.renew_interest(poller)?;
        }
        Ok(())
    }

    /// Sends what has become due in a paced flow.
    pub fn advance(&mut self, now: u64) {
        let Service::Stream(Flow::Running { schedule, begun }) = &mut self.service else {
            return;
        };
        if !schedule.is_paced() || self.servers.is_empty() {
            return;
        }
        let due = schedule.due(now);
        for chunk in *begun..due {
            let place = chunk as usize % self.servers.len();
            if let Some(server) = &mut self.servers[place] {
                server.allowance += CHUNK;
            }
        }
        *begun = due;
        for place in 0..self.servers.len() {
            let Some(server) = &mut self.servers[place] else { continue };
            if server.allowance > 0 {
                let (sent, after) = server.stream(&self.pattern, server.allowance.min(CHUNK));
                server.allowance -= sent;
                self.streamed += sent;
                self.settle(place, after);
            }
        }
    }

    /// Ends the streams; the connections close when the proxy has ended them too.
    pub fn finish(&mut self, poller: &Poller) -> Result<(), Errno> {
        if !matches!(self.service, Service::Stream(_)) {
            return Ok(());
        }
        self.service = Service::Stream(Flow::Ended);
        self.renew_interest(poller)?;
        for server in self.servers.iter().flatten() {
            match shutdown(&server.socket, Shutdown::Write) {
                // NOTCONN: a reset came first, and its event is about to.
                Ok(()) | Err(Errno::NOTCONN) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// A message is read whole at its edge; a stream writes for as long as there is room.
    fn interest(&self) -> EventFlags {
        let input = EventFlags::IN | EventFlags::RDHUP;
        match self.service {
            Service::Echo => input | EventFlags::ET,
            Service::Stream(Flow::Running { schedule: Schedule::Always, .. }) => {
                input | EventFlags::OUT
            }
            Service::Stream(_) | Service::Take => input,
        }
    }

    fn renew_interest(&self, poller: &Poller) -> Result<(), Errno> {
        for (place, server) in self.servers.iter().enumerate() {
            if let Some(server) = server {
                poller.modify(&server.socket, Token::Backend(place), self.interest())?;
            }
        }
        Ok(())
    }

    fn settle(&mut self, place: usize, after: After) {
        match after {
            After::Open => {}
            After::Closed => {
                self.servers[place] = None;
                self.free.push(place);
            }
        }
    }
}

/// What has become of a connection.
enum After {
    Open,
    Closed,
}

impl Server {
    /// `ended`: an end of stream follows the bytes, and no other event will tell.
    fn echo(&mut self, scratch: &mut [u8], ended: bool) -> Result<After, Fault> {
        loop {
            let length = match recv(&self.socket, &mut *scratch, RecvFlags::empty()) {
                Ok((length, _)) if length > 0 => length,
                Err(Errno::AGAIN) => return Ok(After::Open),
                // An end, or a reset: the client checks which of its connections may end so.
                Ok(_) | Err(_) => return Ok(After::Closed),
            };
            match send(&self.socket, &scratch[..length], SendFlags::NOSIGNAL) {
                Ok(sent) if sent == length => {}
                // At most one message is on its way per connection: there is always room for it.
                Ok(_) | Err(Errno::AGAIN) => return Err(Fault::ShortWrite),
                Err(_) => return Ok(After::Closed),
            }
            if length < scratch.len() && !ended {
                return Ok(After::Open);
            }
        }
    }

    /// The client of a stream sends nothing: all that can be read is its end.
    fn expect_end(&mut self) -> Result<After, Fault> {
        match recv(&self.socket, &mut [0; 1], RecvFlags::empty()) {
            Ok((0, _)) => Ok(After::Closed),
            Ok(_) => Err(Fault::WrongBytes),
            Err(Errno::AGAIN) => Ok(After::Open),
            Err(_) => Ok(After::Closed),
        }
    }

    /// Receives once of the client's stream; returns how many bytes it was.
    fn take(&mut self, scratch: &mut [u8], pattern: &Pattern) -> Result<(u64, After), Fault> {
        match self.intake.receive(&self.socket, scratch, pattern) {
            Ok(0) => Ok((0, After::Closed)),
            Ok(length) => Ok((length, After::Open)),
            Err(Fault::Host(Errno::AGAIN)) => Ok((0, After::Open)),
            Err(Fault::Host(_)) => Ok((0, After::Closed)),
            Err(fault) => Err(fault),
        }
    }

    /// Sends up to `length` bytes of the pattern; returns how many it was.
    fn stream(&mut self, pattern: &Pattern, length: u64) -> (u64, After) {
        let bytes = pattern.at(self.position, length as usize);
        match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                self.position += sent as u64;
                (sent as u64, After::Open)
            }
            Err(Errno::AGAIN) => (0, After::Open),
            Err(_) => (0, After::Closed),
        }
    }
}

/// Echoes read so much at a time.
const SCRATCH: usize = 4096;
