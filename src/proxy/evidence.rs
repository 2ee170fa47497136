//! What a session's course says of its backend: for it, against it, or nothing. Counts nothing.
//!
//! That a connection was accepted says nothing yet, nor do first bytes: a backend that accepts and
//! then resets would clear itself each time. A session speaks for its backend when it has outlived
//! the window after the connect and still moves bytes, or when it has ended well. Silence says
//! nothing, since one-way protocols never answer; nor does what the client or we have ended.

use std::time::Duration;

use crate::observe::CloseReason;

/// What there was between a session and its backend when the session ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) reason: CloseReason,
    /// Since the connect.
    pub(super) age: Duration,
    pub(super) bytes_to_backend: u64,
    pub(super) bytes_to_client: u64,
    /// The client ended its stream before the backend ended its own.
    pub(super) client_ended_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    For,
    Against,
}

impl Course {
    pub(super) fn evidence(&self, window: Duration) -> Option<Evidence> {
        match self.reason {
            CloseReason::BackendReset | CloseReason::BackendTimedOut if self.age < window => {
                Some(Evidence::Against)
            }
            CloseReason::Finished if self.age >= window || self.was_served() => Some(Evidence::For),
            _ => None,
        }
    }

    /// The backend has answered, or has taken all that a one-way client sent. One that only
    /// closes whatever it accepts has done neither.
    fn was_served(&self) -> bool {
        self.bytes_to_client > 0 || (self.bytes_to_backend > 0 && self.client_ended_first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn course(reason: CloseReason, seconds: u64) -> Course {
        Course {
            reason,
            age: Duration::from_secs(seconds),
            bytes_to_backend: 100,
            bytes_to_client: 100,
            client_ended_first: true,
        }
    }

    #[test]
    fn only_what_the_backend_broke_soon_after_the_connect_speaks_against_it() {
        for reason in CloseReason::ALL {
            let broke = [CloseReason::BackendReset, CloseReason::BackendTimedOut].contains(&reason);
            let early = course(reason, 9).evidence(WINDOW);
            assert_eq!(early == Some(Evidence::Against), broke, "{reason:?}");
            let late = course(reason, 10).evidence(WINDOW);
            assert_ne!(late, Some(Evidence::Against), "{reason:?}");
        }
    }

    #[test]
    fn only_a_good_end_speaks_for_it() {
        for reason in CloseReason::ALL {
            let evidence = course(reason, 10).evidence(WINDOW);
            let good = reason == CloseReason::Finished;
            assert_eq!(evidence == Some(Evidence::For), good, "{reason:?}");
        }
    }

    #[test]
    fn an_early_end_without_service_says_nothing() {
        let ended = |bytes_to_backend, bytes_to_client, client_ended_first| {
            let course = course(CloseReason::Finished, 1);
            let course = Course { bytes_to_backend, bytes_to_client, client_ended_first, ..course };
            course.evidence(WINDOW)
        };
        assert_eq!(ended(0, 1, false), Some(Evidence::For), "it has greeted");
        assert_eq!(ended(1, 0, true), Some(Evidence::For), "it has taken everything");
        assert_eq!(ended(1, 0, false), None, "it has closed what it was sent");
        assert_eq!(ended(0, 0, true), None, "it was sent nothing");
    }
}
