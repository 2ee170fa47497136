//! Owns the tests of sessions that are led by the server name and the protocols that real clients
//! ask for.

use std::process::Command;

use super::address;
use super::curl::plain_curl;
use super::edge::{BEGIN, pool, table};
use super::nginx::Nginx;
use super::openssl::{Certificate, Server};
use super::process::{output, run};
use super::proxy::Proxy;

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn curl_is_led_by_the_name_it_asks_for() {
    let passed = Certificate::of("passed.test");
    let (ended, web) = (Certificate::of("*.ended.test"), address::own());
    let server = Server::start(&passed, "127.0.0.1:0", "-www");
    let _nginx = Nginx::http(&format!("server {{ listen {web}; return 200 \"in the clear\"; }}"));
    let proxy = Proxy::with_text(&format!(
        "{BEGIN}\n{}\n{}\n{}\n\
         [listener.client]\nlisten = \"127.0.0.1:0\"\nroutes = [\n\
         {{ server_names = [\"passed.test\"], pool = \"passed\" }},\n\
         {{ server_names = [\"*.ended.test\"], pool = \"ended\", tls = \"edge\" }},\n\
         {{ server_names = [\"old.ended.test\"], reject = true }},\n]\n",
        table("edge", &ended, ""),
        pool("passed", server.address),
        pool("ended", web),
    ));
    for version in ["1.2", "1.3"] {
        let page = run(&mut asking(&passed, &proxy, "passed.test", version), Vec::new());
        assert!(page.contains(&format!("New, TLSv{version}, Cipher is")), "{page}");
        let page = run(&mut asking(&ended, &proxy, "a.ended.test", version), Vec::new());
        assert_eq!(page, "in the clear");
        for refused in ["old.ended.test", "unknown.test"] {
            let refused = output(&mut asking(&ended, &proxy, refused, version), Vec::new());
            assert_eq!(refused.status.code(), Some(CURL_NO_HANDSHAKE), "{refused:?}");
            let said = String::from_utf8_lossy(&refused.stderr);
            assert!(said.contains("unrecognized name"), "{said}");
        }
    }
    let sessions = proxy.stop();
    let told = |key: &str| sessions.iter().map(|session| &session[key]).collect::<Vec<_>>();
    let each = ["finished", "finished", "no-route", "no-route"];
    assert_eq!(told("reason"), [each, each].concat());
    let names = ["passed.test", "a.ended.test", "old.ended.test", "unknown.test"];
    let asked: Vec<_> = sessions.iter().map(|session| &session["tls"]["server_name"]).collect();
    assert_eq!(asked, [names, names].concat());
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn curl_is_led_by_the_protocol_it_speaks() {
    let certificate = Certificate::of("web.test");
    let (old, new) = (address::own(), address::own());
    let page = "location / { return 200 $server_protocol; }";
    let _nginx = Nginx::http(&format!(
        "server {{ listen {old}; {page} }} server {{ listen {new} http2; {page} }}"
    ));
    let proxy = Proxy::with_text(&format!(
        "{BEGIN}\n{}\n{}\n{}\n\
         [listener.client]\nlisten = \"127.0.0.1:0\"\ntls = \"edge\"\npool = \"old\"\n\
         routes = [{{ alpn = [\"h2\"], pool = \"new\" }}]\n",
        table("edge", &certificate, "alpn = [\"h2\", \"http/1.1\"]"),
        pool("old", old),
        pool("new", new),
    ));
    for (option, spoken) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2.0")] {
        let mut curl = asking(&certificate, &proxy, "web.test", "1.3");
        assert_eq!(run(curl.arg(option), Vec::new()), spoken);
    }
    // Over HTTP/2 this curl closes without a word of TLS: the reason says so.
    let sessions = proxy.stop();
    let spoken: Vec<_> = sessions.iter().map(|session| &session["tls"]["protocol"]).collect();
    assert_eq!(spoken, ["http/1.1", "h2"]);
}

/// curl that asks the proxy for a page of this host, in this version.
fn asking(certificate: &Certificate, proxy: &Proxy, host: &str, version: &str) -> Command {
    let address = proxy.address();
    let mut command = plain_curl();
    command.args(["--resolve", &format!("{host}:{}:{}", address.port(), address.ip())]);
    command.arg("--cacert").arg(certificate.file());
    command.args([&format!("--tlsv{version}"), "--tls-max", version]);
    command.arg(format!("https://{host}:{}/", address.port()));
    command
}

/// curl's exit code for a handshake that fails.
const CURL_NO_HANDSHAKE: i32 = 35;
