//! Which route a session takes, by the server name and the protocols that its ClientHello asks for.
//!
//! A name costs one look-up, and one more for each number of labels that wildcards have: as many
//! routes as there are cost no more than a few.

use std::collections::HashMap;
use std::sync::Arc;

use crate::balance::PoolId;
use crate::tls::ServerTls;

/// Where a session goes.
#[derive(Clone, Debug)]
pub enum Outcome {
    Relay {
        pool: PoolId,
        /// How TLS is ended here. `None`: it passes through.
        tls: Option<Arc<ServerTls>>,
    },
    Reject,
}

/// What the routes say to a hello.
#[derive(Clone, Copy, Debug)]
pub struct Found<'r> {
    pub outcome: &'r Outcome,
    /// The protocol that has led to it: to agree on another one could be the business of another
    /// route. `None`: it is the same for all that are offered.
    pub protocol: Option<&'r [u8]>,
    /// What the hello would have had to ask for instead, if it is rejected.
    pub lacks: Lacks,
}

/// What of a hello is to blame where it leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacks {
    /// A name that is served, whatever the protocols.
    Name,
    /// A protocol that is served, under the same name.
    Protocol,
}

/// One rule: an outcome, and all that it holds for.
#[derive(Clone, Debug)]
pub struct Rule {
    /// In lower case, without a trailing dot; `*.` at the front stands for one label or more.
    /// Empty: it holds for any name, and for none.
    pub server_names: Vec<String>,
    /// One of them is offered. Empty: any may be, or none.
    pub alpn: Vec<Vec<u8>>,
    pub outcome: Outcome,
}

/// The rules of one listener.
#[derive(Debug)]
pub struct Routes {
    exact: HashMap<Box<str>, Branch>,
    /// By the domain, which is what follows `*.`.
    wildcards: HashMap<Box<str>, Branch>,
    /// The numbers of labels that these domains have, a bit each.
    depths: u128,
    /// The rules without names.
    nameless: Branch,
    /// In the order of the rules.
    outcomes: Vec<Outcome>,
    unmatched: Outcome,
}

/// The rules for one name, as places in `outcomes`.
#[derive(Debug, Default)]
struct Branch {
    /// By protocol, in order.
    by_protocol: Vec<(Box<[u8]>, usize)>,
    /// For whoever offers none of those.
    any: Option<usize>,
}

impl Routes {
    /// Of two rules for the same name and protocol the first holds. `unmatched` is for what none
    /// of them holds for.
    pub fn new(unmatched: Outcome, rules: impl IntoIterator<Item = Rule>) -> Routes {
        let mut routes = Routes {
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            depths: 0,
            nameless: Branch::default(),
            outcomes: Vec::new(),
            unmatched,
        };
        for Rule { server_names, alpn, outcome } in rules {
            let place = routes.outcomes.len();
            routes.outcomes.push(outcome);
            for name in &server_names {
                routes.branch(name).add(&alpn, place);
            }
            if server_names.is_empty() {
                routes.nameless.add(&alpn, place);
            }
        }
        routes
    }

    /// The route for a name in lower case, if one was asked for, and protocols in the order in
    /// which the client prefers them. Names come before protocols: the exact one, then wildcards,
    /// the longest first, then rules without names; within each, the first protocol that there is
    /// a rule for, then the rule without protocols.
    pub fn find(&self, server_name: Option<&str>, alpn: &[Box<[u8]>]) -> Found<'_> {
        let named = || server_name.into_iter().flat_map(|name| self.named(name));
        let mut branches = named().chain([&self.nameless]);
        let Some((protocol, place)) = branches.find_map(|branch| branch.find(alpn)) else {
            let known = named().next().is_some() || !self.has_names();
            let lacks = if known { Lacks::Protocol } else { Lacks::Name };
            return Found { outcome: &self.unmatched, protocol: None, lacks };
        };
        let lacks = if protocol.is_some() { Lacks::Protocol } else { Lacks::Name };
        Found { outcome: &self.outcomes[place], protocol, lacks }
    }

    fn has_names(&self) -> bool {
        !self.exact.is_empty() || !self.wildcards.is_empty()
    }

    fn named<'r>(&'r self, name: &str) -> impl Iterator<Item = &'r Branch> {
        let domains = Domains { rest: name, labels: name.split('.').count() };
        let known = domains.filter(|(labels, _)| self.depths & bit(*labels) != 0);
        let wildcards = known.filter_map(|(_, domain)| self.wildcards.get(domain));
        self.exact.get(name).into_iter().chain(wildcards)
    }

    fn branch(&mut self, name: &str) -> &mut Branch {
        match name.strip_prefix("*.") {
            Some(domain) => {
                self.depths |= bit(domain.split('.').count());
                self.wildcards.entry(domain.into()).or_default()
            }
            None => self.exact.entry(name.into()).or_default(),
        }
    }
}

impl Branch {
    fn add(&mut self, alpn: &[Vec<u8>], place: usize) {
        for protocol in alpn {
            if let Err(gap) = self.search(protocol) {
                self.by_protocol.insert(gap, (protocol.as_slice().into(), place));
            }
        }
        if alpn.is_empty() {
            self.any.get_or_insert(place);
        }
    }

    /// The place of the rule, and the protocol if it goes by one.
    fn find(&self, alpn: &[Box<[u8]>]) -> Option<(Option<&[u8]>, usize)> {
        let mut known = alpn.iter().filter_map(|protocol| self.search(protocol).ok());
        let by_protocol = known.next().map(|at| &self.by_protocol[at]);
        by_protocol
            .map(|(protocol, place)| (Some(&**protocol), *place))
            .or_else(|| Some((None, self.any?)))
    }

    fn search(&self, protocol: &[u8]) -> Result<usize, usize> {
        self.by_protocol.binary_search_by(|(known, _)| (**known).cmp(protocol))
    }
}

/// The domains that a name lies in, each with the number of its labels, the longest first.
struct Domains<'n> {
    rest: &'n str,
    labels: usize,
}

impl<'n> Iterator for Domains<'n> {
    type Item = (usize, &'n str);

    fn next(&mut self) -> Option<(usize, &'n str)> {
        (_, self.rest) = self.rest.split_once('.')?;
        self.labels -= 1;
        Some((self.labels, self.rest))
    }
}

/// No name has more than 127 labels (RFC 1035, section 2.3.4), and no bit is for more.
fn bit(labels: usize) -> u128 {
    u32::try_from(labels).ok().and_then(|labels| 1_u128.checked_shl(labels)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(server_names: &[&str], alpn: &[&str], pool: usize) -> Rule {
        Rule {
            server_names: server_names.iter().map(ToString::to_string).collect(),
            alpn: alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(),
            outcome: relay(pool),
        }
    }

    fn relay(pool: usize) -> Outcome {
        Outcome::Relay { pool: PoolId(pool), tls: None }
    }

    /// The pool's number. `None`: it is rejected.
    fn pool(found: Found<'_>) -> Option<usize> {
        pool_of(found.outcome)
    }

    fn pool_of(outcome: &Outcome) -> Option<usize> {
        match outcome {
            Outcome::Relay { pool, .. } => Some(pool.0),
            Outcome::Reject => None,
        }
    }

    fn offer(protocols: &[&str]) -> Vec<Box<[u8]>> {
        protocols.iter().map(|protocol| protocol.as_bytes().into()).collect()
    }

    #[test]
    fn a_name_beats_a_wildcard_and_a_longer_one_a_shorter_one() {
        let rules = [
            rule(&["*.example.com"], &[], 1),
            rule(&["a.eu.example.com", "example.com"], &[], 2),
            rule(&["*.eu.example.com"], &[], 3),
        ];
        let routes = Routes::new(Outcome::Reject, rules);
        for (name, expected) in [
            (Some("a.eu.example.com"), Some(2)),
            (Some("b.eu.example.com"), Some(3)),
            (Some("b.c.eu.example.com"), Some(3)),
            (Some("b.a.eu.example.com"), Some(3)),
            (Some("eu.example.com"), Some(1)),
            (Some("example.com"), Some(2)),
            (Some("x.us.example.com"), Some(1)),
            (Some("an.example.comm"), None),
            (Some("anexample.com"), None),
            (Some("com"), None),
            (Some(""), None),
            (None, None),
        ] {
            assert_eq!(pool(routes.find(name, &[])), expected, "{name:?}");
        }
    }

    #[test]
    fn with_a_protocol_beats_without_and_the_client_prefers() {
        let rules = [
            rule(&["a.b"], &[], 1),
            rule(&["a.b"], &["h2", "h3"], 2),
            rule(&["a.b"], &["http/1.1"], 3),
        ];
        let routes = Routes::new(Outcome::Reject, rules);
        for (protocols, expected) in [
            (&[][..], 1),
            (&["x"], 1),
            (&["h2"], 2),
            (&["http/1.1", "h2"], 3),
            (&["x", "h2", "http/1.1"], 2),
            (&["H2"], 1),
        ] {
            let found = routes.find(Some("a.b"), &offer(protocols));
            assert_eq!(pool(found), Some(expected), "{protocols:?}");
        }
        assert_eq!(pool(routes.find(None, &offer(&["h2"]))), None);
    }

    #[test]
    fn what_has_led_to_a_route_is_told_with_it() {
        use Lacks::{Name, Protocol};
        let rules = [
            rule(&["a.b"], &["h2", "h3"], 1),
            rule(&["a.b"], &["http/1.1"], 2),
            rule(&["*.c"], &[], 3),
            Rule { outcome: Outcome::Reject, ..rule(&["*.d"], &["h2"], 0) },
            Rule { outcome: Outcome::Reject, ..rule(&["old.d"], &[], 0) },
            rule(&[], &["mqtt"], 4),
        ];
        let routes = Routes::new(Outcome::Reject, rules);
        for (name, protocols, expected, protocol, lacks) in [
            (Some("a.b"), &["http/1.1", "h2"][..], Some(2), Some("http/1.1"), Protocol),
            (Some("a.b"), &["x", "h3"], Some(1), Some("h3"), Protocol),
            (Some("a.b"), &["x"], None, None, Protocol),
            (Some("a.b"), &[], None, None, Protocol),
            (Some("x.c"), &["h2"], Some(3), None, Name),
            (Some("x.d"), &["h2"], None, Some("h2"), Protocol),
            (Some("old.d"), &["h2"], None, None, Name),
            (Some("x.y"), &["h2"], None, None, Name),
            (None, &["h2"], None, None, Name),
            (None, &["mqtt"], Some(4), Some("mqtt"), Protocol),
        ] {
            let offered = offer(protocols);
            let found = routes.find(name, &offered);
            let shown = (pool(found), found.protocol, found.lacks);
            let protocol = protocol.map(str::as_bytes);
            assert_eq!(shown, (expected, protocol, lacks), "{name:?} {protocols:?}");
        }
        let by_protocol = Routes::new(Outcome::Reject, [rule(&[], &["mqtt"], 1)]);
        assert_eq!(by_protocol.find(Some("a.b"), &offer(&["h2"])).lacks, Protocol);
    }

    #[test]
    fn a_route_that_wants_another_protocol_leaves_the_name_to_the_next() {
        let rules = [
            rule(&["a.b.c"], &["h2"], 1),
            rule(&["*.b.c"], &["http/1.1"], 2),
            rule(&["*.c"], &[], 3),
            rule(&[], &["mqtt"], 4),
        ];
        let routes = Routes::new(relay(5), rules);
        for (name, protocols, expected) in [
            (Some("a.b.c"), &["http/1.1", "h2"][..], 1),
            (Some("a.b.c"), &["http/1.1"], 2),
            (Some("a.b.c"), &["mqtt"], 3),
            (Some("a.b.d"), &["mqtt"], 4),
            (None, &["x", "mqtt"], 4),
            (Some("a.b.d"), &["h2"], 5),
            (None, &[], 5),
        ] {
            let found = routes.find(name, &offer(protocols));
            assert_eq!(pool(found), Some(expected), "{name:?} {protocols:?}");
        }
    }

    #[test]
    fn no_name_is_too_long_or_too_deep_to_be_looked_for() {
        let deepest = vec!["a"; 126].join(".");
        let wildcard = format!("*.{deepest}");
        let rules = [rule(&[&wildcard, "*.a.a"], &[], 1), rule(&[&deepest], &[], 2)];
        let routes = Routes::new(Outcome::Reject, rules);
        assert_eq!(pool(routes.find(Some(&deepest), &[])), Some(2));
        assert_eq!(pool(routes.find(Some(&format!("b.{deepest}")), &[])), Some(1));
        for labels in [127, 128, 129, 1000, 30_000] {
            let name = vec!["a"; labels].join(".");
            assert_eq!(pool(routes.find(Some(&name), &[])), Some(1), "{labels} labels");
        }
        for name in [".", "..", ".a.a", "a..a", "a.a."] {
            routes.find(Some(name), &[]);
        }
    }

    /// What the rules say, read one by one.
    fn by_the_rules(rules: &[Rule], name: Option<&str>, alpn: &[Box<[u8]>]) -> Option<usize> {
        let named = |rule: &Rule| {
            let matches = |pattern: &String| match (name, pattern.strip_prefix('*')) {
                (Some(name), Some(domain)) => name.ends_with(domain).then_some(domain.len()),
                (Some(name), None) => (name == pattern).then_some(usize::MAX),
                (None, _) => None,
            };
            let best = rule.server_names.iter().filter_map(matches).max();
            if rule.server_names.is_empty() { Some(0) } else { best }
        };
        let agreed = |rule: &Rule| {
            let offered = |protocol: &Vec<u8>| {
                alpn.iter().position(|offered| **offered == **protocol).map(|at| usize::MAX - at)
            };
            let best = rule.alpn.iter().filter_map(offered).max();
            if rule.alpn.is_empty() { Some(0) } else { best }
        };
        let weight = |rule: &Rule| Some((named(rule)?, agreed(rule)?));
        let weights = rules.iter().map(weight).collect::<Vec<_>>();
        let best = weights.iter().flatten().max()?;
        let first = weights.iter().position(|weight| weight.as_ref() == Some(best))?;
        Some(first)
    }

    /// Few labels and protocols, so that much matches.
    fn any_name() -> impl Strategy<Value = String> {
        let label = prop::sample::select(&["a", "b", "c"][..]);
        prop::collection::vec(label, 1..5).prop_map(|labels| labels.join("."))
    }

    fn any_pattern() -> impl Strategy<Value = String> {
        (any_name(), any::<bool>())
            .prop_map(|(name, wildcard)| if wildcard { format!("*.{name}") } else { name })
    }

    fn any_protocols() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let protocol = prop::sample::select(&["x", "y", "xy", "z"][..]);
        prop::collection::vec(protocol.prop_map(|protocol| protocol.as_bytes().to_vec()), 0..3)
    }

    fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
        let rule = (prop::collection::vec(any_pattern(), 0..4), any_protocols());
        prop::collection::vec(rule, 0..24).prop_map(|rules| {
            let rule = |(number, (server_names, alpn))| {
                let outcome = if number % 5 == 4 { Outcome::Reject } else { relay(number) };
                Rule { server_names, alpn, outcome }
            };
            rules.into_iter().enumerate().map(rule).collect()
        })
    }

    proptest! {
        #[test]
        fn the_tables_say_what_the_rules_say(
            rules in any_rules(),
            asked in prop::collection::vec((prop::option::of(any_name()), any_protocols()), 32),
        ) {
            let routes = Routes::new(relay(usize::MAX), rules.clone());
            for (name, protocols) in asked {
                let alpn: Vec<_> = protocols.into_iter().map(Vec::into_boxed_slice).collect();
                let name = name.as_deref();
                let expected = match by_the_rules(&rules, name, &alpn) {
                    Some(first) => pool_of(&rules[first].outcome),
                    None => Some(usize::MAX),
                };
                prop_assert_eq!(pool(routes.find(name, &alpn)), expected, "{:?} {:?}", name, alpn);
            }
        }
    }
}
