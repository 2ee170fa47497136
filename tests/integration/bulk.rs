//! Bytes arrive whole and in order, in small pieces and large, by copying and by splice.

use serde_json::json;

use super::patience::eventually;
use super::peer::Backend;
use super::proxy::{Plan, assert_fields};
use super::stream::{expect, expect_end, finish, pass, send};

#[test]
fn single_bytes_are_passed_on_at_once() {
    let backend = Backend::listen();
    let proxy = Plan::of(&[backend.address]).start();
    let [client, server] = backend.session(&proxy);
    // Two bytes, then an answer.
    for (source, target) in [(&client, &server), (&server, &client)] {
        for round in 0..1000 {
            let places = 3 * round..3 * round + 1;
            send(source, places.clone());
            send(source, places.start + 1..places.start + 2);
            expect(target, places.start..places.start + 2);
            pass(target, source, places);
        }
    }
}

#[test]
fn a_gibibyte_each_way_at_once_arrives_through_pipes() {
    let backend = Backend::listen();
    let proxy = Plan::of(&[backend.address]).start();
    let [client, server] = backend.session(&proxy);
    std::thread::scope(|scope| {
        for (source, target) in [(&client, &server), (&server, &client)] {
            scope.spawn(move || {
                pass(source, target, 0..GIBIBYTE);
                finish(source);
                expect_end(target);
            });
        }
    });
    assert_fields(
        &proxy.session(),
        json!({
            "reason": "finished",
            "bytes_to_backend": GIBIBYTE,
            "bytes_to_client": GIBIBYTE,
            "relay_to_backend": "splice",
            "relay_to_client": "splice",
        }),
    );
    proxy.await_rest();
}

#[test]
fn bulk_and_small_messages_alternate_without_loss() {
    let backend = Backend::listen();
    let proxy = Plan::of(&[backend.address]).start();
    let [client, server] = backend.session(&proxy);
    for (source, target) in [(&client, &server), (&server, &client)] {
        let mut place = 0;
        for _ in 0..3 {
            for (count, length) in
                [("splice_promotions_total", BULK), ("splice_demotions_total", 100)]
            {
                let before = proxy.metric(count, "");
                eventually(count, || {
                    pass(source, target, place..place + length);
                    place += length;
                    (proxy.metric(count, "") > before).then_some(())
                });
            }
        }
    }
    drop([client, server]);
    proxy.await_rest();
}

#[test]
fn a_spliced_session_that_falls_quiet_holds_no_pipe() {
    let backend = Backend::listen();
    let proxy = Plan::of(&[backend.address]).start();
    let [client, server] = backend.session(&proxy);
    let mut place = 0;
    eventually("splice", || {
        pass(&client, &server, place..place + BULK);
        place += BULK;
        (proxy.metric("splice_promotions_total", "") > 0).then_some(())
    });
    proxy.await_metric("worker_pipes_held", |held| held == 0);
    assert_eq!(proxy.metric("splice_demotions_total", ""), 0);
    pass(&client, &server, place..place + 100);
}

#[test]
fn the_smallest_buffers_carry_many_sessions() {
    let backend = Backend::listen();
    let process = "workers = 1\nbuffer_size = \"4KiB\"\nrelay_memory = \"256KiB\"\npipes = 0";
    let proxy = Plan { process, ..Plan::of(&[backend.address]) }.start();
    let sessions: Vec<_> = (0..80).map(|_| backend.session(&proxy)).collect();
    std::thread::scope(|scope| {
        for (index, [client, server]) in sessions.iter().enumerate() {
            let (source, target) = if index % 2 == 0 { (client, server) } else { (server, client) };
            scope.spawn(move || pass(source, target, 0..256 << 10));
        }
    });
    drop(sessions);
    let sessions = proxy.sessions(80);
    let moved = |key: &str| sessions.iter().map(|session| session[key].as_u64().unwrap()).sum();
    let moved: u64 = moved("bytes_to_backend");
    assert_eq!(moved, 40 * (256 << 10));
    assert!(sessions.iter().all(|session| session["relay_to_backend"] == "copy"));
    proxy.await_rest();
}

#[test]
fn two_workers_serve_at_the_same_time() {
    let backend = Backend::listen();
    let proxy = Plan { process: "workers = 2", ..Plan::of(&[backend.address]) }.start();
    // Which client goes to which worker is the kernel's choice, by a hash of the ports.
    for _ in 0..64 {
        let [client, server] = backend.session(&proxy);
        pass(&client, &server, 0..10_000);
        pass(&server, &client, 0..10_000);
    }
    let sessions = proxy.sessions(64);
    for worker in 0..2 {
        assert!(sessions.iter().any(|session| session["worker"] == worker), "worker {worker}");
    }
}

const GIBIBYTE: u64 = 1 << 30;
const BULK: u64 = 4 << 20;
