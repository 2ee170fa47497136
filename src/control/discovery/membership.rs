//! Which backends each source has, what of a new answer is believed, and when old backends go.
//! Knows no time and asks nobody.
//!
//! A source wants the backends of its roster; it has those whose addresses are known. What it had
//! and no longer wants is leaving: it stays until the new backends are resolved or have failed,
//! so that a whole set is replaced without a moment in which nothing can be reached.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::event::Doubt;
use super::found::Found;
use super::merged::Merged;
use super::question::Question;
use super::roster::{Reach, Roster};
use crate::config::Discovery;

pub(super) struct Membership {
    sources: Vec<Standing>,
    merged: Merged,
    changed: bool,
    min_backends: usize,
    /// Percent.
    max_loss: Option<u8>,
}

/// One source.
#[derive(Default)]
struct Standing {
    roster: Roster,
    /// Wanted, and never heard of: neither addresses nor a failure.
    waiting: BTreeSet<Arc<str>>,
    /// In the union because of this source: wanted and known, or leaving.
    claimed: BTreeSet<Arc<str>>,
    leaving: BTreeSet<Arc<str>>,
    /// What is leaving goes only while the pool keeps so many.
    floor: usize,
    /// An answer has been believed; the first always is.
    believed: bool,
    /// What the last answer lacked, when it was doubted.
    missing: BTreeSet<Arc<str>>,
}

/// What is known of a name.
pub(super) enum Resolution<'a> {
    /// Nothing yet.
    Pending,
    Failed,
    Known(&'a [IpAddr]),
}

/// Which backends hang on which names, before and after a new roster.
#[derive(Default)]
pub(super) struct Uses {
    pub ended: Vec<(Question, Arc<str>)>,
    pub begun: Vec<(Question, Arc<str>)>,
}

impl Membership {
    pub fn new(sources: usize, fixed: Vec<Found>, discovery: &Discovery) -> Membership {
        let mut merged = Merged::default();
        for found in fixed {
            merged.claim(FIXED, found);
        }
        Membership {
            sources: (0..sources).map(|_| Standing::default()).collect(),
            merged,
            changed: true,
            min_backends: discovery.min_backends,
            max_loss: discovery.max_loss,
        }
    }

    /// Whether the union may have changed since the last time that this was asked.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// Every backend once, by name.
    pub fn compose(&self) -> Vec<Found> {
        self.merged.compose()
    }

    pub fn has_believed(&self, source: usize) -> bool {
        self.sources[source].believed
    }

    pub fn has_backends(&self, source: usize) -> bool {
        !self.sources[source].claimed.is_empty()
    }

    /// Whether the source has this backend.
    pub fn has(&self, source: usize, name: &str) -> bool {
        self.sources[source].claimed.contains(name)
    }

    /// The source whose word on the backend counts; none: the configuration itself lists it.
    pub fn source_of(&self, name: &str) -> Option<usize> {
        self.merged.owner(name)?.checked_sub(rank(0))
    }

    /// How many backends the source has.
    pub fn count(&self, source: usize) -> usize {
        self.sources[source].claimed.len()
    }

    /// What the source has, by name.
    pub fn backends(&self, source: usize) -> impl Iterator<Item = &Found> {
        let claimed = self.sources[source].claimed.iter();
        claimed.filter_map(move |name| self.merged.word(rank(source), name))
    }

    /// Whether the source may be given this roster.
    pub fn judge(&mut self, source: usize, roster: &Roster) -> Result<(), Doubt> {
        if !self.sources[source].believed {
            return Ok(());
        }
        let verdict = self.loss(source, roster).and_then(|()| self.remainder(source, roster));
        let standing = &mut self.sources[source];
        standing.missing = match verdict {
            Ok(()) => BTreeSet::new(),
            Err(_) => standing.missing(roster).cloned().collect(),
        };
        verdict
    }

    /// Only what the answer before lacked as well may vanish in any number.
    fn loss(&self, source: usize, roster: &Roster) -> Result<(), Doubt> {
        let Some(max_loss) = self.max_loss else { return Ok(()) };
        let standing = &self.sources[source];
        let of = standing.claimed.len() - standing.leaving.len();
        let sudden = standing.missing(roster).filter(|name| !standing.missing.contains(*name));
        if sudden.count() * 100 > of * usize::from(max_loss) {
            return Err(Doubt::Loss { lost: standing.missing(roster).count(), of });
        }
        Ok(())
    }

    /// A pool that is below its least already may stay as it is and grow.
    fn remainder(&self, source: usize, roster: &Roster) -> Result<(), Doubt> {
        let left = self.expected(source, roster);
        let now = self.expected(source, &self.sources[source].roster).min(self.merged.len());
        if left < self.min_backends && left < now {
            return Err(Doubt::TooFew { left, least: self.min_backends });
        }
        Ok(())
    }

    /// Backends in the pool once the source has this roster, all of it resolved.
    fn expected(&self, source: usize, roster: &Roster) -> usize {
        let rank = rank(source);
        let own = self.merged.exclusive(rank, self.sources[source].claimed.iter());
        let additional = roster.keys().filter(|name| !self.merged.is_named_by_another(rank, name));
        self.merged.len() - own + additional.count()
    }

    /// What a roster changes for the names that are asked for. A name at which a backend stays is
    /// in neither list.
    pub fn uses(&self, source: usize, roster: &Roster) -> Uses {
        let old = &self.sources[source].roster;
        Uses { ended: difference(old, roster), begun: difference(roster, old) }
    }

    /// The source wants this roster now.
    pub fn adopt<'a>(
        &mut self,
        source: usize,
        roster: Roster,
        resolution: impl Fn(&Question) -> Resolution<'a>,
    ) {
        let expected = self.expected(source, &roster);
        let standing = &mut self.sources[source];
        standing.believed = true;
        standing.floor = expected.min(self.min_backends);
        standing.leaving = standing.missing_of_all(&roster);
        standing.waiting.clear();
        for (name, want) in &roster {
            let resolution = match &want.reach {
                Reach::Known(ips) => Resolution::Known(ips),
                Reach::Named(question) => resolution(question),
            };
            let before = self.merged.word(rank(source), name);
            let found = match (resolution, before) {
                (Resolution::Known(ips), _) => want.found(name, ips),
                // It keeps the addresses it had.
                (_, Some(before)) => want.found_at(name, before.addresses.clone()),
                (Resolution::Failed, None) => continue,
                (Resolution::Pending, None) => {
                    standing.waiting.insert(Arc::clone(name));
                    continue;
                }
            };
            standing.claimed.insert(Arc::clone(name));
            self.changed |= self.merged.claim(rank(source), found);
        }
        standing.roster = roster;
        self.settle(source);
    }

    /// The addresses of one backend of a roster are known.
    pub fn resolved(&mut self, source: usize, name: &Arc<str>, ips: &[IpAddr]) {
        let standing = &mut self.sources[source];
        let Some(want) = standing.roster.get(name) else { return };
        self.changed |= self.merged.claim(rank(source), want.found(name, ips));
        let news = standing.claimed.insert(Arc::clone(name)) | standing.waiting.remove(name);
        if news {
            self.settle(source);
        }
    }

    /// They are not, this time.
    pub fn unresolved(&mut self, source: usize, name: &Arc<str>) {
        if self.sources[source].waiting.remove(name) {
            self.settle(source);
        }
    }

    /// The source has these from what was saved, until it says itself what it wants.
    pub fn restore(&mut self, source: usize, backends: impl IntoIterator<Item = Found>) {
        let standing = &mut self.sources[source];
        for found in backends {
            let name = Arc::clone(&found.name);
            if !standing.roster.contains_key(&name) {
                standing.leaving.insert(Arc::clone(&name));
            }
            standing.claimed.insert(name);
            self.changed |= self.merged.claim(rank(source), found);
        }
    }

    /// Takes one backend of a roster out while nothing is known of it any more, unless the pool
    /// would fall below its least, or below `floor`. Whether it is out.
    pub fn dismiss(&mut self, source: usize, name: &str, floor: usize) -> Result<(), Doubt> {
        let rank = rank(source);
        let claimed = &mut self.sources[source].claimed;
        let least = self.min_backends.max(floor);
        let left = self.merged.len().saturating_sub(1);
        if claimed.contains(name) && !self.merged.is_named_by_another(rank, name) && left < least {
            return Err(Doubt::TooFew { left, least });
        }
        claimed.remove(name);
        self.changed |= self.merged.release(rank, name);
        Ok(())
    }

    /// Whether everything of a source may be taken out, as `dismiss` may.
    pub fn may_clear(&self, source: usize, floor: usize) -> Result<(), Doubt> {
        let least = self.min_backends.max(floor);
        let own = self.merged.exclusive(rank(source), self.sources[source].claimed.iter());
        let left = self.merged.len() - own;
        if own > 0 && left < least { Err(Doubt::TooFew { left, least }) } else { Ok(()) }
    }

    /// The source wants nothing and has nothing.
    pub fn clear(&mut self, source: usize) {
        let standing = &mut self.sources[source];
        let believed = standing.believed;
        for name in &std::mem::take(standing).claimed {
            self.changed |= self.merged.release(rank(source), name);
        }
        self.sources[source].believed = believed;
    }

    /// Lets go what is leaving, once every new backend is resolved or has failed and there is
    /// one to take its place.
    fn settle(&mut self, source: usize) {
        let rank = rank(source);
        let standing = &mut self.sources[source];
        let replaced = standing.claimed.len() > standing.leaving.len();
        if standing.leaving.is_empty() || !standing.waiting.is_empty() || !replaced {
            return;
        }
        let left = self.merged.len() - self.merged.exclusive(rank, standing.leaving.iter());
        if left < standing.floor {
            return;
        }
        for name in std::mem::take(&mut standing.leaving) {
            standing.claimed.remove(&name);
            self.changed |= self.merged.release(rank, &name);
        }
    }
}

impl Standing {
    /// What it has and is not about to lose anyway, without what this roster has.
    fn missing(&self, roster: &Roster) -> impl Iterator<Item = &Arc<str>> {
        let staying = self.claimed.iter().filter(|name| !self.leaving.contains(*name));
        staying.filter(|name| !roster.contains_key(*name))
    }

    fn missing_of_all(&self, roster: &Roster) -> BTreeSet<Arc<str>> {
        self.claimed.iter().filter(|name| !roster.contains_key(*name)).cloned().collect()
    }
}

/// The names that backends of `these` hang on and those of `those` do not.
fn difference(these: &Roster, those: &Roster) -> Vec<(Question, Arc<str>)> {
    let mut difference = Vec::new();
    for (name, want) in these {
        let other = those.get(name).and_then(|other| other.question());
        if let Some(question) = want.question().filter(|question| Some(*question) != other) {
            difference.push((question.clone(), Arc::clone(name)));
        }
    }
    difference
}

/// What the configuration itself lists comes before every source.
const FIXED: usize = 0;

fn rank(source: usize) -> usize {
    source + 1
}
