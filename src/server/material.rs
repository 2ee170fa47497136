//! What the files hold that a configuration names for TLS: loaded as a whole, or refused with all
//! that is wrong.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::UnixTime;

use crate::config::{self, BackendAlpn, BackendName, Config, TlsVersion, Trust};
use crate::tls::{
    Alpn, Authorities, CertificateFiles, ClientAuth, ClientOptions, ClientTls, MaterialError,
    MinVersion, NameSource, ServerOptions, ServerTls, TicketOptions, Tickets,
};

/// How TLS is spoken with clients and with backends.
#[derive(Debug, Default)]
pub struct Material {
    /// By the name of the section; there is one for each.
    pub(super) servers: HashMap<String, Arc<ServerTls>>,
    /// By `PoolId`; there is one for each pool with TLS of its own.
    pub(super) clients: Vec<Option<Arc<ClientTls>>>,
    warnings: Vec<String>,
}

/// Everything that is wrong with the files, a line each that begins with the key.
#[derive(Debug)]
pub struct MaterialErrors(Vec<String>);

impl Material {
    /// Loads all files. `now` is the time at which certificates must be valid.
    pub fn load(
        config: &Config,
        tickets: &Tickets,
        now: UnixTime,
    ) -> Result<Material, MaterialErrors> {
        let mut material = Material::default();
        let mut errors = Vec::new();
        for section in &config.tls {
            let path = format!("tls.{}", section.name);
            let loaded = ServerTls::load(&server_options(section), tickets, now);
            if let Some(server) = accept(&path, loaded, &mut errors) {
                material.warn(&path, server.warnings());
                material.servers.insert(section.name.clone(), Arc::new(server));
            }
        }
        for pool in &config.pools {
            let path = format!("pool.{}.tls", pool.name);
            let client = pool.tls.as_ref().and_then(|tls| {
                let options = client_options(tls, &config.tls);
                accept(&path, ClientTls::load(&options, tickets.clock(), now), &mut errors)
            });
            material.warn(&path, client.as_ref().map_or(&[], ClientTls::warnings));
            material.clients.push(client.map(Arc::new));
        }
        if errors.is_empty() { Ok(material) } else { Err(MaterialErrors(errors)) }
    }

    /// What does not keep it from being used and is to be looked at, each with its key.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().map(String::as_str)
    }

    fn warn(&mut self, path: &str, warnings: &[impl fmt::Display]) {
        self.warnings.extend(warnings.iter().map(|warning| format!("{path}.{warning}")));
    }
}

/// What was loaded, or nothing once its errors are noted.
fn accept<T>(
    path: &str,
    loaded: Result<T, Vec<MaterialError>>,
    errors: &mut Vec<String>,
) -> Option<T> {
    let note = |found: Vec<MaterialError>| {
        errors.extend(found.iter().map(|error| format!("{path}.{error}")));
    };
    loaded.map_err(note).ok()
}

fn server_options(section: &config::Tls) -> ServerOptions {
    let files = |certificate: &config::Certificate| CertificateFiles {
        chain: certificate.chain.clone(),
        key: certificate.key.clone(),
        staple: certificate.staple.clone(),
    };
    ServerOptions {
        name: section.name.clone(),
        certificates: section.certificates.iter().map(files).collect(),
        min_version: min_version(section.min_version),
        cipher_suites: section.cipher_suites.clone(),
        alpn: protocols(&section.alpn),
        client_auth: match section.client_auth {
            config::ClientAuth::Off => ClientAuth::Off,
            config::ClientAuth::Optional => ClientAuth::Optional,
            config::ClientAuth::Required => ClientAuth::Required,
        },
        client_ca: section.client_ca.clone(),
        client_crls: section.client_crls.clone(),
        tickets: section.tickets.then(|| TicketOptions {
            lifetime: section.ticket_lifetime,
            keys: section.ticket_keys.clone(),
        }),
        handshake_timeout: section.handshake_timeout,
    }
}

/// What is agreed with a client is one of the protocols of `sections`.
fn client_options(tls: &config::PoolTls, sections: &[config::Tls]) -> ClientOptions {
    let (certificate, key) = tls.identity.clone().unzip();
    ClientOptions {
        ca: match &tls.ca {
            Trust::System => Authorities::System,
            Trust::File(path) => Authorities::File(path.clone()),
        },
        server_name: match &tls.server_name {
            BackendName::Backend => NameSource::Backend,
            BackendName::Client => NameSource::Client,
            BackendName::Fixed(name) => NameSource::Fixed(name.clone()),
        },
        certificate,
        key,
        alpn: match &tls.alpn {
            BackendAlpn::Offer(offered) => Alpn::Offer(protocols(offered)),
            BackendAlpn::Client => {
                let mut agreed: Vec<_> =
                    sections.iter().flat_map(|section| protocols(&section.alpn)).collect();
                agreed.sort();
                agreed.dedup();
                Alpn::AsAgreed(agreed)
            }
        },
        min_version: min_version(tls.min_version),
        resumption: tls.resumption,
        handshake_timeout: tls.handshake_timeout,
        insecure_skip_verify: tls.insecure_skip_verify,
    }
}

fn min_version(version: TlsVersion) -> MinVersion {
    match version {
        TlsVersion::Tls12 => MinVersion::Tls12,
        TlsVersion::Tls13 => MinVersion::Tls13,
    }
}

fn protocols(names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

impl fmt::Display for MaterialErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for MaterialErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use crate::config::parse;

    const REST: &str = "[listener.l]\nlisten = \"0.0.0.0:1\"\npool = \"p\"\n\
                        [pool.p]\nbackends = [\"10.0.0.1:1\"]\n";

    fn config(text: &str) -> Config {
        parse(&format!("{REST}{text}"), "x.toml").unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn what_is_configured_for_clients_arrives() {
        let config = config(
            "[tls.t]\n\
             certificates = [{ chain = \"/c\", key = \"/k\", staple = \"/s\" }]\n\
             min_version = \"1.3\"\ncipher_suites = [\"TLS_AES_128_GCM_SHA256\"]\n\
             alpn = [\"h2\", \"é\"]\nclient_auth = \"optional\"\nclient_ca = \"/ca\"\n\
             client_crls = [\"/crl\"]\nticket_lifetime = \"1h\"\nticket_keys = \"/keys\"\n\
             handshake_timeout = \"3s\"\n\
             [tls.u]\ncertificates = [{ chain = \"/c\", key = \"/k\" }]\ntickets = false\n",
        );
        let (chain, key) = ("/c".into(), "/k".into());
        let expected = ServerOptions {
            name: "t".to_owned(),
            certificates: vec![CertificateFiles { chain, key, staple: Some("/s".into()) }],
            min_version: MinVersion::Tls13,
            cipher_suites: vec!["TLS_AES_128_GCM_SHA256".to_owned()],
            alpn: vec![b"h2".to_vec(), "é".as_bytes().to_vec()],
            client_auth: ClientAuth::Optional,
            client_ca: Some("/ca".into()),
            client_crls: vec!["/crl".into()],
            tickets: Some(TicketOptions {
                lifetime: Duration::from_secs(3600),
                keys: Some("/keys".into()),
            }),
            handshake_timeout: Duration::from_secs(3),
        };
        assert_eq!(server_options(&config.tls[0]), expected);
        let bare = server_options(&config.tls[1]);
        assert_eq!((bare.min_version, bare.client_auth), (MinVersion::Tls12, ClientAuth::Off));
        assert_eq!((bare.tickets, bare.client_ca), (None, None));
    }

    #[test]
    fn what_is_configured_for_backends_arrives() {
        let options = |text: &str| {
            let config = config(&format!("[pool.p.tls]\n{text}"));
            client_options(config.pools[0].tls.as_ref().unwrap(), &config.tls)
        };
        let expected = ClientOptions {
            ca: Authorities::File("/ca".into()),
            server_name: NameSource::Fixed("a.b".to_owned()),
            certificate: Some("/c".into()),
            key: Some("/k".into()),
            alpn: Alpn::Offer(vec![b"h2".to_vec()]),
            min_version: MinVersion::Tls13,
            resumption: false,
            handshake_timeout: Duration::from_secs(3),
            insecure_skip_verify: false,
        };
        let given = "ca = \"/ca\"\nserver_name = \"a.b\"\ncertificate = \"/c\"\nkey = \"/k\"\n\
                     alpn = [\"h2\"]\nmin_version = \"1.3\"\nresumption = false\n\
                     handshake_timeout = \"3s\"";
        assert_eq!(options(given), expected);
        let bare = options("insecure_skip_verify = true\nalpn = \"client\"");
        assert!(bare.insecure_skip_verify && bare.resumption);
        assert_eq!((bare.ca, bare.server_name), (Authorities::System, NameSource::Backend));
        assert_eq!((bare.certificate, bare.key), (None, None));
        assert_eq!(bare.alpn, Alpn::AsAgreed(Vec::new()));
        let sections = "alpn = \"client\"\n\
             [tls.a]\ncertificates = [{ chain = \"/c\", key = \"/k\" }]\nalpn = [\"h2\", \"b\"]\n\
             [tls.b]\ncertificates = [{ chain = \"/c\", key = \"/k\" }]\nalpn = [\"a\", \"h2\"]\n";
        let agreed = ["a", "b", "h2"].map(|protocol| protocol.as_bytes().to_vec());
        assert_eq!(options(sections).alpn, Alpn::AsAgreed(agreed.to_vec()));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let config = config(
            "tls = { ca = \"/nonexistent/ca\" }\n\
             [tls.t]\ncertificates = [{ chain = \"/nonexistent/c\", key = \"/nonexistent/k\" }]\n",
        );
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let errors = Material::load(&config, &Tickets::default(), now).unwrap_err().to_string();
        let lines: Vec<_> =
            errors.lines().map(|line| line.split(": ").collect::<Vec<_>>()).collect();
        let places: Vec<_> = lines.iter().map(|parts| (parts[0], parts[1])).collect();
        assert_eq!(
            places,
            [
                ("tls.t.certificates[0].chain", "/nonexistent/c"),
                ("tls.t.certificates[0].key", "/nonexistent/k"),
                ("pool.p.tls.ca", "/nonexistent/ca"),
            ]
        );
    }
}
