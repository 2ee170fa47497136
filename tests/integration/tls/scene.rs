//! Owns the proxy that ends TLS in front of a plain backend, which most tests begin with, and the
//! look at what is left afterwards.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConfig;

use super::super::patience::eventually;
use super::super::peer::Backend;
use super::super::proxy::{Plan, Proxy};
use super::authority::Authority;
use super::peer::{Tls, client};

/// The name that clients ask for.
pub const NAME: &str = "front.test";

/// A proxy that ends TLS for `NAME`.
pub struct Scene {
    pub authority: Authority,
    pub backend: Backend,
    pub proxy: Proxy,
    rest: Rest,
}

impl Scene {
    /// With these lines in [tls.edge].
    pub fn start(tls: &str) -> Scene {
        Scene::start_with(tls, Settings::default())
    }

    pub fn start_with(tls: &str, settings: Settings<'_>) -> Scene {
        let authority = Authority::new("the authority");
        Scene::of(authority, tls, settings)
    }

    /// With an authority whose files `tls` names already.
    pub fn of(authority: Authority, tls: &str, settings: Settings<'_>) -> Scene {
        let backend = Backend::listen();
        let edge = edge(&authority, tls);
        let listener = format!("tls = \"edge\"\n{}", settings.listener);
        let process = settings.process;
        let plan =
            Plan { process, listener: &listener, more: &edge, ..Plan::of(&[backend.address]) };
        let proxy = plan.start();
        let rest = Rest::of(&proxy);
        Scene { authority, backend, proxy, rest }
    }

    /// A client without a certificate.
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::new(client(&self.authority))
    }

    #[track_caller]
    pub fn connect(&self, config: &Arc<ClientConfig>) -> Tls {
        Tls::connect(self.proxy.address(), NAME, config).unwrap()
    }

    /// A session: the client's end and the backend's.
    #[track_caller]
    pub fn session(&self, config: &Arc<ClientConfig>) -> (Tls, TcpStream) {
        let client = self.connect(config);
        (client, self.backend.accept())
    }

    /// Waits until nothing is left of any session.
    pub fn await_rest(&self) {
        self.rest.await_again(&self.proxy);
    }
}

/// What a scene's proxy has besides the defaults.
pub struct Settings<'a> {
    pub process: &'a str,
    pub listener: &'a str,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Settings { process: "workers = 1", listener: "" }
    }
}

/// The table [tls.edge] with a certificate for `NAME`.
pub fn edge(authority: &Authority, lines: &str) -> String {
    let identity = authority.identity("edge", &authority.issue(&[NAME]));
    format!("[tls.edge]\ncertificates = [{identity}]\n{lines}\n")
}

/// What a proxy holds without a session.
pub struct Rest {
    descriptors: u64,
    operations: u64,
}

impl Rest {
    /// Of a proxy that has served none so far.
    pub fn of(proxy: &Proxy) -> Rest {
        // Before its first turn a worker shows none.
        let begun = |body: &str| {
            let mut shown = body.lines().filter(|line| line.contains(OPERATIONS)).peekable();
            shown.peek().is_some() && shown.all(|line| !line.ends_with(" 0"))
        };
        eventually("workers that listen", || begun(&proxy.get("/metrics").1).then_some(()));
        let [descriptors, operations] = [DESCRIPTORS, OPERATIONS].map(|it| proxy.metric(it, ""));
        Rest { descriptors, operations }
    }

    /// Waits until nothing is left of any session: memory, descriptors, and work of the kernel.
    pub fn await_again(&self, proxy: &Proxy) {
        proxy.await_rest();
        for gauge in ["worker_tls_handshakes_open", "worker_blocks_held"] {
            proxy.await_metric(gauge, |value| value == 0);
        }
        proxy.await_metric(OPERATIONS, |value| value <= self.operations);
        proxy.await_metric(DESCRIPTORS, |value| value <= self.descriptors);
    }
}

/// Those of the workers: the control plane opens and closes its own.
const DESCRIPTORS: &str = "worker_descriptors_open";
const OPERATIONS: &str = "worker_operations_in_flight";
