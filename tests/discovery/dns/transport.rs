//! Owns the server's sockets and threads: UDP and TCP on one port. Knows nothing of names.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use socket2::SockRef;

use super::behaviour::Reply;
use super::server::Shared;

/// Ends its threads when it is dropped, and its port is closed then.
pub struct Transport {
    pub address: SocketAddr,
    udp: UdpSocket,
    tcp: Option<TcpListener>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Transport {
    /// Tries again where the port that is free for TCP is taken for UDP.
    pub fn open(ip: IpAddr) -> Transport {
        let any = SocketAddr::from((ip, 0));
        (0..50).find_map(|_| Transport::open_at(any).ok()).expect("no port is free for both")
    }

    pub fn open_at(address: SocketAddr) -> io::Result<Transport> {
        let tcp = TcpListener::bind(address)?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address)?;
        Ok(Transport { address, udp, tcp: Some(tcp), ended: Arc::default(), threads: Vec::new() })
    }

    pub fn without_tcp(mut self) -> Transport {
        self.tcp = None;
        self
    }

    pub(super) fn serve(&mut self, shared: &Arc<Shared>) {
        let (udp, ended) = (self.udp.try_clone().unwrap(), self.ended.clone());
        let of_udp = shared.clone();
        self.threads.push(spawn(move || serve_udp(&udp, &of_udp, &ended)));
        if let Some(tcp) = &self.tcp {
            let (tcp, shared) = (tcp.try_clone().unwrap(), shared.clone());
            self.threads.push(spawn(move || serve_tcp(&tcp, &shared)));
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // An empty datagram ends the wait of the other thread, a shutdown that of the third.
        self.udp.send_to(&[], self.address).unwrap();
        if let Some(tcp) = &self.tcp {
            SockRef::from(tcp).shutdown(Shutdown::Both).unwrap();
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Shared, ended: &AtomicBool) {
    let elsewhere = UdpSocket::bind((socket.local_addr().unwrap().ip(), 0)).unwrap();
    let mut buffer = vec![0; 65_535];
    while !ended.load(Ordering::Acquire) {
        // A client that has gone is reported with the next call, and is none of ours.
        let Ok((length, source)) = socket.recv_from(&mut buffer) else { continue };
        for reply in shared.replies(&buffer[..length], source, false) {
            let (from, bytes) = match &reply {
                Reply::Elsewhere(bytes) => (&elsewhere, bytes),
                Reply::Message(bytes) => (socket, bytes),
                Reply::Pieces(_) | Reply::Half(_) | Reply::Close => continue,
            };
            // Whoever has heard enough has closed its port.
            from.send_to(bytes, source).unwrap_or_default();
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, source)) = listener.accept() {
        let shared = shared.clone();
        // The connection ends with an error when the client has gone, which it may.
        spawn(move || serve_stream(&stream, source, &shared).unwrap_or_default());
    }
}

/// Until the client ends the stream, or says nothing for long.
fn serve_stream(mut stream: &TcpStream, source: SocketAddr, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut query)?;
        for reply in shared.replies(&query, source, true) {
            match reply {
                Reply::Message(bytes) | Reply::Elsewhere(bytes) => {
                    stream.write_all(&framed(&bytes))?;
                }
                Reply::Pieces(bytes) => {
                    framed(&bytes).chunks(1).try_for_each(|byte| stream.write_all(byte))?;
                }
                Reply::Half(bytes) => {
                    let framed = framed(&bytes);
                    stream.write_all(&framed[..framed.len() / 2])?;
                }
                Reply::Close => return Ok(()),
            }
        }
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes(), message].concat()
}

const PATIENCE: Duration = Duration::from_secs(20);
