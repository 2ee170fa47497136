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
            hello_memory: config.process.relay_memory / HELLO_SHARE,
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
        if !listener.reads_hellos {
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

/// The part of the relay memory that hellos may take besides.
const HELLO_SHARE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use tempfile::TempDir;

    use crate::server::material::Stock;

    /// The View of a configuration in which `DIR` is a folder with a certificate and its key.
    fn view(text: &str) -> (View, HashMap<String, Arc<ServerTls>>) {
        let folder = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(["a.b".to_owned()]).unwrap();
        std::fs::write(folder.path().join("c"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("k"), made.signing_key.serialize_pem()).unwrap();
        let text = text.replace("DIR", folder.path().to_str().unwrap());
        let config = config::parse(&text, "x").unwrap_or_else(|errors| panic!("{errors}"));
        let material = Stock::load(&config).unwrap_or_else(|errors| panic!("{errors}")).material();
        let servers = material.servers.clone();
        let process = Arc::new(Places::of_process(1, 0, Box::new(|| ())));
        (compose(&config, material, Snapshot::new(Vec::new()), &process), servers)
    }

    /// Where a session goes that asks for this name, and by whom TLS is ended.
    fn way(
        listener: &ListenerView,
        name: Option<&str>,
    ) -> Option<(usize, Option<*const ServerTls>)> {
        match listener.preface.as_ref().unwrap().routes.find(name, &[]).outcome {
            Outcome::Relay { pool, tls } => Some((pool.0, tls.as_ref().map(Arc::as_ptr))),
            Outcome::Reject => None,
        }
    }

    #[test]
    fn each_session_goes_where_the_configuration_says() {
        let (view, servers) = view(
            "process.max_handshakes = 7\n\
             [tls.edge]\ncertificates = [{ chain = \"DIR/c\", key = \"DIR/k\" }]\n\
             [tls.inner]\ncertificates = [{ chain = \"DIR/c\", key = \"DIR/k\" }]\n\
             [listener.plain]\nlisten = \"0.0.0.0:1\"\npool = \"q\"\n\
             [listener.routed]\nlisten = \"0.0.0.0:2\"\ntls = \"edge\"\npool = \"q\"\n\
             plain_text = \"pass\"\nhello_timeout = \"1s\"\nhello_size = \"4KiB\"\n\
             routes = [{ server_names = [\"a.b\"], pool = \"p\" },\n\
             { server_names = [\"*.a.b\"], pool = \"p\", tls = \"off\" },\n\
             { server_names = [\"c.a.b\"], pool = \"p\", tls = \"inner\" },\n\
             { server_names = [\"old.a.b\"], reject = true }]\n\
             [listener.strict]\nlisten = \"0.0.0.0:3\"\n\
             routes = [{ server_names = [\"a.b\"], pool = \"p\" }]\n\
             [listener.named]\nlisten = \"0.0.0.0:4\"\npool = \"by-name\"\n\
             [pool.by-name]\npolicy = \"ring\"\nkey = \"server-name\"\n\
             backends = [\"10.0.0.3:1\"]\n\
             [pool.p]\nbackends = [\"10.0.0.1:1\"]\nejection.window = \"3s\"\n\
             [pool.q]\nbackends = [\"10.0.0.2:1\"]\ntls.insecure_skip_verify = true\n",
        );
        let [named, plain, routed, strict] = &view.listeners[..] else { panic!("four listeners") };
        assert_eq!((way(named, None), way(named, Some("a.b"))), (Some((0, None)), Some((0, None))));
        assert_eq!(plain.pool, Some(PoolId(2)));
        assert!(plain.preface.is_none(), "nothing is read");
        let [edge, inner] = ["edge", "inner"].map(|name| Some(Arc::as_ptr(&servers[name])));
        assert_eq!(way(routed, None), Some((2, edge)));
        assert_eq!(way(routed, Some("x.y")), Some((2, edge)));
        assert_eq!(way(routed, Some("a.b")), Some((1, edge)));
        assert_eq!(way(routed, Some("x.a.b")), Some((1, None)));
        assert_eq!(way(routed, Some("c.a.b")), Some((1, inner)));
        assert_eq!(way(routed, Some("old.a.b")), None);
        let preface = routed.preface.as_ref().unwrap();
        assert_eq!((preface.timeout, preface.size), (Duration::from_secs(1), 4096));
        assert_eq!((preface.plain_text, routed.pool), (PlainText::Pass, Some(PoolId(2))));
        assert_eq!(way(strict, Some("a.b")), Some((1, None)));
        assert_eq!((way(strict, None), strict.pool), (None, None));
        assert_eq!(strict.preface.as_ref().unwrap().plain_text, PlainText::Reject);
        assert_eq!(view.failure_windows, [None, Some(Duration::from_secs(3)), None]);
        let have_tls: Vec<bool> = view.pools_tls.iter().map(Option::is_some).collect();
        assert_eq!(have_tls, [false, false, true]);
        assert_eq!((view.limits.handshakes, view.limits.hello_memory), (7, 16 << 20));
    }
}
