//! Listening sockets: locked, bound or inherited, before any worker runs.
//!
//! Each worker gets a SO_REUSEPORT socket of its own per address, so that accepting needs no
//! shared state; an inherited socket serves them all. The server keeps every socket open, since
//! closing one would reset what is queued on it. Since a second instance of the same user would
//! silently share a SO_REUSEPORT address, each address is locked by a name in the abstract
//! socket namespace, which is per network namespace, as ports are, and ends with its owner.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::config::{Config, Listener};
use crate::engine::driver::SocketOptions;
use crate::engine::{inherited_sockets, set_options};

use super::workers::Handle;
use crate::proxy::socket_options;

/// The listening sockets of the process.
#[derive(Debug)]
pub(super) struct Sockets {
    listening: Vec<Listening>,
    workers: usize,
    /// Held while the addresses are served.
    locks: Vec<UnixDatagram>,
}

/// One address of one listener.
#[derive(Debug)]
struct Listening {
    listener: usize,
    /// As bound; the kernel has chosen a port for 0.
    address: SocketAddr,
    /// One per worker, or one for all.
    sockets: Vec<Socket>,
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub enum ListenError {
    Locked { key: String, address: SocketAddr },
    Bind { key: String, address: SocketAddr, error: io::Error },
    Inherited(io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::Locked { key, address } => write!(
                f,
                "{key}: another Ringmain serves {address} already; stop it first, or give this \
                 one another address"
            ),
            ListenError::Bind { key, address, error } => {
                write!(f, "{key}: cannot listen on {address}: {error}")?;
                f.write_str(match error.raw_os_error() {
                    Some(libc::EADDRINUSE) => {
                        "; another program has the port (`ss -ltnp` shows which): stop it or \
                         choose another port"
                    }
                    Some(libc::EADDRNOTAVAIL) => {
                        "; the address is not one of this host's (`ip address` lists them)"
                    }
                    Some(libc::EACCES) => {
                        "; ports below 1024 need CAP_NET_BIND_SERVICE, which the systemd unit gives"
                    }
                    _ => "",
                })
            }
            ListenError::Inherited(error) => {
                write!(
                    f,
                    "the sockets passed in LISTEN_FDS cannot be used: {error}; pass listening TCP \
                     sockets only (ListenStream= in a socket unit)"
                )
            }
        }
    }
}

impl Sockets {
    /// Locks and binds every address of the configuration, or takes the inherited socket for it.
    pub(super) fn open(config: &Config, workers: usize) -> Result<Sockets, ListenError> {
        let mut inherited = inherited().map_err(ListenError::Inherited)?;
        let mut sockets = Sockets { listening: Vec::new(), workers, locks: Vec::new() };
        let addresses = || {
            let listeners = config.listeners.iter().enumerate();
            listeners.flat_map(|(index, listener)| {
                listener.listen.iter().map(move |address| (index, listener, *address))
            })
        };
        // All of them before the first is bound: those of one configuration may overlap.
        for (_, listener, address) in addresses().filter(|(.., address)| address.port() != 0) {
            let is_inherited = inherited.iter().any(|(known, _)| *known == address);
            sockets.claim(listener, address, is_inherited)?;
        }
        for (index, listener, address) in addresses() {
            let taken = inherited.iter().position(|(known, _)| *known == address);
            let opened = match taken {
                Some(taken) => adopt(inherited.swap_remove(taken).1, listener),
                None => bind(address, listener, workers),
            };
            let failed = |error| ListenError::Bind { key: key(listener), address, error };
            let opened = opened.map_err(failed)?;
            sockets.listening.push(Listening { listener: index, ..opened });
        }
        for (address, _) in inherited {
            tracing::warn!(%address, "an inherited socket has no listener and is closed");
        }
        Ok(sockets)
    }

    /// Makes sure that nobody else serves the address, nor one that is part of it or that it is
    /// part of, and that no other instance will.
    fn claim(
        &mut self,
        listener: &Listener,
        address: SocketAddr,
        is_inherited: bool,
    ) -> Result<(), ListenError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::Locked { key: key(listener), address },
            _ => ListenError::Bind { key: key(listener), address, error },
        };
        self.locks.push(lock(address).map_err(failed)?);
        if is_inherited {
            return Ok(());
        }
        let failed = |error| ListenError::Bind { key: key(listener), address, error };
        vacated(|| bind_alone(address)).map_err(failed)
    }

    /// Handles for worker `index`: each with the place of its listener in the View.
    pub(super) fn for_worker(&self, index: usize) -> io::Result<Vec<Handle>> {
        let handle = |listening: &Listening| {
            let socket = &listening.sockets[index % listening.sockets.len()];
            let shared = listening.sockets.len() < self.workers;
            let (listener, socket) = (listening.listener, socket.try_clone()?.into());
            Ok(Handle { listener, socket, shared })
        };
        self.listening.iter().map(handle).collect()
    }

    /// How many connections may lie in the backlogs of all of them.
    pub(super) fn backlogs(&self, config: &Config) -> u32 {
        let of = |listening: &Listening| {
            // Linux holds one more than it is told to (sk_acceptq_is_full).
            let each = config.listeners[listening.listener].backlog + 1;
            each.saturating_mul(listening.sockets.len() as u32)
        };
        self.listening.iter().map(of).fold(0, u32::saturating_add)
    }

    /// The addresses as bound, with the places of their listeners.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (usize, SocketAddr)> {
        self.listening.iter().map(|listening| (listening.listener, listening.address))
    }

    /// Gives the addresses up, so that another instance may take them over while this one drains.
    pub(super) fn close(self) {
        drop(self);
    }
}

/// Fails when another instance in this network namespace holds the address.
fn lock(address: SocketAddr) -> io::Result<UnixDatagram> {
    let name = format!("ringmain/listen/{address}");
    let name = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    UnixDatagram::bind_addr(&name)
}

/// Tries for a while: the ring of a process that was killed keeps its sockets for a moment longer
/// than the process lasts.
#[allow(clippy::disallowed_methods, reason = "nobody tells when an address is free again")]
fn vacated(bind: impl Fn() -> io::Result<()>) -> io::Result<()> {
    for _ in 0..VACATING_TRIES {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
        std::thread::sleep(VACATING);
    }
    bind()
}

/// Fails if somebody listens there, or on all addresses, or on one of those that are meant. Without
/// SO_REUSEPORT, which would share the address with whoever has it.
fn bind_alone(address: SocketAddr) -> io::Result<()> {
    socket(address)?.bind(&SockAddr::from(address))
}

/// A socket that can be bound to the address.
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.cloexec().nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // An IPv4 listener on the same port is a listener of its own.
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn bind(address: SocketAddr, listener: &Listener, workers: usize) -> io::Result<Listening> {
    let mut sockets: Vec<Socket> = Vec::new();
    let mut bound = address;
    for _ in 0..workers {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit the options, which spares system calls per connection.
        set_options(&SockRef::from(&socket), &options(listener))?;
        socket.bind(&SockAddr::from(bound))?;
        bound = socket.local_addr()?.as_socket().unwrap_or(bound);
        socket.listen(backlog(listener))?;
        sockets.push(socket);
    }
    Ok(Listening { listener: 0, address: bound, sockets })
}

fn adopt(socket: Socket, listener: &Listener) -> io::Result<Listening> {
    socket.set_nonblocking(true)?;
    set_options(&SockRef::from(&socket), &options(listener))?;
    socket.listen(backlog(listener))?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    Ok(Listening { listener: 0, address, sockets: vec![socket] })
}

fn key(listener: &Listener) -> String {
    format!("listener.{}.listen", listener.name)
}

fn options(listener: &Listener) -> SocketOptions {
    socket_options(&listener.socket)
}

fn backlog(listener: &Listener) -> i32 {
    i32::try_from(listener.backlog).unwrap_or(i32::MAX)
}

/// How soon a taken address is tried again, and how often.
const VACATING: Duration = Duration::from_millis(50);
const VACATING_TRIES: u32 = 20;

/// Listening TCP sockets passed by the service manager, by address.
fn inherited() -> io::Result<Vec<(SocketAddr, Socket)>> {
    let passed = inherited_sockets()?.into_iter().map(|descriptor| {
        let socket = Socket::from(descriptor);
        let address = socket.local_addr()?.as_socket();
        Ok((address.ok_or(io::ErrorKind::Unsupported)?, socket))
    });
    passed.collect()
}
