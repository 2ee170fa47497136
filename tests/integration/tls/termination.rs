//! TLS ends at the proxy: bytes arrive whole and in order, in records small and large.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde_json::json;

use super::super::proxy::assert_fields;
use super::super::stream::{expect, expect_end, finish, pass, send};
use super::peer::{alert, client_of};
use super::scene::{NAME, Scene};

#[test]
fn much_each_way_at_once_arrives_in_both_versions() {
    for (version, name, agreed) in
        [(&TLS13, "1.3", ProtocolVersion::TLSv1_3), (&TLS12, "1.2", ProtocolVersion::TLSv1_2)]
    {
        let scene = Scene::start("");
        let config = Arc::new(client_of(&scene.authority, &[version]));
        let (client, server) = scene.session(&config);
        assert_eq!(client.version(), agreed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pass(&client, &server, 0..MUCH);
                client.close();
                expect_end(&server);
            });
            scope.spawn(|| {
                pass(&server, &client, 0..MUCH);
                finish(&server);
                expect_end(&client);
            });
        });
        let session = scene.proxy.session();
        assert_fields(
            &session,
            json!({
                "reason": "finished",
                "bytes_to_backend": MUCH,
                "bytes_to_client": MUCH,
                "relay_to_backend": "tls",
                "relay_to_client": "tls",
            }),
        );
        let agreed = json!({ "server_name": NAME, "version": name, "resumed": false });
        assert_fields(&session["tls"], agreed);
        scene.await_rest();
    }
}

/// Every byte is compared with the one that belongs at its place.
#[test]
fn a_gibibyte_each_way_at_once_arrives_whole() {
    let scene = Scene::start("");
    let (client, server) = scene.session(&scene.client());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pass(&client, &server, 0..GIBIBYTE);
            client.close();
            expect_end(&server);
        });
        scope.spawn(|| {
            pass(&server, &client, 0..GIBIBYTE);
            finish(&server);
            expect_end(&client);
        });
    });
    let expected = json!({
        "reason": "finished",
        "bytes_to_backend": GIBIBYTE,
        "bytes_to_client": GIBIBYTE,
    });
    assert_fields(&scene.proxy.session(), expected);
    scene.await_rest();
}

#[test]
fn records_of_one_byte_are_passed_on_at_once() {
    let scene = Scene::start("");
    let (client, server) = scene.session(&scene.client());
    for round in 0..500 {
        let places = 2 * round..2 * round + 1;
        pass(&client, &server, places.clone());
        pass(&server, &client, places.clone());
        // Two before the answer: neither waits for the acknowledgement of the other.
        send(&client, places.clone());
        send(&client, places.start + 1..places.start + 2);
        expect(&server, places.start..places.start + 2);
        pass(&server, &client, places);
    }
    drop([client.socket]);
    drop(server);
    scene.await_rest();
}

#[test]
fn thousands_of_records_in_one_segment_arrive_in_order() {
    let scene = Scene::start("");
    let (client, mut server) = scene.session(&scene.client());
    let bytes: Vec<u8> = (0..5_000_u32).map(|place| (place % 251) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| client.send_in_records(&bytes));
        let mut received = vec![0; bytes.len()];
        server.read_exact(&mut received).unwrap();
        assert!(received == bytes);
    });
    // The other way, where the proxy makes the records.
    std::thread::scope(|scope| {
        let mut server = &server;
        let bytes = &bytes;
        scope.spawn(move || bytes.chunks(1).for_each(|byte| server.write_all(byte).unwrap()));
        let mut received = vec![0; bytes.len()];
        (&client).read_exact(&mut received).unwrap();
        assert!(received == *bytes);
    });
    client.close();
    finish(&server);
    expect_end(&client);
    assert_eq!(scene.proxy.session()["reason"], "finished");
    scene.await_rest();
}

#[test]
fn a_client_may_change_its_keys_while_bytes_flow() {
    let scene = Scene::start("");
    let (client, server) = scene.session(&scene.client());
    let mut place = 0;
    for _ in 0..20 {
        client.change_keys();
        pass(&client, &server, place..place + 50_000);
        pass(&server, &client, place..place + 50_000);
        place += 50_000;
    }
    client.close();
    finish(&server);
    expect_end(&client);
    assert_eq!(scene.proxy.session()["reason"], "finished");
    scene.await_rest();
}

#[test]
fn bytes_behind_the_handshake_are_not_lost() {
    let scene = Scene::start("");
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(client_of(&scene.authority, &[version]));
        for _ in 0..20 {
            let client = scene.connect(&config);
            send(&client, 0..20_000);
            client.close();
            let server = scene.backend.accept();
            expect(&server, 0..20_000);
            expect_end(&server);
            finish(&server);
            expect_end(&client);
        }
    }
    let sessions = scene.proxy.sessions(40);
    assert!(sessions.iter().all(|session| session["reason"] == "finished"), "{sessions:?}");
    scene.await_rest();
}

#[test]
fn a_version_below_the_least_is_refused() {
    let scene = Scene::start("min_version = \"1.3\"");
    let config = Arc::new(client_of(&scene.authority, &[&TLS12]));
    let error = super::peer::Tls::connect(scene.proxy.address(), NAME, &config).err().unwrap();
    assert_eq!(alert(&error), rustls::AlertDescription::ProtocolVersion);
    let session = scene.proxy.session();
    assert_fields(&session, json!({ "reason": "client-tls", "pool": "back" }));
    assert_eq!(session["tls"]["failure"]["word"], "incompatible");
    let cause = "cause=\"incompatible\"";
    assert_eq!(scene.proxy.metric("tls_handshake_failures_total", cause), 1);
    scene.await_rest();
}

/// Both ways together it passes in seconds, with the peers built for debugging.
const MUCH: u64 = 64 << 20;

const GIBIBYTE: u64 = 1 << 30;
