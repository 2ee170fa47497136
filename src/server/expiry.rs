//! When to remind the operator that a certificate or a revocation list lapses. Reads no clock.

use std::collections::HashMap;
use std::path::PathBuf;

/// What the operator has been reminded of.
#[derive(Debug, Default)]
pub(super) struct Reminders {
    told: HashMap<Subject, u64>,
}

/// Something that lapses, at this second of the wall clock: renewed, it is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    /// Of the table, and the key within it.
    pub(super) key: String,
    pub(super) file: PathBuf,
    pub(super) until: u64,
    /// A reminder each, in days before the end; after the last a reminder every day.
    pub(super) ahead: &'static [u64],
}

/// How long it is good still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Whole days; fewer than one is 0.
    Days(u64),
    Lapsed,
}

const DAY: u64 = 86_400;
/// Of what is made for months.
pub(super) const OF_MONTHS: &[u64] = &[30, 14, 7, 3, 1];
/// Of what is made for days, and is replaced long before its end.
pub(super) const OF_DAYS: &[u64] = &[1];

impl Reminders {
    /// Those of `subjects` that the operator is to be reminded of now: each when it comes to be as
    /// near to its end as one of its days says, and from the last on daily. What is not among the
    /// subjects is forgotten.
    pub(super) fn due(&mut self, subjects: Vec<Subject>, now: u64) -> Vec<(Subject, Left)> {
        self.told.retain(|told, _| subjects.contains(told));
        let mut due = Vec::new();
        for subject in subjects {
            let stage = subject.stage(now);
            let told = self.told.entry(subject.clone()).or_default();
            if stage > *told {
                *told = stage;
                let left = match subject.until.checked_sub(now) {
                    Some(seconds) => Left::Days(seconds / DAY),
                    None => Left::Lapsed,
                };
                due.push((subject, left));
            }
        }
        due
    }
}

impl Subject {
    /// How many reminders there have been to give so far.
    fn stage(&self, now: u64) -> u64 {
        let passed = self.ahead.iter().filter(|days| now + **days * DAY >= self.until);
        let last = self.ahead.last().map_or(0, |days| days * DAY);
        passed.count() as u64 + (now + last).saturating_sub(self.until) / DAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = 1_000 * DAY;

    fn subject(key: &str) -> Subject {
        Subject { key: key.to_owned(), file: PathBuf::from("/x"), until: END, ahead: OF_MONTHS }
    }

    #[test]
    fn reminders_come_at_their_days_once_and_daily_at_the_end() {
        let mut reminders = Reminders::default();
        let mut days = Vec::new();
        // Looked at every hour, from 40 days before the end to three days after it.
        for hour in 0..43 * 24 {
            let now = END - 40 * DAY + hour * 3_600;
            for (_, left) in reminders.due(vec![subject("a")], now) {
                days.push((hour / 24, left));
            }
        }
        use Left::{Days, Lapsed};
        let expected = [
            (10, Days(30)),
            (26, Days(14)),
            (33, Days(7)),
            (37, Days(3)),
            (39, Days(1)),
            (40, Days(0)),
            (41, Lapsed),
            (42, Lapsed),
        ];
        assert_eq!(days, expected);
    }

    #[test]
    fn of_what_lasts_for_days_a_reminder_comes_on_the_last() {
        let mut reminders = Reminders::default();
        let subject = || Subject { ahead: OF_DAYS, ..subject("a") };
        let mut hours = Vec::new();
        for hour in 0..8 * 24 {
            let now = END - 7 * DAY + hour * 3_600;
            hours.extend(reminders.due(vec![subject()], now).iter().map(|(_, left)| (hour, *left)));
        }
        assert_eq!(hours, [(6 * 24, Left::Days(1)), (7 * 24, Left::Days(0))]);
        assert_eq!(reminders.due(vec![subject()], END + DAY).len(), 1);
    }

    #[test]
    fn whoever_begins_late_is_told_once_of_what_has_passed() {
        for (ahead, expected) in
            [(31 * DAY, None), (10 * DAY, Some(Left::Days(10))), (60, Some(Left::Days(0)))]
        {
            let mut reminders = Reminders::default();
            let due = reminders.due(vec![subject("a")], END - ahead);
            assert_eq!(due.first().map(|(_, left)| *left), expected);
            assert!(reminders.due(vec![subject("a")], END - ahead + 1).is_empty());
        }
        let due = Reminders::default().due(vec![subject("a")], END + 1);
        assert_eq!(due, [(subject("a"), Left::Lapsed)]);
    }

    #[test]
    fn a_renewed_one_begins_anew_and_each_counts_by_itself() {
        let mut reminders = Reminders::default();
        let now = END - 5 * DAY;
        assert_eq!(reminders.due(vec![subject("a"), subject("b")], now).len(), 2);
        let renewed = Subject { until: END + 90 * DAY, ..subject("a") };
        assert!(reminders.due(vec![renewed.clone(), subject("b")], now).is_empty());
        let due = reminders.due(vec![renewed.clone(), subject("b")], END + 70 * DAY);
        assert_eq!(due.len(), 2);
        assert_eq!(due[0], (renewed, Left::Days(20)));
        // What went and came again is told again.
        assert!(reminders.due(Vec::new(), now).is_empty());
        assert_eq!(reminders.due(vec![subject("b")], now).len(), 1);
    }
}
