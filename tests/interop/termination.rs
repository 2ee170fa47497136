//! Owns the tests of TLS that ends in the proxy, with backends in the clear: versions, names,
//! protocols, resumption, certificates of clients, bulk.

use std::fs;
use std::net::SocketAddr;

use super::address;
use super::curl::{curl, url};
use super::edge::terminating;
use super::nginx::Nginx;
use super::openssl::{Certificate, NAME, client, converse, request};
use super::process::{output, run};
use super::reverser::Reverser;

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn s_client_agrees_on_each_version_and_a_protocol() {
    let certificate = Certificate::make();
    let (_backend, address) = web();
    let proxy = terminating(&certificate, address, "alpn = [\"http/1.1\"]");
    for version in ["1_2", "1_3"] {
        let options = [&format!("-tls{version}"), "-alpn", "h2,http/1.1"];
        let said = request(client(&certificate, proxy.address(), &options));
        let begun = format!("New, TLSv{}", version.replace('_', "."));
        for part in [&*begun, "Verification: OK", "ALPN protocol: http/1.1", "\nin the clear"] {
            assert!(said.contains(part), "no `{part}`: {said}");
        }
    }
    let sessions = proxy.stop_finished();
    let told = |key: &str| sessions.iter().map(|session| &session["tls"][key]).collect::<Vec<_>>();
    assert_eq!(told("version"), ["1.2", "1.3"]);
    assert_eq!(told("server_name"), [NAME; 2]);
    assert_eq!(told("protocol"), ["http/1.1"; 2]);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn a_session_of_s_client_is_resumed() {
    let certificate = Certificate::make();
    let reverser = Reverser::start();
    let proxy = terminating(&certificate, reverser.address, "");
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
    let sessions = proxy.stop_finished();
    let resumed: Vec<_> = sessions.iter().map(|session| &session["tls"]["resumed"]).collect();
    assert_eq!(resumed, [false, true, false, true]);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn s_client_is_let_in_by_its_certificate_alone() {
    let (certificate, agent) = (Certificate::make(), Certificate::of("agent-7"));
    let stranger = Certificate::of("agent-8");
    let (_backend, address) = web();
    let keys = format!("client_auth = \"required\"\nclient_ca = {:?}", agent.file());
    let proxy = terminating(&certificate, address, &keys);
    for version in ["-tls1_2", "-tls1_3"] {
        let showing = |shown: Option<&Certificate>| {
            let Some(shown) = shown else {
                return client(&certificate, proxy.address(), &[version]);
            };
            let [file, key] = [shown.file(), shown.key()].map(|path| path.display().to_string());
            client(&certificate, proxy.address(), &[version, "-cert", &file, "-key", &key])
        };
        let said = request(showing(Some(&agent)));
        assert!(said.contains("\nin the clear"), "{said}");
        for (shown, alert) in [
            (None, "alert certificate required|alert handshake failure"),
            (Some(&stranger), "alert unknown ca"),
        ] {
            // One after the other, as the log is read below.
            let mut refused = showing(shown);
            // It may have gone by now.
            refused.say_if_there("GET / HTTP/1.0\n\n");
            let (status, _) = refused.end();
            let said: Vec<_> = std::iter::from_fn(|| refused.stderr.next()).collect();
            let said = said.join("\n");
            assert!(!status.success(), "{said}");
            assert!(alert.split('|').any(|alert| said.contains(alert)), "no {alert}: {said}");
        }
    }
    let sessions = proxy.stop();
    let told = |key: &str| sessions.iter().map(|session| &session[key]).collect::<Vec<_>>();
    let each = ["finished", "client-tls", "client-tls"];
    assert_eq!(told("reason"), [each, each].concat());
    assert_eq!(sessions[0]["tls"]["client"], "CN=agent-7");
    assert_eq!(sessions[1]["tls"]["server_name"], NAME);
    assert_eq!(sessions[1]["tls"]["client"], serde_json::Value::Null);
    assert_eq!(sessions[1]["tls"]["failure"]["word"], "no-certificate");
    assert_eq!(sessions[2]["tls"]["failure"]["word"], "certificate");
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn curl_gets_pages_in_each_version() {
    let certificate = Certificate::make();
    let (_backend, address) = web();
    let proxy = terminating(&certificate, address, "");
    for version in ["1.2", "1.3"] {
        let mut curl = curl(&certificate, proxy.address());
        curl.args([&format!("--tlsv{version}"), "--tls-max", version]);
        assert_eq!(run(curl.arg(url(proxy.address(), "/")), Vec::new()), "in the clear\n");
    }
    let sessions = proxy.stop_finished();
    let versions: Vec<_> = sessions.iter().map(|session| &session["tls"]["version"]).collect();
    assert_eq!(versions, ["1.2", "1.3"]);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn curl_refuses_another_certificate() {
    let certificate = Certificate::make();
    let (_backend, address) = web();
    let proxy = terminating(&certificate, address, "");
    let another = Certificate::make();
    let mut curl = curl(&another, proxy.address());
    let refused = output(curl.arg(url(proxy.address(), "/")), Vec::new());
    assert_eq!(refused.status.code(), Some(CURL_UNVERIFIED), "{refused:?}");
    let session = proxy.stop().pop().unwrap();
    assert_eq!(session["reason"], "client-tls", "{session}");
    assert_eq!(session["tls"]["failure"]["word"], "alert-received", "{session}");
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn large_files_go_both_ways_and_arrive_whole() {
    let certificate = Certificate::make();
    let address = address::own();
    let nginx = Nginx::http(&format!(
        "server {{ listen {address}; client_max_body_size 100m; root files;
         location /upload/ {{ dav_methods PUT; }} }}"
    ));
    let proxy = terminating(&certificate, address, "");
    let mut sent = vec![0; LARGE];
    fastrand::Rng::with_seed(1).fill(&mut sent);
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    fs::write(&source, &sent).unwrap();
    for version in ["1.2", "1.3"] {
        let path = format!("/upload/{version}");
        let curl = || {
            let mut curl = curl(&certificate, proxy.address());
            curl.args([&format!("--tlsv{version}"), "--tls-max", version]);
            curl.arg(url(proxy.address(), &path));
            curl
        };
        run(curl().arg("--upload-file").arg(&source), Vec::new());
        assert!(fs::read(nginx.file(&path)).unwrap() == sent, "nginx has something else");
        run(curl().arg("--output").arg(&target), Vec::new());
        assert!(fs::read(&target).unwrap() == sent, "something else was fetched");
    }
    let sessions = proxy.stop_finished();
    let moved = |key: &str| sessions.iter().filter_map(|session| session[key].as_u64()).sum();
    let (up, down): (u64, u64) = (moved("bytes_to_backend"), moved("bytes_to_client"));
    assert!(up > 2 * LARGE as u64 && down > 2 * LARGE as u64, "{sessions:?}");
}

/// A web server in the clear, with one page.
fn web() -> (Nginx, SocketAddr) {
    let address = address::own();
    let text = "server { listen ADDRESS; location / { return 200 \"in the clear\\n\"; } }";
    (Nginx::http(&text.replace("ADDRESS", &address.to_string())), address)
}

/// curl's exit code for a certificate that it can not verify.
const CURL_UNVERIFIED: i32 = 60;
const LARGE: usize = 50_000_000;
