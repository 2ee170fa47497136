//! Owns the clients that receive a stream: they count its bytes and check samples of them.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::Fault;
use super::backends::{Backends, Pattern};
use super::poller::Token;
use super::run::{Client, Turn};
use super::schedule::Schedule;
use super::sockets;

/// A unit is a byte.
pub struct Bulk {
    target: SocketAddrV4,
    lines: Vec<Option<Line>>,
    received: u64,
    phase: Phase,
    pattern: Pattern,
    scratch: Vec<u8>,
}

struct Line {
    socket: OwnedFd,
    received: u64,
    reads: u64,
}

/// A stream may end in the last phase alone.
#[derive(PartialEq)]
enum Phase {
    Streaming,
    Finishing,
}

impl Bulk {
    pub fn new(target: SocketAddrV4) -> Self {
        Self {
            target,
            lines: Vec::new(),
            received: 0,
            phase: Phase::Streaming,
            pattern: Pattern::new(),
            scratch: vec![0; SCRATCH],
        }
    }

    fn receive(&mut self, place: usize) -> Result<u64, Fault> {
        let Some(line) = self.lines.get_mut(place).and_then(Option::as_mut) else {
            return Ok(0);
        };
        match line.receive(&mut self.scratch, &self.pattern) {
            Ok(0) if self.phase == Phase::Finishing => {
                self.lines[place] = None;
                Ok(0)
            }
            Ok(0) => Err(Fault::ClosedEarly),
            Ok(length) => {
                self.received += length;
                Ok(length)
            }
            Err(Fault::Host(Errno::AGAIN)) => Ok(0),
            Err(fault) => Err(fault),
        }
    }
}

impl Client for Bulk {
    fn is_ready(&self, backends: &Backends) -> bool {
        backends.open() == LINES
    }

    fn start(&mut self, _: Schedule) {}

    fn advance(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        while self.lines.len() < LINES {
            let socket = sockets::stream()?;
            sockets::connect(&socket, self.target)?;
            turn.poller.add(&socket, Token::Client(self.lines.len()), EventFlags::IN)?;
            self.lines.push(Some(Line { socket, received: 0, reads: 0 }));
        }
        Ok(())
    }

    fn event(
        &mut self,
        place: usize,
        _flags: EventFlags,
        turn: &mut Turn<'_>,
    ) -> Result<(), Fault> {
        turn.tally.add(self.receive(place)?);
        Ok(())
    }

    fn finish(&mut self) {
        self.phase = Phase::Finishing;
    }

    fn is_finished(&self) -> bool {
        self.lines.iter().all(Option::is_none)
    }

    fn verify(&self, backends: &Backends) -> Result<(), Fault> {
        if self.received == backends.streamed() { Ok(()) } else { Err(Fault::WrongBytes) }
    }
}

impl Line {
    /// Most reads let the kernel drop the bytes (MSG_TRUNC), which spares the copy; some are
    /// compared with the pattern.
    fn receive(&mut self, scratch: &mut [u8], pattern: &Pattern) -> Result<u64, Fault> {
        self.reads += 1;
        let length = if self.reads % READS_PER_SAMPLE == 1 {
            let sample = &mut scratch[..SAMPLE];
            let (length, _) = recv(&self.socket, &mut *sample, RecvFlags::empty())?;
            if sample[..length] != *pattern.at(self.received, length) {
                return Err(Fault::WrongBytes);
            }
            length
        } else {
            recv(&self.socket, scratch, RecvFlags::TRUNC)?.1
        };
        self.received += length as u64;
        Ok(length as u64)
    }
}

const LINES: usize = 8;
const READS_PER_SAMPLE: u64 = 64;
const SAMPLE: usize = 64 * 1024;
const SCRATCH: usize = 1024 * 1024;
