//! How many lines the control plane may log. Writes none itself.

use std::time::Duration;

/// Lets so many lines through in each period, and counts the others.
#[derive(Debug)]
pub struct Notices {
    /// When the current period ends.
    ends: Duration,
    written: u32,
    suppressed: u64,
}

/// Lines in one period: a fleet's change is read as a whole, a flood of changes is not.
const LINES: u32 = 200;
const PERIOD: Duration = Duration::from_secs(10);

impl Notices {
    pub fn new() -> Notices {
        Notices { ends: Duration::ZERO, written: 0, suppressed: 0 }
    }

    /// Whether one more line may be written.
    pub fn may_write(&mut self, now: Duration) -> bool {
        if now >= self.ends {
            self.ends = now.saturating_add(PERIOD);
            self.written = 0;
        }
        let may = self.written < LINES;
        if may {
            self.written += 1;
        } else {
            self.suppressed += 1;
        }
        may
    }

    /// How many lines were left out, once their period is over; then they are forgotten.
    pub fn take_suppressed(&mut self, now: Duration) -> Option<u64> {
        let over = now >= self.ends && self.suppressed > 0;
        over.then(|| std::mem::take(&mut self.suppressed))
    }

    /// When the lines left out are to be told of.
    pub fn next_deadline(&self) -> Option<Duration> {
        (self.suppressed > 0).then_some(self.ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_told_of_once() {
        let mut notices = Notices::new();
        let written = (0..1000).filter(|_| notices.may_write(Duration::ZERO)).count();
        assert_eq!(written, 200);
        assert_eq!(notices.next_deadline(), Some(PERIOD));
        assert_eq!(notices.take_suppressed(PERIOD / 2), None);
        assert_eq!(notices.take_suppressed(PERIOD), Some(800));
        assert_eq!(notices.take_suppressed(PERIOD), None);
        assert!(notices.may_write(PERIOD));
        assert_eq!(notices.next_deadline(), None);
    }
}
