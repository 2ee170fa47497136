//! Keys decide where sessions go, and lead those back that a change has left elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use socket2::{Domain, Socket, Type};

use super::aggregator::Aggregator;
use super::dns::DnsServer;
use super::fleet::{Search, set};
use super::load::{ask, report};
use super::patience::{eventually, now};
use super::peer::Echo;
use super::proxy::Plan;
use super::stream::{connect, expect_end, finish, ready};

/// The first bytes of a client that asks for this name.
fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = name.to_owned().try_into().unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn sessions_that_ask_for_the_same_name_meet_at_one_backend() {
    let backends = [(); 4].map(|()| Echo::start());
    let addresses = backends.each_ref().map(|backend| backend.address);
    let pool = "policy = \"maglev\"\nkey = \"server-name\"";
    let proxy = Plan { pool, process: "workers = 2", ..Plan::of(&addresses) }.start();
    for round in 0..3 {
        for number in 0..12 {
            let case = if round == 1 { "Fleet" } else { "fleet" };
            let hello = hello(&format!("{number}.{case}.test"));
            let mut client = connect(proxy.address());
            client.write_all(&hello).unwrap();
            let mut echoed = vec![0; hello.len()];
            client.read_exact(&mut echoed).unwrap();
            assert_eq!(echoed, hello, "TLS passes through as it is");
            finish(&client);
            expect_end(&client);
        }
    }
    let mut served = BTreeMap::<String, BTreeSet<String>>::new();
    for session in proxy.sessions(36) {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let (name, backend) = (text(&session["tls"]["server_name"]), text(&session["backend"]));
        served.entry(name).or_default().insert(backend);
    }
    assert_eq!(served.len(), 12, "{served:?}");
    assert!(served.values().all(|backends| backends.len() == 1), "{served:?}");
    let used: BTreeSet<_> = served.values().flatten().collect();
    assert!(used.len() > 1, "names are spread");
}

/// An agent with an address of its own, which is its key.
struct Agent {
    source: SocketAddr,
    stream: TcpStream,
    /// Who answers it.
    name: String,
}

impl Agent {
    fn connect(source: SocketAddr, proxy: SocketAddr) -> Agent {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&source.into()).unwrap();
        socket.connect(&proxy.into()).unwrap();
        let stream = ready(socket.into());
        let name = ask(&stream, "hello").unwrap();
        Agent { source, stream, name }
    }

    /// Whether its session has ended, which it may have in order alone.
    fn has_ended(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let read = (&self.stream).read(&mut [0; 1]);
        self.stream.set_nonblocking(false).unwrap();
        match read {
            Ok(length) => length == 0,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{}", self.source);
                false
            }
        }
    }
}

#[test]
fn sessions_move_to_where_their_keys_belong_and_no_others_do() {
    let [a, b, c] = ["a", "b", "c"].map(Aggregator::start);
    let dns = DnsServer::start();
    set(&dns, &[&a, &b]);
    let pool = "policy = \"maglev\"\nrebalance = 4";
    let proxy = Search { pool, process: "workers = 2", ..Search::of_services() };
    let proxy = proxy.start(dns.address());
    let source = |number: u8| SocketAddr::from((Ipv4Addr::new(127, 77, 0, number), 0));
    let agents: Vec<Agent> =
        (1..=40).map(|number| Agent::connect(source(number), proxy.address())).collect();
    let change = now();
    set(&dns, &[&a, &b, &c]);
    // Where a new session goes is where the old one belongs.
    let owner = |agent: &Agent| Agent::connect(agent.source, proxy.address()).name;
    let owners = || agents.iter().map(owner).collect::<Vec<_>>();
    // One of the workers may hear of it a moment later.
    let settled = || {
        let [before, after] = [owners(), owners()];
        (before == after && after.iter().any(|owner| owner == "c")).then_some(after)
    };
    let owners = eventually("new sessions at the newcomer", settled);
    let (stays, moves): (Vec<_>, Vec<_>) =
        agents.into_iter().zip(owners).partition(|(agent, owner)| agent.name == *owner);
    assert!(moves.iter().any(|(_, owner)| owner == "c"), "some belong to the newcomer");
    assert!(!stays.is_empty());
    let ended = |(agent, _): &(Agent, String)| agent.has_ended();
    eventually("those that belong elsewhere end", || moves.iter().all(ended).then_some(()));
    report("40 sessions with keys, a third backend", change.elapsed());
    println!("{} sessions of 40 moved", moves.len());
    proxy.await_words("have moved to where their keys belong");
    for (agent, _) in &stays {
        assert_eq!(ask(&agent.stream, "still there").unwrap(), agent.name);
    }
    // They come back to where they belong, and stay there when the newcomer goes again.
    let again: Vec<Agent> = moves
        .iter()
        .map(|(agent, owner)| {
            let agent = Agent::connect(agent.source, proxy.address());
            assert_eq!(agent.name, *owner);
            agent
        })
        .collect();
    set(&dns, &[&a, &b]);
    eventually("nobody new at who has gone", || {
        again.iter().all(|agent| owner(agent) != "c").then_some(())
    });
    for agent in again.iter().filter(|agent| agent.name == "c") {
        assert_eq!(ask(&agent.stream, "still there").unwrap(), "c");
    }
}
