//! Whom to ask and for which names: what is configured, completed from resolv.conf. Asks nobody.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;

use resolv_conf::ScopedIp;

use super::ResolverError;
use super::search::{Search, absolute};
use crate::config;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// In order of preference, at least one.
    pub nameservers: Vec<SocketAddr>,
    pub search: Search,
    /// Ask over TCP at once (`options use-vc`).
    pub tcp_only: bool,
    /// Ask for IPv4 addresses alone (`options no-aaaa`).
    pub ipv4_only: bool,
}

impl Settings {
    /// The file at `resolv_conf` is read for what is not configured. It may be missing as long as
    /// the nameservers are configured. Its options `use-vc` and `no-aaaa` are about its
    /// nameservers and go with them; `timeout` and `attempts` are settings of our own.
    pub fn read(config: &config::Resolver, resolv_conf: &Path) -> Result<Settings, ResolverError> {
        let complete =
            config.nameservers.is_some() && config.search.is_some() && config.ndots.is_some();
        let file = if complete { resolv_conf::Config::new() } else { file(config, resolv_conf)? };
        let nameservers = match &config.nameservers {
            Some(nameservers) => nameservers.clone(),
            None => file.nameservers.iter().filter_map(nameserver).collect(),
        };
        if nameservers.is_empty() {
            return Err(ResolverError::NoNameserver { path: resolv_conf.to_owned() });
        }
        let domains = match &config.search {
            Some(domains) => configured_domains(domains)?,
            None => domains_of(&file),
        };
        let ndots = config.ndots.unwrap_or(file.ndots.min(GREATEST_NDOTS) as usize);
        let of_file = config.nameservers.is_none();
        Ok(Settings {
            nameservers,
            search: Search { domains, ndots },
            tcp_only: of_file && file.use_vc,
            ipv4_only: of_file && file.no_aaaa,
        })
    }
}

/// A line that makes no sense is reported and left out, as the C library leaves it out.
fn file(config: &config::Resolver, path: &Path) -> Result<resolv_conf::Config, ResolverError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && config.nameservers.is_some() => {
            return Ok(resolv_conf::Config::new());
        }
        Err(error) => return Err(ResolverError::Unreadable { path: path.to_owned(), error }),
    };
    let (file, errors) = resolv_conf::Config::parse_with_errors(&text);
    for error in errors {
        tracing::warn!("{}: {error}; the line is left out", path.display());
    }
    Ok(file)
}

/// None for a link-local address on an interface that is not there.
fn nameserver(address: &ScopedIp) -> Option<SocketAddr> {
    match address {
        ScopedIp::V6(address, Some(interface)) => {
            let Some(scope) = interface_index(interface) else {
                tracing::warn!(
                    "nameserver {address}%{interface}: there is no such interface; it is left out"
                );
                return None;
            };
            Some(SocketAddrV6::new(*address, PORT, 0, scope).into())
        }
        _ => Some((IpAddr::from(address), PORT).into()),
    }
}

/// `interface` is a name or an index already; resolv-conf admits letters and digits alone.
fn interface_index(interface: &str) -> Option<u32> {
    if let Ok(index) = interface.parse() {
        return Some(index);
    }
    let index = fs::read_to_string(Path::new("/sys/class/net").join(interface).join("ifindex"));
    index.ok()?.trim().parse().ok()
}

fn configured_domains(domains: &[String]) -> Result<Vec<hickory_proto::rr::Name>, ResolverError> {
    let mut names = Vec::with_capacity(domains.len());
    for domain in domains {
        let Some(name) = absolute(domain) else {
            return Err(ResolverError::SearchDomain { domain: domain.clone() });
        };
        names.push(name);
    }
    names.retain(|name| !name.is_root());
    Ok(names)
}

/// Of `search` and `domain` the last one counts. `search .` says that there is none.
fn domains_of(file: &resolv_conf::Config) -> Vec<hickory_proto::rr::Name> {
    let domains = file.get_last_search_or_domain().filter_map(|domain| {
        let name = absolute(domain);
        if name.is_none() {
            tracing::warn!("{domain:?} is no domain to search; it is left out");
        }
        name
    });
    domains.filter(|name| !name.is_root()).collect()
}

const PORT: u16 = 53;

/// The C library takes no more.
const GREATEST_NDOTS: u32 = 15;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[track_caller]
    fn read(config: &config::Resolver, text: &str) -> Result<Settings, ResolverError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Settings::read(config, file.path())
    }

    fn names(settings: &Settings) -> Vec<String> {
        settings.search.domains.iter().map(|domain| domain.to_ascii()).collect()
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn everything_comes_from_the_file_when_nothing_is_configured() {
        let text = "# Made by hand.\nnameserver 10.0.0.1\nnameserver fd00::1 ; the other\n\
            search a.test b.test.\noptions ndots:5 use-vc no-aaaa\n";
        let settings = read(&config::Resolver::default(), text).unwrap();
        assert_eq!(settings.nameservers, [address("10.0.0.1:53"), address("[fd00::1]:53")]);
        assert_eq!(names(&settings), ["a.test.", "b.test."]);
        assert_eq!(settings.search.ndots, 5);
        assert!(settings.tcp_only && settings.ipv4_only);
    }

    #[test]
    fn what_is_configured_goes_before_the_file() {
        let config = config::Resolver {
            nameservers: Some(vec![address("127.0.0.1:5353")]),
            search: Some(vec!["mine.test".to_owned()]),
            ..config::Resolver::default()
        };
        let text = "nameserver 10.0.0.1\nsearch a.test\noptions ndots:3 use-vc no-aaaa\n";
        let settings = read(&config, text).unwrap();
        assert_eq!(settings.nameservers, [address("127.0.0.1:5353")]);
        assert_eq!(names(&settings), ["mine.test."]);
        assert_eq!(settings.search.ndots, 3);
        assert!(!settings.tcp_only && !settings.ipv4_only, "options of other nameservers");
    }

    #[test]
    fn a_bare_file_gives_the_defaults() {
        let settings = read(&config::Resolver::default(), "nameserver 10.0.0.1\n").unwrap();
        assert_eq!((settings.search.ndots, names(&settings).len()), (1, 0));
        assert!(!settings.tcp_only && !settings.ipv4_only);
    }

    #[test]
    fn the_last_of_search_and_domain_counts_and_the_root_is_none() {
        for (text, domains) in [
            ("search a.test\ndomain b.test\n", &["b.test."][..]),
            ("domain b.test\nsearch a.test\n", &["a.test."]),
            ("search .\n", &[]),
            ("search a..test c.test\n", &["c.test."]),
        ] {
            let text = format!("nameserver 10.0.0.1\n{text}");
            let settings = read(&config::Resolver::default(), &text).unwrap();
            assert_eq!(names(&settings), domains, "{text}");
        }
    }

    #[test]
    fn a_scope_is_an_interface_or_its_index() {
        let text = "nameserver fe80::1%lo\nnameserver fe80::2%7\nnameserver fe80::3%none\n";
        let settings = read(&config::Resolver::default(), text).unwrap();
        let scope = |address: &SocketAddr| match address {
            SocketAddr::V6(address) => address.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        assert_eq!(settings.nameservers.iter().map(scope).collect::<Vec<_>>(), [1, 7]);
    }

    #[test]
    fn a_file_without_a_nameserver_is_an_error_that_names_it() {
        for text in ["", "nameserver\n", "nameserver 300.1.1.1\n", "\u{0}\n"] {
            let error = read(&config::Resolver::default(), text).unwrap_err();
            assert_eq!(error.as_str(), "no-nameserver");
            assert!(error.to_string().contains("names no nameserver"), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_an_error_only_when_it_is_needed() {
        let path = Path::new("/nonexistent/resolv.conf");
        let error = Settings::read(&config::Resolver::default(), path).unwrap_err();
        assert_eq!((error.as_str(), error.key()), ("unreadable", "resolver.nameservers"));
        assert!(error.to_string().contains("/nonexistent/resolv.conf"), "{error}");
        let nameservers = Some(vec![address("127.0.0.1:53")]);
        let config = config::Resolver { nameservers, ..config::Resolver::default() };
        let settings = Settings::read(&config, path).unwrap();
        assert_eq!((settings.search.ndots, names(&settings).len()), (1, 0));
    }

    #[test]
    fn a_configured_domain_that_is_none_is_an_error() {
        let search = Some(vec!["a..test".to_owned()]);
        let config = config::Resolver { search, ..config::Resolver::default() };
        let error = read(&config, "nameserver 10.0.0.1\n").unwrap_err();
        assert_eq!((error.as_str(), error.key()), ("search-domain", "resolver.search"));
    }
}
