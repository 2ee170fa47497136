//! Passive checks: a backend is ejected for what sessions meet, and let in again.

use super::aggregator::{Aggregator, Manner};
use super::load::{Load, report};
use super::patience::{eventually, now};
use super::proxy::{Plan, Proxy};

fn ejecting(aggregators: &[&Aggregator]) -> Proxy {
    let addresses: Vec<_> = aggregators.iter().map(|aggregator| aggregator.address).collect();
    let more = "[pool.back.ejection]\nfailures = 3\nbase_time = \"1s\"";
    Plan { more, ..Plan::of(&addresses) }.start()
}

/// Nobody is tried in vain.
fn assert_no_retries(proxy: &Proxy, load: &Load) {
    load.next(20);
    let before = proxy.sessions(0).len();
    let sessions = proxy.sessions(before + 30);
    for session in &sessions[before..] {
        assert_eq!(session["tried"], serde_json::json!([]), "{session}");
    }
}

#[test]
fn failed_connects_eject_a_backend_until_it_is_tried_again() {
    let [a, mut b] = ["a", "b"].map(Aggregator::start);
    b.kill();
    let proxy = ejecting(&[&a, &b]);
    let load = Load::start(proxy.address());
    let change = now();
    proxy.await_words(&format!("{} is ejected", b.address));
    report("failed connects eject", change.elapsed());
    assert_no_retries(&proxy, &load);
    load.await_answers(&["a"], now());
    b.revive();
    let change = now();
    report("an ejection ends", load.await_answers(&["a", "b"], change));
    load.finish("ejection by failed connects");
}

#[test]
fn resets_soon_after_the_connect_eject_a_backend_until_it_is_tried_again() {
    let [a, b] = ["a", "b"].map(Aggregator::start);
    let proxy = ejecting(&[&a, &b]);
    let load = Load::start(proxy.address());
    load.await_answers(&["a", "b"], now());
    b.behave(Manner::Resets);
    let change = now();
    proxy.await_words(&format!("{} is ejected", b.address));
    report("resets eject", change.elapsed());
    b.behave(Manner::Answers);
    let met = eventually("the last reset", || {
        let met = load.failures();
        load.next(10);
        (met == load.failures()).then_some(met)
    });
    println!("resets eject: {} clients met one", met.len());
    assert!(met.len() >= 3, "{met:?}");
    assert_no_retries(&proxy, &load);
    let change = now();
    report("an ejection ends", load.await_answers(&["a", "b"], change));
    load.finish_but("ejection by resets", met.len());
}
