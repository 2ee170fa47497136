//! The check `tls`: a whole handshake, as sessions of the pool make it. Sends no data.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::ProbeFailure;
use crate::tls::ClientTls;

/// How the probes of one pool speak TLS.
pub(super) struct Settings {
    pub settings: Arc<ArcSwap<ClientTls>>,
    /// In place of the name that a client would ask for.
    pub asked: Option<String>,
    /// How long a backend may take to refuse the certificate that it was shown.
    pub patience: Duration,
}

impl Settings {
    /// Shakes hands with the backend that goes by `name`, and waits for what it says to that.
    pub(super) async fn ask(
        &self,
        stream: TcpStream,
        name: &str,
        address: IpAddr,
    ) -> Result<(), ProbeFailure> {
        let settings = self.settings.load_full();
        let name = settings.name_for(name, address, self.asked.as_deref());
        let name = name.map_err(|_| ProbeFailure::Tls)?;
        let mut config = ClientConfig::clone(&settings.config_for(None));
        // A session that is resumed proves less; and the tickets are the sessions'.
        config.resumption = Resumption::disabled();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let ended = stream.shutdown().await;
        // What the backend has said comes before what became of the connection.
        timeout(self.patience, farewell(&mut stream)).await.unwrap_or(Ok(()))?;
        Ok(ended?)
    }
}

/// In TLS 1.3 the handshake is over here before the backend has looked at the certificate that it
/// was shown: if it refuses it, that is said afterwards. Whoever says nothing has not refused it.
async fn farewell(stream: &mut TlsStream<TcpStream>) -> Result<(), ProbeFailure> {
    let mut bytes = [0; 1024];
    for _ in 0..READS {
        match stream.read(&mut bytes).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // Many do not say goodbye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whoever says so much has not refused anything.
const READS: usize = 16;
