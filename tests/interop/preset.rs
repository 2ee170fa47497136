//! Owns the tests of the presets exactly as they are shipped, with servers at the addresses that
//! they name: their checks find who serves, and their listeners lead there.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

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
    let mut preset = Preset::start("tls-passthrough", 9602, &pools);
    let certificate = Certificate::make();
    let _servers = preset.serve(|at| Server::start(&certificate, &at.to_string(), "-www"));
    preset.visit(|target| {
        let page = run(curl(&certificate, target).arg(url(target, "/")), Vec::new());
        assert!(page.contains("New, TLSv1.3, Cipher is"), "{page}");
    });
}

/// But for the folder of its files.
#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn tls_termination_serves_as_it_is() {
    let (edge, agent) = (Certificate::make(), Certificate::of("agent-7"));
    let files = Files::new(&[
        ("edge.pem", edge.file()),
        ("edge.key", edge.key()),
        ("agents-ca.pem", agent.file()),
    ]);
    let pools =
        [("vector", 6443, 26000, 2), ("otlp-grpc", 4319, 24317, 2), ("otlp-http", 4319, 24318, 2)];
    let mut preset = Preset::start_with("tls-termination", 9608, &pools, &files);
    let (mut receivers, mut webs) = (Vec::new(), Vec::new());
    preset.serve(|at| match at.port() {
        26000 => receivers.push(GrpcServer::start(at, None)),
        port => webs.push(web(at, if port == 24317 { "http2" } else { "" })),
    });
    preset.visit_pools(|pool, target| {
        let mut curl = curl(&edge, target);
        match pool {
            "vector" => {
                curl.arg("--cert").arg(agent.file()).arg("--key").arg(agent.key());
                let answer = ask_whether_it_serves(curl.arg("--http2"), &url(target, ""));
                assert_eq!(answer, "200");
            }
            _ => {
                curl.args([if pool == "otlp-grpc" { "--http2" } else { "--http1.1" }]);
                let version = if pool == "otlp-grpc" { "2" } else { "1.1" };
                curl.args(["--write-out", "%{http_version} %{http_code}"]);
                let said = run(curl.arg(url(target, "/")), Vec::new());
                assert_eq!(said, format!("{version} 202"));
            }
        }
    });
}

/// But for the folder of its files.
#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn tls_reencrypt_serves_as_it_is() {
    let (edge, balancer) = (Certificate::make(), Certificate::of("balancer"));
    let inner = Certificate::of("aggregators.example.internal");
    let files = Files::new(&[
        ("edge.pem", edge.file()),
        ("edge.key", edge.key()),
        ("aggregators-ca.pem", inner.file()),
        ("balancer.pem", balancer.file()),
        ("balancer.key", balancer.key()),
    ]);
    let pools = [("vector", 6444, 26444, 2)];
    let mut preset = Preset::start_with("tls-reencrypt", 9609, &pools, &files);
    let [file, key, trusted] = [inner.file(), inner.key(), balancer.file()];
    let (file, key, trusted) = (file.display(), key.display(), trusted.display());
    let _servers = preset.serve(|at| {
        Nginx::http(&format!(
            r#"
            server {{
                listen {at} ssl http2;
                ssl_certificate {file};
                ssl_certificate_key {key};
                ssl_protocols TLSv1.3;
                ssl_verify_client on;
                ssl_client_certificate {trusted};
                return 200 "$ssl_client_s_dn $ssl_server_name $ssl_alpn_protocol";
            }}
            "#
        ))
    });
    preset.visit(|target| {
        let said = run(curl(&edge, target).arg("--http2").arg(url(target, "/")), Vec::new());
        assert_eq!(said, "CN=balancer aggregators.example.internal h2");
    });
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn tcp_serves_as_it_is() {
    let mut preset = Preset::start("tcp", 9601, &[("tcp", 7000, 17000, 2)]);
    let _servers = preset.serve(|at| web(at, ""));
    preset.visit(|target| fetch(target, "--http1.1"));
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn datadog_serves_as_it_is() {
    let pools = [("datadog", 8282, 18282, 2)];
    let mut preset = Preset::start("datadog", 9605, &pools);
    let _servers = preset.serve(|at| web(at, ""));
    preset.visit(|target| fetch(target, "--http1.1"));
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn otlp_serves_as_it_is() {
    let pools = [("otlp-grpc", 4317, 14317, 2), ("otlp-http", 4318, 14318, 2)];
    let mut preset = Preset::start("otlp", 9606, &pools);
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
    let mut preset = Preset::start("vector", 9603, &pools);
    let _servers = preset.serve(|at| GrpcServer::start(at, None));
    preset.visit(|target| {
        let mut curl = plain_curl();
        curl.arg("--http2-prior-knowledge");
        let [ip, port] = [target.ip().to_string(), target.port().to_string()];
        assert_eq!(ask_whether_it_serves(&mut curl, &format!("http://{ip}:{port}")), "200");
    });
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn syslog_serves_as_it_is() {
    let pools = [("syslog", 9000, 15140, 2), ("syslog-tls", 6514, 16514, 2)];
    let mut preset = Preset::start("syslog", 9604, &pools);
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
    fn start(name: &str, admin: u16, pools: &[Pool]) -> Preset {
        Preset::of(&text(name), name, admin, pools)
    }

    /// With its files in this folder.
    fn start_with(name: &str, admin: u16, pools: &[Pool], files: &Files) -> Preset {
        let folder = format!("{}/", files.0.path().display());
        Preset::of(&text(name).replace("/etc/ringmain/", &folder), name, admin, pools)
    }

    fn of(text: &str, name: &str, admin: u16, pools: &[Pool]) -> Preset {
        let own = pools.iter().map(|(_, port, ..)| SocketAddr::from(([0, 0, 0, 0], *port)));
        let backends = pools.iter().flat_map(backends);
        let mut all = own.chain(backends).chain([SocketAddr::from(([127, 0, 0, 1], admin))]);
        if let Some(taken) = all.find(|address| TcpListener::bind(address).is_err()) {
            panic!("another program has {taken}, which {name}.toml names: stop it and try again");
        }
        let proxy = Proxy::with_text(text);
        let mut checks = Checks::of(proxy);
        for (pool, .., count) in pools {
            for _ in 0..*count {
                checks.expect(pool, "is down", "the connection was refused");
            }
        }
        Preset { checks, pools: pools.to_vec() }
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
        self.visit_pools(|_, target| connect(target));
    }

    /// The same, told which pool it is to reach.
    fn visit_pools(self, mut connect: impl FnMut(&str, SocketAddr)) {
        // So many more than there are workers that one of them serves several, and takes them to
        // several backends, also where it does not take turns.
        let count = 8 * self.checks.proxy().workers + 1;
        for (pool, port, ..) in &self.pools {
            for _ in 0..count {
                connect(pool, SocketAddr::from(([127, 0, 0, 1], *port)));
            }
        }
        let sessions = self.checks.stop();
        assert_eq!(sessions.len() as u64, count * self.pools.len() as u64);
        for session in &sessions {
            // curl leaves a connection of HTTP/2 without a word of TLS.
            let cut = session["tls"]["protocol"] == "h2";
            let reason = if cut { "tls-truncated" } else { "finished" };
            assert_eq!(session["reason"], reason, "{session}");
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

/// Asks for the health of Vector's own protocol, at what comes before the path of a URL; the status
/// of the answer, which is without content like the question: it serves.
fn ask_whether_it_serves(curl: &mut Command, place: &str) -> String {
    curl.args(["--header", "content-type: application/grpc", "--header", "te: trailers"]);
    curl.args(["--data-binary", "@-", "--write-out", "%{http_code}"]);
    let answer = run(curl.arg(format!("{place}/vector.Vector/HealthCheck")), vec![0; 5]);
    answer.trim_start_matches('\0').to_owned()
}

/// A preset as it is shipped.
fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap()
}

/// A folder with the files that a preset names.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, PathBuf)]) -> Files {
        let folder = TempDir::new().unwrap();
        for (name, source) in files {
            fs::copy(source, folder.path().join(name)).unwrap();
        }
        Files(folder)
    }
}
