//! How sessions end whose TLS ends at the proxy: in order, cut short, by a reset, by their age.

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};
use serde_json::json;

use super::super::proxy::assert_fields;
use super::super::stream::{expect, expect_end, expect_reset, expect_silence, finish, pass};
use super::super::stream::{reset, send};
use super::peer::{Tls, alert, client_of};
use super::scene::{Scene, Settings};

const SOME: u64 = 300_000;

/// The stream ends here without its TLS saying so.
#[track_caller]
fn expect_cut(mut stream: &Tls) {
    let received = stream.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(received, Err(ErrorKind::UnexpectedEof));
}

#[test]
fn half_close_by_the_client_keeps_the_other_direction() {
    for version in [&TLS13, &TLS12] {
        let scene = Scene::start("");
        let (client, server) = scene.session(&Arc::new(client_of(&scene.authority, &[version])));
        pass(&client, &server, 0..SOME);
        client.close();
        expect_end(&server);
        pass(&server, &client, 0..SOME);
        finish(&server);
        expect_end(&client);
        assert_eq!(scene.proxy.session()["reason"], "finished");
        scene.await_rest();
    }
}

#[test]
fn half_close_by_the_backend_keeps_the_other_direction() {
    for version in [&TLS13, &TLS12] {
        let scene = Scene::start("");
        let (client, server) = scene.session(&Arc::new(client_of(&scene.authority, &[version])));
        pass(&server, &client, 0..SOME);
        finish(&server);
        expect_end(&client);
        pass(&client, &server, 0..SOME);
        client.close();
        expect_end(&server);
        assert_eq!(scene.proxy.session()["reason"], "finished");
        scene.await_rest();
    }
}

#[test]
fn a_stream_cut_short_is_delivered_and_told() {
    let scene = Scene::start("");
    let (client, server) = scene.session(&scene.client());
    send(&client, 0..SOME);
    client.socket.shutdown(Shutdown::Write).unwrap();
    expect(&server, 0..SOME);
    expect_end(&server);
    pass(&server, &client, 0..SOME);
    finish(&server);
    expect_end(&client);
    let expected = json!({ "reason": "tls-truncated", "bytes_to_backend": SOME });
    assert_fields(&scene.proxy.session(), expected);
    assert_eq!(scene.proxy.metric("sessions_closed_total", "tls-truncated"), 1);
    scene.await_rest();
}

#[test]
fn a_stream_cut_within_a_record_keeps_what_was_whole() {
    let scene = Scene::start("");
    let (client, server) = scene.session(&scene.client());
    send(&client, 0..1000);
    expect(&server, 0..1000);
    // A record of 100 bytes, of which 40 come.
    std::io::Write::write_all(
        &mut &client.socket,
        &[[23, 3, 3, 0, 100].as_slice(), &[7; 35]].concat(),
    )
    .unwrap();
    client.socket.shutdown(Shutdown::Write).unwrap();
    expect_end(&server);
    finish(&server);
    expect_end(&client);
    let expected = json!({ "reason": "tls-truncated", "bytes_to_backend": 1000 });
    assert_fields(&scene.proxy.session(), expected);
    scene.await_rest();
}

#[test]
fn a_record_that_makes_no_sense_ends_the_session_after_what_came_before() {
    for (length, version) in [(1000, &TLS13), (100_000, &TLS13), (1000, &TLS12)] {
        let scene = Scene::start("");
        let (client, server) = scene.session(&Arc::new(client_of(&scene.authority, &[version])));
        send(&client, 0..length / 2);
        expect(&server, 0..length / 2);
        // All of it comes at once.
        let mut plain = Vec::new();
        send(&mut plain, length / 2..length);
        let mut bytes = client.sealed(&plain);
        bytes.extend_from_slice(&[23, 3, 3, 0, 40]);
        bytes.extend_from_slice(&[7; 40]);
        std::io::Write::write_all(&mut &client.socket, &bytes).unwrap();
        expect(&server, length / 2..length);
        expect_reset(&server);
        let told = (&client).read(&mut [0; 1]).unwrap_err();
        assert_eq!(alert(&told), AlertDescription::BadRecordMac);
        let session = scene.proxy.session();
        assert_fields(&session, json!({ "reason": "client-tls", "bytes_to_backend": length }));
        assert_eq!(session["tls"]["failure"]["word"], "decrypt");
        scene.await_rest();
    }
}

#[test]
fn a_reset_by_the_client_reaches_the_backend_after_the_bytes() {
    let scene = Scene::start("");
    let (client, server) = scene.session(&scene.client());
    send(&client, 0..10_000);
    reset(client.socket);
    expect(&server, 0..10_000);
    expect_reset(&server);
    let expected = json!({ "reason": "client-reset", "bytes_to_backend": 10_000 });
    assert_fields(&scene.proxy.session(), expected);
    scene.await_rest();
}

#[test]
fn a_reset_by_the_backend_reaches_the_client_after_the_bytes() {
    let scene = Scene::start("");
    let (client, server) = scene.session(&scene.client());
    send(&server, 0..32_000);
    reset(server);
    expect(&client, 0..32_000);
    expect_reset(&client);
    assert_eq!(scene.proxy.session()["reason"], "backend-reset");
    scene.await_rest();
}

#[test]
fn at_its_age_a_session_is_closed_by_a_notice_and_nothing_is_lost() {
    let listener = "max_connection_age = \"1s\"\nmax_connection_age_jitter = 0";
    let scene = Scene::start_with("", Settings { listener, ..Settings::default() });
    let (client, server) = scene.session(&scene.client());
    pass(&server, &client, 0..SOME);
    // The client is told, and sends the rest of what it has.
    expect_end(&client);
    pass(&client, &server, 0..SOME);
    client.close();
    expect_end(&server);
    finish(&server);
    assert_eq!(scene.proxy.session()["reason"], "max-age");
    scene.await_rest();
}

#[test]
fn an_idle_session_is_closed() {
    let listener = "idle_timeout = \"2s\"";
    let scene = Scene::start_with("", Settings { listener, ..Settings::default() });
    let (client, server) = scene.session(&scene.client());
    pass(&client, &server, 0..10);
    expect_end(&server);
    expect_cut(&client);
    assert_eq!(scene.proxy.session()["reason"], "idle-timeout");
    scene.await_rest();
}

#[test]
fn a_client_that_takes_nothing_holds_back_its_backend_alone() {
    let scene = Scene::start("");
    let config = scene.client();
    let (client, server) = scene.session(&config);
    let (other, its_server) = scene.session(&config);
    std::thread::scope(|scope| {
        scope.spawn(|| send(&server, 0..STALLED));
        expect_silence(&server, Duration::from_millis(300));
        pass(&other, &its_server, 0..SOME);
        expect(&client, 0..STALLED);
    });
    drop((client, server, other, its_server));
    scene.await_rest();
}

/// More than the buffers of the kernel and the proxy take.
const STALLED: u64 = 24 << 20;
