//! Owns the clients whose connections carry one request each, then end by a reset or by a FIN.

use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::net::sockopt;

use super::backends::Backends;
use super::channel::{Channel, Opening, Received, Sent};
use super::dialer::Dialer;
use super::poller::{Poller, Token, is_end};
use super::run::{Client, Turn};
use super::schedule::Schedule;
use super::work::Ending;
use super::{Fault, MESSAGE, message, sockets};

/// A unit is a connection. Its latency is that of the answer: connecting is part of it, closing
/// is not.
pub struct Connections {
    dialer: Dialer,
    ending: Ending,
    lines: Vec<Option<Line>>,
    /// The places in `lines` that are empty.
    free: Vec<usize>,
    /// The number of the next connection.
    next: u64,
    phase: Phase,
}

enum Phase {
    /// Where sessions are to be resumed, tickets are gathered: connections come and go uncounted.
    Opening,
    Running(Schedule),
    Finishing,
}

struct Line {
    channel: Channel,
    number: u64,
    intended: u64,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Opening,
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
    pub fn new(dialer: Dialer, ending: Ending) -> Self {
        let mut connections = Self {
            dialer,
            ending,
            lines: Vec::new(),
            free: Vec::new(),
            next: 0,
            phase: Phase::Opening,
        };
        connections.make_room(CLOSED_LOOP_LIMIT);
        connections
    }

    /// For so many connections at a time. There are none now.
    fn make_room(&mut self, limit: usize) {
        self.lines.resize_with(limit, || None);
        self.free = (0..limit).collect();
    }

    fn has_tickets(&self) -> bool {
        self.dialer.tickets().is_none_or(|tickets| tickets >= OPEN_LOOP_LIMIT)
    }

    fn begin(&mut self, place: usize, intended: u64, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let socket = sockets::stream()?;
        if self.ending == Ending::Reset {
            sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        }
        turn.sources.bind_next(&socket)?;
        let channel = self.dialer.dial_with(socket)?;
        let mut line = Line { channel, number: self.next, intended, state: State::Opening };
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        // On loopback TCP's handshake is over by now, nearly always, and no event needs to say so.
        let opening = line.channel.open(&mut self.dialer)?;
        if opening == Opening::Room || (opening == Opening::Open && !line.send(place)?) {
            flags |= EventFlags::OUT;
        }
        turn.poller.add(&line.channel, Token::Client(place), flags)?;
        self.lines[place] = Some(line);
        self.next += 1;
        Ok(())
    }

    fn answered(&mut self, place: usize, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let Some(line) = self.lines[place].as_mut() else {
            return Ok(());
        };
        match self.phase {
            // Tickets come before the answer.
            Phase::Opening if self.dialer.tickets() == Some(0) => return Err(Fault::NoTickets),
            Phase::Opening => {}
            Phase::Running(_) | Phase::Finishing => {
                turn.tally.add_answer(line.intended, turn.now);
            }
        }
        match self.ending {
            // Closing resets, by the socket's linger time of zero.
            Ending::Reset => self.close(place),
            Ending::Fin => {
                line.channel.end()?;
                line.state = State::Closing;
            }
        }
        Ok(())
    }

    fn close(&mut self, place: usize) {
        self.lines[place] = None;
        self.free.push(place);
    }
}

impl Client for Connections {
    fn is_ready(&self, backends: &Backends) -> bool {
        self.has_tickets() && self.is_finished(backends)
    }

    fn start(&mut self, schedule: Schedule, _: &Poller) -> Result<(), Fault> {
        let limit = if schedule.is_paced() { OPEN_LOOP_LIMIT } else { CLOSED_LOOP_LIMIT };
        self.make_room(limit);
        self.dialer.resume();
        self.next = 0;
        self.phase = Phase::Running(schedule);
        Ok(())
    }

    fn advance(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        match self.phase {
            Phase::Opening if !self.has_tickets() => {
                while let Some(place) = self.free.pop() {
                    self.begin(place, turn.now, turn)?;
                }
            }
            Phase::Opening | Phase::Finishing => {}
            Phase::Running(schedule) => {
                let due = schedule.due(turn.now);
                while self.next < due {
                    let Some(place) = self.free.pop() else { break };
                    self.begin(place, schedule.intended(self.next, turn.now), turn)?;
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, place: usize, flags: EventFlags, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let Some(line) = self.lines[place].as_mut() else {
            return Ok(());
        };
        match line.event(place, flags, &mut self.dialer)? {
            Step::None => {}
            Step::Answered => self.answered(place, turn)?,
            Step::Closed => self.close(place),
        }
        Ok(())
    }

    fn finish(&mut self, _: &Poller) -> Result<(), Fault> {
        self.phase = Phase::Finishing;
        Ok(())
    }

    fn is_finished(&self, _: &Backends) -> bool {
        self.free.len() == self.lines.len()
    }

    fn verify(&self, _: &Backends) -> Result<(), Fault> {
        self.dialer.verdict()
    }
}

impl Line {
    /// Returns whether the request is on its way; it is not while the socket connects.
    fn send(&mut self, place: usize) -> Result<bool, Fault> {
        match self.channel.send(&message(place, self.number)) {
            Ok(Sent::Whole) => {
                self.state = State::Waiting { received: 0 };
                Ok(true)
            }
            Ok(Sent::Nothing) => Ok(false),
            Err(Fault::ClosedEarly) => Err(Fault::ConnectFailed),
            Err(fault) => Err(fault),
        }
    }

    fn event(
        &mut self,
        place: usize,
        flags: EventFlags,
        dialer: &mut Dialer,
    ) -> Result<Step, Fault> {
        match self.state {
            State::Opening => {
                if self.channel.open_on(flags, dialer)? == Opening::Open {
                    self.send(place)?;
                }
                Ok(Step::None)
            }
            State::Waiting { .. } if is_end(flags) => Err(Fault::ClosedEarly),
            State::Waiting { received } => self.receive(place, received),
            State::Closing => self.receive_end(),
        }
    }

    fn receive(&mut self, place: usize, received: usize) -> Result<Step, Fault> {
        let mut bytes = [0; MESSAGE + 1];
        let length = match self.channel.receive(&mut bytes)? {
            Received::Bytes(length) => length,
            Received::Nothing => return Ok(Step::None),
            Received::End => return Err(Fault::ClosedEarly),
        };
        let expected = message(place, self.number);
        let end = received + length;
        if expected.get(received..end) != Some(&bytes[..length]) {
            return Err(Fault::WrongBytes);
        }
        self.state = State::Waiting { received: end };
        Ok(if end == MESSAGE { Step::Answered } else { Step::None })
    }

    /// A reset in place of the end is a fault: bytes could have been lost with it.
    fn receive_end(&mut self) -> Result<Step, Fault> {
        match self.channel.receive(&mut [0; 1])? {
            Received::Bytes(_) => Err(Fault::WrongBytes),
            Received::Nothing => Ok(Step::None),
            Received::End => Ok(Step::Closed),
        }
    }
}

const CLOSED_LOOP_LIMIT: usize = 64;
/// More than are ever open before a proxy at half its speed has fallen behind.
const OPEN_LOOP_LIMIT: usize = 1024;
