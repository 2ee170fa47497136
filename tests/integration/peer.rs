//! Owns the backends that tests put behind the proxy: one whose connections the test holds, one
//! that echoes, and addresses that do not answer. Does not judge what arrives.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::patience::DEADLINE;
use super::proxy::Proxy;
use super::stream::{connect, ready};

/// A backend that accepts when the test does.
pub struct Backend {
    pub listener: TcpListener,
    pub address: SocketAddr,
}

impl Backend {
    pub fn listen() -> Backend {
        Backend::on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    pub fn on(address: SocketAddr) -> Backend {
        let listener = TcpListener::bind(address).unwrap();
        // SO_RCVTIMEO bounds accept(2) as well.
        SockRef::from(&listener).set_read_timeout(Some(DEADLINE)).unwrap();
        let address = listener.local_addr().unwrap();
        Backend { listener, address }
    }

    #[track_caller]
    pub fn accept(&self) -> TcpStream {
        ready(self.listener.accept().unwrap().0)
    }

    /// A session through the proxy to this backend: the client's end and the backend's.
    #[track_caller]
    pub fn session(&self, proxy: &Proxy) -> [TcpStream; 2] {
        let client = connect(proxy.address());
        [client, self.accept()]
    }
}

/// A backend that sends back what it receives, on any number of connections.
pub struct Echo {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Echo {
    pub fn start() -> Echo {
        let Backend { listener, address } = Backend::listen();
        let accepting = listener.try_clone().unwrap();
        accepting.set_nonblocking(false).unwrap();
        SockRef::from(&accepting).set_read_timeout(None).unwrap();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                std::thread::spawn(move || echo(&stream));
            }
        });
        Echo { listener, address }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Ends the accept(2) of the other thread.
        SockRef::from(&self.listener).shutdown(Shutdown::Both).unwrap();
    }
}

/// Until the client ends its stream; a reset is an end too.
fn echo(mut stream: &TcpStream) {
    stream.set_nodelay(true).unwrap();
    if std::io::copy(&mut { stream }, &mut stream).is_ok() {
        stream.shutdown(Shutdown::Write).unwrap_or_default();
    }
}

/// A listening socket that answers no connect, because its queue is full, until it accepts.
pub struct BlackHole {
    listener: TcpListener,
    queued: Vec<TcpStream>,
    pub address: SocketAddr,
}

impl BlackHole {
    pub fn open() -> BlackHole {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(250)).ok();
        let queued: Vec<_> = std::iter::from_fn(connect).take(QUEUE_MOST).collect();
        assert!(queued.len() < QUEUE_MOST, "the queue does not become full");
        let listener = TcpListener::from(listener);
        SockRef::from(&listener).set_read_timeout(Some(DEADLINE)).unwrap();
        BlackHole { listener, queued, address }
    }

    /// Takes those that filled the queue out of it, and then the next, who is heard when the
    /// kernel repeats the request: after a second or three.
    #[track_caller]
    pub fn accept(&self) -> TcpStream {
        loop {
            let (stream, peer) = self.listener.accept().unwrap();
            if self.queued.iter().all(|queued| queued.local_addr().unwrap() != peer) {
                return ready(stream);
            }
        }
    }
}

/// An address of this host on which nothing listens, and that nobody else is given: its IP
/// address is this process's own, and its port below those that the kernel chooses.
pub fn vacant() -> SocketAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let port = 20_000 + TAKEN.fetch_add(1, Ordering::Relaxed);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 64 | high, middle, low], port))
}

/// Such addresses with one port in common.
pub fn vacant_alike() -> [SocketAddr; 3] {
    let address = vacant();
    let SocketAddr::V4(first) = address else { unreachable!("{address} is of IPv4") };
    let [network, high, middle, low] = first.ip().octets();
    // The two highest bits of the second part say which of them it is.
    [64, 128, 192]
        .map(|bits| SocketAddr::from(([network, bits | high & 63, middle, low], first.port())))
}

/// A queue for none takes one or two.
const QUEUE_MOST: usize = 8;
