//! Owns the reading of time: everything else in the bench takes `now`, or this clock, as argument.

use std::time::{Instant, SystemTime};

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

/// Since 1970.
#[expect(clippy::disallowed_methods, reason = "results say when they were taken")]
pub fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

pub const SECOND: u64 = 1_000_000_000;
