//! Owns how a backend behaves, as data: how long it takes, when it stands still or is gone, and
//! what it does wrong on purpose.

use std::time::Duration;

use fastrand::Rng;

/// All that can be told to a backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behaviour {
    pub service: Service,
    /// It accepts and takes nothing meanwhile.
    pub stall: Option<Outage>,
    /// Every connection is reset, and new ones are refused or reset.
    pub death: Option<Outage>,
    pub mischief: Mischief,
    /// Connections are ended in good order at this age, where the protocol has a way to say so.
    pub connection_age: Option<Duration>,
}

/// How long a request takes once its connection has come to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Service {
    #[default]
    None,
    Constant(Duration),
    /// Of this mean.
    Exponential(Duration),
}

/// A part of the window, from its beginning on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    pub at: Duration,
    pub length: Duration,
}

/// Shares of requests, from 0 to 1, of which something becomes that should not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mischief {
    /// The connection is reset instead of an answer, or with a unit that nobody answers.
    pub reset: f64,
    /// The connection is ended likewise.
    pub close: f64,
    /// No answer.
    pub drop: f64,
    /// Two answers.
    pub duplicate: f64,
    /// The answer after the next one.
    pub swap: f64,
    /// A byte is changed.
    pub corrupt: f64,
    /// An answer that says that the request was not taken.
    pub refuse: f64,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    Answer,
    Reset,
    Close,
    Drop,
    Duplicate,
    Swap,
    Corrupt,
    Refuse,
}

impl Service {
    pub fn draw(&self, random: &mut Rng) -> Duration {
        match *self {
            Service::None => Duration::ZERO,
            Service::Constant(time) => time,
            Service::Exponential(mean) => mean.mul_f64(-(1.0 - random.f64()).ln()),
        }
    }
}

impl Outage {
    /// Its end, if the time lies in it. Both in nanoseconds, the window's beginning as well.
    pub fn end_at(&self, now: u64, begin: u64) -> Option<u64> {
        let start = begin + self.at.as_nanos() as u64;
        let end = start.saturating_add(self.length.as_nanos() as u64);
        (start..end).contains(&now).then_some(end)
    }
}

impl Mischief {
    pub fn draw(&self, random: &mut Rng) -> Fate {
        if *self == Mischief::default() {
            return Fate::Answer;
        }
        let mut point = random.f64();
        let shares = [
            (self.reset, Fate::Reset),
            (self.close, Fate::Close),
            (self.drop, Fate::Drop),
            (self.duplicate, Fate::Duplicate),
            (self.swap, Fate::Swap),
            (self.corrupt, Fate::Corrupt),
            (self.refuse, Fate::Refuse),
        ];
        for (share, fate) in shares {
            if point < share {
                return fate;
            }
            point -= share;
        }
        Fate::Answer
    }
}
