//! Resumption: across workers and renewals, and never past a policy.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig};
use serde_json::json;

use super::super::patience::eventually;
use super::super::peer::Echo;
use super::super::proxy::{Plan, Proxy};
use super::super::stream::{expect_end, pass};
use super::authority::Authority;
use super::peer::{Tls, alert, client_of, client_with};
use super::scene::{NAME, Rest, edge};

/// A proxy with two workers in front of an echo, and what its table `edge` names.
struct Resuming {
    authority: Authority,
    proxy: Proxy,
    rest: Rest,
    _backend: Echo,
}

impl Resuming {
    /// With these lines in [tls.edge], in the listener, and further sections.
    fn start(authority: Authority, lines: &str, more: &str) -> Resuming {
        let backend = Echo::start();
        let more = format!("{}{more}", edge(&authority, lines));
        let plan = Plan {
            process: "workers = 2",
            listener: "tls = \"edge\"",
            more: &more,
            ..Plan::of(&[backend.address])
        };
        let proxy = plan.start();
        let rest = Rest::of(&proxy);
        Resuming { authority, proxy, rest, _backend: backend }
    }

    /// A session through a listener; whether it resumed an earlier one.
    fn resumes(&self, listener: &str, config: &Arc<ClientConfig>) -> bool {
        resumes(&self.proxy, listener, config)
    }

    /// Has the files read again, and waits until that has come to something.
    fn reload(&self, words: &str) {
        let before = self.proxy.events();
        self.proxy.signal(Signal::HUP);
        self.proxy.await_words_after(before, words);
    }
}

/// A session through a listener; whether it resumed an earlier one. It takes what the proxy gives
/// for the next.
fn resumes(proxy: &Proxy, listener: &str, config: &Arc<ClientConfig>) -> bool {
    let client = Tls::connect(proxy.listener(listener), NAME, config).unwrap();
    pass(&client, &client, 0..1000);
    client.close();
    expect_end(&client);
    client.is_resumed()
}

#[test]
fn a_session_is_resumed_by_any_worker() {
    for version in [&TLS13, &TLS12] {
        let scene = Resuming::start(Authority::new("the authority"), "", "");
        let config = Arc::new(client_of(&scene.authority, &[version]));
        assert!(!scene.resumes("front", &config), "the first one");
        for _ in 0..30 {
            assert!(scene.resumes("front", &config));
        }
        let sessions = scene.proxy.sessions(31);
        let resumed = sessions.iter().filter(|session| session["tls"]["resumed"] == true);
        let workers: Vec<_> = resumed.map(|session| session["worker"].as_u64().unwrap()).collect();
        assert_eq!(workers.len(), 30);
        assert!(workers.contains(&0) && workers.contains(&1), "{workers:?}");
        assert_eq!(scene.proxy.metric("tls_handshakes_total", "kind=\"resumed\""), 30);
        scene.rest.await_again(&scene.proxy);
    }
}

#[test]
fn without_tickets_no_session_is_resumed() {
    for version in [&TLS13, &TLS12] {
        let scene = Resuming::start(Authority::new("the authority"), "tickets = false", "");
        let config = Arc::new(client_of(&scene.authority, &[version]));
        for _ in 0..4 {
            assert!(!scene.resumes("front", &config));
        }
    }
}

#[test]
fn a_new_certificate_leaves_the_tickets_good() {
    for version in [&TLS13, &TLS12] {
        let scene = Resuming::start(Authority::new("the authority"), "", "");
        let config = Arc::new(client_of(&scene.authority, &[version]));
        assert!(!scene.resumes("front", &config));
        scene.authority.identity("edge", &scene.authority.issue(&[NAME]));
        scene.reload("TLS material renewed");
        for _ in 0..8 {
            assert!(scene.resumes("front", &config));
        }
        scene.rest.await_again(&scene.proxy);
    }
}

#[test]
fn a_ticket_of_one_policy_is_worth_nothing_to_another() {
    for version in [&TLS13, &TLS12] {
        let authority = Authority::new("the authority");
        let own = authority.issue(&["agent-7"]);
        let identity = authority.identity("other", &authority.issue(&[NAME]));
        // Of two that ask for nothing else, and of one that asks for a certificate.
        let more = format!(
            "[tls.alike]\ncertificates = [{identity}]\n\
             [tls.strict]\ncertificates = [{identity}]\nclient_auth = \"required\"\n\
             client_ca = {:?}\n\
             [listener.alike]\nlisten = \"127.0.0.1:0\"\npool = \"back\"\ntls = \"alike\"\n\
             [listener.strict]\nlisten = \"127.0.0.1:0\"\npool = \"back\"\ntls = \"strict\"\n",
            authority.file()
        );
        let scene = Resuming::start(authority, "", &more);
        let config = Arc::new(client_with(&scene.authority, &own, &[version]));
        let cases = [
            ("front", false),
            ("front", true),
            ("alike", false),
            ("strict", false),
            ("strict", true),
            ("front", false),
        ];
        for (count, (listener, resumes)) in (1..).zip(cases) {
            assert_eq!(scene.resumes(listener, &config), resumes, "{listener}, {version:?}");
            // One after the other, as the log is read below: they may be on different workers.
            scene.proxy.sessions(count);
        }
        let sessions = scene.proxy.sessions(6);
        let clients: Vec<_> = sessions.iter().map(|session| &session["tls"]["client"]).collect();
        let named = "CN=agent-7";
        assert_eq!(json!(clients), json!([null, null, null, named, named, null]));
        // With the ticket of another policy in place of a certificate.
        let mut without = client_of(&scene.authority, &[version]);
        without.resumption = config.resumption.clone();
        assert!(!scene.resumes("front", &Arc::new(without.clone())));
        let connected = Tls::connect(scene.proxy.listener("strict"), NAME, &Arc::new(without));
        let refused = connected.and_then(|client| (&client).read(&mut [0; 1]));
        alert(&refused.unwrap_err());
        scene.rest.await_again(&scene.proxy);
    }
}

#[test]
fn after_a_change_of_authorities_no_session_is_resumed() {
    for version in [&TLS13, &TLS12] {
        let authority = Authority::new("the authority");
        let lines = format!(
            "client_auth = \"required\"\nclient_ca = {:?}",
            authority.write("clients.pem", &authority.pem())
        );
        let scene = Resuming::start(authority, &lines, "");
        let own = scene.authority.issue(&["agent-7"]);
        let old = Arc::new(client_with(&scene.authority, &own, &[version]));
        assert!(!scene.resumes("front", &old));
        assert!(scene.resumes("front", &old));
        let next = Authority::new("the next authority");
        scene.authority.write("clients.pem", &next.pem());
        scene.reload("TLS material renewed");
        // The workers hear of it after the log; from then on nothing is resumed.
        let refused = eventually("the next authority counts", || {
            match Tls::connect(scene.proxy.address(), NAME, &old) {
                Ok(client) if client.is_resumed() => None,
                Ok(client) => (&client).read(&mut [0; 1]).err(),
                Err(error) => Some(error),
            }
        });
        assert_eq!(alert(&refused), AlertDescription::UnknownCA);
        let own = next.issue(&["agent-8"]);
        let config = Arc::new(client_with(&scene.authority, &own, &[version]));
        assert!(!scene.resumes("front", &config));
        assert!(scene.resumes("front", &config));
        scene.rest.await_again(&scene.proxy);
    }
}

/// Hosts that differ in nothing but these: who vouches for clients, and the file of ticket keys.
struct Hosts {
    authority: Authority,
    backend: Echo,
    identity: String,
}

impl Hosts {
    fn new() -> Hosts {
        let authority = Authority::new("the authority");
        let identity = authority.identity("edge", &authority.issue(&[NAME]));
        Hosts { authority, backend: Echo::start(), identity }
    }

    fn start(&self, client_ca: &Path, keys: &Path) -> Proxy {
        let more = format!(
            "[tls.edge]\ncertificates = [{}]\nclient_auth = \"required\"\n\
             client_ca = {client_ca:?}\nticket_keys = {keys:?}\n",
            self.identity
        );
        let plan = Plan {
            process: "workers = 1",
            listener: "tls = \"edge\"",
            more: &more,
            ..Plan::of(&[self.backend.address])
        };
        plan.start()
    }
}

#[test]
fn a_session_is_resumed_at_another_host_with_the_same_keys_and_policy_alone() {
    let hosts = Hosts::new();
    let authority = &hosts.authority;
    let alone = authority.file();
    // Whom the client's own authority vouches for is let in here too, and not on a ticket's word.
    let both = authority.pem() + &Authority::new("another authority").pem();
    let both = authority.write("both.pem", &both);
    let keys = authority.write("tickets.keys", &"5a".repeat(48));
    let other_keys = authority.write("other.keys", &"a5".repeat(48));
    let first = hosts.start(&alone, &keys);
    let same = hosts.start(&alone, &keys);
    let other_policy = hosts.start(&both, &keys);
    let strange = hosts.start(&alone, &other_keys);
    for version in [&TLS13, &TLS12] {
        let own = authority.issue(&["agent-7"]);
        let config = Arc::new(client_with(authority, &own, &[version]));
        for (host, resumed) in [
            (&first, false),
            (&same, true),
            (&first, true),
            (&other_policy, false),
            (&other_policy, true),
            (&same, false),
            (&strange, false),
            (&first, false),
        ] {
            assert_eq!(resumes(host, "front", &config), resumed, "{version:?}");
        }
    }
    for session in same.sessions(4) {
        assert_eq!(session["tls"]["client"], "CN=agent-7", "resumed or not");
    }
}
