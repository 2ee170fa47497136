//! What the demo's proxy is set up with: its ports and its configuration. Starts nothing.

use std::fmt::Write;
use std::net::{Ipv4Addr, TcpListener};

use crate::config::{self, Config};

use super::backends::Backend;
use super::certificate::{ENDED, Identity};

/// Where the proxy listens on 127.0.0.1; with 0 the kernel chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) echo: u16,
    pub(super) lines: u16,
    pub(super) tls: u16,
    pub(super) admin: u16,
}

impl Ports {
    /// What is easy to type.
    pub(super) const FRIENDLY: Ports = Ports { echo: 7070, lines: 7071, tls: 7072, admin: 7079 };

    /// The same, with 0 for each that is taken.
    pub(super) fn where_free(self) -> Ports {
        let free = |port| match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => port,
            Err(_) => 0,
        };
        Ports {
            echo: free(self.echo),
            lines: free(self.lines),
            tls: free(self.tls),
            admin: free(self.admin),
        }
    }
}

/// A listener and a pool of the same name for each kind of backend. Where TLS passes through, it is
/// ended here for one server name.
pub(super) fn configuration(backends: &[Backend], edge: &Identity, ports: Ports) -> Config {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX);
    let mut text = format!(
        "[process]\nworkers = {workers}\n{LIMITS}\n[admin]\nlisten = \"127.0.0.1:{}\"\n",
        ports.admin
    );
    text += &format!(
        "[tls.edge]\ncertificates = [{{ chain = {:?}, key = {:?} }}]\n",
        edge.chain.path(),
        edge.key.path()
    );
    let route =
        format!("routes = [{{ server_names = [\"{ENDED}\"], tls = \"edge\", pool = \"echo\" }}]\n");
    for (name, port, routes) in
        [("echo", ports.echo, ""), ("lines", ports.lines, ""), ("tls", ports.tls, &*route)]
    {
        let members = backends.iter().filter(|backend| backend.pool == name);
        let members = members.fold(String::new(), |mut members, Backend { name, address, .. }| {
            // Holds: writing to a String has no error.
            write!(members, "{{ address = \"{address}\", name = \"{name}\" }}, ").expect("written");
            members
        });
        text += &format!(
            "[listener.{name}]\nlisten = \"127.0.0.1:{port}\"\npool = \"{name}\"\n{routes}\
             [pool.{name}]\nbackends = [{members}]\n"
        );
    }
    // Holds: the text is made here, of names and numbers that are valid.
    config::parse(&text, "demo").expect("a valid configuration")
}

/// Enough to see sessions spread, also on large hosts.
const WORKERS_MAX: usize = 4;

/// Small, so that the demo runs under a low limit on open files, and short, so that Ctrl-C ends it
/// at once. The reserve carries the other ends of the connections, which are the demo's own.
const LIMITS: &str = "\
max_connections = 128
reserved_descriptors = 320
pipes = 8
drain_timeout = \"1s\"
linger_timeout = \"1s\"
";

#[cfg(test)]
mod tests {
    use super::super::certificate::Certificates;
    use super::*;

    #[test]
    fn each_listener_leads_to_the_backends_of_its_name() {
        let backend =
            |pool, name, port| Backend { pool, name, address: ([127, 0, 0, 1], port).into() };
        let backends = [
            backend("echo", "echo-a", 1001),
            backend("echo", "echo-b", 1002),
            backend("lines", "lines-a", 1003),
            backend("tls", "tls-a", 1004),
        ];
        let edge = Certificates::generate().expect("made").edge;
        let config = configuration(&backends, &edge, Ports::FRIENDLY);
        let listener = |listener: &config::Listener| {
            (listener.pool.clone().unwrap(), listener.listen[0].port())
        };
        let listeners: Vec<_> = config.listeners.iter().map(listener).collect();
        let expected = [("echo", 7070), ("lines", 7071), ("tls", 7072)];
        assert_eq!(listeners, expected.map(|(name, port)| (name.to_owned(), port)));
        let sizes: Vec<_> = config.pools.iter().map(|pool| pool.backends.len()).collect();
        assert_eq!(sizes, [2, 1, 1]);
        let routes: Vec<_> = config.listeners.iter().map(|listener| &*listener.routes).collect();
        let [[], [], [ended]] = routes[..] else { panic!("{routes:?}") };
        let (pool, tls) = ("echo".to_owned(), Some("edge".to_owned()));
        assert_eq!(ended.target, config::RouteTarget::Relay { pool, tls });
    }

    #[test]
    fn a_taken_port_is_left_to_the_kernel() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = taken.local_addr().expect("an address").port();
        let ports = Ports { echo: port, ..Ports::default() };
        assert_eq!(ports.where_free(), Ports::default());
    }
}
