//! Owns a proxy that checks backends, and what it says of each. Sends nothing through it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::net::SocketAddr;

use serde_json::Value;

use super::process::{DEADLINE, now};
use super::proxy::Proxy;

pub struct Checks {
    proxy: Proxy,
    /// What has been said of a pool and not been asked for.
    said: BTreeMap<String, VecDeque<String>>,
}

impl Checks {
    /// One pool for each name, with one backend and these lines on how it is checked. A backend is
    /// taken to be up at first, and one probe is enough to change that.
    pub fn start(pools: &[(&str, SocketAddr, &str)]) -> Checks {
        let mut text = String::from("[process]\nworkers = 1\n[admin]\nlisten = \"off\"\n");
        for (name, address, check) in pools {
            write!(
                text,
                "[listener.\"{name}\"]\nlisten = \"127.0.0.1:0\"\npool = \"{name}\"\n\
                 [pool.\"{name}\"]\nbackends = [\"{address}\"]\n\
                 [pool.\"{name}\".health]\n{check}\ninterval = \"100ms\"\ntimeout = \"10s\"\n\
                 rise = 1\nfall = 1\n",
            )
            .unwrap();
        }
        Checks::of(Proxy::with_text(&text))
    }

    pub fn of(proxy: Proxy) -> Checks {
        Checks { proxy, said: BTreeMap::new() }
    }

    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The next change in a pool is this one, for this reason.
    pub fn expect(&mut self, pool: &str, change: &str, reason: &str) {
        let began = now();
        let said = loop {
            if let Some(said) = self.said.get_mut(pool).and_then(VecDeque::pop_front) {
                break said;
            }
            assert!(began.elapsed() < DEADLINE, "nothing is said of {pool}");
            let line = self.proxy.log(&format!("of {pool}: {change} {reason}"));
            if let (Some(pool), Some(said)) = (line["pool"].as_str(), line["message"].as_str()) {
                self.said.entry(pool.to_owned()).or_default().push_back(said.to_owned());
            }
        };
        assert!(said.contains(change) && said.contains(reason), "of {pool}: {said}");
    }

    /// Ends the proxy in order; gives the lines of the access log.
    pub fn stop(self) -> Vec<Value> {
        self.proxy.stop_warned()
    }
}
