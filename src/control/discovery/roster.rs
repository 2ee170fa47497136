//! Turns what a source says into the backends it wants, by name. Resolves none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::found::Found;
use super::listing::{Host, Listed, is_host_name};
use super::question::{Kind, Question, Record, Service};
use crate::config::{Source, SourceKind};

/// The backends that a source wants, by their names.
pub(super) type Roster = BTreeMap<Arc<str>, Want>;

/// One backend that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub reach: Reach,
    pub port: u16,
    pub weight: u16,
    pub tier: u16,
    pub limit: Option<u32>,
    pub drain: bool,
}

/// How its addresses are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Known(Vec<IpAddr>),
    /// They are to be asked for.
    Named(Question),
}

impl Want {
    /// Of a source that has a weight and a tier for all.
    fn of(source: &Source, reach: Reach, port: u16) -> Want {
        let limit = source.max_connections;
        Want { reach, port, weight: source.weight, tier: source.tier, limit, drain: false }
    }

    pub fn question(&self) -> Option<&Question> {
        match &self.reach {
            Reach::Known(_) => None,
            Reach::Named(question) => Some(question),
        }
    }

    pub fn found(&self, name: &Arc<str>, ips: &[IpAddr]) -> Found {
        let addresses = ips.iter().map(|ip| SocketAddr::new(*ip, self.port)).collect();
        self.found_at(name, addresses)
    }

    pub fn found_at(&self, name: &Arc<str>, addresses: Vec<SocketAddr>) -> Found {
        let Want { weight, tier, limit, drain, .. } = *self;
        Found { name: Arc::clone(name), addresses, weight, tier, limit, drain }
    }
}

/// The source for people and for what is saved: the same after a restart.
pub(super) fn title(kind: &SourceKind) -> Arc<str> {
    let title = match kind {
        SourceKind::Dns { name, port } => format!("dns {name}:{port}"),
        SourceKind::Srv { name } => format!("srv {name}"),
        SourceKind::Template { names, port } => {
            // The number of names may change between two runs, and what is known of most holds.
            format!("template {}:{port}", names.first().map_or("", String::as_str))
        }
        SourceKind::File { path } => format!("file {}", path.display()),
    };
    title.into()
}

/// Each address is a backend.
pub(super) fn of_addresses(source: &Source, port: u16, ips: &[IpAddr]) -> Roster {
    let want = |ip: &IpAddr| {
        let name = SocketAddr::new(*ip, port).to_string().into();
        (name, Want::of(source, Reach::Known(vec![*ip]), port))
    };
    ips.iter().map(want).collect()
}

/// Each target and port is a backend. The lowest priority is the source's own tier, the next one
/// follows, and so on. A target that is named twice has its lowest priority, and there its
/// highest weight: the order of records says nothing (RFC 2782).
pub(super) fn of_services(source: &Source, services: &[Service]) -> Roster {
    let mut services: Vec<&Service> = services.iter().filter(is_backend).collect();
    services.sort_by(|a, b| {
        let key = |service: &Service| (service.priority, std::cmp::Reverse(service.weight));
        key(a).cmp(&key(b)).then_with(|| a.target.cmp(&b.target)).then(a.port.cmp(&b.port))
    });
    let priorities: BTreeSet<u16> = services.iter().map(|service| service.priority).collect();
    let weighted: BTreeSet<u16> = services
        .iter()
        .filter(|service| service.weight > 0)
        .map(|service| service.priority)
        .collect();
    let ranks: BTreeMap<u16, u16> = priorities.into_iter().zip(0..).collect();
    let mut roster = Roster::new();
    for service in services {
        let rank = ranks.get(&service.priority).copied().unwrap_or_default();
        let weight = match service.weight {
            // Without any weight at this priority there is nothing to select by.
            0 if !weighted.contains(&service.priority) => source.weight,
            // Beside other weights it has "a very small chance of being selected": with the
            // RFC's algorithm one in their sum and one, which is what weight 1 gives it.
            0 => 1,
            weight => weight,
        };
        let tier = source.tier.saturating_add(rank);
        let want = Want { weight, tier, ..Want::of(source, reach(service), service.port) };
        roster.entry(service_name(service)).or_insert(want);
    }
    roster
}

/// Whether there is any that can be connected to.
pub(super) fn hold_a_backend(services: &[Service]) -> bool {
    services.iter().any(|service| is_backend(&service))
}

/// Names stand in logs and metric labels, so that a target must be a host's name.
fn is_backend(service: &&Service) -> bool {
    service.port != 0 && is_host_name(&service.target)
}

fn reach(service: &Service) -> Reach {
    let known = arranged(service.addresses.iter().copied());
    if known.is_empty() {
        return Reach::Named(Question { name: service.target.clone(), kind: Kind::Addresses });
    }
    Reach::Known(known)
}

fn service_name(service: &Service) -> Arc<str> {
    let target = service.target.strip_suffix('.').unwrap_or(&service.target);
    format!("{target}:{}", service.port).into()
}

/// Each name is a backend.
pub(super) fn of_names(source: &Source, port: u16, names: &[String]) -> Roster {
    let want = |name: &String| {
        let question = Question { name: name.as_str().into(), kind: Kind::Addresses };
        let shown = name.strip_suffix('.').unwrap_or(name);
        (format!("{shown}:{port}").into(), Want::of(source, Reach::Named(question), port))
    };
    names.iter().map(want).collect()
}

/// Each line is a backend, one tier higher if it is a backup.
pub(super) fn of_listing(source: &Source, listing: &[Listed]) -> Roster {
    let want = |listed: &Listed| {
        let reach = match &listed.host {
            Host::Address(ip) => Reach::Known(vec![*ip]),
            Host::Name(name) => {
                Reach::Named(Question { name: name.as_str().into(), kind: Kind::Addresses })
            }
        };
        let weight = listed.weight.unwrap_or(source.weight);
        let tier = source.tier.saturating_add(listed.backup.into());
        let drain = listed.drain;
        let want = Want { weight, tier, drain, ..Want::of(source, reach, listed.port) };
        (listed.name.as_str().into(), want)
    };
    listing.iter().map(want).collect()
}

/// The addresses of an answer that can be a host's, each once and in an order of their own:
/// nameservers rotate them, and a rotation is no change. IPv6 comes first (RFC 6724, section 2.1).
pub(super) fn addresses(records: &[Record]) -> Vec<IpAddr> {
    arranged(records.iter().filter_map(|record| match record {
        Record::Address(ip) => Some(*ip),
        Record::Service(_) => None,
    }))
}

pub(super) fn services(records: Vec<Record>) -> Vec<Service> {
    let service = |record| match record {
        Record::Service(service) => Some(service),
        Record::Address(_) => None,
    };
    records.into_iter().filter_map(service).collect()
}

fn arranged(ips: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = ips.filter_map(usable).collect();
    ips.sort_unstable_by_key(|ip| (ip.is_ipv4(), *ip));
    ips.dedup();
    ips
}

/// The address, if it can be a host's. Connections to the unspecified address would lead to this
/// host, and blocklists answer with it.
pub(super) fn usable(ip: IpAddr) -> Option<IpAddr> {
    let ip = ip.to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    (!ip.is_unspecified() && !ip.is_multicast() && !broadcast).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(weight: u16, tier: u16) -> Source {
        let kind = SourceKind::Srv { name: "_x._tcp.example".into() };
        Source { kind, weight, tier, max_connections: Some(9) }
    }

    fn service(target: &str, port: u16, priority: u16, weight: u16) -> Service {
        Service { target: target.into(), port, priority, weight, addresses: Vec::new() }
    }

    /// Name, tier and weight of each.
    fn shares(roster: &Roster) -> Vec<(&str, u16, u16)> {
        roster.iter().map(|(name, want)| (&**name, want.tier, want.weight)).collect()
    }

    #[test]
    fn priorities_become_tiers_and_weights_stay() {
        let services =
            [service("c.x.", 1, 900, 65535), service("a.x.", 1, 10, 7), service("b.x.", 2, 20, 1)];
        let roster = of_services(&source(3, 4), &services);
        assert_eq!(shares(&roster), [("a.x:1", 4, 7), ("b.x:2", 5, 1), ("c.x:1", 6, 65535)]);
        assert!(roster.values().all(|want| want.limit == Some(9)));
        let last = of_services(&source(3, u16::MAX), &services);
        assert!(last.values().all(|want| want.tier == u16::MAX));
    }

    #[test]
    fn no_weight_is_equal_shares_and_some_zero_is_a_small_one() {
        let services = [
            service("a.", 1, 0, 0),
            service("b.", 1, 0, 0),
            service("c.", 1, 5, 0),
            service("d.", 1, 5, 100),
        ];
        let roster = of_services(&source(3, 0), &services);
        let expected = [("a:1", 0, 3), ("b:1", 0, 3), ("c:1", 1, 1), ("d:1", 1, 100)];
        assert_eq!(shares(&roster), expected);
    }

    #[test]
    fn the_order_of_records_says_nothing() {
        let mut services = vec![
            service("a.", 1, 0, 5),
            service("a.", 1, 0, 8),
            service("a.", 1, 3, 9),
            service("a.", 2, 3, 9),
        ];
        let roster = of_services(&source(1, 0), &services);
        assert_eq!(shares(&roster), [("a:1", 0, 8), ("a:2", 1, 9)]);
        for _ in 0..services.len() {
            services.rotate_left(1);
            assert_eq!(of_services(&source(1, 0), &services), roster);
        }
    }

    #[test]
    fn what_can_not_be_connected_to_is_left_out() {
        let services = [service("a.", 0, 0, 1), service("b\"\n.", 1, 0, 1), service(".", 1, 0, 1)];
        assert!(of_services(&source(1, 0), &services).is_empty());
        let texts = ["0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0"];
        for text in texts {
            assert_eq!(usable(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_canonical_distinct_and_in_one_order() {
        let texts = ["10.0.0.2", "::ffff:10.0.0.1", "2001:db8::1", "10.0.0.1", "0.0.0.0"];
        let mut records: Vec<Record> =
            texts.iter().map(|text| Record::Address(text.parse().unwrap())).collect();
        let expected: Vec<IpAddr> =
            ["2001:db8::1", "10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap()).to_vec();
        for _ in 0..texts.len() {
            records.rotate_left(1);
            assert_eq!(addresses(&records), expected);
        }
    }

    #[test]
    fn additional_addresses_spare_the_question() {
        let mut with = service("a.", 1, 0, 1);
        with.addresses = vec!["10.0.0.1".parse().unwrap()];
        let mut useless = service("b.", 1, 0, 1);
        useless.addresses = vec!["0.0.0.0".parse().unwrap()];
        let roster = of_services(&source(1, 0), &[with.clone(), useless]);
        assert_eq!(roster["a:1"].reach, Reach::Known(with.addresses));
        assert_eq!(roster["b:1"].question().unwrap().name, "b.".into());
    }
}
