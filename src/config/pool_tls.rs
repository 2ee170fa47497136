//! `[pool.NAME.tls]`: TLS towards the backends. Loads no certificate.

use std::path::PathBuf;
use std::time::Duration;

use super::field::{Field, Read};
use super::reader::Section;
use super::tls::{self, TlsVersion};
use super::units::SECOND;
use super::{protocols, server_name};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolTls {
    pub ca: Trust,
    pub server_name: BackendName,
    /// Absolute paths of the chain and the key that are shown to a backend that asks, both PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    pub alpn: BackendAlpn,
    pub min_version: TlsVersion,
    /// Whether sessions are resumed.
    pub resumption: bool,
    pub handshake_timeout: Duration,
    /// Whoever answers is taken for the backend; then `ca` means nothing.
    pub insecure_skip_verify: bool,
}

/// Who may have signed a backend's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those that the host trusts.
    System,
    /// An absolute path, PEM.
    File(PathBuf),
}

/// The name that is asked for, and that the backend's certificate must be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendName {
    /// The backend's host name, or its IP address if it was given without one.
    Backend,
    /// The one that the client asked for.
    Client,
    /// One that TLS can ask for, in lower case.
    Fixed(String),
}

/// The protocols that are offered to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendAlpn {
    /// Most preferred first, distinct, of 1 to 255 bytes each; may be empty.
    Offer(Vec<String>),
    /// The one that was agreed with the client, if one was.
    Client,
}

pub(super) fn read(section: &Section<'_>) -> PoolTls {
    let skips = section.value_or("insecure_skip_verify", false, Field::boolean);
    if skips {
        let message = "has no meaning where nothing is verified; \
                       take it out, or give insecure_skip_verify = false";
        section.refuse_if_given("ca", message);
    }
    PoolTls {
        ca: section.value_or("ca", Trust::System, |field| {
            let file = field.unless("system", tls::path)?;
            Ok(file.map_or(Trust::System, Trust::File))
        }),
        server_name: section.value_or("server_name", BackendName::Backend, server_name),
        identity: identity(section),
        alpn: section.value_or("alpn", BackendAlpn::Offer(Vec::new()), alpn),
        min_version: tls::min_version(section).unwrap_or(TlsVersion::Tls12),
        resumption: section.value_or("resumption", true, Field::boolean),
        handshake_timeout: section.value_or(
            "handshake_timeout",
            5 * SECOND,
            tls::handshake_timeout,
        ),
        insecure_skip_verify: skips,
    }
}

fn server_name(field: &Field<'_>) -> Read<BackendName> {
    match field.value.as_str() {
        Some("backend") => Ok(BackendName::Backend),
        Some("client") => Ok(BackendName::Client),
        _ => {
            let name = server_name::exact(field);
            let name =
                name.map_err(|message| format!("{message}, or \"backend\" or \"client\""))?;
            Ok(BackendName::Fixed(name))
        }
    }
}

/// The chain and the key, of which none is of use alone.
fn identity(section: &Section<'_>) -> Option<(PathBuf, PathBuf)> {
    let chain = section.value_or("certificate", None, |field| tls::path(field).map(Some));
    let key = section.value_or("key", None, |field| tls::path(field).map(Some));
    for (given, missing) in [("certificate", "key"), ("key", "certificate")] {
        if section.gives(given) && !section.gives(missing) {
            let message = format!("missing, and {given} is of no use without it; add it");
            section.reader.refuse_absence(&section.place_of(missing), message);
        }
    }
    Some((chain?, key?))
}

fn alpn(field: &Field<'_>) -> Read<BackendAlpn> {
    if field.value.as_str() == Some("client") {
        return Ok(BackendAlpn::Client);
    }
    let protocols =
        protocols::read(field).map_err(|message| format!("{message}, or \"client\""))?;
    Ok(BackendAlpn::Offer(protocols.into_iter().map(|(protocol, _)| protocol).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::samples::{valid_pool, with_pool};
    use crate::config::units::HOUR;

    const POOL: &str = "backends = [\"10.0.0.1:1\"]\n[pool.p.tls]\n";

    fn tls(lines: &str) -> PoolTls {
        valid_pool(&format!("{POOL}{lines}")).tls.unwrap()
    }

    /// What is printed for a section with these lines, from line 7 on.
    fn refused(lines: &str) -> Vec<String> {
        with_pool(&format!("{POOL}{lines}"))
    }

    fn bare() -> PoolTls {
        PoolTls {
            ca: Trust::System,
            server_name: BackendName::Backend,
            identity: None,
            alpn: BackendAlpn::Offer(Vec::new()),
            min_version: TlsVersion::Tls12,
            resumption: true,
            handshake_timeout: 5 * SECOND,
            insecure_skip_verify: false,
        }
    }

    #[test]
    fn the_section_switches_tls_on() {
        assert_eq!(valid_pool("backends = [\"10.0.0.1:1\"]").tls, None);
        assert_eq!(tls(""), bare());
    }

    #[test]
    fn what_is_given_is_read() {
        let read = tls(
            "ca = \"/ca\"\nserver_name = \"Agg.example\"\ncertificate = \"/c\"\nkey = \"/k\"\n\
             alpn = [\"h2\", \"http/1.1\"]\nmin_version = \"1.3\"\nresumption = false\n\
             handshake_timeout = \"1h\"",
        );
        let expected = PoolTls {
            ca: Trust::File("/ca".into()),
            server_name: BackendName::Fixed("agg.example".to_owned()),
            identity: Some(("/c".into(), "/k".into())),
            alpn: BackendAlpn::Offer(vec!["h2".to_owned(), "http/1.1".to_owned()]),
            min_version: TlsVersion::Tls13,
            resumption: false,
            handshake_timeout: HOUR,
            insecure_skip_verify: false,
        };
        assert_eq!(read, expected);
        assert_eq!(tls("ca = \"system\"\nserver_name = \"backend\"\nalpn = []"), bare());
        assert_eq!(tls("alpn = \"client\""), PoolTls { alpn: BackendAlpn::Client, ..bare() });
        let unverified = PoolTls { insecure_skip_verify: true, ..bare() };
        assert_eq!(tls("insecure_skip_verify = true"), unverified);
    }

    #[test]
    fn values_have_their_limits() {
        let name = "give a host name such as \"agg.example\", or \"backend\" or \"client\"";
        let cases = [
            ("ca = \"ca.pem\"", "ca: found \"ca.pem\"; give an absolute path, or \"system\""),
            ("server_name = 1", &format!("server_name: found 1; {name}")),
            (
                "server_name = \"10.0.0.1\"",
                &format!(
                    "server_name: \"10.0.0.1\" is an address, which TLS sends no name for; {name}"
                ),
            ),
            (
                "alpn = \"h2\"",
                "alpn: found \"h2\"; give an array of at most 16 protocols such as \"h2\", \
                 or \"client\"",
            ),
            (
                "handshake_timeout = \"2h\"",
                "handshake_timeout: found \"2h\"; give a duration from 100ms to 1h",
            ),
            ("kez = \"/k\"", "kez: unknown key; did you mean `key`?"),
        ];
        for (line, expected) in cases {
            assert_eq!(refused(line), [format!("7: pool.p.tls.{expected}")]);
        }
    }

    #[test]
    fn a_certificate_and_its_key_come_together() {
        assert_eq!(
            refused("certificate = \"/c\""),
            ["6: pool.p.tls.key: missing, and certificate is of no use without it; add it"]
        );
        assert_eq!(
            refused("key = \"/k\""),
            ["6: pool.p.tls.certificate: missing, and key is of no use without it; add it"]
        );
    }

    #[test]
    fn who_is_not_verified_needs_no_authority() {
        assert_eq!(
            refused("ca = \"/ca\"\ninsecure_skip_verify = true"),
            ["7: pool.p.tls.ca: has no meaning where nothing is verified; \
              take it out, or give insecure_skip_verify = false"]
        );
    }
}
