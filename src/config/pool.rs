//! `[pool.NAME]`: backends that serve the same thing, and how they are reached. Picks none.

use std::net::IpAddr;
use std::time::Duration;

use super::address::{self, Addresses};
use super::backend::{self, Backend};
use super::check::PoolSide;
use super::discovery::{self, Discovery, Source};
use super::field::{Field, Read};
use super::health::{self, Ejection, Health};
use super::pool_tls::{self, BackendName, PoolTls};
use super::reader::Section;
use super::units::{DAY, MILLISECOND, SECOND};
use super::{names, policy, socket};
use crate::balance::{Balancing, Key, Policy, Queue, SocketOptions};

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
    /// `None`: what is sent to the backends is what the clients sent.
    pub tls: Option<PoolTls>,
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
    /// What becomes of the sessions of a backend that drains.
    pub on_drain: OnLoss,
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

/// How sessions move to a backend that has come, or to the one that their key belongs to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebalance {
    /// Sessions closed per second at most, over all workers, at least 1.
    pub rate: u32,
    /// How much more than its share a backend may keep, in percent of the share. Without a meaning
    /// where keys are hashed.
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
    let tls = section.optional_section("tls", pool_tls::read);
    let pool_tls = match &tls {
        Some(tls) if tls.server_name == BackendName::Client => PoolSide::Nameless,
        Some(_) => PoolSide::Named,
        None if section.gives("tls") => PoolSide::Unknown,
        None => PoolSide::Missing,
    };
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
        tls,
        backends: backends.into_iter().map(|(backend, _)| backend).collect(),
        sources,
        discovery: section.section("discovery", discovery::read),
        health: section.optional_section("health", |health| health::health(health, pool_tls)),
        ejection: section.optional_section("ejection", health::ejection),
        on_down: section.value_or("on_down", OnLoss::Keep, on_loss),
        on_removal: section.value_or("on_removal", OnLoss::Keep, on_loss),
        on_drain: section.value_or("on_drain", OnLoss::Keep, on_loss),
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
    if let Some(hashing) = policy.hashing() {
        let message = "has no meaning for a policy that hashes: its sessions move to where their \
                       keys belong, however many there are; take it out";
        section.refuse_if_given("rebalance_tolerance", message);
        if rate.is_some() && hashing.key == Key::SourcePort {
            let message = "would move sessions whose clients come back with another port, which is \
                           another key; take it out, or give key = \"source\"";
            section.refuse_if_given("rebalance", message);
        }
    }
    rate.map(|rate| Rebalance { rate, tolerance })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::samples::{valid_pool, with_pool};

    const BACKENDS: &str = "backends = [\"10.0.0.1:1\"]";

    fn pool(lines: &str) -> Pool {
        valid_pool(&format!("{BACKENDS}\n{lines}"))
    }

    fn refused(lines: &str) -> Vec<String> {
        with_pool(&format!("{BACKENDS}\n{lines}"))
    }

    #[test]
    fn what_moves_sessions_is_off_unless_it_is_asked_for() {
        let bare = pool("");
        assert_eq!((bare.queue, bare.slow_start, bare.rebalance), (None, None, None));
        let rules = [bare.on_down, bare.on_removal, bare.on_drain];
        assert_eq!(rules, [OnLoss::Keep; 3]);
        assert_eq!((bare.health, bare.ejection, bare.sources.len()), (None, None, 0));
        let off = pool(
            "queue = \"off\"\nqueue_timeout = \"5s\"\nslow_start = \"off\"\nrebalance = \"off\"\n\
             rebalance_tolerance = 5\non_down = \"keep\"",
        );
        assert_eq!((off.queue, off.slow_start, off.rebalance), (None, None, None));
    }

    #[test]
    fn waiting_and_moving_are_read() {
        let pool = pool(
            "queue = 100\nqueue_timeout = \"5s\"\nslow_start = \"30s\"\nrebalance = 20\n\
             rebalance_tolerance = 0\non_down = \"close\"\non_removal = \"30s\"\n\
             on_drain = \"1h\"",
        );
        assert_eq!(pool.queue, Some(Queue { limit: 100, timeout: 5 * SECOND }));
        assert_eq!(pool.slow_start, Some(30 * SECOND));
        assert_eq!(pool.rebalance, Some(Rebalance { rate: 20, tolerance: 0 }));
        assert_eq!(pool.on_down, OnLoss::CloseAfter(Duration::ZERO));
        assert_eq!(pool.on_removal, OnLoss::CloseAfter(30 * SECOND));
        assert_eq!(pool.on_drain, OnLoss::CloseAfter(3600 * SECOND));
        let defaults = valid_pool(&format!("{BACKENDS}\nqueue = 1\nrebalance = 1"));
        assert_eq!(defaults.queue, Some(Queue { limit: 1, timeout: SECOND }));
        assert_eq!(defaults.rebalance, Some(Rebalance { rate: 1, tolerance: 10 }));
    }

    #[test]
    fn waiting_and_moving_have_their_limits() {
        let cases = [
            ("queue = 0", "queue: found 0; give an integer from 1 to 1048576, or \"off\""),
            (
                "queue_timeout = \"2d\"",
                "queue_timeout: found \"2d\"; give a duration from 1ms to 1d",
            ),
            (
                "slow_start = \"10ms\"",
                "slow_start: found \"10ms\"; give a duration from 1s to 1d, or \"off\"",
            ),
            (
                "on_down = \"drop\"",
                "on_down: \"drop\" does not start with a whole number; \
                 give a duration from 1ms to 1d, or \"keep\" or \"close\"",
            ),
            (
                "on_removal = 30",
                "on_removal: 30 has no unit; \
                 give a duration from 1ms to 1d, or \"keep\" or \"close\"",
            ),
            ("rebalance = 0", "rebalance: found 0; give an integer from 1 to 1000000, or \"off\""),
            (
                "rebalance_tolerance = 1001",
                "rebalance_tolerance: found 1001; give an integer from 0 to 1000",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(refused(line), [format!("6: pool.p.{expected}")]);
        }
    }

    #[test]
    fn sessions_move_to_where_their_keys_belong_without_a_tolerance() {
        for policy in ["maglev", "ring", "rendezvous"] {
            let lines = format!("policy = \"{policy}\"\nrebalance = 7");
            assert_eq!(pool(&lines).rebalance.map(|rebalance| rebalance.rate), Some(7));
            assert_eq!(
                refused(&format!("{lines}\nrebalance_tolerance = 5")),
                ["8: pool.p.rebalance_tolerance: has no meaning for a policy that hashes: its \
                  sessions move to where their keys belong, however many there are; take it out"]
            );
            let by_port = format!("policy = \"{policy}\"\nkey = \"source-port\"\nrebalance = ");
            assert_eq!(
                refused(&format!("{by_port}7")),
                ["8: pool.p.rebalance: would move sessions whose clients come back with another \
                  port, which is another key; take it out, or give key = \"source\""]
            );
            assert_eq!(pool(&format!("{by_port}\"off\"")).rebalance, None);
        }
        let unknown = refused("policy = \"hash\"\nrebalance = 1");
        assert_eq!(unknown.len(), 1, "{unknown:?}");
    }

    #[test]
    fn a_pool_has_backends_or_says_where_to_find_them() {
        assert_eq!(
            with_pool("policy = \"round-robin\""),
            ["4: pool.p.backends: missing, and so is sources; add one of them"]
        );
        let found = valid_pool("sources = [{ srv = \"_a._tcp.b\" }]");
        assert_eq!((found.backends.len(), found.sources.len()), (0, 1));
        let both = pool("sources = [{ srv = \"_a._tcp.b\" }]");
        assert_eq!((both.backends.len(), both.sources.len()), (1, 1));
        assert_eq!(
            refused("[pool.p.discovery]\nmax_loss = 50"),
            ["6: pool.p.discovery: has no meaning for a pool without sources; \
              take it out, or add sources"]
        );
    }

    #[test]
    fn tables_of_a_pool_are_tables() {
        let table = |key| format!("give a table, written [pool.p.{key}]");
        assert_eq!(
            refused("health = \"tcp\"\nejection = true"),
            [
                format!("6: pool.p.health: found \"tcp\"; {}", table("health")),
                format!("7: pool.p.ejection: found true; {}", table("ejection")),
            ]
        );
    }
}
