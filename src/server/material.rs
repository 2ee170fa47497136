//! From the configuration to what its files hold for TLS: certificates, authorities, ticket keys.
//! Does not watch the files.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::UnixTime;
use rustls::time_provider::DefaultTimeProvider;

use crate::balance::PoolId;
use crate::config::{self, BackendAlpn, BackendName, Config, TlsVersion, Trust};
use crate::control::ProbeTls;
use crate::tls::{
    Alpn, Authorities, CertificateFiles, ClientAuth, ClientOptions, ClientTls, Clock, Expiry,
    MaterialError, MaterialWarning, MinVersion, NameSource, Renewal, ServerOptions, ServerTls,
    TicketOptions, Tickets,
};

/// What the files hold that a configuration names.
#[derive(Debug, Default)]
pub struct Material {
    /// By the name of the section; there is one for each.
    pub servers: HashMap<String, Arc<ServerTls>>,
    /// By `PoolId`; there is one for each pool with TLS of its own.
    pub clients: Vec<Option<Arc<ClientTls>>>,
}

/// Everything that is wrong with the files of a configuration; never empty.
#[derive(Debug)]
pub struct MaterialErrors(Vec<String>);

/// All tables with TLS, as they are loaded.
#[derive(Debug)]
pub struct Stock {
    pub(super) tickets: Arc<Tickets>,
    pub(super) clock: Clock,
    pub(super) tables: Vec<Table>,
    pools: usize,
}

/// One table, with what its files hold.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Its path in the configuration: `tls.NAME` or `pool.NAME.tls`.
    pub(super) path: String,
    /// What the metrics call it: the NAME of `tls.NAME`, or `pool.NAME`.
    pub(super) label: String,
    side: Side,
}

#[derive(Clone, Debug)]
enum Side {
    Server { options: ServerOptions, tls: Arc<ServerTls> },
    Client { pool: PoolId, options: ClientOptions, tls: Arc<ClientTls> },
}

impl fmt::Display for MaterialErrors {
    /// A line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Stock {
    /// Loads everything by this host's clock, or says all that is wrong.
    pub fn load(config: &Config) -> Result<Stock, MaterialErrors> {
        Stock::load_by(config, Arc::new(DefaultTimeProvider))
    }

    pub(super) fn load_by(config: &Config, clock: Clock) -> Result<Stock, MaterialErrors> {
        let tickets = Arc::new(Tickets::new(Arc::clone(&clock)));
        let mut stock = Stock { tickets, clock, tables: Vec::new(), pools: config.pools.len() };
        let now = stock.now();
        let mut errors = Vec::new();
        for tls in &config.tls {
            let (path, options) = (format!("tls.{}", tls.name), server_options(tls));
            match ServerTls::load(&options, &stock.tickets, now) {
                Ok(tls) => {
                    let label = options.name.clone();
                    let side = Side::Server { options, tls: Arc::new(tls) };
                    stock.tables.push(Table { path, label, side });
                }
                Err(found) => errors.extend(told(&path, &found)),
            }
        }
        for (pool, settings) in (0..).map(PoolId).zip(&config.pools) {
            let Some(tls) = &settings.tls else { continue };
            let (label, options) = (format!("pool.{}", settings.name), client_options(config, tls));
            let path = format!("{label}.tls");
            match ClientTls::load(&options, &stock.clock, now) {
                Ok(tls) => {
                    let side = Side::Client { pool, options, tls: Arc::new(tls) };
                    stock.tables.push(Table { path, label, side });
                }
                Err(found) => errors.extend(told(&path, &found)),
            }
        }
        if errors.is_empty() { Ok(stock) } else { Err(MaterialErrors(errors)) }
    }

    /// The time on the clock. Without a clock nothing has lapsed.
    pub(super) fn now(&self) -> UnixTime {
        self.clock.current_time().unwrap_or(UnixTime::since_unix_epoch(Default::default()))
    }

    /// A line for each thing that lapses: where it is from, and until when it holds.
    pub fn summary(&self) -> Vec<String> {
        let lines = |table: &Table| -> Vec<String> {
            let line = |expiry: &Expiry| {
                let (key, file) = (&expiry.key, expiry.file.display());
                let what = expiry.subject();
                format!("{}.{key}: {file}: {what} is valid until {}", table.path, expiry.date())
            };
            table.expiries().iter().map(line).collect()
        };
        self.tables.iter().flat_map(lines).collect()
    }

    /// A sentence for each thing that deserves a look, with its key path.
    pub fn warnings(&self) -> Vec<String> {
        let told = |table: &Table| -> Vec<String> {
            table.warnings().iter().map(|warning| format!("{}.{warning}", table.path)).collect()
        };
        self.tables.iter().flat_map(told).collect()
    }

    /// As it is now.
    pub fn material(&self) -> Material {
        let mut material = Material { servers: HashMap::new(), clients: vec![None; self.pools] };
        for table in &self.tables {
            match &table.side {
                Side::Server { options, tls } => {
                    material.servers.insert(options.name.clone(), Arc::clone(tls));
                }
                Side::Client { pool, tls, .. } => {
                    material.clients[pool.0] = Some(Arc::clone(tls));
                }
            }
        }
        material
    }
}

impl Stock {
    /// What probes speak TLS with.
    pub fn probe_tls(&self) -> ProbeTls {
        let clients = self.material().clients.into_iter();
        clients.map(|client| client.map(|client| Arc::new(ArcSwap::new(client)))).collect()
    }
}

impl Table {
    /// The same table as its files are now, if they say something else; and what could not be
    /// renewed, a line each.
    pub(super) fn renewed(
        &self,
        tickets: &Tickets,
        clock: &Clock,
        now: UnixTime,
    ) -> (Option<Table>, Vec<String>) {
        let (side, errors) = match &self.side {
            Side::Server { options, tls } => {
                let Renewal { fresh, errors } = tls.renewed(options, tickets, now);
                let fresh = fresh.map(Arc::new);
                (fresh.map(|tls| Side::Server { options: options.clone(), tls }), errors)
            }
            Side::Client { pool, options, tls } => {
                let Renewal { fresh, errors } = tls.renewed(options, clock, now);
                let (pool, fresh) = (*pool, fresh.map(Arc::new));
                (fresh.map(|tls| Side::Client { pool, options: options.clone(), tls }), errors)
            }
        };
        let fresh = side.map(|side| Table { side, ..self.clone() });
        (fresh, told(&self.path, &errors))
    }

    /// The files that it is made of.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match &self.side {
            Side::Server { options, .. } => options.files(),
            Side::Client { options, .. } => options.files(),
        }
    }

    pub(super) fn warnings(&self) -> &[MaterialWarning] {
        match &self.side {
            Side::Server { tls, .. } => tls.warnings(),
            Side::Client { tls, .. } => tls.warnings(),
        }
    }

    pub(super) fn expiries(&self) -> &[Expiry] {
        match &self.side {
            Side::Server { tls, .. } => tls.expiries(),
            Side::Client { tls, .. } => tls.expiries(),
        }
    }
}

fn told(path: &str, errors: &[MaterialError]) -> Vec<String> {
    errors.iter().map(|error| format!("{path}.{error}")).collect()
}

fn server_options(tls: &config::Tls) -> ServerOptions {
    let files = |certificate: &config::Certificate| CertificateFiles {
        chain: certificate.chain.clone(),
        key: certificate.key.clone(),
        staple: certificate.staple.clone(),
    };
    let tickets = || TicketOptions { lifetime: tls.ticket_lifetime, keys: tls.ticket_keys.clone() };
    ServerOptions {
        name: tls.name.clone(),
        certificates: tls.certificates.iter().map(files).collect(),
        min_version: min_version(tls.min_version),
        cipher_suites: tls.cipher_suites.clone(),
        alpn: protocols(&tls.alpn),
        client_auth: match tls.client_auth {
            config::ClientAuth::Off => ClientAuth::Off,
            config::ClientAuth::Optional => ClientAuth::Optional,
            config::ClientAuth::Required => ClientAuth::Required,
        },
        client_ca: tls.client_ca.clone(),
        client_crls: tls.client_crls.clone(),
        tickets: tls.tickets.then(tickets),
        handshake_timeout: tls.handshake_timeout,
    }
}

fn client_options(config: &Config, tls: &config::PoolTls) -> ClientOptions {
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
            BackendAlpn::Offer(names) => Alpn::Offer(protocols(names)),
            BackendAlpn::Client => {
                Alpn::AsAgreed(config.tls.iter().flat_map(|tls| protocols(&tls.alpn)).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    use crate::balance::Snapshot;
    use crate::server::compose::{compose, recompose};
    use crate::view::{Outcome, Places, View};

    /// A clock that stands on 2027-01-01.
    #[derive(Debug)]
    struct Standing;

    impl rustls::time_provider::TimeProvider for Standing {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(1_798_761_600)))
        }
    }

    fn issue(folder: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed([format!("{name}.test")]).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).unwrap();
        let key = folder.join(format!("{name}.key"));
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        std::fs::set_permissions(key, mode).unwrap();
    }

    fn config(folder: &Path) -> Config {
        let text = r#"
            [tls.edge]
            certificates = [{ chain = "F/edge.pem", key = "F/edge.key" }]
            alpn = ["h2"]
            [tls.mutual]
            certificates = [{ chain = "F/mutual.pem", key = "F/mutual.key" }]
            client_auth = "required"
            client_ca = "F/edge.pem"
            ticket_lifetime = "1h"
            [listener.plain]
            listen = "127.0.0.1:0"
            pool = "near"
            [listener.ended]
            listen = "127.0.0.1:0"
            pool = "near"
            tls = "edge"
            routes = [{ server_names = ["m.test"], pool = "far", tls = "mutual" }]
            [listener.passed]
            listen = "127.0.0.1:0"
            routes = [{ server_names = ["p.test"], pool = "near" }]
            [pool.near]
            backends = ["127.0.0.1:1"]
            [pool.far]
            backends = ["127.0.0.1:1"]
            [pool.far.tls]
            ca = "F/edge.pem"
            certificate = "F/mutual.pem"
            key = "F/mutual.key"
            alpn = "client"
        "#;
        config::parse(&text.replace('F', &folder.display().to_string()), "test").unwrap()
    }

    fn site() -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        issue(folder.path(), "edge");
        issue(folder.path(), "mutual");
        let config = config(folder.path());
        (folder, config)
    }

    fn load(config: &Config) -> Stock {
        Stock::load_by(config, Arc::new(Standing)).unwrap()
    }

    #[test]
    fn each_table_is_loaded_with_its_own_settings() {
        let (_folder, config) = site();
        let stock = load(&config);
        assert_eq!(stock.warnings(), [""; 0]);
        let paths: Vec<_> =
            stock.tables.iter().map(|table| (&*table.path, &*table.label)).collect();
        let expected =
            [("tls.edge", "edge"), ("tls.mutual", "mutual"), ("pool.far.tls", "pool.far")];
        assert_eq!(paths, expected);
        let material = stock.material();
        let (edge, mutual) = (&material.servers["edge"], &material.servers["mutual"]);
        assert_eq!(edge.config().alpn_protocols, [b"h2"]);
        assert_eq!(edge.config().ticketer.lifetime(), 12 * 3_600);
        assert_eq!(mutual.config().ticketer.lifetime(), 3_600);
        // Pools are in the order of their names.
        assert!(material.clients[1].is_none());
        let far = material.clients[0].as_ref().unwrap();
        assert_eq!(far.config_for(Some(b"h2")).alpn_protocols, [b"h2"]);
        let probes = stock.probe_tls();
        assert!(probes[1].is_none() && Arc::ptr_eq(&probes[0].as_ref().unwrap().load(), far));
    }

    #[test]
    fn all_errors_are_told_with_their_key_path() {
        let (folder, config) = site();
        std::fs::remove_file(folder.path().join("edge.pem")).unwrap();
        std::fs::copy(folder.path().join("edge.key"), folder.path().join("mutual.key")).unwrap();
        let errors = Stock::load_by(&config, Arc::new(Standing)).unwrap_err().to_string();
        let errors = errors.replace(&format!("{}/", folder.path().display()), "");
        let missing = "edge.pem: there is no such file; create it, or correct the path";
        let mismatch = "mutual.key: the private key does not belong to the first certificate of \
                        mutual.pem; give the key that the certificate was issued for";
        let expected = [
            format!("tls.edge.certificates[0].chain: {missing}"),
            format!("tls.mutual.certificates[0].key: {mismatch}"),
            format!("tls.mutual.client_ca: {missing}"),
            format!("pool.far.tls.ca: {missing}"),
            format!("pool.far.tls.key: {mismatch}"),
        ];
        assert_eq!(errors.lines().collect::<Vec<_>>(), expected);
    }

    const REST: &str = "[listener.l]\nlisten = \"0.0.0.0:1\"\npool = \"p\"\n\
                        [pool.p]\nbackends = [\"10.0.0.1:1\"]\n";

    /// A valid file with these tables.
    fn with_tables(text: &str) -> Config {
        config::parse(&format!("{REST}{text}"), "x.toml")
            .unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn what_is_configured_for_clients_arrives() {
        let config = with_tables(
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
            let config = with_tables(&format!("[pool.p.tls]\n{text}"));
            client_options(&config, config.pools[0].tls.as_ref().unwrap())
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
        let agreed = ["h2", "b", "a", "h2"].map(|protocol| protocol.as_bytes().to_vec());
        assert_eq!(options(sections).alpn, Alpn::AsAgreed(agreed.to_vec()));
    }

    /// The listener that ends TLS, in the order of their names.
    const ENDED: usize = 0;

    /// How TLS is ended for the listener's own pool.
    fn ended(view: &View) -> Arc<ServerTls> {
        let preface = view.listeners[ENDED].preface.as_ref().unwrap();
        match preface.routes.find(None, &[]).outcome {
            Outcome::Relay { tls: Some(tls), .. } => Arc::clone(tls),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_renewal_replaces_what_is_new_and_keeps_the_rest() {
        let (folder, config) = site();
        let mut stock = load(&config);
        let process = Arc::new(Places::of_process(1, 0, Box::new(|| {})));
        let before = compose(&config, stock.material(), Snapshot::new(Vec::new()), &process);
        issue(folder.path(), "mutual");
        for index in 0..stock.tables.len() {
            let now = stock.now();
            let (fresh, errors) = stock.tables[index].renewed(&stock.tickets, &stock.clock, now);
            assert_eq!((fresh.is_some(), errors.len()), (index > 0, 0));
            stock.tables[index] = fresh.unwrap_or(stock.tables[index].clone());
        }
        let after = recompose(&config, stock.material(), &before);
        for (index, (old, new)) in before.listeners.iter().zip(&after.listeners).enumerate() {
            assert_eq!(Arc::ptr_eq(old, new), index != ENDED, "{}", old.name);
            assert!(Arc::ptr_eq(&old.places, &new.places) && Arc::ptr_eq(&old.name, &new.name));
        }
        assert!(Arc::ptr_eq(&ended(&before), &ended(&after)), "this table is as it was");
        let far = |view: &View| Arc::clone(view.pools_tls[0].as_ref().unwrap());
        assert!(!Arc::ptr_eq(&far(&before), &far(&after)));
        assert!(Arc::ptr_eq(&before.snapshot, &after.snapshot));
    }
}
