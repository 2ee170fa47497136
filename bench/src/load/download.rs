//! Owns the clients that receive a stream: they count its bytes and check samples of them.

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::Fault;
use super::backends::Backends;
use super::dialer::Dialer;
use super::lines::Lines;
use super::pattern::{Intake, Pattern, SCRATCH};
use super::poller::Poller;
use super::run::{Client, Turn};
use super::schedule::Schedule;

/// A unit is a byte.
pub struct Download {
    lines: Lines,
    intakes: [Intake; Lines::COUNT],
    received: u64,
    phase: Phase,
    pattern: Pattern,
    scratch: Vec<u8>,
}

#[derive(PartialEq)]
enum Phase {
    Opening,
    Streaming,
    /// A stream may end now.
    Finishing,
}

impl Download {
    pub fn new(dialer: Dialer) -> Self {
        Self {
            lines: Lines::new(dialer),
            intakes: Default::default(),
            received: 0,
            phase: Phase::Opening,
            pattern: Pattern::new(),
            scratch: vec![0; SCRATCH],
        }
    }
}

impl Client for Download {
    fn is_ready(&self, backends: &Backends) -> bool {
        self.lines.are_open(backends)
    }

    fn start(&mut self, _: Schedule, _: &Poller) -> Result<(), Fault> {
        self.phase = Phase::Streaming;
        Ok(())
    }

    fn advance(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        if self.phase == Phase::Opening { self.lines.open(turn) } else { Ok(()) }
    }

    fn event(
        &mut self,
        place: usize,
        _flags: EventFlags,
        turn: &mut Turn<'_>,
    ) -> Result<(), Fault> {
        let Some(channel) = self.lines.channel(place) else {
            return Ok(());
        };
        match self.intakes[place].receive_on(channel, &mut self.scratch, &self.pattern) {
            Ok(Some(length)) => {
                self.received += length;
                turn.tally.add(length);
            }
            Ok(None) if self.phase == Phase::Finishing => self.lines.close(place),
            Ok(None) => return Err(Fault::ClosedEarly),
            Err(Fault::Host(Errno::AGAIN)) => {}
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    fn finish(&mut self, _: &Poller) -> Result<(), Fault> {
        self.phase = Phase::Finishing;
        Ok(())
    }

    fn is_finished(&self, _: &Backends) -> bool {
        self.lines.are_closed()
    }

    fn verify(&self, backends: &Backends) -> Result<(), Fault> {
        self.lines.verdict()?;
        if self.received == backends.streamed() { Ok(()) } else { Err(Fault::WrongBytes) }
    }
}
