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
    let names = Names::new(config, &material.servers);
    let listener = |listener: &config::Listener| {
        let places = Places::of_listener(listener.max_connections, Arc::clone(process));
        Arc::new(names.listener(listener, listener.name.as_str().into(), Arc::new(places)))
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

/// The View as it is now, with other material: a listener that ends TLS is another one, with the
/// same places.
pub(super) fn recompose(config: &Config, material: Material, current: &View) -> View {
    let names = Names::new(config, &material.servers);
    let listener = |(listener, view): (&config::Listener, &Arc<ListenerView>)| {
        if !ends_tls(listener) {
            return Arc::clone(view);
        }
        let (name, places) = (Arc::clone(&view.name), Arc::clone(&view.places));
        Arc::new(names.listener(listener, name, places))
    };
    View {
        listeners: config.listeners.iter().zip(&current.listeners).map(listener).collect(),
        pools_tls: material.clients,
        ..current.clone()
    }
}

fn ends_tls(listener: &config::Listener) -> bool {
    let by_route =
        |route: &config::Route| matches!(&route.target, RouteTarget::Relay { tls: Some(_), .. });
    listener.tls.is_some() || listener.routes.iter().any(by_route)
}

/// What the names of a configuration stand for. It is valid: everything that one refers to exists.
struct Names<'a> {
    pools: HashMap<&'a str, PoolId>,
    servers: &'a HashMap<String, Arc<ServerTls>>,
}

impl<'a> Names<'a> {
    fn new(config: &'a Config, servers: &'a HashMap<String, Arc<ServerTls>>) -> Names<'a> {
        let pools = (0..).map(PoolId).zip(&config.pools);
        Names { pools: pools.map(|(id, pool)| (&*pool.name, id)).collect(), servers }
    }

    fn listener(
        &self,
        listener: &config::Listener,
        name: Arc<str>,
        places: Arc<Places>,
    ) -> ListenerView {
        ListenerView {
            name,
            pool: listener.pool.as_ref().map(|name| self.pool(name)),
            preface: self.preface(listener),
            idle_timeout: listener.idle_timeout,
            half_closed_timeout: listener.half_closed_timeout,
            max_connection_age: listener.max_connection_age,
            max_connection_age_jitter: listener.max_connection_age_jitter,
            places,
        }
    }

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
