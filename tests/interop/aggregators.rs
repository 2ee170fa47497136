//! Owns aggregators that are found by SRV records: nginx processes that say who they are, and that
//! are killed and started again.

use std::net::SocketAddr;

use super::address;
use super::nginx::Nginx;

pub const ZONE: &str = "agg.test";
pub const SERVICE: &str = "_vector._tcp.agg.test";

pub struct Aggregator {
    number: usize,
    address: SocketAddr,
    nginx: Option<Nginx>,
}

impl Aggregator {
    pub fn start(number: usize) -> Aggregator {
        let mut aggregator = Aggregator { number, address: address::own(), nginx: None };
        aggregator.restart();
        aggregator
    }

    /// The name by which the proxy knows it, and by which it answers.
    pub fn name(&self) -> String {
        format!("agg-{}.{ZONE}:{}", self.number, self.address.port())
    }

    /// What leads clients to it.
    pub fn service(&self) -> String {
        let (number, port) = (self.number, self.address.port());
        format!("{SERVICE}. SRV 0 10 {port} agg-{number}.{ZONE}.")
    }

    pub fn host(&self) -> String {
        format!("agg-{}.{ZONE}. A {}", self.number, self.address.ip())
    }

    /// The kernel ends its connections.
    pub fn kill(&mut self) {
        self.nginx = None;
    }

    /// At the same address. Connections are kept for as long as the clients want.
    pub fn restart(&mut self) {
        let (address, name) = (self.address, self.name());
        self.nginx = Some(Nginx::http(&format!(
            r#"
            keepalive_requests 1000000;
            keepalive_timeout 10m;
            server {{ listen {address}; return 200 "{name}"; }}
            "#
        )));
    }
}
