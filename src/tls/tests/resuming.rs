//! Who is resumed, and who must never be: a ticket is good for the policy it was made under.

use std::sync::Arc;

use rcgen::date_time_ymd;
use rustls::HandshakeKind::{Full, Resumed};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls12Resumption, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, SupportedProtocolVersion};

use super::super::*;
use super::workshop::*;

const HOUR: u64 = 3_600;

/// A process with its files. Its `[tls.edge]` asks for certificates if it is told to.
struct Host {
    folder: Folder,
    clock: Arc<Hand>,
    tickets: Tickets,
    options: ServerOptions,
}

/// The authorities and the agent of a test, which may meet several hosts.
struct World {
    servers: Authority,
    agents: Authority,
    agent: Issued,
    clock: Arc<Hand>,
}

impl World {
    fn new() -> World {
        let (servers, agents) = (Authority::new("servers"), Authority::new("agents"));
        let agent = agents.issue(&["agent.test"]);
        World { servers, agents, agent, clock: Hand::new() }
    }

    fn host(&self, client_auth: ClientAuth) -> Host {
        let folder = Folder::new();
        let files = folder.write_issued("server", &self.servers.issue(&["a.test", "b.test"]));
        let mut options = server_options("edge", vec![files]);
        options.client_auth = client_auth;
        options.client_ca = Some(folder.write("ca.pem", self.agents.pem()));
        let tickets = Tickets::new(self.clock.clone());
        Host { folder, clock: self.clock.clone(), tickets, options }
    }

    /// A client that remembers its sessions, with the agent's certificate.
    fn client(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.servers.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(self.agent.key.serialize_der().into());
        let chain = vec![self.agent.certificate.der().clone()];
        let config = ClientConfig::builder_with_details(provider, self.clock.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }
}

impl Host {
    fn load(&self) -> ServerTls {
        ServerTls::load(&self.options, &self.tickets, self.clock.now()).unwrap()
    }
}

fn visit(server: &ServerTls, client: &Arc<ClientConfig>, name: &str) -> HandshakeKind {
    let (server, _) = shake(server.config(), client, name).unwrap();
    server.handshake_kind().unwrap()
}

/// Keeps the sessions of all names in one place, as an attacker does.
#[derive(Debug)]
struct OneDrawer(ClientSessionMemoryCache);

fn drawer() -> ServerName<'static> {
    ServerName::try_from("drawer.test").unwrap()
}

impl ClientSessionStore for OneDrawer {
    fn set_kx_hint(&self, _name: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(drawer(), group);
    }

    fn kx_hint(&self, _name: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&drawer())
    }

    fn set_tls12_session(&self, _name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(drawer(), value);
    }

    fn tls12_session(&self, _name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&drawer())
    }

    fn remove_tls12_session(&self, _name: &ServerName<'static>) {
        self.0.remove_tls12_session(&drawer());
    }

    fn insert_tls13_ticket(&self, _name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(drawer(), value);
    }

    fn take_tls13_ticket(&self, _name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&drawer())
    }
}

fn confused(client: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(client);
    let store = OneDrawer(ClientSessionMemoryCache::new(8));
    config.resumption =
        Resumption::store(Arc::new(store)).tls12_resumption(Tls12Resumption::SessionIdOrTickets);
    Arc::new(config)
}

/// Runs a test with both versions.
fn with_each_version(test: impl Fn(&World, &Arc<ClientConfig>)) {
    for version in [&TLS13, &TLS12] {
        let world = World::new();
        test(&world, &world.client(version));
    }
}

#[test]
fn a_session_is_resumed_and_its_client_is_known_again() {
    with_each_version(|world, client| {
        let server = world.host(ClientAuth::Required).load();
        assert_eq!(visit(&server, client, "a.test"), Full);
        let (ended, _) = shake(server.config(), client, "a.test").unwrap();
        assert_eq!(ended.handshake_kind(), Some(Resumed));
        let shown = ended.peer_certificates().unwrap();
        assert_eq!(shown, [world.agent.certificate.der().clone()]);
    });
}

#[test]
fn one_ticket_is_sent_for_each_session() {
    let world = World::new();
    let server = world.host(ClientAuth::Off).load();
    let (_, mut client) = shake(server.config(), &world.client(&TLS13), "a.test").unwrap();
    assert_eq!(client.tls13_tickets_received(), 1);
    assert!(!client.process_new_packets().unwrap().peer_has_closed());
    let mut host = world.host(ClientAuth::Off);
    host.options.tickets = None;
    let (_, client) = shake(host.load().config(), &world.client(&TLS13), "a.test").unwrap();
    assert_eq!(client.tls13_tickets_received(), 0);
}

#[test]
fn nobody_is_resumed_where_tickets_are_off() {
    with_each_version(|world, client| {
        let mut host = world.host(ClientAuth::Off);
        host.options.tickets = None;
        let server = host.load();
        assert_eq!(visit(&server, client, "a.test"), Full);
        assert_eq!(visit(&server, client, "a.test"), Full);
    });
}

#[test]
fn a_renewed_certificate_leaves_the_tickets_good() {
    with_each_version(|world, client| {
        let host = world.host(ClientAuth::Required);
        let old = host.load();
        assert_eq!(visit(&old, client, "a.test"), Full);
        host.folder.write_issued("server", &world.servers.issue(&["a.test"]));
        let new = host.load();
        drop(old);
        assert_eq!(visit(&new, client, "a.test"), Resumed);
    });
}

#[test]
fn another_name_of_the_same_table_is_not_resumed() {
    with_each_version(|world, client| {
        let server = world.host(ClientAuth::Required).load();
        let confused = confused(client);
        assert_eq!(visit(&server, &confused, "a.test"), Full);
        assert_eq!(visit(&server, &confused, "b.test"), Full);
        assert_eq!(visit(&server, &confused, "b.test"), Resumed);
        assert_eq!(visit(&server, &confused, "a.test"), Full);
    });
}

/// CVE-2025-23419: a ticket of a server that asks for no certificate must not open one that does.
#[test]
fn a_ticket_of_another_policy_is_not_taken() {
    with_each_version(|world, client| {
        let mut host = world.host(ClientAuth::Off);
        let client = confused(client);
        let mut visits = Vec::new();
        for (name, client_auth) in [
            ("edge", ClientAuth::Off),
            ("edge", ClientAuth::Optional),
            ("edge", ClientAuth::Required),
            ("other", ClientAuth::Required),
        ] {
            host.options.name = name.to_owned();
            host.options.client_auth = client_auth;
            visits.push(host.load());
        }
        for server in &visits {
            assert_eq!(visit(server, &client, "a.test"), Full);
            assert_eq!(visit(server, &client, "a.test"), Resumed);
        }
        assert_eq!(visit(&visits[2], &client, "a.test"), Full);
    });
}

#[test]
fn configurations_of_the_same_policy_take_one_anothers_tickets() {
    with_each_version(|world, client| {
        let host = world.host(ClientAuth::Required);
        let (one, two) = (host.load(), host.load());
        assert_eq!(visit(&one, client, "a.test"), Full);
        assert_eq!(visit(&two, client, "a.test"), Resumed);
    });
}

#[test]
fn other_authorities_end_all_sessions_and_the_same_ones_none() {
    with_each_version(|world, client| {
        let host = world.host(ClientAuth::Required);
        let old = host.load();
        assert_eq!(visit(&old, client, "a.test"), Full);
        // The same authority with a remark.
        host.folder.write("ca.pem", format!("# agents\n{}", world.agents.pem()));
        assert_eq!(visit(&host.load(), client, "a.test"), Resumed);
        host.folder.write("ca.pem", world.agents.pem() + &Authority::new("more").pem());
        let new = host.load();
        assert_eq!(visit(&new, client, "a.test"), Full);
        assert_eq!(visit(&new, client, "a.test"), Resumed);
    });
}

#[test]
fn a_new_revocation_list_ends_all_sessions() {
    with_each_version(|world, client| {
        let mut host = world.host(ClientAuth::Required);
        let list = host.folder.write("agents.crl", world.agents.revoke(&[], (2027, 2, 1)));
        host.options.client_crls = vec![list];
        let old = host.load();
        assert_eq!(visit(&old, client, "a.test"), Full);
        assert_eq!(visit(&old, client, "a.test"), Resumed);
        host.folder.write("agents.crl", world.agents.revoke(&[], (2027, 2, 2)));
        let new = host.load();
        assert_eq!(visit(&new, client, "a.test"), Full);
        let revoked = [serial(&world.agent.certificate)];
        host.folder.write("agents.crl", world.agents.revoke(&revoked, (2027, 2, 2)));
        assert!(shake(host.load().config(), client, "a.test").is_err(), "and not as of old");
    });
}

#[test]
fn no_ticket_outlives_the_revocation_lists() {
    for version in [&TLS13, &TLS12] {
        let world = World::new();
        let mut host = world.host(ClientAuth::Required);
        host.options.tickets.as_mut().unwrap().lifetime = std::time::Duration::from_secs(7 * DAY);
        let [short, long] = [(2027, 1, 15), (2027, 2, 1)].map(|until| {
            host.folder.write(&format!("{until:?}.crl"), world.agents.revoke(&[], until))
        });
        host.options.client_crls = vec![short, long.clone()];
        let (server, client) = (host.load(), world.client(version));
        world.clock.set(NOW + 14 * DAY - HOUR);
        assert_eq!(visit(&server, &client, "a.test"), Full);
        world.clock.set(NOW + 14 * DAY - 1);
        assert_eq!(visit(&server, &client, "a.test"), Resumed);
        world.clock.set(NOW + 14 * DAY);
        let refused = shake(server.config(), &client, "a.test").unwrap_err();
        assert!(format!("{refused:?}").contains("ExpiredRevocationList"), "{refused:?}");
        // A current list lets the client in, whole and then by its ticket.
        host.options.client_crls = vec![long];
        let server = host.load();
        assert_eq!(visit(&server, &client, "a.test"), Full);
        assert_eq!(visit(&server, &client, "a.test"), Resumed);
    }
}

#[test]
fn a_ticket_outlives_one_turn_of_the_keys_and_not_two() {
    with_each_version(|world, client| {
        let server = world.host(ClientAuth::Off).load();
        world.clock.set(NOW + 11 * HOUR);
        assert_eq!(visit(&server, client, "a.test"), Full);
        world.clock.set(NOW + 13 * HOUR);
        assert_eq!(visit(&server, client, "a.test"), Resumed);
    });
    with_each_version(|world, client| {
        let server = world.host(ClientAuth::Off).load();
        world.clock.set(NOW + 11 * HOUR);
        assert_eq!(visit(&server, client, "a.test"), Full);
        // Somebody else comes, and so the keys turn over in time.
        world.clock.set(NOW + 13 * HOUR);
        assert_eq!(visit(&server, &world.client(&TLS13), "a.test"), Full);
        world.clock.set(NOW + 26 * HOUR);
        assert_eq!(visit(&server, client, "a.test"), Full);
    });
}

#[test]
fn hosts_that_share_a_key_file_take_one_anothers_tickets() {
    with_each_version(|world, client| {
        let shared = |host: &mut Host, text: &str| {
            let keys = Some(host.folder.write("keys", text));
            host.options.tickets.as_mut().unwrap().keys = keys;
        };
        let (mut one, mut two) =
            (world.host(ClientAuth::Required), world.host(ClientAuth::Required));
        let [first, second] = ["ab".repeat(48), "cd".repeat(80)];
        shared(&mut one, &format!("# ours\n{first}\n\n{second}\n"));
        shared(&mut two, &format!("{second}\n{first}"));
        let one_loaded = one.load();
        assert_eq!(visit(&one_loaded, client, "a.test"), Full);
        let two_loaded = two.load();
        assert_eq!(visit(&two_loaded, client, "a.test"), Resumed);
        assert_eq!(visit(&one_loaded, client, "a.test"), Resumed, "and back");
        // The first key is taken out.
        shared(&mut two, &second);
        two.load();
        assert_eq!(
            visit(&two_loaded, client, "a.test"),
            Full,
            "in use at once, in all that is open"
        );
        // Under other authorities the same file gives other keys.
        two.folder.write("ca.pem", world.agents.pem() + &Authority::new("more").pem());
        assert_eq!(visit(&two.load(), client, "a.test"), Full);
    });
}

#[test]
fn a_client_whose_certificate_has_lapsed_is_not_resumed() {
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    for version in [&TLS13, &TLS12] {
        let mut world = World::new();
        world.agent = world.agents.issue_with(&["agent.test"], algorithm, |params| {
            params.not_after = date_time_ymd(2027, 1, 2);
        });
        let mut host = world.host(ClientAuth::Optional);
        host.options.tickets.as_mut().unwrap().lifetime = std::time::Duration::from_secs(7 * DAY);
        let (server, client) = (host.load(), world.client(version));
        assert_eq!(visit(&server, &client, "a.test"), Full);
        world.clock.set(NOW + DAY);
        assert_eq!(visit(&server, &client, "a.test"), Resumed);
        world.clock.set(NOW + DAY + 1);
        let refused = shake(server.config(), &client, "a.test").unwrap_err();
        assert!(format!("{refused:?}").contains("Expired"), "{refused:?}");
    }
}
