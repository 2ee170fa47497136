//! What went wrong with one question or file since its last good answer, and how long that answer
//! holds. Reads no clock and drops nothing.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::question::Failure;
use crate::config::Hold;

/// Why a question or a file gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    Unanswered(Failure),
    /// The file is missing, or cannot be read or understood, for this reason.
    Unreadable(String),
}

impl Trouble {
    /// Whether it says nothing about the backends. A name that does not exist is a statement of
    /// its owner; a nameserver that is silent, refuses or breaks, and a broken file, are not.
    pub fn is_silence(&self) -> bool {
        !matches!(self, Trouble::Unanswered(Failure::NxDomain | Failure::Empty))
    }

    /// How long the last good answer is kept; `None`: for ever.
    pub fn hold(&self, hold: &Hold) -> Option<Duration> {
        match self {
            Trouble::Unanswered(Failure::NxDomain) => hold.nxdomain,
            Trouble::Unanswered(Failure::Empty) => hold.empty,
            Trouble::Unanswered(Failure::Refused) => hold.refused,
            Trouble::Unanswered(Failure::Failed) => hold.failed,
            Trouble::Unanswered(Failure::Timeout) => hold.timeout,
            Trouble::Unreadable(_) => hold.unreadable,
        }
    }

    /// The word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        CASES[self.case()]
    }

    pub(super) fn case(&self) -> usize {
        match self {
            Trouble::Unanswered(Failure::NxDomain) => 0,
            Trouble::Unanswered(Failure::Empty) => 1,
            Trouble::Unanswered(Failure::Refused) => 2,
            Trouble::Unanswered(Failure::Failed) => 3,
            Trouble::Unanswered(Failure::Timeout) => 4,
            Trouble::Unreadable(_) => 5,
        }
    }
}

/// The word for each case.
pub(super) const CASES: [&str; 6] =
    ["nxdomain", "empty", "refused", "failed", "timeout", "unreadable"];

/// The cause and the remedy.
impl Display for Trouble {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Trouble::Unanswered(Failure::NxDomain) => {
                "the name does not exist (nxdomain); correct it here, or add it to DNS"
            }
            Trouble::Unanswered(Failure::Empty) => {
                "the name has no such records (empty); correct it here, or add them to DNS"
            }
            Trouble::Unanswered(Failure::Refused) => {
                "the nameservers refuse to answer (refused); have them serve this host, or give \
                 others in resolver.nameservers"
            }
            Trouble::Unanswered(Failure::Failed) => {
                "the nameservers fail, or what they answer makes no sense (failed); look into \
                 their logs, or give others in resolver.nameservers"
            }
            Trouble::Unanswered(Failure::Timeout) => {
                "no nameserver answers (timeout); see that those in resolver.nameservers can be \
                 reached, or give others"
            }
            Trouble::Unreadable(reason) => reason,
        })
    }
}

/// The failures since the last good answer.
#[derive(Default)]
pub(super) struct Failures {
    /// When each case was first met. A hold counts from there and not from the first failure of
    /// all: one NXDOMAIN after an hour of silence is no half minute of NXDOMAIN.
    since: [Option<Duration>; CASES.len()],
    latest: Option<Trouble>,
    count: u32,
}

impl Failures {
    /// Whether it is news: other trouble than the last time.
    pub fn note(&mut self, trouble: &Trouble, now: Duration) -> bool {
        self.since[trouble.case()].get_or_insert(now);
        self.count = self.count.saturating_add(1);
        let news = self.latest.as_ref() != Some(trouble);
        if news {
            self.latest = Some(trouble.clone());
        }
        news
    }

    pub fn latest(&self) -> Option<&Trouble> {
        self.latest.as_ref()
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// When the last good answer is no longer held, if the latest trouble goes on.
    pub fn expiry(&self, hold: &Hold) -> Option<Duration> {
        let trouble = self.latest.as_ref()?;
        let since = self.since[trouble.case()]?;
        Some(since.saturating_add(trouble.hold(hold)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_hold_counts_from_the_first_failure_of_its_case() {
        let nxdomain = Trouble::Unanswered(Failure::NxDomain);
        let timeout = Trouble::Unanswered(Failure::Timeout);
        let hold = Hold { nxdomain: Some(30 * SECOND), timeout: None, ..Hold::default() };
        let mut failures = Failures::default();
        assert_eq!(failures.expiry(&hold), None);
        assert!(failures.note(&timeout, 10 * SECOND));
        assert_eq!(failures.expiry(&hold), None, "for ever");
        assert!(failures.note(&nxdomain, 100 * SECOND));
        assert_eq!(failures.expiry(&hold), Some(130 * SECOND));
        assert!(!failures.note(&nxdomain, 110 * SECOND));
        assert!(failures.note(&timeout, 120 * SECOND));
        assert_eq!(failures.expiry(&hold), None, "silence does not confirm it");
        assert!(failures.note(&nxdomain, 200 * SECOND));
        assert_eq!(failures.expiry(&hold), Some(130 * SECOND), "no good answer in between");
    }
}
