//! What operators read of a session: its line in the access log, and the metrics.

use std::net::TcpStream;

use serde_json::json;

use super::peer::{Backend, Echo, vacant};
use super::proxy::{Plan, Proxy, assert_fields, run};
use super::stream::{connect, expect_end, finish, pass, reset};

#[test]
fn the_access_log_tells_of_a_session_what_happened() {
    let backend = Backend::listen();
    let named = format!("{{ address = \"{}\", name = \"vector-1\" }}", backend.address);
    let proxy = Plan { backends: vec![named], ..Plan::of(&[]) }.start();
    let [client, server] = backend.session(&proxy);
    pass(&client, &server, 0..1234);
    pass(&server, &client, 0..567);
    finish(&client);
    expect_end(&server);
    finish(&server);
    expect_end(&client);
    let session = proxy.session();
    let expected = json!({
        "client": client.local_addr().unwrap().to_string(),
        "listener": "front",
        "pool": "back",
        "backend": "vector-1",
        "backend_address": backend.address.to_string(),
        "bytes_to_backend": 1234,
        "bytes_to_client": 567,
        "relay_to_backend": "copy",
        "relay_to_client": "copy",
        "reason": "finished",
        "sessions_process": 1,
        "sessions_listener": 1,
        "sessions_backend": 1,
        "worker": 0,
        "tried": [],
    });
    assert_fields(&session, expected);
    let total = session["total_us"].as_u64().unwrap();
    assert!(session["connect_us"].as_u64().unwrap() <= total, "{session}");
    assert!(session["accepted"].as_str().unwrap().ends_with('Z'), "{session}");
}

#[test]
fn the_access_log_names_the_client_however_the_session_ends() {
    let backend = Backend::listen();
    let proxy = Plan::of(&[backend.address]).start();
    let ends: [fn([TcpStream; 2]); 5] = [
        |[client, _server]| reset(client),
        |[_client, server]| reset(server),
        |[client, server]| {
            drop(client);
            expect_end(&server);
        },
        |[client, server]| {
            drop(server);
            expect_end(&client);
        },
        |[client, server]| {
            finish(&server);
            expect_end(&client);
            drop(client);
            expect_end(&server);
        },
    ];
    for (count, end) in (1..).zip(ends) {
        let [client, server] = backend.session(&proxy);
        let name = client.local_addr().unwrap().to_string();
        end([client, server]);
        let sessions = proxy.sessions(count);
        assert_eq!(sessions[count - 1]["client"], name, "{sessions:?}");
    }
}

#[test]
fn the_metrics_agree_with_what_was_sent() {
    let backend = Echo::start();
    let proxy = Plan { process: "workers = 2", ..Plan::of(&[backend.address, vacant()]) }.start();
    for _ in 0..20 {
        let client = connect(proxy.address());
        pass(&client, &client, 0..10_000);
        finish(&client);
        expect_end(&client);
    }
    let sessions = proxy.sessions(20);
    let tried = |session: &serde_json::Value| session["tried"].as_array().unwrap().len() as u64;
    let retries: u64 = sessions.iter().map(tried).sum();
    for (name, label, value) in [
        ("connections_accepted_total", "listener=\"front\"", 20),
        ("sessions_opened_total", "", 20),
        ("sessions_closed_total", "reason=\"finished\"", 20),
        ("sessions_closed_total", "", 20),
        ("relayed_bytes_total", "direction=\"to-backend\"", 200_000),
        ("relayed_bytes_total", "direction=\"to-client\"", 200_000),
        ("connect_attempts_total", "", 20 + retries),
        ("connect_failures_total", "", retries),
    ] {
        assert_eq!(proxy.metric(name, label), value, "{name} {label}");
    }
    proxy.await_metric("access_log_lines_written_total", |lines| lines == 20);
    proxy.await_rest();
}

#[test]
fn the_log_tells_where_the_metrics_are_when_the_kernel_chose_the_port() {
    let config = Plan::of(&[vacant()]).text("127.0.0.1:0");
    let begin = config.find("[admin]").unwrap();
    let end = config.find("[process]").unwrap();
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    let config = format!("{}{admin}{}", &config[..begin], &config[end..]);
    let proxy = Proxy::start(&config, run);
    assert!(proxy.get("/healthz").0.contains("200"));
}
