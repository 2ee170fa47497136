//! Which names a name may stand for, as resolv.conf(5) has it. Asks for none of them.

use hickory_proto::rr::Name;

/// Domains to look for names in, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// In order, each with a trailing dot; never the root, which every name is tried in anyway.
    pub domains: Vec<Name>,
    /// A name with fewer dots is looked for in the domains before it is taken as it is.
    pub ndots: usize,
}

impl Search {
    /// The names to ask for in turn, until one exists; none if `text` is no name at all.
    ///
    /// A trailing dot says that the name is whole. Names that would become too long by a domain
    /// are left out.
    pub fn candidates(&self, text: &str) -> Vec<Name> {
        let Some(name) = absolute(text) else { return Vec::new() };
        if text.ends_with('.') {
            return vec![name];
        }
        let dots = text.bytes().filter(|byte| *byte == b'.').count();
        let mut candidates: Vec<Name> = Vec::with_capacity(self.domains.len() + 1);
        let within = |domain| relative(text).and_then(|name| name.append_domain(domain).ok());
        candidates.extend(self.domains.iter().filter_map(within));
        let place = if dots < self.ndots { candidates.len() } else { 0 };
        candidates.insert(place, name);
        candidates
    }
}

/// The name as it is, from the root; none if it is no name.
pub(super) fn absolute(text: &str) -> Option<Name> {
    let mut name = relative(text)?;
    name.set_fqdn(true);
    Some(name)
}

fn relative(text: &str) -> Option<Name> {
    if text.is_empty() { None } else { Name::from_ascii(text).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn stands_for(ndots: usize, text: &str, names: &[&str]) {
        let domains = ["one.test.", "two.test."].map(|domain| absolute(domain).unwrap());
        let search = Search { domains: domains.to_vec(), ndots };
        let found: Vec<String> = search.candidates(text).iter().map(Name::to_ascii).collect();
        assert_eq!(found, names, "{text}");
    }

    #[test]
    fn a_trailing_dot_stops_the_search() {
        stands_for(5, "a.", &["a."]);
        stands_for(5, "a.b.", &["a.b."]);
    }

    #[test]
    fn a_name_with_few_dots_is_searched_for_first() {
        stands_for(1, "a", &["a.one.test.", "a.two.test.", "a."]);
        stands_for(2, "_x._tcp", &["_x._tcp.one.test.", "_x._tcp.two.test.", "_x._tcp."]);
    }

    #[test]
    fn a_name_with_enough_dots_is_taken_as_it_is_first() {
        stands_for(1, "a.b", &["a.b.", "a.b.one.test.", "a.b.two.test."]);
        stands_for(0, "a", &["a.", "a.one.test.", "a.two.test."]);
    }

    #[test]
    fn what_is_too_long_within_a_domain_is_left_out() {
        let long = ["x", "y", "z", "w"].map(|letter| letter.repeat(62)).join(".");
        stands_for(9, &long, &[&format!("{long}.")]);
    }

    #[test]
    fn what_is_no_name_stands_for_nothing() {
        for text in ["", "..", "a..b", ".a", "a b", "é", &"x".repeat(64), &"x.".repeat(200)] {
            stands_for(1, text, &[]);
        }
    }
}
