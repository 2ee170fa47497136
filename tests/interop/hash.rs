//! Owns the test that a fleet can move over from nginx without moving its keys: the `ring` policy
//! chooses as `hash ... consistent` does.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::address;
use super::nginx::Nginx;
use super::process::DEADLINE;
use super::proxy::Proxy;

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn a_ring_makes_the_choices_of_nginx() {
    let backends: Vec<(SocketAddr, u16)> = WEIGHTS.map(|weight| (address::own(), weight)).into();
    let balancer = address::own();
    let _nginx = Nginx::stream(&blocks(balancer, &backends));
    let proxy = Proxy::with_text(&configuration(&backends));
    let mut shares = BTreeMap::new();
    let mut differences = Vec::new();
    for number in 0..KEYS {
        let client = Ipv4Addr::from_bits(FIRST_CLIENT.to_bits() + number);
        let theirs = chosen(client, balancer);
        let ours = chosen(client, proxy.address());
        if theirs != ours {
            differences.push(format!("{client}: {theirs} is nginx's choice, {ours} is ours"));
        }
        *shares.entry(theirs).or_insert(0) += 1;
    }
    assert_eq!(proxy.stop_finished().len(), KEYS as usize);
    for (backend, weight) in &backends {
        let keys = shares.get(&backend.to_string()).copied().unwrap_or(0);
        println!("{backend} of weight {weight}: {keys} keys of {KEYS}");
    }
    assert_eq!(shares.len(), backends.len(), "not every backend was chosen");
    let count = differences.len();
    assert_eq!(count, 0, "of {KEYS} choices differ: {differences:#?}");
}

/// nginx as the balancer, and in the same process all backends, of which each says its name.
fn blocks(balancer: SocketAddr, backends: &[(SocketAddr, u16)]) -> String {
    let mut upstream = String::new();
    let mut servers = String::new();
    for (address, weight) in backends {
        writeln!(upstream, "server {address} weight={weight} max_fails=0;").unwrap();
        writeln!(servers, "server {{ listen {address}; return {address}; }}").unwrap();
    }
    format!(
        "upstream backends {{ hash $remote_addr consistent; {upstream} }}\n\
         server {{ listen {balancer}; proxy_pass backends; }}\n\
         {servers}"
    )
}

/// In another order than nginx has them: neither of the two goes by it.
fn configuration(backends: &[(SocketAddr, u16)]) -> String {
    let mut text = String::from(
        "[process]\nworkers = 2\n[admin]\nlisten = \"off\"\n\
         [listener.client]\nlisten = \"127.0.0.1:0\"\npool = \"backends\"\n\
         [pool.backends]\npolicy = \"ring\"\nkey = \"source\"\nbackends = [\n",
    );
    for (address, weight) in backends.iter().rev() {
        writeln!(text, "    {{ address = \"{address}\", weight = {weight} }},").unwrap();
    }
    text.push_str("]\n");
    text
}

/// Which backend a connection from `client` leads to.
fn chosen(client: Ipv4Addr, balancer: SocketAddr) -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((client, 0)).into()).unwrap();
    socket.connect_timeout(&balancer.into(), DEADLINE).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut name = String::new();
    stream.read_to_string(&mut name).unwrap();
    name
}

/// Weights of the backends.
const WEIGHTS: [u16; 8] = [1, 1, 2, 3, 5, 8, 1, 20];
const KEYS: u32 = 1000;
/// The clients' addresses follow each other.
const FIRST_CLIENT: Ipv4Addr = Ipv4Addr::new(127, 40, 0, 1);
