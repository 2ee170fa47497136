//! Descriptors that run out while the proxy serves, and come back.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use super::peer::Echo;
use super::proxy::{Plan, Proxy};
use super::stream::{connect, expect, expect_silence, pass, send};

#[test]
fn connections_wait_while_descriptors_are_exhausted() {
    let backend = Echo::start();
    let process = "workers = 1\nmax_connections = 100";
    let proxy = Plan { process, ..Plan::of(&[backend.address]) }.start();
    let client = connect(proxy.address());
    pass(&client, &client, 0..100);
    let open = proxy.descriptors();

    // None is left for the first, one for the second, which has no use without another one.
    for spare in [0, 1] {
        proxy.await_descriptors(open);
        let limit = limit_descriptors(&proxy, Some(lowest_free(&proxy) + spare));
        let waiting = [connect(proxy.address()), connect(proxy.address())];
        waiting.iter().for_each(|client| send(client, 0..100));
        expect_silence(&waiting[0], Duration::from_millis(700));
        pass(&client, &client, 0..100);
        limit_descriptors(&proxy, limit);
        waiting.iter().for_each(|client| expect(client, 0..100));
    }
    assert!(proxy.metric("accept_pauses_total", "descriptors") > 0);
    drop(client);
    let reasons: Vec<_> =
        proxy.sessions(5).iter().map(|session| session["reason"].clone()).collect();
    assert!(reasons.iter().all(|reason| reason == "finished"), "{reasons:?}");
    proxy.await_rest();
}

#[test]
fn a_session_that_ends_gives_its_descriptors_to_one_that_waits() {
    let backend = Echo::start();
    let process = "workers = 1\nmax_connections = 100";
    let proxy = Plan { process, ..Plan::of(&[backend.address]) }.start();
    let client = connect(proxy.address());
    pass(&client, &client, 0..100);
    limit_descriptors(&proxy, Some(lowest_free(&proxy) + 1));
    let waiting = connect(proxy.address());
    send(&waiting, 0..100);
    expect_silence(&waiting, Duration::from_millis(300));
    drop(client);
    expect(&waiting, 0..100);
}

/// The number that its next descriptor would have: all below it are in use.
fn lowest_free(proxy: &Proxy) -> u64 {
    (0..).find(|number| !proxy.procfs("fd").join(number.to_string()).exists()).unwrap()
}

/// Sets the soft limit of the running process; gives the one before.
fn limit_descriptors(proxy: &Proxy, current: Option<u64>) -> Option<u64> {
    // The proxy has raised its soft limit to the hard one, which it shares with this process.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    prlimit(Some(proxy.pid()), Resource::Nofile, Rlimit { current, maximum }).unwrap().current
}
