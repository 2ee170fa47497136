//! Owns the tests of health checks against the servers that they are made for: who does not serve
//! is down for the reason that it gave, and who serves is up again.

use std::fs;
use std::net::SocketAddr;

use super::address;
use super::checks::Checks;
use super::grpc::GrpcServer;
use super::nginx::Nginx;
use super::openssl::{Certificate, NAME, Server};

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn servers_of_either_tls_version_answer_a_hello() {
    let certificate = Certificate::make();
    let check = format!("check = \"tls-hello\"\ntls_server_name = \"{NAME}\"");
    // What each is started with. The last one knows another name, and says so with an alert: that
    // is an answer too.
    let servers: [(&str, &[&str]); 3] = [
        ("1.2", &["-tls1_2"]),
        ("1.3", &["-tls1_3"]),
        ("alert", &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"]),
    ];
    let servers = servers.map(|(name, options)| (name, options, address::own()));
    let (secured, plain) = (address::own(), address::own());
    let mut pools: Vec<_> = servers.iter().map(|(name, _, at)| (*name, *at, &*check)).collect();
    pools.extend([("nginx", secured, &*check), ("plain", plain, &*check)]);
    let _plain = Nginx::http(&format!("server {{ listen {plain}; }}"));
    let mut checks = Checks::start(&pools);
    checks.expect("plain", "is down", "the answer is not of the check's protocol");
    for name in ["1.2", "1.3", "alert", "nginx"] {
        checks.expect(name, "is down", "refused");
    }
    let keys = keys(&certificate);
    let _secured = Nginx::http(&format!("server {{ listen {secured} ssl; {keys} }}"));
    let _servers = servers
        .map(|(_, options, at)| Server::start_with(&certificate, &at.to_string(), "-www", options));
    for name in ["1.2", "1.3", "alert", "nginx"] {
        checks.expect(name, "is up", "a probe succeeded");
    }
    checks.stop();
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn the_status_of_nginx_decides() {
    let certificate = Certificate::make();
    let (plain, secured) = (address::own(), address::own());
    let nginx = Nginx::http(&web(plain, secured, &certificate));
    let host = format!("host = \"{NAME}\"");
    let http = format!("check = \"http\"\npath = \"/health\"\n{host}");
    let exact = format!("check = \"http\"\nstatus = 503\n{host}");
    let https = format!("{http}\ntls = true\ntls_server_name = \"{NAME}\"");
    let without_name = format!("{http}\ntls = true");
    let text = format!(
        "check = \"send-expect\"\nexpect = \" 200 OK\"\n\
         send = \"GET / HTTP/1.0\\r\\nHost: {NAME}\\r\\n\\r\\n\""
    );
    let fails = nginx.file("fails");
    fs::write(&fails, "").unwrap();
    let mut checks = Checks::start(&[
        ("http", plain, &http),
        ("https", secured, &https),
        ("text", plain, &text),
        ("exact", plain, &exact),
        ("without-host", plain, "check = \"http\"\npath = \"/health\""),
        ("without-name", secured, &without_name),
    ]);
    checks.expect("http", "is down", "the HTTP status is 503");
    checks.expect("https", "is down", "the HTTP status is 503");
    checks.expect("text", "is down", "the answer does not hold what is expected");
    checks.expect("without-host", "is down", "the HTTP status is 421");
    checks.expect("without-name", "is down", "the TLS handshake failed");
    fs::remove_file(&fails).unwrap();
    for name in ["http", "https", "text"] {
        checks.expect(name, "is up", "a probe succeeded");
    }
    checks.expect("exact", "is down", "the HTTP status is 200");
    fs::write(&fails, "").unwrap();
    checks.expect("exact", "is up", "a probe succeeded");
    checks.stop();
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn a_grpc_server_is_believed() {
    let certificate = Certificate::make();
    let (plain, secured) = (address::own(), address::own());
    let mut servers =
        [GrpcServer::start(plain, None), GrpcServer::start(secured, Some(&certificate))];
    let mut set = |state: &str| servers.iter_mut().for_each(|server| server.set(state));
    set("not-serving");
    let over_tls = format!("check = \"grpc\"\ntls = true\ntls_server_name = \"{NAME}\"");
    let mut checks = Checks::start(&[
        ("server", plain, "check = \"grpc\""),
        ("service", plain, "check = \"grpc\"\nservice = \"telemetry\""),
        ("stranger", plain, "check = \"grpc\"\nservice = \"unheard-of\""),
        ("tls", secured, &over_tls),
        ("vector", plain, "check = \"vector\""),
    ]);
    checks.expect("stranger", "is down", "the gRPC status is 5");
    // The two services number their states each in its own way.
    for (name, value) in [("server", 2), ("service", 2), ("tls", 2), ("vector", 1)] {
        checks.expect(name, "is down", &format!("does not serve, with the value {value}"));
    }
    set("serving");
    for name in ["server", "service", "tls", "vector"] {
        checks.expect(name, "is up", "a probe succeeded");
    }
    set("unavailable");
    for name in ["server", "service", "tls", "vector"] {
        checks.expect(name, "is down", "the gRPC status is 14");
    }
    checks.stop();
}

/// A site that fails while there is a file of that name, and that knows one host alone.
fn web(plain: SocketAddr, secured: SocketAddr, certificate: &Certificate) -> String {
    let keys = keys(certificate);
    format!(
        r#"
        server {{
            listen {plain} default_server;
            listen {secured} ssl default_server;
            ssl_reject_handshake on;
            return 421;
        }}
        server {{
            listen {plain};
            listen {secured} ssl;
            {keys}
            server_name {NAME};
            root files;
            if (-f $document_root/fails) {{ return 503; }}
            return 200;
        }}
        "#
    )
}

fn keys(certificate: &Certificate) -> String {
    let (file, key) = (certificate.file(), certificate.key());
    format!("ssl_certificate {}; ssl_certificate_key {};", file.display(), key.display())
}
