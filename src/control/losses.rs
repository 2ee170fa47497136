//! When the sessions of lost backends are to end. Ends none: it is told who is lost and who is
//! back, and `take_due` says whose time is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::OnLoss;

/// The lost backends of one pool whose sessions have a time left.
#[derive(Debug)]
pub struct Losses {
    /// By loss.
    rules: [OnLoss; LOSSES],
    ending: BTreeMap<Arc<str>, Ends>,
}

/// The end of each loss's grace, by loss.
type Ends = [Option<Duration>; LOSSES];

/// How a backend was lost. It may be lost in several ways at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its probes fail, or it was ejected.
    Down,
    /// Discovery no longer finds it.
    Removed,
    /// It drains.
    Drained,
}

const LOSSES: usize = 3;

impl Losses {
    pub fn new(on_down: OnLoss, on_removal: OnLoss, on_drain: OnLoss) -> Losses {
        // In the order of `Loss`.
        Losses { rules: [on_down, on_removal, on_drain], ending: BTreeMap::new() }
    }

    /// A backend is lost. If it was lost so already, its time goes on.
    pub fn lost(&mut self, name: &Arc<str>, loss: Loss, now: Duration) {
        if let OnLoss::CloseAfter(grace) = self.rules[loss as usize] {
            let ends = self.ending.entry(Arc::clone(name)).or_default();
            ends[loss as usize].get_or_insert(now.saturating_add(grace));
        }
    }

    /// A backend is no longer lost in this way: its sessions stay, as far as that is concerned.
    pub fn is_back(&mut self, name: &str, loss: Loss) {
        if let Some(ends) = self.ending.get_mut(name) {
            ends[loss as usize] = None;
            if first(ends).is_none() {
                self.ending.remove(name);
            }
        }
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        self.ending.values().filter_map(first).min()
    }

    /// Those whose sessions are to end now, each of them once however often it was lost.
    pub fn take_due(&mut self, now: Duration) -> Vec<Arc<str>> {
        let due = |ends: &Ends| first(ends).is_some_and(|end| end <= now);
        let names = self.ending.iter().filter(|(_, ends)| due(ends));
        let names: Vec<Arc<str>> = names.map(|(name, _)| Arc::clone(name)).collect();
        self.ending.retain(|_, ends| !due(ends));
        names
    }
}

/// The earliest counts.
fn first(ends: &Ends) -> Option<Duration> {
    ends.iter().flatten().min().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(seconds: u32) -> OnLoss {
        OnLoss::CloseAfter(seconds * SECOND)
    }

    #[test]
    fn sessions_stay_unless_asked_otherwise() {
        let mut losses = Losses::new(OnLoss::Keep, OnLoss::Keep, OnLoss::Keep);
        for loss in [Loss::Down, Loss::Removed, Loss::Drained] {
            losses.lost(&"a".into(), loss, Duration::ZERO);
        }
        assert_eq!(losses.next_deadline(), None);
        assert!(losses.take_due(Duration::MAX).is_empty());
    }

    #[test]
    fn a_grace_ends_once_and_a_return_calls_it_off() {
        let (mut losses, a) = (Losses::new(after(5), OnLoss::Keep, OnLoss::Keep), "a".into());
        losses.lost(&a, Loss::Down, SECOND);
        assert_eq!(losses.next_deadline(), Some(6 * SECOND));
        assert!(losses.take_due(5 * SECOND).is_empty());
        assert_eq!(losses.take_due(6 * SECOND), [Arc::clone(&a)]);
        assert!(losses.take_due(7 * SECOND).is_empty());
        losses.lost(&a, Loss::Down, 10 * SECOND);
        losses.is_back("a", Loss::Down);
        assert!(losses.take_due(60 * SECOND).is_empty());
    }

    #[test]
    fn the_earliest_of_several_ends_counts() {
        let (mut losses, a) = (Losses::new(after(5), after(1), after(9)), "a".into());
        losses.lost(&a, Loss::Drained, Duration::ZERO);
        losses.lost(&a, Loss::Down, Duration::ZERO);
        losses.lost(&a, Loss::Removed, SECOND);
        losses.lost(&a, Loss::Down, 4 * SECOND);
        assert_eq!(losses.next_deadline(), Some(2 * SECOND));
        assert_eq!(losses.take_due(9 * SECOND), [Arc::clone(&a)]);
        assert_eq!(losses.next_deadline(), None, "it is lost once");
    }

    #[test]
    fn who_is_back_from_one_loss_may_still_be_lost_by_another() {
        let (mut losses, a) = (Losses::new(after(1), after(2), after(3)), "a".into());
        for loss in [Loss::Down, Loss::Removed, Loss::Drained] {
            losses.lost(&a, loss, Duration::ZERO);
        }
        losses.is_back("a", Loss::Down);
        assert_eq!(losses.next_deadline(), Some(2 * SECOND));
        losses.is_back("a", Loss::Removed);
        assert_eq!(losses.next_deadline(), Some(3 * SECOND));
        losses.is_back("a", Loss::Drained);
        assert_eq!(losses.next_deadline(), None);
    }
}
