//! Owns the count of units that nobody answers: whoever waits for the last of them has to know how
//! many have left on one side and have come to the other. What becomes of each is counted
//! elsewhere.

use std::iter::Sum;
use std::sync::atomic::{AtomicU64, Ordering};

/// Units of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OneWay {
    /// They have left, or are to leave.
    pub sent: u64,
    /// They have come from the other side, each for the first time.
    pub came: u64,
}

/// The count of the backends, which agents may read on another thread.
#[derive(Debug, Default)]
pub struct Tidings {
    sent: AtomicU64,
    came: AtomicU64,
}

impl OneWay {
    /// What was added to an earlier count.
    pub fn since(self, earlier: OneWay) -> OneWay {
        OneWay { sent: self.sent - earlier.sent, came: self.came - earlier.came }
    }

    /// Whether all that either side has sent has come to the other.
    pub fn is_settled_with(self, other: OneWay) -> bool {
        self.sent == other.came && other.sent == self.came
    }
}

impl Sum for OneWay {
    fn sum<I: Iterator<Item = OneWay>>(all: I) -> OneWay {
        all.fold(OneWay::default(), |sum, one| OneWay {
            sent: sum.sent + one.sent,
            came: sum.came + one.came,
        })
    }
}

impl Tidings {
    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub fn came(&self) {
        self.came.fetch_add(1, Ordering::Relaxed);
    }

    /// Both only grow.
    pub fn read(&self) -> OneWay {
        OneWay { sent: self.sent.load(Ordering::Relaxed), came: self.came.load(Ordering::Relaxed) }
    }
}
