//! A pool's check, made ready to be asked often: what can be worked out once is. Knows nothing of
//! when it is asked and what follows.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::failure::ProbeFailure;
use super::grpc::Call;
use super::http::Question;
use super::pool_tls::Settings;
use super::tls::Tls;
use super::{dial, hello, send_expect};
use crate::config::{Check, Health};
use crate::tls::ClientTls;

/// Asks the backends of one pool what its check asks.
pub struct Prober {
    check: Ready,
    /// Of a whole probe.
    timeout: Duration,
    source_addresses: Vec<IpAddr>,
    port: Option<u16>,
}

/// A check with all that its probes share.
enum Ready {
    Tcp,
    Tls(Settings),
    TlsHello { hello: Vec<u8> },
    Http { question: Question, tls: Option<Tls> },
    Grpc { call: Call, authority: Option<String>, tls: Option<Tls> },
    SendExpect { send: Vec<u8>, expect: Vec<u8> },
}

/// A part of a check that no probe could be made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCheck {
    ServerName,
    Method,
    Path,
    Host,
    Service,
    Settings,
}

impl Prober {
    /// `pool_tls` is how TLS is spoken with the backends of the pool, if it is.
    pub fn new(
        health: &Health,
        pool_tls: Option<Arc<ArcSwap<ClientTls>>>,
    ) -> Result<Prober, BadCheck> {
        let server_name = health.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
        let tls = |protocol: &[u8]| -> Result<Option<Tls>, BadCheck> {
            let tls = health.tls.as_ref().map(|_| Tls::new(server_name, &[protocol]));
            tls.map(|tls| tls.ok_or(BadCheck::ServerName)).transpose()
        };
        let grpc = |call| -> Result<Ready, BadCheck> {
            let authority = server_name.map(str::to_owned);
            Ok(Ready::Grpc { call, authority, tls: tls(b"h2")? })
        };
        let check = match &health.check {
            Check::Tcp => Ready::Tcp,
            Check::TlsHello { server_name } => {
                let hello = hello::client_hello(server_name.as_deref());
                Ready::TlsHello { hello: hello.ok_or(BadCheck::ServerName)? }
            }
            Check::Tls { server_name } => {
                let settings = pool_tls.ok_or(BadCheck::Settings)?;
                let patience = health.timeout / 4;
                Ready::Tls(Settings { settings, asked: server_name.clone(), patience })
            }
            Check::Http { method, path, host, status } => Ready::Http {
                question: Question::new(method, path, host.as_deref(), status)?,
                tls: tls(b"http/1.1")?,
            },
            Check::Grpc { service } => grpc(Call::health(service)?)?,
            Check::Vector => grpc(Call::vector())?,
            Check::SendExpect { send, expect } => {
                Ready::SendExpect { send: send.clone(), expect: expect.clone() }
            }
        };
        Ok(Prober {
            check,
            timeout: health.timeout,
            source_addresses: health.source_addresses.clone(),
            port: health.port,
        })
    }

    /// Probes the backend of this name: its addresses in order until one answers well. Each may
    /// use an equal share of the time that is left, so that one which swallows everything leaves
    /// some to the next. The failure is the last one's.
    pub async fn probe(&self, name: &str, addresses: &[SocketAddr]) -> Result<(), ProbeFailure> {
        let deadline = Instant::now() + self.timeout;
        let mut result = Err(ProbeFailure::Defect);
        for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
            let mut address = *address;
            address.set_port(self.port.unwrap_or(address.port()));
            let begun = Instant::now();
            let share =
                deadline.saturating_duration_since(begun) / u32::try_from(left).unwrap_or(1);
            let asked = timeout_at(begun + share, self.ask(name, address)).await;
            result = asked.unwrap_or(Err(ProbeFailure::Timeout));
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn ask(&self, name: &str, address: SocketAddr) -> Result<(), ProbeFailure> {
        match &self.check {
            Ready::Tcp => Ok(dial::knock(address, &self.source_addresses).await?),
            // Apart, because what they need room for would make every probe larger.
            Ready::Tls(settings) => {
                Box::pin(async {
                    settings.ask(self.converse(address).await?, name, address.ip()).await
                })
                .await
            }
            Ready::TlsHello { hello } => hello::ask(self.connect(address).await?, hello).await,
            Ready::Http { question, tls: None } => {
                question.ask(self.connect(address).await?, address).await
            }
            Ready::SendExpect { send, expect } => {
                send_expect::ask(self.connect(address).await?, send, expect).await
            }
            Ready::Http { question, tls: Some(tls) } => {
                Box::pin(async {
                    let stream = tls.connect(self.converse(address).await?).await?;
                    question.ask(stream, address).await
                })
                .await
            }
            Ready::Grpc { call, authority, tls } => {
                let authority = authority.as_deref();
                Box::pin(self.call(address, call, authority, tls.as_ref())).await
            }
        }
    }

    async fn call(
        &self,
        address: SocketAddr,
        call: &Call,
        authority: Option<&str>,
        tls: Option<&Tls>,
    ) -> Result<(), ProbeFailure> {
        let stream = self.converse(address).await?;
        let address = address.to_string();
        match tls {
            None => call.ask(stream, "http", &address).await,
            Some(tls) => {
                let stream = tls.connect(stream).await?;
                call.ask(stream, "https", authority.unwrap_or(&address)).await
            }
        }
    }

    /// For who sends once and waits for the answer.
    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        dial::connect(address, &self.source_addresses).await
    }

    /// For who sends several times.
    async fn converse(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = self.connect(address).await?;
        // Else what is sent second would wait until the first is acknowledged.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl BadCheck {
    /// Where it stands in the configuration, below the pool's `health`.
    pub fn key(self) -> &'static str {
        match self {
            BadCheck::ServerName => "tls_server_name",
            BadCheck::Method => "method",
            BadCheck::Path => "path",
            BadCheck::Host => "host",
            BadCheck::Service => "service",
            BadCheck::Settings => "check",
        }
    }
}

impl fmt::Display for BadCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadCheck::ServerName => "the server name is not one that TLS can send",
            BadCheck::Method => "the method is not one of HTTP",
            BadCheck::Path => {
                "the path does not begin with a slash, or holds what HTTP does not allow"
            }
            BadCheck::Host => "the host holds characters that HTTP does not allow",
            BadCheck::Service => "the service's name is too long",
            BadCheck::Settings => "the pool's settings for TLS are not at hand",
        })
    }
}

impl std::error::Error for BadCheck {}
