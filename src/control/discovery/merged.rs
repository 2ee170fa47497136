//! Owns the union of what a pool's sources name: distinct names, the first source's word counts.
//! Does not judge what a source says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::found::Found;

/// Backends by name, and who names them. Every step costs the logarithm of their number.
#[derive(Default)]
pub(super) struct Merged {
    claims: BTreeMap<Arc<str>, Vec<Claim>>,
    /// Names that more than one source claims.
    contested: usize,
}

/// One source's word on a backend; the claims on a name ascend by their source.
struct Claim {
    source: usize,
    found: Found,
}

impl Merged {
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// The source names this backend, in place of what it said of the name before. Whether
    /// anything is different now.
    pub fn claim(&mut self, source: usize, found: Found) -> bool {
        let claims = self.claims.entry(Arc::clone(&found.name)).or_default();
        match claims.binary_search_by_key(&source, |claim| claim.source) {
            Ok(at) if claims[at].found == found => false,
            Ok(at) => {
                claims[at].found = found;
                true
            }
            Err(at) => {
                claims.insert(at, Claim { source, found });
                self.contested += usize::from(claims.len() == 2);
                true
            }
        }
    }

    /// The source names it no more. Whether it did.
    pub fn release(&mut self, source: usize, name: &str) -> bool {
        let Some(claims) = self.claims.get_mut(name) else { return false };
        let Ok(at) = claims.binary_search_by_key(&source, |claim| claim.source) else {
            return false;
        };
        claims.remove(at);
        self.contested -= usize::from(claims.len() == 1);
        if claims.is_empty() {
            self.claims.remove(name);
        }
        true
    }

    /// What the source says of the name.
    pub fn word(&self, source: usize, name: &str) -> Option<&Found> {
        let claims = self.claims.get(name)?;
        let at = claims.binary_search_by_key(&source, |claim| claim.source).ok()?;
        Some(&claims[at].found)
    }

    /// Whether another source names it as well.
    pub fn is_named_by_another(&self, source: usize, name: &str) -> bool {
        let claims = self.claims.get(name);
        claims.is_some_and(|claims| claims.iter().any(|claim| claim.source != source))
    }

    /// Whose word on the name counts.
    pub fn owner(&self, name: &str) -> Option<usize> {
        Some(self.claims.get(name)?.first()?.source)
    }

    /// How many of these names, all claimed by the source, nobody else claims.
    pub fn exclusive<'a>(
        &self,
        source: usize,
        names: impl ExactSizeIterator<Item = &'a Arc<str>>,
    ) -> usize {
        if self.contested == 0 {
            return names.len();
        }
        names.filter(|name| !self.is_named_by_another(source, name)).count()
    }

    /// Every backend once, by name.
    pub fn compose(&self) -> Vec<Found> {
        let first = |claims: &Vec<Claim>| claims.first().map(|claim| claim.found.clone());
        self.claims.values().filter_map(first).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, weight: u16) -> Found {
        let addresses = vec!["10.0.0.1:1".parse().unwrap()];
        Found { name: name.into(), addresses, weight, tier: 0, limit: None, drain: false }
    }

    #[test]
    fn the_first_source_that_names_a_backend_wins() {
        let mut merged = Merged::default();
        assert!(merged.claim(2, found("a", 2)));
        assert!(merged.claim(1, found("a", 1)));
        assert!(merged.claim(2, found("b", 2)));
        let weights = |merged: &Merged| -> Vec<u16> {
            merged.compose().iter().map(|found| found.weight).collect()
        };
        assert_eq!(weights(&merged), [1, 2]);
        assert_eq!(merged.exclusive(2, ["a".into(), "b".into()].iter()), 1);
        assert!(merged.release(1, "a"));
        assert!(!merged.release(1, "a"));
        assert_eq!(weights(&merged), [2, 2]);
        assert_eq!(merged.exclusive(2, ["a".into(), "b".into()].iter()), 2);
    }

    #[test]
    fn a_claim_repeated_is_no_change() {
        let mut merged = Merged::default();
        assert!(merged.claim(1, found("a", 1)));
        assert!(!merged.claim(1, found("a", 1)));
        assert!(merged.claim(1, found("a", 2)));
        assert!(merged.release(1, "a"));
        assert_eq!(merged.len(), 0);
    }
}
