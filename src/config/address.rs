//! Addresses of the configuration: their form, and which of them clash. Resolves and binds nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::field::{Field, Read};
use super::reader::{Place, Reader};

/// An address to accept connections on. Port 0 leaves the choice to the kernel.
pub(super) fn listen(field: &Field<'_>) -> Read<SocketAddr> {
    let address: Option<SocketAddr> = field.text(LISTEN)?.parse().ok();
    address.map(unmapped).ok_or_else(|| field.refusal(LISTEN))
}

/// An address to connect to.
pub(super) fn backend(field: &Field<'_>) -> Read<SocketAddr> {
    let remedy = "an IP address and port";
    let text = field.text(remedy)?;
    let address: Option<SocketAddr> = text.parse().ok();
    match address.map(unmapped) {
        Some(address) if address.port() == 0 => Err(field.flaw("has the port 0", remedy)),
        Some(address) if address.ip().is_unspecified() => {
            Err(field.flaw("is the address of no host", remedy))
        }
        Some(address) => Ok(address),
        None if text.parse::<IpAddr>().is_ok() => Err(field.flaw("has no port", remedy)),
        None if holds_host_name(text) => {
            Err(field.flaw("is a name, which stands under sources", remedy))
        }
        None => Err(field.refusal(remedy)),
    }
}

/// An address to connect from.
fn source(field: &Field<'_>) -> Read<IpAddr> {
    let remedy = "an IP address of this host without a port";
    let address: Option<IpAddr> = field.text(remedy)?.parse().ok();
    let address = address.map(|address| address.to_canonical());
    address.filter(|address| !address.is_unspecified()).ok_or_else(|| field.refusal(remedy))
}

/// Addresses to connect from. None of them if one is wrong, since nothing can be said of the
/// families then.
pub(super) fn sources(field: &Field<'_>) -> Read<Vec<IpAddr>> {
    let items = field.items("an array of IP addresses")?;
    let addresses: Vec<_> = items.iter().map(|item| item.accept(source)).collect();
    Ok(addresses.into_iter().collect::<Option<_>>().unwrap_or_default())
}

/// A nameserver, by default at the port of DNS.
pub(super) fn nameserver(field: &Field<'_>) -> Read<SocketAddr> {
    let remedy = "an IP address with or without a port, such as \"10.0.0.53\"";
    let text = field.text(remedy)?;
    let bare = text.parse().map(|address: IpAddr| SocketAddr::new(address, DNS_PORT));
    let address = bare.ok().or_else(|| text.parse().ok()).map(unmapped);
    let usable = |address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified();
    address.filter(usable).ok_or_else(|| field.refusal(remedy))
}

/// IPv4 written as IPv6 becomes IPv4: an IPv6 listener takes no IPv4 connections, and equal
/// addresses must compare equal.
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(ip.into(), v6.port()),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

fn holds_host_name(text: &str) -> bool {
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    host.contains(|c: char| c.is_alphabetic()) && !host.contains([':', '['])
}

/// Every address of a configuration with its place, to find those that clash.
#[derive(Default)]
pub(super) struct Addresses {
    listening: Vec<(SocketAddr, Place)>,
    backends: Vec<(SocketAddr, Place)>,
}

impl Addresses {
    pub fn add_listening(&mut self, address: SocketAddr, place: &Place) {
        // Each listener with port 0 is given a port of its own.
        if address.port() != 0 {
            self.listening.push((address, place.clone()));
        }
    }

    pub fn add_backend(&mut self, address: SocketAddr, place: &Place) {
        self.backends.push((address, place.clone()));
    }

    /// Refuses the second of two equal addresses to listen on, and backends that lead back here.
    pub fn check(&self, reader: &Reader) {
        let mut listening: BTreeMap<SocketAddr, &Place> = BTreeMap::new();
        for (address, place) in &self.listening {
            if let Some(first) = listening.get(address) {
                let message = format!("{address} is taken by {}; give another address", first.path);
                reader.refuse(place, message);
            } else {
                listening.insert(*address, place);
            }
        }
        for (address, place) in &self.backends {
            let reached = std::iter::once(*address).chain(wildcard(*address));
            if let Some(own) = reached.filter_map(|address| listening.get(&address)).next() {
                let message =
                    format!("{address} leads back to {}; give the backend's own address", own.path);
                reader.refuse(place, message);
            }
        }
    }
}

/// The address that, listened on, takes the connections to this one. Known without asking the
/// kernel for this host's addresses only if the host is certainly this one.
fn wildcard(address: SocketAddr) -> Option<SocketAddr> {
    let any: IpAddr = match address.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    address.ip().is_loopback().then(|| SocketAddr::new(any, address.port()))
}

/// What to give where an address to listen on is wrong.
pub(super) const LISTEN: &str = "an IP address and port to listen on, such as \"0.0.0.0:6000\"";

const DNS_PORT: u16 = 53;
