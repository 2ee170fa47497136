//! Owns the ends of TLS connections that tests hold: a client, a backend's end, and a backend that
//! echoes. Blocks, and reads and writes at the same time from two threads.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Connection, HandshakeKind, ProtocolVersion,
    ServerConfig, ServerConnection, SupportedProtocolVersion,
};

use super::super::peer::Backend;
use super::super::stream::{connect, ready};
use super::authority::{Authority, Issued};

/// One end of a TLS connection.
pub struct Tls {
    pub socket: TcpStream,
    connection: Mutex<Connection>,
    /// In the clear, and not read yet.
    received: Mutex<VecDeque<u8>>,
    /// Held from the encryption to the write, so that records leave in their order.
    sending: Mutex<()>,
}

impl Tls {
    /// Connects, and shakes hands.
    pub fn connect(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Result<Tls> {
        Tls::client(connect(address), name, config).shaken()
    }

    /// A client that has said nothing yet.
    pub fn client(socket: TcpStream, name: &str, config: &Arc<ClientConfig>) -> Tls {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        Tls::new(socket, connection.into())
    }

    /// The server's end of an accepted connection.
    pub fn accept(socket: TcpStream, config: &Arc<ServerConfig>) -> Result<Tls> {
        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
        Tls::new(ready(socket), connection.into()).shaken()
    }

    fn new(socket: TcpStream, mut connection: Connection) -> Tls {
        connection.set_buffer_limit(None);
        let (received, sending) = (Mutex::default(), Mutex::default());
        Tls { socket, connection: Mutex::new(connection), received, sending }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap()
    }

    /// Says this before the server has answered, which needs a ticket that is good for it.
    pub fn say_early(&self, bytes: &[u8]) {
        let mut connection = self.connection();
        let Connection::Client(client) = &mut *connection else { panic!("a server") };
        client.early_data().expect("a ticket for early data").write_all(bytes).unwrap();
    }

    /// Whether the server has taken what was said early.
    pub fn is_early_data_taken(&self) -> bool {
        match &*self.connection() {
            Connection::Client(client) => client.is_early_data_accepted(),
            Connection::Server(_) => false,
        }
    }

    /// Shakes hands to the end.
    pub fn shaken(self) -> Result<Tls> {
        while self.connection().is_handshaking() {
            self.flush_records()?;
            if self.connection().is_handshaking() {
                self.take_in()?;
            }
        }
        self.flush_records()?;
        Ok(self)
    }

    /// What it has to send and was not sent, such as its hello.
    pub fn output(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut connection = self.connection();
        while connection.wants_write() {
            connection.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn flush_records(&self) -> Result<()> {
        let _sending = self.sending.lock().unwrap();
        let bytes = self.output();
        (&self.socket).write_all(&bytes)
    }

    /// Receives once.
    fn take_in(&self) -> Result<()> {
        let mut bytes = [0; 32 << 10];
        let length = (&self.socket).read(&mut bytes)?;
        let mut rest = &bytes[..length];
        let mut connection = self.connection();
        loop {
            connection.read_tls(&mut rest)?;
            let processed = connection.process_new_packets();
            if let Err(error) = processed {
                drop(connection);
                // The peer is told why; whether that reaches it is not our matter.
                self.flush_records().unwrap_or_default();
                return Err(Error::new(ErrorKind::InvalidData, error));
            }
            let mut plain = Vec::new();
            // An end is told to the reader that comes for it.
            connection.reader().read_to_end(&mut plain).unwrap_or_default();
            self.received.lock().unwrap().extend(plain);
            if rest.is_empty() {
                break;
            }
        }
        let ended = length == 0 && connection.is_handshaking();
        if ended { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Says that nothing more will be sent, in TLS alone.
    pub fn close(&self) {
        self.connection().send_close_notify();
        self.flush_records().unwrap();
    }

    /// The records of these bytes, which are not sent.
    pub fn sealed(&self, bytes: &[u8]) -> Vec<u8> {
        self.connection().writer().write_all(bytes).unwrap();
        self.output()
    }

    /// Sends each byte in a record of its own, all of them together.
    pub fn send_in_records(&self, bytes: &[u8]) {
        for byte in bytes.chunks(1) {
            self.connection().writer().write_all(byte).unwrap();
        }
        self.flush_records().unwrap();
    }

    /// Has both sides change their keys.
    pub fn change_keys(&self) {
        self.connection().refresh_traffic_keys().unwrap();
        self.flush_records().unwrap();
    }

    pub fn version(&self) -> ProtocolVersion {
        self.connection().protocol_version().unwrap()
    }

    pub fn is_resumed(&self) -> bool {
        self.connection().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The server has asked for another hello first.
    pub fn was_retried(&self) -> bool {
        self.connection().handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest)
    }

    /// The protocol that was agreed on.
    pub fn protocol(&self) -> Option<String> {
        let connection = self.connection();
        connection.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap())
    }

    /// The certificate that the other end has shown.
    pub fn peer(&self) -> Option<CertificateDer<'static>> {
        self.connection().peer_certificates().map(|chain| chain[0].clone().into_owned())
    }

    /// What the client has asked this server for.
    fn asked(&self) -> Option<String> {
        match &*self.connection() {
            Connection::Server(server) => server.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        }
    }
}

impl Read for &Tls {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let length = self.received.lock().unwrap().read(buffer)?;
            if length > 0 {
                return Ok(length);
            }
            match self.connection().reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.take_in()?;
            if self.connection().wants_write() {
                self.flush_records()?;
            }
        }
    }
}

impl Write for &Tls {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let sending = self.sending.lock().unwrap();
        let length = self.connection().writer().write(bytes)?;
        let records = self.output();
        (&self.socket).write_all(&records)?;
        drop(sending);
        Ok(length)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The alert that an error is about.
#[track_caller]
pub fn alert(error: &Error) -> AlertDescription {
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("no alert: {error:?}"),
    }
}

/// A client that trusts this authority.
pub fn client(authority: &Authority) -> ClientConfig {
    client_of(authority, rustls::ALL_VERSIONS)
}

/// The same with these versions of TLS alone.
pub fn client_of(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_protocol_versions(versions);
    builder.with_root_certificates(authority.roots()).with_no_client_auth()
}

/// The same with a certificate of its own.
pub fn client_with(
    authority: &Authority,
    own: &Issued,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_protocol_versions(versions);
    let builder = builder.with_root_certificates(authority.roots());
    builder.with_client_auth_cert(own.chain(), own.private_key()).unwrap()
}

pub fn server(own: &Issued) -> ServerConfig {
    let builder = ServerConfig::builder().with_no_client_auth();
    builder.with_single_cert(own.chain(), own.private_key()).unwrap()
}

/// One that asks its clients for a certificate of this authority.
pub fn server_verifying(own: &Issued, authority: &Authority) -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder(Arc::new(authority.roots())).build().unwrap();
    let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
    builder.with_single_cert(own.chain(), own.private_key()).unwrap()
}

/// A backend that ends TLS itself and sends back what it receives, on any number of connections.
pub struct SecureEcho {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Ends the accept(2) of its thread.
    listener: std::net::TcpListener,
}

/// What one handshake with a backend came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub server_name: Option<String>,
    pub protocol: Option<String>,
    pub client: Option<CertificateDer<'static>>,
    pub resumed: bool,
}

impl SecureEcho {
    pub fn start(config: ServerConfig) -> SecureEcho {
        SecureEcho::on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), config)
    }

    pub fn on(address: SocketAddr, config: ServerConfig) -> SecureEcho {
        let Backend { listener, address } = Backend::on(address);
        socket2::SockRef::from(&listener).set_read_timeout(None).unwrap();
        let (config, seen) = (Arc::new(config), Arc::<Mutex<Vec<Seen>>>::default());
        let (accepting, noted) = (listener.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            while let Ok((socket, _)) = accepting.accept() {
                let (config, noted) = (Arc::clone(&config), Arc::clone(&noted));
                std::thread::spawn(move || echo(socket, &config, &noted));
            }
        });
        SecureEcho { address, seen, listener }
    }

    /// What its handshakes came to so far, those that failed aside.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for SecureEcho {
    fn drop(&mut self) {
        socket2::SockRef::from(&self.listener).shutdown(std::net::Shutdown::Both).unwrap();
    }
}

/// Until the client ends its stream in order.
fn echo(socket: TcpStream, config: &Arc<ServerConfig>, seen: &Mutex<Vec<Seen>>) {
    let Ok(tls) = Tls::accept(socket, config) else { return };
    seen.lock().unwrap().push(Seen {
        server_name: tls.asked(),
        protocol: tls.protocol(),
        client: tls.peer(),
        resumed: tls.is_resumed(),
    });
    if std::io::copy(&mut &tls, &mut &tls).is_ok() {
        tls.close();
        tls.socket.shutdown(std::net::Shutdown::Write).unwrap_or_default();
    }
}
