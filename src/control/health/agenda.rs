//! When each member is due next. Knows nothing of what is due.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Names in the order of their deadlines, each at most once.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeSet<(Duration, Arc<str>)>,
}

/// What a member must remember for its entry to be found again.
#[derive(Debug, Default)]
pub(super) struct Entry {
    at: Option<Duration>,
}

impl Agenda {
    /// The name is due at this time and no other.
    pub(super) fn plan(&mut self, name: &Arc<str>, entry: &mut Entry, at: Option<Duration>) {
        if entry.at == at {
            return;
        }
        if let Some(before) = entry.at {
            self.entries.remove(&(before, Arc::clone(name)));
        }
        if let Some(at) = at {
            self.entries.insert((at, Arc::clone(name)));
        }
        entry.at = at;
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.entries.first().map(|(at, _)| *at)
    }

    /// The name that has been due longest. It stays until it is planned anew.
    pub(super) fn due(&self, now: Duration) -> Option<Arc<str>> {
        self.entries.first().filter(|(at, _)| *at <= now).map(|(_, name)| Arc::clone(name))
    }
}
