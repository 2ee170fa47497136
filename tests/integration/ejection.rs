//! Passive checks: a backend is ejected for what sessions meet, and let in again.

use super::aggregator::{Aggregator, Manner};
use super::load::{Load, report};
use super::patience::now;
use super::proxy::{Plan, Proxy};

fn ejecting(aggregators: &[&Aggregator]) -> Proxy {
    let addresses: Vec<_> = aggregators.iter().map(|aggregator| aggregator.address).collect();
    let more = "[pool.back.ejection]\nfailures = 3\nbase_time = \"1s\"";
    Plan { more, ..Plan::of(&addresses) }.start()
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
    // As long as it is tried in vain, that is every second one.
    proxy.await_first_tries(20);
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
    // It resets still, and nobody meets it.
    load.await_answers(&["a"], now());
    b.behave(Manner::Answers);
    let change = now();
    report("an ejection ends", load.await_answers(&["a", "b"], change));
    let met = load.failures().len();
    println!("resets eject: {met} clients met one");
    assert!(met >= 3);
    load.next(20);
    load.finish_but("ejection by resets", met);
}
