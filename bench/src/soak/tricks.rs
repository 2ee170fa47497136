//! Owns which faults are made when, from a seed; it makes none.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A fault that a proxy has to live with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trick {
    /// The proxy gets no CPU for a third of a second, as on a host that is overbooked.
    Pause,
    /// The proxy reads its files again.
    Reload,
    /// The backends accept and take nothing for a second.
    BackendStall,
    /// The backends reset every connection, and all that come within a second; then they are back.
    BackendDeath,
    /// The backends end connections instead of answering, now and then.
    BackendErrors,
}

/// Who can make them.
pub trait Mischief {
    /// Returns at once; the trick goes on while the load does.
    fn play(&mut self, trick: Trick) -> Result<(), crate::judge::Fault>;
}

impl Trick {
    pub const ALL: [Self; 5] =
        [Self::Pause, Self::Reload, Self::BackendStall, Self::BackendDeath, Self::BackendErrors];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Reload => "reload",
            Self::BackendStall => "backend-stall",
            Self::BackendDeath => "backend-death",
            Self::BackendErrors => "backend-errors",
        }
    }
}

/// For each of so many windows the trick that is played at its beginning, or none: on average one
/// in `gap` has one, and no two follow each other, so that there are quiet windows to judge by.
pub fn schedule(seed: u64, windows: usize, gap: Duration, window: Duration) -> Vec<Option<Trick>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let chance = (window.as_secs_f64() / gap.as_secs_f64().max(f64::MIN_POSITIVE)).min(1.0);
    let mut quiet_before = false;
    let mut draw = || {
        // Drawn each time, so that a longer soak begins as a shorter one does.
        let (is_played, choice) = (random.f64() < chance, random.usize(..Trick::ALL.len()));
        let played = (is_played && quiet_before).then(|| Trick::ALL[choice]);
        quiet_before = played.is_none();
        played
    };
    (0..windows).map(|_| draw()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(seed: u64, windows: usize) -> Vec<Option<Trick>> {
        schedule(seed, windows, Duration::from_secs(60), Duration::from_secs(10))
    }

    #[test]
    fn a_seed_gives_the_same_tricks_however_long_the_soak_is() {
        assert_eq!(hours(7, 1000)[..300], hours(7, 300));
        assert_ne!(hours(7, 300), hours(8, 300));
    }

    #[test]
    fn tricks_come_as_often_as_asked_and_never_twice_in_a_row() {
        let tricks = hours(7, 6000);
        let count = tricks.iter().flatten().count();
        // One in seven rather than six, as the window after a trick is quiet.
        assert!((750..950).contains(&count), "{count}");
        assert!(tricks.windows(2).all(|pair| pair[0].is_none() || pair[1].is_none()));
        for trick in Trick::ALL {
            assert!(tricks.contains(&Some(trick)), "{trick:?}");
        }
    }
}
