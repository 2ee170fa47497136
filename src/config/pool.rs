//! `[pool.NAME]`: backends that serve the same thing, and how they are reached. Picks none.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::CONNECTIONS;
use super::address::{self, Addresses};
use super::discovery::{Discovery, Source};
use super::field::{Field, Read, quoted};
use super::health::{Ejection, Health};
use super::names;
use super::reader::{Place, Reader, Section};
use super::socket;
use super::units::{DAY, MILLISECOND, SECOND};
use crate::balance::{Balancing, Policy, Queue, SocketOptions};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// As a table's key it is unique among the pools.
    pub name: String,
    pub balancing: Balancing,
    pub queue: Option<Queue>,
    /// How long a new backend, or one that has come back, takes to get its full share; none: it
    /// has it at once.
    pub slow_start: Option<Duration>,
    pub connect_timeout: Duration,
    /// Distinct backends tried for one session, the first included, 1 to 16.
    pub tries: usize,
    /// Empty leaves the choice to the kernel; else there is one of each backend's family.
    pub source_addresses: Vec<IpAddr>,
    pub socket: SocketOptions,
    /// In the order of the file, with distinct names; at least one, or a source.
    pub backends: Vec<Backend>,
    /// In the order of the file.
    pub sources: Vec<Source>,
    pub discovery: Discovery,
    /// `None`: backends are taken to be up.
    pub health: Option<Health>,
    /// `None`: no backend is ejected.
    pub ejection: Option<Ejection>,
    /// What becomes of the sessions of a backend whose probes fail, or that is ejected.
    pub on_down: OnLoss,
    /// What becomes of the sessions of a backend that discovery no longer finds.
    pub on_removal: OnLoss,
    pub rebalance: Option<Rebalance>,
}

/// What becomes of a lost backend's sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// They stay.
    #[default]
    Keep,
    /// They are closed gracefully after this time, which may be zero, unless it has come back.
    CloseAfter(Duration),
}

/// How sessions move to a backend that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebalance {
    /// Sessions closed per second at most, over all workers, at least 1.
    pub rate: u32,
    /// How much more than its share a backend may keep, in percent of the share.
    pub tolerance: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The text of the address where the file gives no name.
    pub name: String,
    /// Never of port 0 nor the unspecified IP address.
    pub address: SocketAddr,
    /// With 0 the backend receives no new connections.
    pub weight: u16,
    /// The pool's where the file gives the backend none; none: no limit.
    pub max_connections: Option<u32>,
    /// 0 unless it is a backup.
    pub tier: u16,
}

pub(super) fn read(name: &str, section: &Section<'_>, addresses: &mut Addresses) -> Pool {
    names::check(name, section.reader, &section.place);
    let limit = section.value_or("max_connections", None, connections);
    let source_addresses = section.value_or("source_addresses", Vec::new(), source_addresses);
    let backends = section.required("backends", |field| {
        let items = field.some_items("at least one backend, such as \"10.0.0.1:6000\"")?;
        let read = |item: Field<'_>| Some((backend(&item, limit)?, item.place));
        Ok(items.into_iter().filter_map(read).collect::<Vec<_>>())
    });
    refuse_repeated_names(section.reader, &backends);
    refuse_without_source(section.reader, &backends, &source_addresses);
    for (backend, place) in &backends {
        addresses.add_backend(backend.address, place);
    }
    Pool {
        name: name.to_owned(),
        balancing: Balancing {
            policy: section.value_or("policy", Policy::RoundRobin, |field| field.choice(&POLICIES)),
            ..Balancing::default()
        },
        queue: None,
        slow_start: None,
        connect_timeout: section
            .value_or("connect_timeout", 5 * SECOND, |field| field.duration(MILLISECOND..=DAY)),
        tries: section.value_or("tries", 3, |field| field.integer(1..=16)),
        source_addresses,
        socket: socket::read(section),
        backends: backends.into_iter().map(|(backend, _)| backend).collect(),
        sources: Vec::new(),
        discovery: Discovery::default(),
        health: None,
        ejection: None,
        on_down: OnLoss::Keep,
        on_removal: OnLoss::Keep,
        rebalance: None,
    }
}

/// Either the bare address or a table around it.
fn backend(item: &Field<'_>, limit: Option<u32>) -> Option<Backend> {
    if !item.value.is_table() {
        let address = item.accept(address::backend)?;
        let name = address.to_string();
        names::check(&name, item.reader, &item.place);
        return Some(Backend { name, address, weight: 1, max_connections: limit, tier: 0 });
    }
    item.section("{ address = ... }")?.read(|section| {
        let address = section.required("address", |field| address::backend(field).map(Some));
        let name =
            section.value_or("name", None, |field| Ok(Some(field.text("a name")?.to_owned())));
        let weight = section.value_or("weight", 1, |field| field.integer(0..=u16::MAX));
        let max_connections = section.value_or("max_connections", limit, connections);
        let name = name.or(address.map(|address| address.to_string()))?;
        names::check(&name, section.reader, &section.place_of("name"));
        Some(Backend { name, address: address?, weight, max_connections, tier: 0 })
    })
}

fn connections(field: &Field<'_>) -> Read<Option<u32>> {
    field.unless("off", |field| field.integer(CONNECTIONS))
}

/// None of them if one is wrong, since nothing can be said of the families then.
fn source_addresses(field: &Field<'_>) -> Read<Vec<IpAddr>> {
    let items = field.items("an array of IP addresses")?;
    let addresses: Vec<_> = items.iter().map(|item| item.accept(address::source)).collect();
    Ok(addresses.into_iter().collect::<Option<_>>().unwrap_or_default())
}

fn refuse_repeated_names(reader: &Reader, backends: &[(Backend, Place)]) {
    let mut places = BTreeMap::new();
    for (backend, place) in backends {
        if let Some(first) = places.insert(&backend.name, place) {
            let message = format!(
                "{} is the name of {} already; give each backend a name of its own",
                quoted(&backend.name),
                first.path
            );
            reader.refuse(place, message);
        }
    }
}

fn refuse_without_source(reader: &Reader, backends: &[(Backend, Place)], sources: &[IpAddr]) {
    for (backend, place) in backends {
        let same_family = |source: &IpAddr| source.is_ipv4() == backend.address.is_ipv4();
        if !sources.is_empty() && !sources.iter().any(same_family) {
            let family = if backend.address.is_ipv4() { "IPv4" } else { "IPv6" };
            let message = format!(
                "source_addresses has no {family} address to reach {} from; add one",
                backend.address
            );
            reader.refuse(place, message);
        }
    }
}

const POLICIES: [(&str, Policy); 1] = [("round-robin", Policy::RoundRobin)];
