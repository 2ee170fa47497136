//! Owns the clients that use their connections a little and then hold them; memory is read
//! elsewhere.

use rustix::event::epoll::EventFlags;

use super::Fault;
use super::backends::Backends;
use super::channel::{Channel, Opening, Received, Sent};
use super::dialer::Dialer;
use super::pattern::Pattern;
use super::poller::{Poller, Token, is_end};
use super::run::{Client, Turn};
use super::schedule::Schedule;

/// There are a few lines until it is started, and all from then on.
pub struct Idle {
    dialer: Dialer,
    lines: Vec<Line>,
    lines_wanted: usize,
    lines_all: usize,
    lines_quiet: usize,
    pattern: Pattern,
    scratch: Vec<u8>,
    is_finished: bool,
}

struct Line {
    channel: Channel,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Opening,
    /// An echo is on its way.
    Waiting {
        exchange: usize,
        received: usize,
    },
    Quiet,
}

impl Idle {
    pub fn new(dialer: Dialer, few: usize, all: usize) -> Self {
        Self {
            dialer,
            lines: Vec::with_capacity(all),
            lines_wanted: few,
            lines_all: all,
            lines_quiet: 0,
            pattern: Pattern::new(),
            scratch: vec![0; 2 * LONG],
            is_finished: false,
        }
    }

    fn send(&mut self, place: usize, exchange: usize) -> Result<(), Fault> {
        let line = &mut self.lines[place];
        let Some(&length) = EXCHANGES.get(exchange) else {
            line.state = State::Quiet;
            self.lines_quiet += 1;
            return Ok(());
        };
        let message = self.pattern.at(position(place, exchange), length);
        if line.channel.send(message)? == Sent::Nothing {
            return Err(Fault::ShortWrite);
        }
        line.state = State::Waiting { exchange, received: 0 };
        Ok(())
    }

    /// Receives until nothing is left, as the event is told once.
    fn receive(&mut self, place: usize) -> Result<(), Fault> {
        loop {
            let line = &mut self.lines[place];
            let length = match line.channel.receive(&mut self.scratch)? {
                Received::Bytes(length) => length,
                Received::Nothing => return Ok(()),
                Received::End => return Err(Fault::ClosedEarly),
            };
            let State::Waiting { exchange, received } = line.state else {
                return Err(Fault::WrongBytes);
            };
            let end = received + length;
            let expected = self.pattern.at(position(place, exchange), EXCHANGES[exchange]);
            if expected.get(received..end) != Some(&self.scratch[..length]) {
                return Err(Fault::WrongBytes);
            }
            if end == expected.len() {
                self.send(place, exchange + 1)?;
            } else {
                line.state = State::Waiting { exchange, received: end };
            }
        }
    }
}

impl Client for Idle {
    fn is_ready(&self, backends: &Backends) -> bool {
        self.lines_quiet == self.lines_wanted && backends.open() == self.lines_wanted
    }

    fn start(&mut self, _: Schedule, _: &Poller) -> Result<(), Fault> {
        self.lines_wanted = self.lines_all;
        Ok(())
    }

    fn advance(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        while !self.is_finished
            && self.lines.len() < self.lines_wanted
            && self.lines.len() - self.lines_quiet < LINES_OPENING
        {
            let channel = self.dialer.dial()?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            turn.poller.add(&channel, Token::Client(self.lines.len()), flags)?;
            self.lines.push(Line { channel, state: State::Opening });
        }
        Ok(())
    }

    fn event(&mut self, place: usize, flags: EventFlags, _: &mut Turn<'_>) -> Result<(), Fault> {
        let line = &mut self.lines[place];
        if let State::Opening = line.state {
            return match line.channel.open_on(flags, &mut self.dialer)? {
                Opening::Open => self.send(place, 0),
                Opening::Answer | Opening::Room => Ok(()),
            };
        }
        if is_end(flags) {
            return Err(Fault::ClosedEarly);
        }
        self.receive(place)
    }

    fn finish(&mut self, _: &Poller) -> Result<(), Fault> {
        self.is_finished = true;
        Ok(())
    }

    fn is_finished(&self, _: &Backends) -> bool {
        self.is_finished
    }

    fn verify(&self, _: &Backends) -> Result<(), Fault> {
        self.dialer.verdict()
    }
}

/// Where the bytes of a message begin in the pattern: no two lines, and no two messages of one,
/// begin at the same.
fn position(place: usize, exchange: usize) -> u64 {
    (place * EXCHANGES.len() + exchange) as u64
}

const LINES_OPENING: usize = 16;
/// A full record of TLS, and what many agents send at a time.
const LONG: usize = 16 * 1024;
const SHORT: usize = 128;
/// The messages of a line before it is quiet.
const EXCHANGES: [usize; 5] = [SHORT, SHORT, LONG, SHORT, SHORT];
