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
use crate::generate::{Between, Carried, Failure, Material, Middle, Order, Signals};
use crate::peer::{self, Front};
use crate::report::Live;
use crate::sockets;

/// Where a proxy is found.
pub struct Places {
    pub plain: SocketAddrV4,
    pub ecdsa: SocketAddrV4,
    pub rsa: SocketAddrV4,
}

impl Places {
    pub fn all_at(target: SocketAddrV4) -> Places {
        Places { plain: target, ecdsa: target, rsa: target }
    }
}

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
        let (lingering, live) = (PATIENCE, Live::default());
        let between = Between { clock, cpus, signals, material, lingering, live };
        let (listener, backend) = listener();
        Stage { between, backend: backend.into(), stop, backends: vec![listener] }
    }

    /// What came of a short run.
    pub fn run(&self, work: Work, speed: Speed, target: SocketAddrV4) -> Result<Figures, String> {
        self.run_subject(Subject::Work(work), speed, &Places::all_at(target))
    }

    /// The same of anything that can be carried.
    pub fn run_subject(
        &self,
        subject: Subject,
        speed: Speed,
        places: &Places,
    ) -> Result<Figures, String> {
        let Task::Carry(shape) = subject.task() else { panic!("{subject:?} carries nothing") };
        let (warm_up, window) = (Duration::from_millis(20), Duration::from_millis(200));
        let order = subject.order(shape, speed, warm_up, window);
        let carried = self.with_middle(places, |middle| self.between.run(middle, &order));
        Figures::of(shape, &carried.map_err(|failure| failure.as_str().to_owned())?)
    }

    /// A run, with all that is known of it.
    pub fn carry(&self, order: &Order, target: SocketAddrV4) -> Result<Carried, Failure> {
        let places = Places::all_at(target);
        self.with_middle(&places, |middle| self.between.run(middle, order))
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
        self.with_middle(&Places::all_at(target), hold)
    }

    fn with_middle<T>(&self, places: &Places, run: impl FnOnce(&Middle<'_>) -> T) -> T {
        let sealed = |identity| match identity {
            Identity::Ecdsa => places.ecdsa.into(),
            Identity::Rsa => places.rsa.into(),
        };
        run(&Middle {
            name: "plain",
            process: std::process::id(),
            plain: places.plain.into(),
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

/// Carries a connection like any other until so many bytes have come back on it; then it ends the
/// one to the backend, and keeps that of the client. Until then it ends none: what the client ends
/// stays open at the backend.
pub fn hoarding_proxy(backend: SocketAddr, most: usize) -> SocketAddrV4 {
    let (listener, address) = listener();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(backend).unwrap();
            let ends = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || pass_on(client, server, usize::MAX));
            thread::spawn(move || pass_on(ends.0, ends.1, most));
        }
    });
    address
}

fn pass_on(mut source: TcpStream, mut target: TcpStream, most: usize) {
    let (mut buffer, mut carried) = ([0; 4096], 0);
    while let Ok(length @ 1..) = source.read(&mut buffer) {
        carried += length;
        if carried >= most {
            source.shutdown(Shutdown::Both).unwrap();
        }
        if target.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Open as long as the process is.
    std::mem::forget((source, target));
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

/// How long connections may stay open at a backend once their clients have ended them.
const PATIENCE: Duration = Duration::from_secs(10);
