//! `[pool.NAME]`: backends that serve the same thing, and how they are reached. Picks none.

use std::net::IpAddr;
use std::time::Duration;

use super::address::{self, Addresses};
use super::backend::{self, Backend};
use super::discovery::{self, Discovery, Source};
use super::field::{Field, Read};
use super::health::{self, Ejection, Health};
use super::reader::Section;
use super::units::{DAY, MILLISECOND, SECOND};
use super::{names, policy, socket};
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

pub(super) fn read(name: &str, section: &Section<'_>, addresses: &mut Addresses) -> Pool {
    names::check(name, section.reader, &section.place);
    let limit = section.value_or("max_connections", None, backend::connections);
    let source_addresses = section.value_or("source_addresses", Vec::new(), address::sources);
    let backends =
        section.value_or("backends", Vec::new(), |field| backend::backends(field, limit));
    let sources = section.value_or("sources", Vec::new(), |field| discovery::sources(field, limit));
    refuse_emptiness(section);
    backend::refuse_without_source(section.reader, &backends, &source_addresses);
    for (backend, place) in &backends {
        addresses.add_backend(backend.address, place);
    }
    let balancing = policy::read(section, backends.len());
    Pool {
        name: name.to_owned(),
        queue: queue(section),
        slow_start: section.value_or("slow_start", None, |field| {
            field.unless("off", |field| field.duration(SECOND..=DAY))
        }),
        connect_timeout: section
            .value_or("connect_timeout", 5 * SECOND, |field| field.duration(MILLISECOND..=DAY)),
        tries: section.value_or("tries", 3, |field| field.integer(1..=16)),
        source_addresses,
        socket: socket::read(section),
        backends: backends.into_iter().map(|(backend, _)| backend).collect(),
        sources,
        discovery: section.section("discovery", discovery::read),
        health: section.optional_section("health", health::health),
        ejection: section.optional_section("ejection", health::ejection),
        on_down: section.value_or("on_down", OnLoss::Keep, on_loss),
        on_removal: section.value_or("on_removal", OnLoss::Keep, on_loss),
        rebalance: rebalance(section, &balancing.policy),
        balancing,
    }
}

/// A pool without backends is not refused if the file says where to find them.
fn refuse_emptiness(section: &Section<'_>) {
    let has_sources = section.gives("sources");
    if !section.gives("backends") && !has_sources {
        let message = "missing, and so is sources; add one of them".to_owned();
        section.reader.refuse_absence(&section.place_of("backends"), message);
    }
    if !has_sources && section.gives("discovery") {
        let message = "has no meaning for a pool without sources; take it out, or add sources";
        section.reader.refuse_absence(&section.place_of("discovery"), message.to_owned());
    }
}

fn queue(section: &Section<'_>) -> Option<Queue> {
    let limit = section
        .value_or("queue", None, |field| field.unless("off", |field| field.integer(1..=1_048_576)));
    let timeout =
        section.value_or("queue_timeout", SECOND, |field| field.duration(MILLISECOND..=DAY));
    limit.map(|limit| Queue { limit, timeout })
}

fn on_loss(field: &Field<'_>) -> Read<OnLoss> {
    match field.value.as_str() {
        Some("keep") => Ok(OnLoss::Keep),
        Some("close") => Ok(OnLoss::CloseAfter(Duration::ZERO)),
        _ => {
            let grace = field.duration(MILLISECOND..=DAY);
            let grace = grace.map_err(|message| format!("{message}, or \"keep\" or \"close\""))?;
            Ok(OnLoss::CloseAfter(grace))
        }
    }
}

fn rebalance(section: &Section<'_>, policy: &Policy) -> Option<Rebalance> {
    let rate = section.value_or("rebalance", None, |field| {
        field.unless("off", |field| field.integer(1..=1_000_000))
    });
    let tolerance = section.value_or("rebalance_tolerance", 10, |field| field.integer(0..=1000));
    if rate.is_some() && policy.hashing().is_some() {
        let message = "keys decide where sessions go with this policy, and each would come back; \
                       take it out, or give a policy that hashes nothing";
        section.refuse_if_given("rebalance", message);
    }
    rate.map(|rate| Rebalance { rate, tolerance })
}
