//! Owns the test of a preset exactly as it is shipped, with backends at the addresses it names.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::curl::{curl, url};
use super::openssl::{Certificate, Server};
use super::process::run;
use super::proxy::Proxy;

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn tls_passthrough_serves_as_it_is() {
    if let Some(taken) = ADDRESSES.iter().find(|address| TcpListener::bind(address).is_err()) {
        eprintln!("not tested: another program has {taken}, which the preset names");
        return;
    }
    let certificate = Certificate::make();
    let _servers =
        ["127.0.0.2:19092", "127.0.0.3:19092"].map(|a| Server::start(&certificate, a, "-www"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let proxy = Proxy::with_configuration(&folder.join("tls-passthrough.toml"));
    let agent_target = SocketAddr::from(([127, 0, 0, 1], 19093));
    // One more than there are workers: then one of them serves two, and takes each backend once.
    let count = proxy.workers + 1;
    for _ in 0..count {
        let mut curl = curl(&certificate, agent_target);
        let page = run(curl.arg(url(agent_target, "/")), Vec::new());
        assert!(page.contains("New, TLSv1.3, Cipher is"), "{page}");
    }
    let sessions = proxy.stop_finished();
    assert_eq!(sessions.len() as u64, count);
    let backends: BTreeSet<_> = sessions.iter().map(|s| s["backend"].as_str().unwrap()).collect();
    assert_eq!(backends, BTreeSet::from(["vector-00", "vector-01"]));
    assert!(sessions.iter().all(|session| session["listener"] == "vector"), "{sessions:?}");
}

/// What the preset listens on, and the backends it needs here.
const ADDRESSES: [&str; 5] =
    ["127.0.0.1:9602", "0.0.0.0:19093", "0.0.0.0:19094", "127.0.0.2:19092", "127.0.0.3:19092"];
