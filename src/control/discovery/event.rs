//! What discovery tells the operator, one line each. Writes no log.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::failures::Trouble;
use super::found::Found;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Added(Found),
    Removed(Arc<str>),
    /// It is reached elsewhere from now on.
    Moved {
        name: Arc<str>,
        addresses: Vec<SocketAddr>,
    },
    /// Its weight, its tier or its limit is another.
    Weighed(Found),
    /// What a source says would take too much away; what it said before stays.
    Doubted {
        /// With its place in the configuration, below the pool's, as are all that follow.
        source: Arc<str>,
        doubt: Doubt,
    },
    /// A name or a file gives nothing, after a good answer or after trouble of another kind.
    Failed {
        subject: Arc<str>,
        trouble: Trouble,
        kept: Kept,
    },
    /// It answers again.
    Recovered {
        subject: Arc<str>,
    },
    /// It has failed for so long that its last good answer no longer counts.
    HoldEnded {
        subject: Arc<str>,
    },
    /// A source does not answer at the start; what was saved of it is used.
    SavedUsed {
        source: Arc<str>,
    },
}

/// Why an answer is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// So many backends would be left in the pool, fewer than the least.
    TooFew { left: usize, least: usize },
    /// So many of the source's backends would vanish at once.
    Loss { lost: usize, of: usize },
}

/// What becomes of the last good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// There is none.
    Nothing,
    For(Duration),
    ForEver,
}

impl Event {
    /// Whether an operator should look into it.
    pub fn is_warning(&self) -> bool {
        match self {
            Event::Added(_) | Event::Removed(_) | Event::Moved { .. } | Event::Weighed(_) => false,
            Event::Recovered { .. } => false,
            Event::Doubted { .. } | Event::Failed { .. } => true,
            Event::HoldEnded { .. } | Event::SavedUsed { .. } => true,
        }
    }

    /// Whether it begins with the place of a source in the configuration, below the pool's.
    pub fn is_of_source(&self) -> bool {
        !matches!(
            self,
            Event::Added(_) | Event::Removed(_) | Event::Moved { .. } | Event::Weighed(_)
        )
    }

    /// The word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Event::Added(_) => "added",
            Event::Removed(_) => "removed",
            Event::Moved { .. } => "moved",
            Event::Weighed(_) => "weighed",
            Event::Doubted { .. } => "doubted",
            Event::Failed { .. } => "failed",
            Event::Recovered { .. } => "recovered",
            Event::HoldEnded { .. } => "hold-ended",
            Event::SavedUsed { .. } => "saved-used",
        }
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Event::Added(found) => {
                let at = List(&found.addresses);
                write!(f, "backend {} added at {at}, {}", found.name, Share(found))
            }
            Event::Removed(name) => write!(f, "backend {name} removed"),
            Event::Moved { name, addresses } => {
                write!(f, "backend {name} is at {} now", List(addresses))
            }
            Event::Weighed(found) => write!(f, "backend {} has {} now", found.name, Share(found)),
            Event::Doubted { source, doubt } => {
                write!(f, "{source}: answer not believed: {doubt}; the last good set stays")
            }
            Event::Failed { subject, trouble, kept } => write!(f, "{subject}: {trouble} ({kept})"),
            Event::Recovered { subject } => write!(f, "{subject}: answers again"),
            Event::HoldEnded { subject } => {
                write!(f, "{subject}: failed for too long; its last good answer is dropped")
            }
            Event::SavedUsed { source } => {
                write!(f, "{source}: no answer at the start; the set saved before is used")
            }
        }
    }
}

impl Display for Doubt {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Doubt::TooFew { left, least } => {
                write!(f, "it would leave {left} backends, fewer than {least}")
            }
            Doubt::Loss { lost, of } => {
                write!(f, "{lost} of {of} backends would vanish; a second answer must confirm it")
            }
        }
    }
}

impl Display for Kept {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Kept::Nothing => f.write_str("there is no earlier answer to keep"),
            Kept::For(time) => write!(f, "the last good answer is kept for {time:?}"),
            Kept::ForEver => f.write_str("the last good answer is kept"),
        }
    }
}

/// What has changed from one set of backends to the next; both are sorted by name.
pub(super) fn changes(before: &[Found], after: &[Found]) -> Vec<Event> {
    let mut changes = Vec::new();
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        match (before.peek(), after.peek()) {
            (None, None) => return changes,
            (Some(old), new) if new.is_none_or(|new| old.name < new.name) => {
                changes.push(Event::Removed(Arc::clone(&old.name)));
                before.next();
            }
            (old, Some(new)) if old.is_none_or(|old| old.name > new.name) => {
                changes.push(Event::Added((*new).clone()));
                after.next();
            }
            _ => changes.extend(before.next().zip(after.next()).into_iter().flat_map(differences)),
        }
    }
}

fn differences((old, new): (&Found, &Found)) -> impl Iterator<Item = Event> {
    let moved = (old.addresses != new.addresses).then(|| {
        let (name, addresses) = (Arc::clone(&new.name), new.addresses.clone());
        Event::Moved { name, addresses }
    });
    let share = |found: &Found| (found.weight, found.tier, found.limit);
    let weighed = (share(old) != share(new)).then(|| Event::Weighed(new.clone()));
    moved.into_iter().chain(weighed)
}

struct List<'a>(&'a [SocketAddr]);

impl Display for List<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        for (index, address) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{address}")?;
        }
        Ok(())
    }
}

struct Share<'a>(&'a Found);

impl Display for Share<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "weight {}, tier {}", self.0.weight, self.0.tier)?;
        match self.0.limit {
            Some(limit) => write!(f, ", at most {limit} connections"),
            None => Ok(()),
        }
    }
}
