//! `[resolver]`: whom to ask for names. Asks nobody.

use std::net::SocketAddr;
use std::time::Duration;

use super::field::{Field, Read};
use super::reader::Section;
use super::units::{MILLISECOND, MINUTE, SECOND};
use super::{address, hostname};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// In order of preference; none: those of `/etc/resolv.conf`.
    pub nameservers: Option<Vec<SocketAddr>>,
    /// Appended to names without a trailing dot, in turn; none: those of `/etc/resolv.conf`.
    pub search: Option<Vec<String>>,
    /// Names with fewer dots are searched for before they are taken as they are; none: as
    /// `/etc/resolv.conf` says, or 1.
    pub ndots: Option<usize>,
    /// Of one question to one nameserver.
    pub timeout: Duration,
    /// Times that each nameserver is asked, at least 1.
    pub tries: usize,
    /// Questions in flight at the same time, at least 1.
    pub concurrency: usize,
    /// The largest UDP answer that is asked for with EDNS, 512 to 4096 bytes.
    pub edns_payload: u16,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver {
            nameservers: None,
            search: None,
            ndots: None,
            timeout: 2 * SECOND,
            tries: 2,
            concurrency: 64,
            edns_payload: 1232,
        }
    }
}

pub(super) fn read(section: &Section<'_>) -> Resolver {
    let default = Resolver::default();
    Resolver {
        nameservers: section
            .value_or("nameservers", None, |field| field.unless("system", nameservers)),
        search: section.value_or("search", None, |field| field.unless("system", search)),
        ndots: section.value_or("ndots", None, |field| {
            field.unless("system", |field| field.integer(0..=NDOTS_MAX))
        }),
        timeout: section
            .value_or("timeout", default.timeout, |field| field.duration(MILLISECOND..=MINUTE)),
        tries: section.value_or("tries", default.tries, |field| field.integer(1..=10)),
        concurrency: section
            .value_or("concurrency", default.concurrency, |field| field.integer(1..=1024)),
        edns_payload: section
            .value_or("edns_payload", default.edns_payload, |field| field.integer(512..=4096)),
    }
}

fn nameservers(field: &Field<'_>) -> Read<Vec<SocketAddr>> {
    let items = field.some_items("an array of nameservers, such as [\"10.0.0.53\"]")?;
    let mut nameservers = Vec::new();
    for item in &items {
        let Some(nameserver) = item.accept(address::nameserver) else { continue };
        if nameservers.contains(&nameserver) {
            let message = format!("{nameserver} is named twice; take it out here");
            item.reader.refuse(&item.place, message);
        }
        nameservers.push(nameserver);
    }
    Ok(nameservers)
}

fn search(field: &Field<'_>) -> Read<Vec<String>> {
    let items = field.items("an array of domains, such as [\"example.internal\"]")?;
    Ok(items.iter().filter_map(|item| item.accept(domain)).collect())
}

fn domain(field: &Field<'_>) -> Read<String> {
    let remedy = "a domain such as \"example.internal\"";
    let name = field.text(remedy)?;
    hostname::check(name).map_err(|error| field.flaw(error.as_str(), remedy))?;
    Ok(name.to_owned())
}

/// What the C library's resolver takes.
const NDOTS_MAX: usize = 15;
