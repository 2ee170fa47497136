//! Owns the clients that send a request and wait for its echo, over and over on open connections.

use rustix::event::epoll::EventFlags;

use super::backends::Backends;
use super::channel::{Channel, Opening, Received, Sent};
use super::dialer::Dialer;
use super::poller::{Poller, Token, is_end};
use super::run::{Client, Turn};
use super::schedule::Schedule;
use super::{Fault, MESSAGE, message};

/// A unit is a request and its answer. Request `n` belongs to line `n % lines`, and a line has one
/// request on its way at most: a late answer delays the line's next request, whose latency counts
/// from when it was due.
pub struct PingPong {
    dialer: Dialer,
    lines: Vec<Line>,
    lines_wanted: usize,
    /// Lines whose first answer has come.
    lines_ready: usize,
    waiting: usize,
    phase: Phase,
}

enum Phase {
    /// A few lines at a time, so that no accept queue overflows.
    Opening,
    Running {
        schedule: Schedule,
        /// Requests below it were begun, or are their line's to begin.
        cursor: u64,
    },
    Finishing,
}

struct Line {
    channel: Channel,
    state: State,
    /// The number of the request that is next or, while waiting, on its way.
    request: u64,
}

#[derive(Clone, Copy)]
enum State {
    Connecting,
    Idle,
    Waiting { intended: u64, received: usize },
}

impl PingPong {
    pub fn new(dialer: Dialer, lines: usize) -> Self {
        Self {
            dialer,
            lines: Vec::with_capacity(lines),
            lines_wanted: lines,
            lines_ready: 0,
            waiting: 0,
            phase: Phase::Opening,
        }
    }

    fn open(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        while self.lines.len() < self.lines_wanted
            && self.lines.len() - self.lines_ready < LINES_OPENING
        {
            let channel = self.dialer.dial()?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            turn.poller.add(&channel, Token::Client(self.lines.len()), flags)?;
            self.lines.push(Line { channel, state: State::Connecting, request: FIRST });
        }
        Ok(())
    }

    fn send(&mut self, place: usize, intended: u64) -> Result<(), Fault> {
        self.lines[place].send(place, intended)?;
        self.waiting += 1;
        Ok(())
    }

    /// The line's request has been answered: counts it and goes on with the next.
    fn answered(&mut self, place: usize, intended: u64, turn: &mut Turn<'_>) -> Result<(), Fault> {
        self.waiting -= 1;
        match &self.phase {
            Phase::Opening => self.lines_ready += 1,
            Phase::Running { schedule, .. } => {
                turn.tally.add_answer(intended, turn.now);
                let line = &mut self.lines[place];
                line.request = line.following(place, self.lines_wanted);
                if line.request < schedule.due(turn.now) {
                    let intended = schedule.intended(line.request, turn.now);
                    self.send(place, intended)?;
                }
            }
            Phase::Finishing => {}
        }
        Ok(())
    }
}

impl Client for PingPong {
    fn is_ready(&self, _: &Backends) -> bool {
        self.lines_ready == self.lines_wanted
    }

    fn start(&mut self, schedule: Schedule, _: &Poller) -> Result<(), Fault> {
        for (place, line) in self.lines.iter_mut().enumerate() {
            line.request = line.following(place, self.lines_wanted);
        }
        self.phase = Phase::Running { schedule, cursor: 0 };
        Ok(())
    }

    fn advance(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let (first, due, schedule) = match &mut self.phase {
            Phase::Opening => return self.open(turn),
            Phase::Finishing => return Ok(()),
            Phase::Running { schedule, cursor } => {
                // A closed loop begins each line once; from then on answers drive it.
                let due = match schedule {
                    Schedule::Always => self.lines_wanted as u64,
                    Schedule::Even { .. } => schedule.due(turn.now),
                };
                let first = *cursor;
                *cursor = due;
                (first, due, *schedule)
            }
        };
        for request in first..due {
            let place = (request % self.lines_wanted as u64) as usize;
            let line = &self.lines[place];
            if line.request == request && matches!(line.state, State::Idle) {
                self.send(place, schedule.intended(request, turn.now))?;
            }
        }
        Ok(())
    }

    fn event(&mut self, place: usize, flags: EventFlags, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let line = &mut self.lines[place];
        if let State::Connecting = line.state {
            return match line.channel.open_on(flags, &mut self.dialer)? {
                Opening::Open => self.send(place, turn.now),
                Opening::Answer | Opening::Room => Ok(()),
            };
        }
        if is_end(flags) {
            return Err(Fault::ClosedEarly);
        }
        match line.receive(place)? {
            Some(intended) => self.answered(place, intended, turn),
            None => Ok(()),
        }
    }

    fn finish(&mut self, _: &Poller) -> Result<(), Fault> {
        self.phase = Phase::Finishing;
        Ok(())
    }

    fn is_finished(&self, _: &Backends) -> bool {
        self.waiting == 0
    }

    fn verify(&self, _: &Backends) -> Result<(), Fault> {
        self.dialer.verdict()
    }
}

impl Line {
    fn following(&self, place: usize, lines: usize) -> u64 {
        if self.request == FIRST { place as u64 } else { self.request + lines as u64 }
    }

    fn send(&mut self, place: usize, intended: u64) -> Result<(), Fault> {
        let request = message(place, self.request);
        if self.channel.send(&request)? == Sent::Nothing {
            return Err(Fault::ShortWrite);
        }
        self.state = State::Waiting { intended, received: 0 };
        Ok(())
    }

    /// Returns when the request ought to have begun, once its answer is whole.
    fn receive(&mut self, place: usize) -> Result<Option<u64>, Fault> {
        let mut bytes = [0; MESSAGE + 1];
        let length = match self.channel.receive(&mut bytes)? {
            Received::Bytes(length) => length,
            Received::Nothing => return Ok(None),
            Received::End => return Err(Fault::ClosedEarly),
        };
        let State::Waiting { intended, received } = self.state else {
            return Err(Fault::WrongBytes);
        };
        let expected = message(place, self.request);
        let end = received + length;
        if expected.get(received..end) != Some(&bytes[..length]) {
            return Err(Fault::WrongBytes);
        }
        if end < MESSAGE {
            self.state = State::Waiting { intended, received: end };
            return Ok(None);
        }
        self.state = State::Idle;
        Ok(Some(intended))
    }
}

/// The number of the request that opens a line; it is not counted.
const FIRST: u64 = u64::MAX;
const LINES_OPENING: usize = 64;
