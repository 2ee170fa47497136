//! Owns the tests of TLS that passes through: versions, verification and resumption.

use super::curl::{curl, url};
use super::openssl::{Certificate, Server, client, converse};
use super::process::{output, run};
use super::proxy::Proxy;

fn proxied(certificate: &Certificate, mode: &str) -> (Server, Proxy) {
    let server = Server::start(certificate, "127.0.0.1:0", mode);
    let proxy = Proxy::start(&[server.address]);
    (server, proxy)
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn curl_and_s_server_agree_on_each_version() {
    let certificate = Certificate::make();
    let (_server, proxy) = proxied(&certificate, "-www");
    for version in ["1.2", "1.3"] {
        let mut curl = curl(&certificate, proxy.address());
        curl.args([&format!("--tlsv{version}"), "--tls-max", version]);
        let page = run(curl.arg(url(proxy.address(), "/")), Vec::new());
        assert!(page.contains(&format!("New, TLSv{version}, Cipher is")), "{page}");
    }
    assert_eq!(proxy.stop_finished().len(), 2);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn curl_refuses_a_backend_with_another_certificate() {
    let certificate = Certificate::make();
    let (_server, proxy) = proxied(&certificate, "-www");
    let another = Certificate::make();
    let mut curl = curl(&another, proxy.address());
    let refused = output(curl.arg(url(proxy.address(), "/")), Vec::new());
    assert_eq!(refused.status.code(), Some(CURL_UNVERIFIED), "{refused:?}");
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn s_client_and_s_server_converse_in_each_version() {
    let certificate = Certificate::make();
    let (_server, proxy) = proxied(&certificate, "-rev");
    for version in ["1_2", "1_3"] {
        let client = client(&certificate, proxy.address(), &[&format!("-tls{version}")]);
        let said = converse(client);
        assert!(said.contains(&format!("New, TLSv{}", version.replace('_', "."))), "{said}");
        assert!(said.contains("Verification: OK"), "{said}");
    }
    assert_eq!(proxy.stop_finished().len(), 2);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn a_stored_session_is_resumed() {
    let certificate = Certificate::make();
    let (_server, proxy) = proxied(&certificate, "-rev");
    let folder = tempfile::tempdir().unwrap();
    for version in ["1_2", "1_3"] {
        let file = folder.path().join(version).display().to_string();
        for (option, begin) in [("-sess_out", "New"), ("-sess_in", "Reused")] {
            let options = [&format!("-tls{version}"), option, &file];
            let said = converse(client(&certificate, proxy.address(), &options));
            let expected = format!("{begin}, TLSv{}", version.replace('_', "."));
            assert!(said.contains(&expected), "{said}");
        }
    }
    assert_eq!(proxy.stop_finished().len(), 4);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn a_client_that_reconnects_resumes_each_time() {
    let certificate = Certificate::make();
    let (_server, proxy) = proxied(&certificate, "-rev");
    let said = converse(client(&certificate, proxy.address(), &["-tls1_2", "-reconnect"]));
    assert_eq!(said.matches("New, TLSv1.2").count(), 1, "{said}");
    assert_eq!(said.matches("Reused, TLSv1.2").count(), RECONNECTIONS, "{said}");
    // It closes before the server's last word arrives, which its kernel may answer with a reset:
    // not every session ends in order.
    assert_eq!(proxy.stop().len(), 1 + RECONNECTIONS);
}

/// curl's exit code for a certificate that it can not verify.
const CURL_UNVERIFIED: i32 = 60;
/// How often `s_client -reconnect` connects again.
const RECONNECTIONS: usize = 5;
