//! Owns the clients whose connections carry one request each, then end by a reset or by a FIN.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};

use super::backends::Backends;
use super::poller::{Token, is_end};
use super::run::{Client, Turn};
use super::schedule::Schedule;
use super::{Fault, MESSAGE, message, sockets};

/// How a client ends its connection.
#[derive(Clone, Copy, PartialEq)]
pub enum Ending {
    Reset,
    /// Ends its stream, then waits for the end of the other.
    Fin,
}

/// A unit is a connection. Its latency is that of the answer: connecting is part of it, closing
/// is not.
pub struct Connections {
    target: SocketAddrV4,
    ending: Ending,
    lines: Vec<Option<Line>>,
    /// The places in `lines` that are empty.
    free: Vec<usize>,
    /// The number of the next connection.
    next: u64,
    schedule: Option<Schedule>,
}

struct Line {
    socket: OwnedFd,
    number: u64,
    intended: u64,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Connecting,
    Waiting { received: usize },
    Closing,
}

/// What an event has brought a line to.
enum Step {
    None,
    Answered,
    Closed,
}

impl Connections {
    pub fn new(target: SocketAddrV4, ending: Ending) -> Self {
        Self { target, ending, lines: Vec::new(), free: Vec::new(), next: 0, schedule: None }
    }

    fn begin(&mut self, place: usize, intended: u64, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let socket = sockets::stream()?;
        if self.ending == Ending::Reset {
            sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        }
        turn.sources.bind_next(&socket)?;
        sockets::connect(&socket, self.target)?;
        let mut line = Line { socket, number: self.next, intended, state: State::Connecting };
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        // On loopback the handshake is over by now, nearly always, and no event needs to say so.
        if !line.send(place)? {
            flags |= EventFlags::OUT;
        }
        turn.poller.add(&line.socket, Token::Client(place), flags)?;
        self.lines[place] = Some(line);
        self.next += 1;
        Ok(())
    }

    fn close(&mut self, place: usize) {
        self.lines[place] = None;
        self.free.push(place);
    }
}

impl Client for Connections {
    fn is_ready(&self, _: &Backends) -> bool {
        true
    }

    fn start(&mut self, schedule: Schedule) {
        let limit = if schedule.is_paced() { OPEN_LOOP_LIMIT } else { CLOSED_LOOP_LIMIT };
        self.lines.resize_with(limit, || None);
        self.free = (0..limit).collect();
        self.schedule = Some(schedule);
    }

    fn advance(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let Some(schedule) = self.schedule else {
            return Ok(());
        };
        let due = schedule.due(turn.now);
        while self.next < due {
            let Some(place) = self.free.pop() else { break };
            self.begin(place, schedule.intended(self.next, turn.now), turn)?;
        }
        Ok(())
    }

    fn event(&mut self, place: usize, flags: EventFlags, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let Some(line) = self.lines[place].as_mut() else {
            return Ok(());
        };
        match line.event(place, flags)? {
            Step::None => {}
            Step::Answered => {
                turn.tally.add_answer(line.intended, turn.now);
                match self.ending {
                    // Closing resets, by the socket's linger time of zero.
                    Ending::Reset => self.close(place),
                    Ending::Fin => line.end()?,
                }
            }
            Step::Closed => self.close(place),
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.schedule = None;
    }

    fn is_finished(&self) -> bool {
        self.free.len() == self.lines.len()
    }
}

impl Line {
    /// Returns whether the request is on its way; it is not while the socket connects.
    fn send(&mut self, place: usize) -> Result<bool, Fault> {
        match send(&self.socket, &message(place, self.number), SendFlags::NOSIGNAL) {
            Ok(MESSAGE) => {
                self.state = State::Waiting { received: 0 };
                Ok(true)
            }
            Ok(_) => Err(Fault::ShortWrite),
            Err(Errno::AGAIN) => Ok(false),
            Err(_) => Err(Fault::ConnectFailed),
        }
    }

    fn event(&mut self, place: usize, flags: EventFlags) -> Result<Step, Fault> {
        match self.state {
            State::Connecting if is_end(flags) => Err(Fault::ConnectFailed),
            State::Connecting => self.send(place).map(|_| Step::None),
            State::Waiting { .. } if is_end(flags) => Err(Fault::ClosedEarly),
            State::Waiting { received } => self.receive(place, received),
            State::Closing => self.receive_end(),
        }
    }

    fn receive(&mut self, place: usize, received: usize) -> Result<Step, Fault> {
        let mut bytes = [0; MESSAGE + 1];
        let length = match recv(&self.socket, &mut bytes, RecvFlags::empty()) {
            Ok((length, _)) if length > 0 => length,
            Err(Errno::AGAIN) => return Ok(Step::None),
            Ok(_) | Err(_) => return Err(Fault::ClosedEarly),
        };
        let expected = message(place, self.number);
        let end = received + length;
        if expected.get(received..end) != Some(&bytes[..length]) {
            return Err(Fault::WrongBytes);
        }
        self.state = State::Waiting { received: end };
        Ok(if end == MESSAGE { Step::Answered } else { Step::None })
    }

    fn end(&mut self) -> Result<(), Fault> {
        shutdown(&self.socket, Shutdown::Write).map_err(|_| Fault::ClosedEarly)?;
        self.state = State::Closing;
        Ok(())
    }

    /// A reset in place of the end is a fault: bytes could have been lost with it.
    fn receive_end(&mut self) -> Result<Step, Fault> {
        match recv(&self.socket, &mut [0; 1], RecvFlags::empty()) {
            Ok((0, _)) => Ok(Step::Closed),
            Ok(_) => Err(Fault::WrongBytes),
            Err(Errno::AGAIN) => Ok(Step::None),
            Err(_) => Err(Fault::ClosedEarly),
        }
    }
}

const CLOSED_LOOP_LIMIT: usize = 64;
/// More than are ever open before a proxy at half its speed has fallen behind.
const OPEN_LOOP_LIMIT: usize = 1024;
