//! Owns where a peer accepts: the sockets, and the TLS it ends there; it relays nothing.

use std::io;
use std::net::{SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;

use crate::certificates;
use crate::sockets;

/// One address, with or without TLS.
pub struct Front {
    pub listener: TcpListener,
    pub tls: Option<Arc<ServerConfig>>,
}

impl Front {
    pub fn plain(address: SocketAddrV4) -> io::Result<Self> {
        let listener = sockets::listener(address)?;
        // The runtimes wait for what is ready.
        listener.set_nonblocking(true)?;
        Ok(Self { listener, tls: None })
    }

    pub fn tls(address: SocketAddrV4, certificate: &Path) -> io::Result<Self> {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(certificate).map_err(io::Error::other)?.collect();
        let key = PrivateKeyDer::from_pem_file(certificates::key_of(certificate));
        let config = config(chain.map_err(io::Error::other)?, key.map_err(io::Error::other)?);
        let tls = Some(Arc::new(config.map_err(io::Error::other)?));
        Ok(Self { tls, ..Self::plain(address)? })
    }
}

/// TLS 1.3 with tickets, and the defaults of rustls otherwise.
pub fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ticketer = Ticketer::new()?;
    // For gRPC; who offers none is given none.
    config.alpn_protocols.push(b"h2".to_vec());
    Ok(config)
}

/// `ADDRESS=CERTIFICATE`, the key being beside the certificate.
pub fn parse_tls(text: &str) -> Result<(SocketAddrV4, PathBuf), String> {
    let (address, path) = text.split_once('=').ok_or("ADDRESS=CERTIFICATE is needed")?;
    let address = address.parse().map_err(|_| format!("{address} is no address with a port"))?;
    Ok((address, path.into()))
}
