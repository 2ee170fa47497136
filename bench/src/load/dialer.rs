//! Owns how the clients of one run reach the proxy, and whether they speak TLS to it; what they say
//! is theirs.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use rustls::CommonState;
use rustls::pki_types::CertificateDer;

use super::channel::Channel;
use super::tls::{self, Terms};
use super::{Fault, sockets};

pub struct Dialer {
    target: SocketAddrV4,
    tls: Option<tls::Client>,
}

impl Dialer {
    /// Where there are terms, servers must show a certificate signed by `root`.
    pub fn new(
        target: SocketAddrV4,
        terms: Option<Terms>,
        root: &CertificateDer<'static>,
    ) -> Result<Self, Fault> {
        let tls = terms.map(|terms| tls::Client::new(terms, root)).transpose()?;
        Ok(Self { target, tls })
    }

    /// Begins to connect, from wherever the kernel chooses.
    pub fn dial(&self) -> Result<Channel, Fault> {
        self.dial_with(sockets::stream()?)
    }

    /// Begins to connect with this socket.
    pub fn dial_with(&self, socket: OwnedFd) -> Result<Channel, Fault> {
        sockets::connect(&socket, self.target)?;
        match &self.tls {
            Some(tls) => Ok(Channel::with_tls(socket, tls.begin()?)),
            None => Ok(Channel::plain(socket)),
        }
    }

    /// Counts a handshake, and holds it against the terms.
    pub fn inspect(&mut self, state: &CommonState) {
        if let Some(tls) = &mut self.tls {
            tls.audit.inspect(state);
        }
    }

    /// Whether all handshakes were what they should have been.
    pub fn verdict(&self) -> Result<(), Fault> {
        self.tls.as_ref().map_or(Ok(()), |tls| tls.audit.verdict())
    }

    /// Where sessions are to be resumed: the tickets at hand, which are kept until `resume`.
    pub fn tickets(&self) -> Option<usize> {
        self.tls.as_ref().and_then(tls::Client::tickets)
    }

    /// From now on, every handshake resumes a session, if that is what the run is about.
    pub fn resume(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.resume();
        }
    }
}
