//! When the sessions of lost backends are to end. Ends none: `handle` is told who is lost and who
//! is back, `take_due` says whose time is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::OnLoss;

/// The lost backends of one pool whose sessions have a time left.
#[derive(Debug)]
pub struct Losses {
    on_down: OnLoss,
    on_removal: OnLoss,
    /// The end of the grace of each.
    ending: BTreeMap<Arc<str>, Duration>,
}

/// How a backend was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its probes fail, or it was ejected.
    Down,
    /// Discovery no longer finds it.
    Removed,
}

impl Losses {
    pub fn new(on_down: OnLoss, on_removal: OnLoss) -> Losses {
        Losses { on_down, on_removal, ending: BTreeMap::new() }
    }

    /// A backend is lost. One that goes down and is removed as well keeps the earlier end.
    pub fn lost(&mut self, name: &Arc<str>, loss: Loss, now: Duration) {
        let rule = match loss {
            Loss::Down => self.on_down,
            Loss::Removed => self.on_removal,
        };
        if let OnLoss::CloseAfter(grace) = rule {
            let end = now.saturating_add(grace);
            let ending = self.ending.entry(Arc::clone(name)).or_insert(end);
            *ending = end.min(*ending);
        }
    }

    /// A backend may take connections again: its sessions stay.
    pub fn is_back(&mut self, name: &str) {
        self.ending.remove(name);
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        self.ending.values().min().copied()
    }

    /// Those whose sessions are to end now, each of them once.
    pub fn take_due(&mut self, now: Duration) -> Vec<Arc<str>> {
        let due = |end: &Duration| *end <= now;
        let names = self.ending.iter().filter(|(_, end)| due(end));
        let names: Vec<Arc<str>> = names.map(|(name, _)| Arc::clone(name)).collect();
        self.ending.retain(|_, end| !due(end));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn losses(on_down: OnLoss, on_removal: OnLoss) -> (Losses, Arc<str>) {
        (Losses::new(on_down, on_removal), "a".into())
    }

    #[test]
    fn sessions_stay_unless_asked_otherwise() {
        let (mut losses, a) = losses(OnLoss::Keep, OnLoss::Keep);
        losses.lost(&a, Loss::Down, Duration::ZERO);
        losses.lost(&a, Loss::Removed, Duration::ZERO);
        assert_eq!(losses.next_deadline(), None);
        assert!(losses.take_due(Duration::MAX).is_empty());
    }

    #[test]
    fn a_grace_ends_once_and_a_return_calls_it_off() {
        let (mut losses, a) = losses(OnLoss::CloseAfter(5 * SECOND), OnLoss::Keep);
        losses.lost(&a, Loss::Down, SECOND);
        assert_eq!(losses.next_deadline(), Some(6 * SECOND));
        assert!(losses.take_due(5 * SECOND).is_empty());
        assert_eq!(losses.take_due(6 * SECOND), [Arc::clone(&a)]);
        assert!(losses.take_due(7 * SECOND).is_empty());
        losses.lost(&a, Loss::Down, 10 * SECOND);
        losses.is_back("a");
        assert!(losses.take_due(60 * SECOND).is_empty());
    }

    #[test]
    fn the_earlier_of_two_ends_counts() {
        let (mut losses, a) = losses(OnLoss::CloseAfter(5 * SECOND), OnLoss::CloseAfter(SECOND));
        losses.lost(&a, Loss::Down, Duration::ZERO);
        losses.lost(&a, Loss::Removed, SECOND);
        losses.lost(&a, Loss::Down, 4 * SECOND);
        assert_eq!(losses.next_deadline(), Some(2 * SECOND));
    }
}
