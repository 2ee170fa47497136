//! Owns the tests of TLS that ends in the proxy and begins anew towards the backends: `s_server`
//! and nginx, whose certificates are verified.

use std::fs;
use std::net::SocketAddr;

use super::address;
use super::curl::{curl, url};
use super::edge::reencrypting;
use super::file_server::FileServer;
use super::nginx::Nginx;
use super::openssl::{Certificate, NAME, Server, client, converse, request};
use super::process::{output, run};

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn s_client_and_s_server_converse_each_in_its_version() {
    let (certificate, inner) = (Certificate::make(), Certificate::make());
    for (outer, spoken) in [("-tls1_2", "-tls1_3"), ("-tls1_3", "-tls1_2")] {
        let server = Server::start_with(&inner, "127.0.0.1:0", "-rev", &[spoken]);
        let proxy = reencrypting(&certificate, server.address, &inner, "");
        let said = converse(client(&certificate, proxy.address(), &[outer]));
        assert!(said.contains("Verification: OK"), "{said}");
        assert_eq!(proxy.stop_finished().len(), 1);
    }
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn s_server_with_an_unknown_certificate_gets_nothing() {
    let (certificate, another) = (Certificate::make(), Certificate::make());
    let server = Server::start(&another, "127.0.0.1:0", "-www");
    let proxy = reencrypting(&certificate, server.address, &certificate, "");
    let mut curl = curl(&certificate, proxy.address());
    let refused = output(curl.arg(url(proxy.address(), "/")), Vec::new());
    assert!(!refused.status.success(), "{refused:?}");
    let session = proxy.stop().pop().unwrap();
    assert_eq!(session["reason"], "backend-tls", "{session}");
    assert_eq!(session["tls"]["failure"]["word"], "certificate", "{session}");
    assert_eq!(session["bytes_to_backend"], 0, "{session}");
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn nginx_is_told_name_protocol_and_who_we_are_and_resumes() {
    let (certificate, inner) = (Certificate::make(), Certificate::make());
    let balancer = Certificate::of("balancer");
    let (_nginx, address) = mirror(&inner, &balancer);
    let keys = format!(
        "certificate = {:?}\nkey = {:?}\nalpn = [\"http/1.1\"]",
        balancer.file(),
        balancer.key()
    );
    let proxy = reencrypting(&certificate, address, &inner, &keys);
    for resumed in [".", "r"] {
        let said = request(client(&certificate, proxy.address(), &[]));
        let expected = format!("\nTLSv1.3 {NAME} http/1.1 {resumed} SUCCESS CN=balancer");
        assert!(said.contains(&expected), "no `{expected}`: {said}");
    }
    assert_eq!(proxy.stop_finished().len(), 2);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn large_files_go_both_ways_and_arrive_whole() {
    let (certificate, inner) = (Certificate::make(), Certificate::make());
    let server = FileServer::start(&inner);
    let proxy = reencrypting(&certificate, server.address, &inner, "");
    let mut sent = vec![0; LARGE];
    fastrand::Rng::with_seed(1).fill(&mut sent);
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    fs::write(&source, &sent).unwrap();
    let curl = || {
        let mut curl = curl(&certificate, proxy.address());
        curl.arg(url(proxy.address(), "/upload/large"));
        curl
    };
    run(curl().arg("--upload-file").arg(&source), Vec::new());
    assert!(fs::read(server.file("/upload/large")).unwrap() == sent, "nginx has something else");
    run(curl().arg("--output").arg(&target), Vec::new());
    assert!(fs::read(&target).unwrap() == sent, "something else was fetched");
    // nginx closes without a word of TLS where the client was the first to end.
    assert_eq!(proxy.stop_finished().len(), 2);
}

/// nginx with TLS, which wants a certificate and says what it knows of its client.
fn mirror(certificate: &Certificate, trusted: &Certificate) -> (Nginx, SocketAddr) {
    let address = address::own();
    let (file, key, trusted) = (certificate.file(), certificate.key(), trusted.file());
    let (file, key, trusted) = (file.display(), key.display(), trusted.display());
    let said = "$ssl_protocol $ssl_server_name $ssl_alpn_protocol $ssl_session_reused \
                $ssl_client_verify $ssl_client_s_dn\\n";
    let nginx = Nginx::http(&format!(
        r#"
        server {{
            listen {address} ssl;
            ssl_certificate {file};
            ssl_certificate_key {key};
            ssl_protocols TLSv1.2 TLSv1.3;
            ssl_session_cache shared:tls:1m;
            ssl_verify_client on;
            ssl_client_certificate {trusted};
            location / {{ return 200 "{said}"; }}
        }}
        "#
    ));
    (nginx, address)
}

const LARGE: usize = 50_000_000;
