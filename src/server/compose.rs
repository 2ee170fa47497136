//! From the configuration to what the workers read.

use std::collections::HashMap;
use std::sync::Arc;

use crate::balance::{PoolId, Snapshot};
use crate::config::{self, Config, RouteTarget};
use crate::tls::ServerTls;
use crate::view::{Limits, ListenerView, Outcome, Places, PlainText, Preface, Routes, Rule, View};

use super::material::Material;

/// The first View of a configuration, with what was loaded for it and its pools as they are now.
/// `process` holds the places of all listeners.
pub(super) fn compose(
    config: &Config,
    material: Material,
    snapshot: Snapshot,
    process: &Arc<Places>,
) -> View {
    let pools = (0..).map(PoolId).zip(&config.pools);
    let names = Names {
        pools: pools.map(|(id, pool)| (&*pool.name, id)).collect(),
        servers: &material.servers,
    };
    let listener = |listener: &config::Listener| {
        let places = Places::of_listener(listener.max_connections, Arc::clone(process));
        Arc::new(ListenerView {
            name: listener.name.as_str().into(),
            pool: listener.pool.as_ref().map(|name| names.pool(name)),
            preface: names.preface(listener),
            idle_timeout: listener.idle_timeout,
            half_closed_timeout: listener.half_closed_timeout,
            max_connection_age: listener.max_connection_age,
            max_connection_age_jitter: listener.max_connection_age_jitter,
            places: Arc::new(places),
        })
    };
    let failure_window =
        |pool: &config::Pool| pool.ejection.as_ref().map(|ejection| ejection.window);
    View {
        snapshot: Arc::new(snapshot),
        listeners: config.listeners.iter().map(listener).collect(),
        pools_tls: material.clients,
        failure_windows: config.pools.iter().map(failure_window).collect(),
        limits: Limits {
            linger_timeout: config.process.linger_timeout,
            handshakes: config.process.max_handshakes,
        },
    }
}

/// What the names of a configuration stand for. It is valid: everything that one refers to exists.
struct Names<'a> {
    pools: HashMap<&'a str, PoolId>,
    servers: &'a HashMap<String, Arc<ServerTls>>,
}

impl Names<'_> {
    fn pool(&self, name: &str) -> PoolId {
        self.pools[name]
    }

    /// `None`: nothing is read of the listener's sessions first.
    fn preface(&self, listener: &config::Listener) -> Option<Preface> {
        if listener.tls.is_none() && listener.routes.is_empty() {
            return None;
        }
        let unmatched = match &listener.pool {
            Some(pool) => self.relay(pool, listener.tls.as_deref()),
            None => Outcome::Reject,
        };
        Some(Preface {
            timeout: listener.hello_timeout,
            size: listener.hello_size,
            plain_text: match listener.plain_text {
                config::PlainText::Reject => PlainText::Reject,
                config::PlainText::Pass => PlainText::Pass,
            },
            routes: Routes::new(unmatched, listener.routes.iter().map(|route| self.rule(route))),
        })
    }

    fn rule(&self, route: &config::Route) -> Rule {
        Rule {
            server_names: route.server_names.clone(),
            alpn: route.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(),
            outcome: match &route.target {
                RouteTarget::Relay { pool, tls } => self.relay(pool, tls.as_deref()),
                RouteTarget::Reject => Outcome::Reject,
            },
        }
    }

    fn relay(&self, pool: &str, tls: Option<&str>) -> Outcome {
        let tls = tls.map(|name| Arc::clone(&self.servers[name]));
        Outcome::Relay { pool: self.pool(pool), tls }
    }
}
