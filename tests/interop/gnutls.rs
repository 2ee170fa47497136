//! Owns the tests with gnutls-cli: another TLS library, which verifies, agrees and resumes.

use std::net::SocketAddr;
use std::process::Command;

use super::address;
use super::edge::terminating;
use super::nginx::Nginx;
use super::openssl::{Certificate, NAME, Server};
use super::process::{bounded, output, run};

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn gnutls_cli_is_served_and_resumes_in_each_version() {
    let (certificate, address) = (Certificate::make(), address::own());
    let _nginx =
        Nginx::http(&format!("server {{ listen {address}; return 200 \"in the clear\\n\"; }}"));
    let proxy = terminating(&certificate, address, "alpn = [\"http/1.1\"]");
    for version in ["1.2", "1.3"] {
        let mut gnutls = gnutls(&certificate, version, proxy.address());
        gnutls.args(["--alpn", "http/1.1", "--resume"]);
        let said = run(&mut gnutls, b"GET / HTTP/1.0\r\n\r\n".to_vec());
        for part in [
            &*format!("(TLS{version}"),
            "The certificate is trusted",
            "Application protocol: http/1.1",
            "This is a resumed session",
            "\nin the clear",
        ] {
            assert!(said.contains(part), "no `{part}`: {said}");
        }
    }
    let sessions = proxy.stop_finished();
    let told = |key: &str| sessions.iter().map(|session| &session["tls"][key]).collect::<Vec<_>>();
    assert_eq!(told("version"), ["1.2", "1.2", "1.3", "1.3"]);
    assert_eq!(told("resumed"), [false, true, false, true]);
}

/// From its certificate through the proxy to a backend with TLS of its own.
#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn gnutls_cli_is_let_in_by_its_certificate_alone_and_reaches_s_server() {
    let [certificate, inner] = [(); 2].map(|()| Certificate::make());
    let [agent, stranger] = ["agent-7", "agent-8"].map(Certificate::of);
    let server = Server::start(&inner, "127.0.0.1:0", "-www");
    let keys = format!("client_auth = \"required\"\nclient_ca = {:?}", agent.file());
    let trust = format!("ca = {:?}\nserver_name = \"{NAME}\"", inner.file());
    let keys = format!("{keys}\n[pool.backends.tls]\n{trust}");
    let proxy = terminating(&certificate, server.address, &keys);
    for version in ["1.2", "1.3"] {
        let ask = |own: Option<&Certificate>| {
            let mut gnutls = gnutls(&certificate, version, proxy.address());
            if let Some(own) = own {
                gnutls.arg("--x509certfile").arg(own.file()).arg("--x509keyfile").arg(own.key());
            }
            output(&mut gnutls, b"GET / HTTP/1.0\r\n\r\n".to_vec())
        };
        let said = ask(Some(&agent));
        let page = String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success() && page.contains(", TLSv1.3, Cipher is"), "{said:?}");
        for refused in [ask(None), ask(Some(&stranger))] {
            let page = String::from_utf8_lossy(&refused.stdout);
            assert!(!page.contains("Cipher is"), "{refused:?}");
        }
    }
    let sessions = proxy.stop();
    let told = |key: &str| sessions.iter().map(|session| &session[key]).collect::<Vec<_>>();
    let each = ["finished", "client-tls", "client-tls"];
    assert_eq!(told("reason"), [each, each].concat());
    assert_eq!(sessions[0]["tls"]["client"], "CN=agent-7");
}

/// It verifies the certificate and its name.
fn gnutls(certificate: &Certificate, version: &str, proxy: SocketAddr) -> Command {
    let mut gnutls = bounded("gnutls-cli");
    gnutls.arg("--x509cafile").arg(certificate.file());
    gnutls.args(["--sni-hostname", NAME, "--verify-hostname", NAME, "--priority"]);
    gnutls.arg(format!("NORMAL:-VERS-ALL:+VERS-TLS{version}"));
    gnutls.args(["--port", &proxy.port().to_string()]);
    gnutls.arg(proxy.ip().to_string());
    gnutls
}
