//! Owns the reading of time: everything else in the bench takes `now`, or this clock, as argument.

use std::time::Instant;

/// Monotonic nanoseconds since the clock was started.
#[derive(Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "a load generator has to read the clock once")]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub fn now(&self) -> u64 {
        // 2^64 ns are 584 years.
        self.origin.elapsed().as_nanos() as u64
    }
}

pub const SECOND: u64 = 1_000_000_000;
