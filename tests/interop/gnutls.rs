//! Owns the tests with gnutls-cli: another TLS library, which verifies, agrees and resumes.

use super::address;
use super::edge::terminating;
use super::nginx::Nginx;
use super::openssl::{Certificate, NAME};
use super::process::{bounded, run};

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn gnutls_cli_is_served_and_resumes_in_each_version() {
    let (certificate, address) = (Certificate::make(), address::own());
    let _nginx =
        Nginx::http(&format!("server {{ listen {address}; return 200 \"in the clear\\n\"; }}"));
    let proxy = terminating(&certificate, address, "alpn = [\"http/1.1\"]");
    for version in ["1.2", "1.3"] {
        let mut gnutls = bounded("gnutls-cli");
        gnutls.arg("--x509cafile").arg(certificate.file());
        gnutls.args(["--sni-hostname", NAME, "--verify-hostname", NAME]);
        gnutls.args(["--alpn", "http/1.1", "--resume", "--priority"]);
        gnutls.arg(format!("NORMAL:-VERS-ALL:+VERS-TLS{version}"));
        gnutls.args(["--port", &proxy.address().port().to_string()]);
        gnutls.arg(proxy.address().ip().to_string());
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
