//! The tour: five kinds of traffic through the proxy, each checked and shown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::observe::AccessRecord;
use crate::server::Serving;

use super::certificate::{ENDED, PASSED};
use super::client::{self, Exchange};
use super::error::DemoError;
use super::screen::{Screen, bytes, duration, per_second};
use super::sessions::Sessions;

/// How much the tour sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amounts {
    /// Connections of each client; there are `CLIENTS` at a time.
    pub(super) requests: usize,
    pub(super) lines: usize,
    /// Blocks of `BLOCK` bytes.
    pub(super) blocks: usize,
    /// With each of the two server names.
    pub(super) tls_sessions: usize,
}

pub(super) struct Tour<'a, 's> {
    pub(super) amounts: Amounts,
    pub(super) serving: &'a Serving,
    pub(super) connector: &'a TlsConnector,
    pub(super) sessions: &'a mut Sessions,
    pub(super) screen: &'a mut Screen<'s>,
}

impl Tour<'_, '_> {
    /// Goes through all steps; the first that fails ends it.
    pub(super) async fn run(&mut self) -> Result<(), DemoError> {
        within("Requests", self.requests()).await?;
        within("Lines", self.lines()).await?;
        within("Bulk", self.bulk()).await?;
        within("TLS", self.tls_passed()).await?;
        within("TLS ended", self.tls_ended()).await
    }

    async fn requests(&mut self) -> io::Result<()> {
        let (proxy, requests) = (self.address("echo"), self.amounts.requests);
        let count = CLIENTS * requests;
        let about = format!("{count} connections, {CLIENTS} at a time, 64 bytes there and back");
        self.screen.title("Requests", about);
        let begun = client::now();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(async move {
                let mut exchanges = Vec::new();
                for _ in 0..requests {
                    exchanges.push(client::echo(proxy, REQUEST).await?);
                }
                Ok::<_, io::Error>(exchanges)
            });
        }
        let mut exchanges = Vec::new();
        while let Some(ended) = clients.join_next().await {
            exchanges.extend(ended.map_err(io::Error::other)??);
        }
        let rate = count as f64 / (client::now() - begun).as_secs_f64();
        let records = self.sessions.of(&exchanges, self.screen).await?;
        self.screen.sessions(&records);
        self.screen.fact("latency", latency(&exchanges));
        self.screen.fact("intact", format_args!("every answer; {rate:.0} connections per second"));
        Ok(())
    }

    async fn lines(&mut self) -> io::Result<()> {
        let count = self.amounts.lines;
        self.screen.title("Lines", format_args!("one connection with {count} lines"));
        let text: String = (0..count).map(|line| format!("a line of the demo: {line}\n")).collect();
        let exchange = client::lines(self.address("lines"), &text).await?;
        self.show_one(&exchange).await?;
        let rate = per_second(text.len() as u64, exchange.took);
        self.screen.fact("intact", format_args!("every line and byte counted; {rate}"));
        Ok(())
    }

    async fn bulk(&mut self) -> io::Result<()> {
        let moved = (BLOCK * self.amounts.blocks) as u64;
        let about = format!("one connection with {} there and back", bytes(moved));
        self.screen.title("Bulk", about);
        let block = block();
        let exchange = client::bulk(self.address("echo"), &block, self.amounts.blocks).await?;
        self.show_one(&exchange).await?;
        let rate = per_second(moved, exchange.took);
        self.screen.fact("intact", format_args!("every byte compared; {rate} in each direction"));
        Ok(())
    }

    async fn tls_passed(&mut self) -> io::Result<()> {
        let count = self.amounts.tls_sessions;
        let about = format!("{count} sessions, asking for {PASSED}: passed through unopened");
        self.screen.title("TLS", about);
        self.tls(PASSED).await?;
        self.screen.fact("intact", "every answer; the backend's own certificate verified");
        Ok(())
    }

    async fn tls_ended(&mut self) -> io::Result<()> {
        let count = self.amounts.tls_sessions;
        let about = format!("{count} sessions, asking for {ENDED}: in the clear to the backends");
        self.screen.title("TLS ended", about);
        let records = self.tls(ENDED).await?;
        self.screen.handshakes(&records);
        self.screen.fact("intact", "every answer; the proxy's own certificate verified");
        Ok(())
    }

    /// Sessions over TLS, one after the other, with this server name.
    async fn tls(&mut self, name: &'static str) -> io::Result<Vec<AccessRecord>> {
        let proxy = self.address("tls");
        let mut exchanges = Vec::new();
        for _ in 0..self.amounts.tls_sessions {
            exchanges.push(client::tls_echo(proxy, self.connector, name, REQUEST).await?);
        }
        let records = self.sessions.of(&exchanges, self.screen).await?;
        self.screen.sessions(&records);
        self.screen.fact("latency", latency(&exchanges));
        Ok(records)
    }

    async fn show_one(&mut self, exchange: &Exchange) -> io::Result<()> {
        for record in self.sessions.of(&[*exchange], self.screen).await? {
            self.screen.session(&record);
        }
        Ok(())
    }

    fn address(&self, listener: &str) -> SocketAddr {
        address(self.serving, listener)
    }
}

/// Where a listener of the demo is reached.
pub(super) fn address(serving: &Serving, listener: &str) -> SocketAddr {
    let named = |(name, _): &&(Arc<str>, SocketAddr)| &**name == listener;
    // Holds: the demo asks for the listeners of its own configuration.
    serving.listeners.iter().find(named).expect("a listener of this name").1
}

async fn within(
    step: &'static str,
    work: impl Future<Output = io::Result<()>>,
) -> Result<(), DemoError> {
    let outcome = tokio::time::timeout(STEP_TIMEOUT, work).await;
    let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    outcome.map_err(|error| DemoError::Step(step, error))
}

/// Connect, request and answer together.
fn latency(exchanges: &[Exchange]) -> String {
    // Holds: the bounds are constant and valid.
    let mut latencies =
        Histogram::<u64>::new_with_max(STEP_TIMEOUT.as_micros() as u64, 3).expect("valid bounds");
    for exchange in exchanges {
        latencies.saturating_record(exchange.took.as_micros() as u64);
    }
    let at = |quantile| duration(Duration::from_micros(latencies.value_at_quantile(quantile)));
    format!("p50 {}, p90 {}, p99 {}, longest {}", at(0.5), at(0.9), at(0.99), at(1.0))
}

/// Bytes in which a shift or a swap shows.
fn block() -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    fastrand::Rng::with_seed(SEED).fill(&mut block);
    block
}

const CLIENTS: usize = 8;
const REQUEST: &[u8; 64] = b"A request of the demo: 64 bytes to a backend and the same back.\n";
/// Odd, so that no power of two is a multiple of it: a lost buffer does not go unnoticed.
const BLOCK: usize = 999_983;
const SEED: u64 = 7070;
/// Far more than a step takes on a slow host.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);
