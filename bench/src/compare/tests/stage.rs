//! Owns what runs are tested against: backends, an authority, and proxies on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity};
use rustls::ServerConfig;

use super::super::cpus::Cpus;
use super::super::process::raise_descriptor_limit;
use super::super::subject::{Speed, Subject};
use super::super::work::{Task, Work};
use super::super::works::Figures;
use crate::certificates::Identity;
use crate::clock::Clock;
use crate::generate::{Between, Failure, Material, Middle, Signals};
use crate::peer::{self, Front};
use crate::sockets;

/// A generator with one backend.
pub struct Stage {
    pub between: Between,
    pub backend: SocketAddr,
    pub stop: Arc<AtomicBool>,
    backends: Vec<TcpListener>,
}

impl Stage {
    pub fn new() -> Stage {
        raise_descriptor_limit().unwrap();
        let set = sched_getaffinity(None).unwrap();
        let cpu = (0..CpuSet::MAX_CPU).find(|&cpu| set.is_set(cpu)).unwrap();
        let signals = Signals::default();
        let stop = Arc::clone(&signals.interrupted);
        let (clock, cpus) = (Clock::start(), Cpus { proxy: cpu, load: cpu });
        let material = Material::generate().unwrap();
        let between = Between { clock, cpus, signals, material };
        let (listener, backend) = listener();
        Stage { between, backend: backend.into(), stop, backends: vec![listener] }
    }

    /// What came of a short run.
    pub fn run(&self, work: Work, speed: Speed, target: SocketAddrV4) -> Result<Figures, String> {
        let Task::Carry(shape) = work.task() else { panic!("{work:?} carries nothing") };
        let (warm_up, window) = (Duration::from_millis(20), Duration::from_millis(200));
        let order = Subject::Work(work).order(shape, speed, warm_up, window);
        let carried = self.with_middle(target, |middle| self.between.run(middle, &order));
        Figures::of(shape, &carried.map_err(|failure| failure.as_str().to_owned())?)
    }

    /// One word on what was wrong with a run at full speed.
    pub fn fault(&self, work: Work, target: SocketAddrV4) -> String {
        let said = self.run(work, Speed::Full, target).err().unwrap_or_default();
        said.split(':').next().unwrap_or_default().to_owned()
    }

    pub fn hold<R: Send + 'static>(
        &self,
        work: Work,
        counts: [usize; 2],
        target: SocketAddrV4,
        meter: impl FnMut() -> std::io::Result<R> + Send + 'static,
    ) -> Result<[R; 2], Failure> {
        let hold = |middle: &Middle<'_>| {
            self.between.hold(middle, work.terms(), counts, Duration::ZERO, meter)
        };
        self.with_middle(target, hold)
    }

    fn with_middle<T>(&self, target: SocketAddrV4, run: impl FnOnce(&Middle<'_>) -> T) -> T {
        let sealed = |_: Identity| target.into();
        run(&Middle {
            name: "plain",
            process: std::process::id(),
            plain: target.into(),
            sealed: &sealed,
            backends: &self.backends,
        })
    }

    /// What the tokio peer is configured with.
    pub fn server_config(&self, identity: Identity) -> ServerConfig {
        let (certificate, key) = self.between.material.authority.server(identity);
        peer::tls_config(vec![certificate], key).unwrap()
    }
}

/// Any free address, and the socket that listens there.
pub fn listener() -> (TcpListener, SocketAddrV4) {
    let listener = sockets::listener(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
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
    listener.set_nonblocking(true).unwrap();
    let front = Front { listener, tls: config.map(Arc::new) };
    thread::spawn(move || peer::run_tokio(vec![front], vec![backend]));
    address
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
