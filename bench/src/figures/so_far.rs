//! Owns what is known of a run while it is made, from second to second; it measures nothing.

use super::latency::Latency;

/// A run from the beginning of its window on, and not to its end yet.
#[derive(Clone, Copy, Debug)]
pub struct SoFar<'a> {
    /// Seconds that are over, and all of them.
    pub elapsed: u64,
    pub of: f64,
    /// Units that have ended.
    pub ended: u64,
    /// Of those that have ended and were due in the window.
    pub latency: &'a Latency,
}

impl SoFar<'_> {
    /// Units that have ended, per second.
    pub fn rate(&self) -> f64 {
        self.ended as f64 / self.elapsed.max(1) as f64
    }
}
