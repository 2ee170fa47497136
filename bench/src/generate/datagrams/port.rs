//! Owns one socket of datagrams: how it is made, what it sends and receives without waiting, and
//! what the kernel had no room for. What datagrams mean is not its concern.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::{Rc, Weak};

use ringmain::engine::{Interest, Polled};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recvfrom, send, sendto, sockopt};

use super::super::cause::Cause;
use super::super::record::Recorder;
use super::super::stage::Stage;
#[cfg(test)]
use super::simulated;

/// A socket; when it goes, the recorder is told what found no room here.
pub struct Port {
    stage: Rc<Stage>,
    carrier: Carrier,
    /// What the kernel had dropped when counting began.
    dropped_before: Cell<u32>,
}

enum Carrier {
    Kernel(Polled),
    #[cfg(test)]
    Simulated(simulated::Place),
}

impl Port {
    /// A socket of an agent, which sends to `target` and hears of nobody else.
    pub fn connect(
        stage: &Rc<Stage>,
        target: SocketAddr,
        source: Option<IpAddr>,
    ) -> Result<Rc<Port>, Cause> {
        #[cfg(test)]
        if let Some(network) = stage.network.get() {
            return Ok(Port::new(stage, Carrier::Simulated(network.connect(target))));
        }
        let unspecified = match target {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((source.unwrap_or(unspecified), 0))?;
        socket.connect(target)?;
        grant_room(&socket, AGENT_ROOM)?;
        Ok(Port::adopt(stage, socket))
    }

    /// A socket that was made elsewhere.
    pub fn adopt(stage: &Rc<Stage>, socket: UdpSocket) -> Rc<Port> {
        Port::new(stage, Carrier::Kernel(Polled::new(&stage.engine, socket.into())))
    }

    #[cfg(test)]
    pub fn simulated(stage: &Rc<Stage>, place: simulated::Place) -> Rc<Port> {
        Port::new(stage, Carrier::Simulated(place))
    }

    fn new(stage: &Rc<Stage>, carrier: Carrier) -> Rc<Port> {
        let (stage, dropped_before) = (Rc::clone(stage), Cell::new(0));
        let port = Rc::new(Port { stage, carrier, dropped_before });
        let stage = &port.stage;
        stage.note_port(&port);
        if stage.window.get().is_none_or(|window| stage.now() < window.begin) {
            stage.engine.spawn(begin_to_count(Rc::downgrade(&port), Rc::clone(stage)));
        }
        port
    }

    /// The length of the next datagram, which is now in `room`, and who sent it; `WouldBlock` if
    /// there is none. A length of 0 is a datagram like any other.
    pub fn receive(&self, room: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match &self.carrier {
            Carrier::Kernel(socket) => {
                let (_, length, from) = recvfrom(socket, room, RecvFlags::DONTWAIT)?;
                let from = from.ok_or(Errno::AFNOSUPPORT)?;
                Ok((length, SocketAddr::try_from(from)?))
            }
            #[cfg(test)]
            Carrier::Simulated(place) => place.receive(room),
        }
    }

    /// Sends a datagram to whom it is connected; `WouldBlock` if there is no room.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.carrier {
            Carrier::Kernel(socket) => Ok(send(socket, bytes, AT_ONCE).map(|_| ())?),
            #[cfg(test)]
            Carrier::Simulated(place) => place.send(bytes, None),
        }
    }

    pub fn send_to(&self, bytes: &[u8], target: SocketAddr) -> io::Result<()> {
        match &self.carrier {
            Carrier::Kernel(socket) => Ok(sendto(socket, bytes, AT_ONCE, &target).map(|_| ())?),
            #[cfg(test)]
            Carrier::Simulated(place) => place.send(bytes, Some(target)),
        }
    }

    /// Waits until one of `interest` can be done, or there is an error to be had.
    pub async fn ready(&self, interest: Interest) -> io::Result<()> {
        match &self.carrier {
            Carrier::Kernel(socket) => socket.ready(interest).await.map(|_| ()),
            #[cfg(test)]
            Carrier::Simulated(place) => {
                place.ready(interest).await;
                Ok(())
            }
        }
    }

    /// Throws away what has come: it belongs to a run before.
    pub fn forget(&self) {
        while self.receive(&mut [0; 64]).is_ok() {}
    }

    /// Tells the recorder what was dropped since the last time.
    pub fn settle(&self, recorder: &mut Recorder) {
        let ever = self.dropped_ever();
        let dropped = ever.wrapping_sub(self.dropped_before.replace(ever));
        recorder.dropped(u64::from(dropped), self.stage.now());
    }

    /// Datagrams that the kernel had no room for here.
    fn dropped_ever(&self) -> u32 {
        match &self.carrier {
            // A kernel that does not say has none to show; what was dropped is lost all the same.
            Carrier::Kernel(socket) => socket.packets_dropped().unwrap_or(0),
            #[cfg(test)]
            Carrier::Simulated(place) => place.dropped(),
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.settle(&mut self.stage.recorder.borrow_mut());
    }
}

/// Has `port` forget what was dropped before the window.
async fn begin_to_count(port: Weak<Port>, stage: Rc<Stage>) {
    if stage.counting().await
        && let Some(port) = port.upgrade()
    {
        port.dropped_before.set(port.dropped_ever());
    }
}

/// Asks for a receive buffer of so many bytes: above the host's limit for everybody if the process
/// may, else up to the limit. How many it has got.
pub fn grant_room(socket: &UdpSocket, bytes: usize) -> io::Result<usize> {
    if sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        sockopt::set_socket_recv_buffer_size(socket, bytes)?;
    }
    // The kernel says twice as much as it was asked for, and keeps its books in that.
    Ok(sockopt::socket_recv_buffer_size(socket)? / 2)
}

/// What a datagram carries: what IPv4 takes, less the headers of IP and UDP.
pub const LONGEST: usize = 65_535 - 20 - 8;
/// Bytes that may wait at an agent, and at a backend, which all agents of a group send to. Small
/// datagrams count for about 800 each.
const AGENT_ROOM: usize = 1 << 20;
pub const BACKEND_ROOM: usize = 16 << 20;
const AT_ONCE: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
