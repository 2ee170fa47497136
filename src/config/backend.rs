//! The backends that a file names itself, and what holds for any backend. Connects to none.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::CONNECTIONS;
use super::address;
use super::field::{Field, Read, quoted};
use super::names;
use super::reader::{Place, Reader, Section};

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
    /// It gets no new connections until the operator lets it in.
    pub drain: bool,
}

/// What a backend and a source of backends are given alike.
pub(super) struct Share {
    pub weight: u16,
    pub tier: u16,
    pub max_connections: Option<u32>,
}

/// Each backend with its place. `limit` is the pool's.
pub(super) fn backends(field: &Field<'_>, limit: Option<u32>) -> Read<Vec<(Backend, Place)>> {
    let items = field.some_items("at least one backend, such as \"10.0.0.1:6000\"")?;
    let read = |item: Field<'_>| Some((backend(&item, limit)?, item.place));
    let backends: Vec<_> = items.into_iter().filter_map(read).collect();
    refuse_repeated_names(field.reader, &backends);
    Ok(backends)
}

/// Either the bare address or a table around it.
fn backend(item: &Field<'_>, limit: Option<u32>) -> Option<Backend> {
    if !item.value.is_table() {
        let address = item.accept(address::backend)?;
        let name = address.to_string();
        names::check(&name, item.reader, &item.place);
        let (weight, max_connections, tier, drain) = (1, limit, 0, false);
        return Some(Backend { name, address, weight, max_connections, tier, drain });
    }
    item.section("{ address = ... }")?.read(|section| {
        let address = section.required("address", |field| address::backend(field).map(Some));
        let name =
            section.value_or("name", None, |field| Ok(Some(field.text("a name")?.to_owned())));
        let Share { weight, tier, max_connections } = share(section, limit);
        let drain = section.value_or("drain", false, Field::boolean);
        let name = name.or(address.map(|address| address.to_string()))?;
        names::check(&name, section.reader, &section.place_of("name"));
        Some(Backend { name, address: address?, weight, max_connections, tier, drain })
    })
}

/// `limit` is the pool's.
pub(super) fn share(section: &Section<'_>, limit: Option<u32>) -> Share {
    let backup = section.value_or("backup", false, Field::boolean);
    let tier = section.value_or("tier", u16::from(backup), |field| field.integer(0..=TIER_MAX));
    if section.gives("backup") && section.gives("tier") {
        let message = "stands beside backup, which is tier 1; give one of the two".to_owned();
        section.reader.refuse(&section.place_of("tier"), message);
    }
    Share {
        weight: section.value_or("weight", 1, |field| field.integer(0..=u16::MAX)),
        tier,
        max_connections: section.value_or("max_connections", limit, connections),
    }
}

pub(super) fn connections(field: &Field<'_>) -> Read<Option<u32>> {
    field.unless("off", |field| field.integer(CONNECTIONS))
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

/// Refuses backends of a family that there is no address to connect from to.
pub(super) fn refuse_without_source(
    reader: &Reader,
    backends: &[(Backend, Place)],
    sources: &[IpAddr],
) {
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

/// More tiers than anybody fails over through.
const TIER_MAX: u16 = 255;

#[cfg(test)]
mod tests {
    use crate::config::samples::{valid_pool, with_pool};

    #[test]
    fn a_backup_is_of_a_later_tier() {
        let pool = valid_pool(
            "backends = [\"10.0.0.1:1\",\n{ address = \"10.0.0.2:1\", backup = false },\n\
             { address = \"10.0.0.3:1\", backup = true },\n\
             { address = \"10.0.0.4:1\", tier = 255 }]",
        );
        let tiers: Vec<u16> = pool.backends.iter().map(|backend| backend.tier).collect();
        assert_eq!(tiers, [0, 0, 1, 255]);
    }

    #[test]
    fn a_tier_is_said_once() {
        assert_eq!(
            with_pool(
                "backends = [{ address = \"10.0.0.1:1\", backup = false, tier = 0 },\n\
                 { address = \"10.0.0.2:1\", tier = 256 },\n\
                 { address = \"10.0.0.3:1\", backup = 1 }]"
            ),
            [
                "5: pool.p.backends[0].tier: stands beside backup, which is tier 1; \
                 give one of the two",
                "6: pool.p.backends[1].tier: found 256; give an integer from 0 to 255",
                "7: pool.p.backends[2].backup: found 1; give true or false",
            ]
        );
    }
}
