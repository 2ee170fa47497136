//! Owns the tests of the presets exactly as they are shipped, with servers at the addresses that
//! they name: their checks find who serves, and their listeners lead there.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::checks::Checks;
use super::curl::{curl, plain_curl, url};
use super::grpc::GrpcServer;
use super::nginx::Nginx;
use super::openssl::{Certificate, Server, client, converse};
use super::process::{bounded, run};
use super::proxy::Proxy;
use super::rsyslog;

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn tls_passthrough_serves_as_it_is() {
    let pools = [("vector", 19093, 19092, 2), ("prometheus", 19094, 19090, 2)];
    let Some(mut preset) = Preset::start("tls-passthrough", 9602, &pools) else { return };
    let certificate = Certificate::make();
    let _servers = preset.serve(|at| Server::start(&certificate, &at.to_string(), "-www"));
    preset.visit(|target| {
        let page = run(curl(&certificate, target).arg(url(target, "/")), Vec::new());
        assert!(page.contains("New, TLSv1.3, Cipher is"), "{page}");
    });
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn tcp_serves_as_it_is() {
    let Some(mut preset) = Preset::start("tcp", 9601, &[("tcp", 7000, 17000, 2)]) else { return };
    let _servers = preset.serve(|at| web(at, ""));
    preset.visit(|target| fetch(target, "--http1.1"));
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn datadog_serves_as_it_is() {
    let pools = [("datadog", 8282, 18282, 2)];
    let Some(mut preset) = Preset::start("datadog", 9605, &pools) else { return };
    let _servers = preset.serve(|at| web(at, ""));
    preset.visit(|target| fetch(target, "--http1.1"));
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn otlp_serves_as_it_is() {
    let pools = [("otlp-grpc", 4317, 14317, 2), ("otlp-http", 4318, 14318, 2)];
    let Some(mut preset) = Preset::start("otlp", 9606, &pools) else { return };
    let _servers = preset.serve(|at| web(at, if at.port() == 14317 { "http2" } else { "" }));
    preset.visit(|target| {
        let is_grpc = target.port() == 4317;
        fetch(target, if is_grpc { "--http2-prior-knowledge" } else { "--http1.1" });
    });
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn vector_serves_as_it_is() {
    let pools = [("aggregators", 6000, 16000, 3)];
    let Some(mut preset) = Preset::start("vector", 9603, &pools) else { return };
    let _servers = preset.serve(|at| GrpcServer::start(at, None));
    preset.visit(|target| {
        let mut curl = plain_curl();
        curl.args([
            "--http2-prior-knowledge",
            "--header",
            "content-type: application/grpc",
            "--header",
            "te: trailers",
        ]);
        curl.args(["--data-binary", "@-", "--write-out", "%{http_code}"]);
        // A message without content, and the same answer: it serves.
        let answer =
            run(curl.arg(format!("http://{target}/vector.Vector/HealthCheck")), vec![0; 5]);
        assert_eq!(answer, "\0\0\0\0\x00200");
    });
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn syslog_serves_as_it_is() {
    let pools = [("syslog", 9000, 15140, 2), ("syslog-tls", 6514, 16514, 2)];
    let Some(mut preset) = Preset::start("syslog", 9604, &pools) else { return };
    let certificate = Certificate::make();
    let mut receivers = Vec::new();
    let _servers = preset.serve(|at| match at.port() {
        15140 => {
            receivers.push(rsyslog::Receiver::start(at));
            None
        }
        _ => Some(Server::start(&certificate, &at.to_string(), "-rev")),
    });
    let mut sent = Vec::new();
    preset.visit(|target| {
        if target.port() == 6514 {
            converse(client(&certificate, target, &[]));
            return;
        }
        sent.push(format!("a message of logger {}", sent.len()));
        let mut logger = bounded("logger");
        logger.args(["--tcp", "--octet-count", "--server", &target.ip().to_string()]);
        logger.args(["--port", &target.port().to_string(), sent.last().unwrap()]);
        run(&mut logger, Vec::new());
    });
    let received: Vec<_> = receivers.into_iter().flat_map(rsyslog::Receiver::stop).collect();
    for message in sent {
        let lines = received.iter().filter(|line| line.ends_with(&message));
        assert_eq!(lines.count(), 1, "{message}: {received:?}");
    }
}

/// A preset whose proxy runs, with nobody behind it at first.
struct Preset {
    checks: Checks,
    pools: Vec<Pool>,
}

/// Its name; the port of its listener; the port of its backends, and how many there are, from
/// 127.0.0.2 on.
type Pool = (&'static str, u16, u16, u8);

impl Preset {
    /// None if another program has one of the preset's ports.
    fn start(name: &str, admin: u16, pools: &[Pool]) -> Option<Preset> {
        let own = pools.iter().map(|(_, port, ..)| SocketAddr::from(([0, 0, 0, 0], *port)));
        let backends = pools.iter().flat_map(backends);
        let mut all = own.chain(backends).chain([SocketAddr::from(([127, 0, 0, 1], admin))]);
        if let Some(taken) = all.find(|address| TcpListener::bind(address).is_err()) {
            eprintln!("not tested: another program has {taken}, which {name}.toml names");
            return None;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
        let proxy = Proxy::with_configuration(&folder.join(format!("{name}.toml")));
        let mut checks = Checks::of(proxy);
        for (pool, .., count) in pools {
            for _ in 0..*count {
                checks.expect(pool, "is down", "the connection was refused");
            }
        }
        Some(Preset { checks, pools: pools.to_vec() })
    }

    /// Has a server at every backend's address, and waits until the checks have found it.
    fn serve<T>(&mut self, start: impl FnMut(SocketAddr) -> T) -> Vec<T> {
        let servers = self.pools.iter().flat_map(backends).map(start).collect();
        for (pool, .., count) in &self.pools {
            for _ in 0..*count {
                self.checks.expect(pool, "(was down)", "probes in a row succeeded");
            }
        }
        servers
    }

    /// Connects through each listener, and ends the proxy. Every session has to end in order, and
    /// each pool's have to be on several backends.
    fn visit(self, mut connect: impl FnMut(SocketAddr)) {
        // One more than there are workers: then one of them serves two, and takes them to two
        // backends.
        let count = self.checks.proxy().workers + 1;
        for (_, port, ..) in &self.pools {
            for _ in 0..count {
                connect(SocketAddr::from(([127, 0, 0, 1], *port)));
            }
        }
        let sessions = self.checks.stop();
        assert_eq!(sessions.len() as u64, count * self.pools.len() as u64);
        for session in &sessions {
            assert_eq!(session["reason"], "finished", "{session}");
        }
        for (pool, ..) in &self.pools {
            let sessions = sessions.iter().filter(|session| session["pool"] == *pool);
            let backends: BTreeSet<_> = sessions.map(|s| s["backend"].as_str().unwrap()).collect();
            assert!(backends.len() > 1, "{pool}: {backends:?}");
        }
    }
}

fn backends((_, _, port, count): &Pool) -> impl Iterator<Item = SocketAddr> + use<> {
    let port = *port;
    (2..2 + *count).map(move |host| SocketAddr::from(([127, 0, 0, host], port)))
}

/// A receiver that is content with everything.
fn web(address: SocketAddr, protocol: &str) -> Nginx {
    Nginx::http(&format!("server {{ listen {address} {protocol}; return 202; }}"))
}

/// Asks it for something. nginx would answer a post before it has read it, which curl does not
/// always take well over HTTP/2.
fn fetch(target: SocketAddr, version: &str) {
    let mut curl = plain_curl();
    curl.args([version, "--write-out", "%{http_code}"]);
    let status = run(curl.arg(format!("http://{target}/")), Vec::new());
    assert_eq!(status, "202");
}
