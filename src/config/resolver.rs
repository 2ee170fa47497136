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

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::samples::{LISTENER, POOL, valid, with_top};

    fn resolver(lines: &str) -> Resolver {
        valid(&format!("[resolver]\n{lines}\n{LISTENER}{POOL}")).resolver
    }

    #[test]
    fn the_system_knows_the_nameservers() {
        assert_eq!(resolver(""), Resolver::default());
        let system = "nameservers = \"system\"\nsearch = \"system\"\nndots = \"system\"";
        assert_eq!(resolver(system), Resolver::default());
    }

    #[test]
    fn nameservers_and_domains_are_read() {
        let read = resolver(
            "nameservers = [\"10.0.0.53\", \"10.0.0.54:5353\", \"[::1]:54\", \"2001:db8::1\"]\n\
             search = [\"a.example\", \"cluster.local.\"]\nndots = 5\ntimeout = \"500ms\"\n\
             tries = 1\nconcurrency = 1\nedns_payload = 4096",
        );
        let nameservers =
            ["10.0.0.53:53", "10.0.0.54:5353", "[::1]:54", "[2001:db8::1]:53"].map(|address| {
                let address: SocketAddr = address.parse().unwrap();
                address
            });
        let expected = Resolver {
            nameservers: Some(nameservers.to_vec()),
            search: Some(vec!["a.example".to_owned(), "cluster.local.".to_owned()]),
            ndots: Some(5),
            timeout: Duration::from_millis(500),
            tries: 1,
            concurrency: 1,
            edns_payload: 4096,
        };
        assert_eq!(read, expected);
        assert_eq!(resolver("search = []").search, Some(Vec::new()));
    }

    #[test]
    fn what_is_no_nameserver_or_domain_is_refused() {
        let nameserver = "give an IP address with or without a port, such as \"10.0.0.53\"";
        let domain = "give a domain such as \"example.internal\"";
        let cases = [
            (
                "nameservers = [\"ns.example\"]",
                format!("nameservers[0]: found \"ns.example\"; {nameserver}"),
            ),
            (
                "nameservers = [\"10.0.0.53:0\"]",
                format!("nameservers[0]: found \"10.0.0.53:0\"; {nameserver}"),
            ),
            ("nameservers = [\"::\"]", format!("nameservers[0]: found \"::\"; {nameserver}")),
            (
                "nameservers = [\"10.0.0.53\", \"10.0.0.53:53\"]",
                "nameservers[1]: 10.0.0.53:53 is named twice; take it out here".to_owned(),
            ),
            (
                "nameservers = []",
                "nameservers: found an empty array; \
                 give an array of nameservers, such as [\"10.0.0.53\"], or \"system\""
                    .to_owned(),
            ),
            (
                "search = \"a.example\"",
                "search: found \"a.example\"; \
                 give an array of domains, such as [\"example.internal\"], or \"system\""
                    .to_owned(),
            ),
            (
                "search = [\".a\"]",
                format!("search[0]: \".a\" has nothing before or between its dots; {domain}"),
            ),
            (
                "ndots = 16",
                "ndots: found 16; give an integer from 0 to 15, or \"system\"".to_owned(),
            ),
            (
                "timeout = \"2m\"",
                "timeout: found \"2m\"; give a duration from 1ms to 1m".to_owned(),
            ),
            ("tries = 0", "tries: found 0; give an integer from 1 to 10".to_owned()),
            ("concurrency = 0", "concurrency: found 0; give an integer from 1 to 1024".to_owned()),
            (
                "edns_payload = 511",
                "edns_payload: found 511; give an integer from 512 to 4096".to_owned(),
            ),
            ("nameserver = []", "nameserver: unknown key; did you mean `nameservers`?".to_owned()),
        ];
        for (line, expected) in cases {
            let found = with_top(&format!("[resolver]\n{line}"));
            assert_eq!(found, [format!("2: resolver.{expected}")]);
        }
    }
}
