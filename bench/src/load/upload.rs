//! Owns the clients that send a stream; the backends take it, count its bytes and check samples.

use rustix::event::epoll::EventFlags;

use super::Fault;
use super::backends::Backends;
use super::channel::Received;
use super::dialer::Dialer;
use super::lines::Lines;
use super::pattern::{CHUNK, Pattern};
use super::poller::Poller;
use super::run::{Client, Turn};
use super::schedule::Schedule;

/// A unit is a byte, once it has come to a backend. Streams are of sealed records: a work that
/// uploads without TLS is not asked for.
pub struct Upload {
    lines: Lines,
    streams: [Stream; Lines::COUNT],
    phase: Phase,
    pattern: Pattern,
}

#[derive(Default)]
struct Stream {
    /// The next byte of the pattern to seal.
    position: u64,
    /// Bytes that are due and not yet sealed, in a paced flow.
    allowance: u64,
    has_ended: bool,
}

enum Phase {
    Opening,
    /// `begun` chunks of the schedule have been given to a line.
    Streaming {
        schedule: Schedule,
        begun: u64,
    },
    /// What is sealed is sent, then the streams end.
    Finishing,
}

impl Upload {
    pub fn new(dialer: Dialer) -> Self {
        Self {
            lines: Lines::new(dialer),
            streams: Default::default(),
            phase: Phase::Opening,
            pattern: Pattern::new(),
        }
    }

    /// Sends of one line what was left and, after it, a chunk at most: `length` bytes of it.
    fn send(&mut self, place: usize, length: u64) -> Result<(), Fault> {
        let Some(channel) = self.lines.channel(place) else {
            return Ok(());
        };
        let stream = &mut self.streams[place];
        if !channel.flush()? || length == 0 {
            return Ok(());
        }
        let (_, records) = channel.parts();
        let bytes = self.pattern.at(stream.position, length as usize);
        records.ok_or(Fault::UnexpectedRecord)?.write(bytes)?;
        stream.position += length;
        stream.allowance = stream.allowance.saturating_sub(length);
        channel.flush()?;
        Ok(())
    }

    /// The server says nothing to a stream before it ends, but for tickets.
    fn receive(&mut self, place: usize) -> Result<(), Fault> {
        let is_finishing = matches!(self.phase, Phase::Finishing);
        let Some(channel) = self.lines.channel(place) else {
            return Ok(());
        };
        match channel.receive(&mut [])? {
            Received::Bytes(_) => Err(Fault::WrongBytes),
            Received::Nothing => Ok(()),
            Received::End if is_finishing && self.streams[place].has_ended => {
                self.lines.close(place);
                Ok(())
            }
            Received::End => Err(Fault::ClosedEarly),
        }
    }

    fn end_flushed(&mut self) -> Result<(), Fault> {
        for (place, stream) in self.streams.iter_mut().enumerate() {
            let Some(channel) = self.lines.channel(place) else { continue };
            if !stream.has_ended && channel.flush()? {
                channel.end()?;
                stream.has_ended = true;
            }
        }
        Ok(())
    }
}

impl Client for Upload {
    fn is_ready(&self, backends: &Backends) -> bool {
        self.lines.are_open(backends)
    }

    fn start(&mut self, schedule: Schedule, poller: &Poller) -> Result<(), Fault> {
        self.phase = Phase::Streaming { schedule, begun: 0 };
        if schedule.is_paced() {
            return Ok(());
        }
        // A stream writes for as long as there is room.
        self.lines.watch(EventFlags::IN | EventFlags::OUT, poller)
    }

    fn advance(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let due = match &mut self.phase {
            Phase::Opening => return self.lines.open(turn),
            Phase::Finishing => return self.end_flushed(),
            Phase::Streaming { schedule, begun } if schedule.is_paced() => {
                let due = schedule.due(turn.now);
                std::mem::replace(begun, due)..due
            }
            Phase::Streaming { .. } => return Ok(()),
        };
        for chunk in due {
            self.streams[chunk as usize % Lines::COUNT].allowance += CHUNK;
        }
        for place in 0..Lines::COUNT {
            self.send(place, self.streams[place].allowance.min(CHUNK))?;
        }
        Ok(())
    }

    fn event(&mut self, place: usize, flags: EventFlags, _: &mut Turn<'_>) -> Result<(), Fault> {
        if flags.intersects(!EventFlags::OUT) {
            self.receive(place)?;
        }
        match &self.phase {
            Phase::Streaming { schedule, .. }
                if !schedule.is_paced() && flags.contains(EventFlags::OUT) =>
            {
                self.send(place, CHUNK)
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, poller: &Poller) -> Result<(), Fault> {
        self.phase = Phase::Finishing;
        self.lines.watch(EventFlags::IN, poller)
    }

    /// A proxy may be done with a client before a backend has taken the last bytes.
    fn is_finished(&self, backends: &Backends) -> bool {
        self.lines.are_closed() && backends.open() == 0
    }

    fn verify(&self, backends: &Backends) -> Result<(), Fault> {
        self.lines.verdict()?;
        let sent: u64 = self.streams.iter().map(|stream| stream.position).sum();
        if sent == backends.taken() { Ok(()) } else { Err(Fault::WrongBytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Work;
    use super::super::backends::Service;
    use super::*;
    use crate::certificates::Authority;
    use std::net::TcpStream;

    #[test]
    fn it_is_not_finished_before_the_backends_have_taken_all() {
        let poller = Poller::new().unwrap();
        let mut backends = Backends::new();
        let address = backends.listen(201, 1, &poller).unwrap()[0];
        let authority = Authority::generate().unwrap();
        let dialer = Dialer::new(address, Work::TlsUpload128.terms(), authority.root()).unwrap();
        // All of its lines have ended: there are none.
        let upload = Upload::new(dialer);
        let _proxy = TcpStream::connect(address).unwrap();
        backends.accept(0, &poller).unwrap();
        assert!(!upload.is_finished(&backends));
        backends.serve(Service::Take);
        assert!(upload.is_finished(&backends));
    }
}
