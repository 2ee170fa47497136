//! Owns what runs are tested against: a site, an authority, and proxies on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use rustls::ServerConfig;

use crate::certificates::{Authority, Identity};
use crate::load::{Fault, Outcome, Pace, Plan, Site, Task, Work, sockets};
use crate::peer::{self, Front};

pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::generate().unwrap());

/// A site with one backend.
pub struct Stage {
    pub site: Site,
    pub backend: SocketAddr,
    pub stop: Arc<AtomicBool>,
}

impl Stage {
    pub fn new() -> Self {
        let stop = Arc::default();
        let mut site = Site::new(Arc::clone(&stop), AUTHORITY.root().clone()).unwrap();
        let backend = site.add_backends(200, 1).unwrap()[0].into();
        Self { site, backend, stop }
    }

    pub fn run(
        &mut self,
        work: Work,
        pace: Pace,
        target: SocketAddrV4,
    ) -> Result<Outcome<()>, Fault> {
        let Task::Carry(shape) = work.task() else { panic!("{work:?} carries nothing") };
        let (warm_up, window) = (Duration::from_millis(20), Duration::from_millis(200));
        let plan = Plan { shape, terms: work.terms(), pace, target, warm_up, window };
        self.site.run(&plan, || Ok(()))
    }
}

/// Any free address, and the socket that listens there.
pub fn listener() -> (TcpListener, SocketAddrV4) {
    let socket = sockets::listener(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = sockets::local_port(&socket).unwrap();
    (socket.into(), SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// The proxy's thread ends with the test process.
pub fn plain_proxy(backend: SocketAddr) -> SocketAddrV4 {
    proxy(backend, None)
}

pub fn tls_proxy(backend: SocketAddr, config: ServerConfig) -> SocketAddrV4 {
    proxy(backend, Some(config))
}

fn proxy(backend: SocketAddr, config: Option<ServerConfig>) -> SocketAddrV4 {
    let (listener, address) = listener();
    let front = Front { listener, tls: config.map(Arc::new) };
    thread::spawn(move || peer::run_tokio(vec![front], vec![backend]));
    address
}

/// What the tokio peer is configured with.
pub fn server_config(identity: Identity) -> ServerConfig {
    let (certificate, key) = AUTHORITY.server(identity);
    peer::tls_config(vec![certificate], key).unwrap()
}

/// Changes bytes; `None` ends the connection.
pub type Spoil = fn(&mut [u8]) -> Option<&[u8]>;

pub const INTACT: Spoil = |bytes| Some(bytes);

pub const CHANGED: Spoil = |bytes| {
    bytes[bytes.len() - 1] ^= 1;
    Some(bytes)
};

/// Spoils what goes there, to the backend, and what comes back. Its threads end with their
/// connections and, the first, with the test process.
pub fn broken_proxy(backend: SocketAddr, there: Spoil, back: Spoil) -> SocketAddrV4 {
    let (listener, address) = listener();
    listener.set_nonblocking(false).unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(backend).unwrap();
            let ends = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || relay(client, server, there));
            thread::spawn(move || relay(ends.0, ends.1, back));
        }
    });
    address
}

fn relay(mut source: TcpStream, mut target: TcpStream, spoil: Spoil) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = source.read(&mut buffer) {
        let Some(bytes) = spoil(&mut buffer[..length]) else { break };
        if target.write_all(bytes).is_err() {
            break;
        }
    }
    target.shutdown(Shutdown::Write).ok();
}
