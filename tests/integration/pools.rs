//! What an operator sees of the pools while the proxy serves: the page `/pools` and the metrics.

use std::io::Write;
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::patience::eventually;
use super::peer::{Echo, vacant};
use super::proxy::{Plan, Proxy, base, run};
use super::stream::{connect, pass};

fn pool(proxy: &Proxy) -> Value {
    let (status, body) = proxy.get("/pools");
    assert!(status.ends_with("200 OK"), "{status}");
    let page: Value = serde_json::from_str(&body).unwrap();
    page["pools"][0].clone()
}

/// A pool of the backends that a file lists.
fn listed(path: &std::path::Path, lines: &str) -> Proxy {
    let config = format!(
        "{}[process]\nworkers = 1\n[listener.front]\nlisten = \"127.0.0.1:0\"\npool = \"back\"\n\
         [pool.back]\nsources = [{{ file = {path:?} }}]\n{lines}\n",
        base()
    );
    Proxy::start(&config, run)
}

fn list(path: &std::path::Path, backends: &[SocketAddr]) {
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new).unwrap();
    backends.iter().for_each(|backend| writeln!(file, "{backend}").unwrap());
    std::fs::rename(new, path).unwrap();
}

#[test]
fn sessions_are_seen_on_the_page_and_on_what_was_removed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("list");
    let (one, other) = (Echo::start(), Echo::start());
    list(&path, &[one.address]);
    let proxy = listed(&path, "");
    let client = connect(proxy.address());
    pass(&client, &client, 0..1000);
    let before = pool(&proxy);
    assert_eq!(before["backends"][0]["backend"], one.address.to_string());
    assert_eq!(before["backends"][0]["connections"], 1);
    assert_eq!(before["sources"][0]["answers"], 1);
    list(&path, &[other.address]);
    let after = eventually("the new list", || {
        let pool = pool(&proxy);
        (pool["backends"][0]["backend"] == other.address.to_string()).then_some(pool)
    });
    let leaving = json!([{ "backend": one.address.to_string(), "connections": 1 }]);
    assert_eq!(after["leaving"], leaving);
    let removed = || proxy.metric("pool_membership_changes_total", "change=\"removed\"");
    eventually("it is counted", || (removed() == 1).then_some(()));
    let listed = || proxy.metric("discovery_backends", "pool=\"back\"");
    eventually("one is listed", || (listed() == 1).then_some(()));
    list(&path, &[]);
    proxy.await_metric("discovery_failures_total", |failures| failures > 0);
    eventually("the page says why", || {
        let trouble = &pool(&proxy)["sources"][0]["troubles"][0];
        (trouble["kind"] == "unreadable").then_some(())
    });
    assert_eq!(pool(&proxy)["backends"].as_array().unwrap().len(), 1, "the last good list holds");
}

#[test]
fn a_backend_that_fails_its_probes_says_so() {
    let (backend, nobody) = (Echo::start(), vacant());
    let health = "[pool.back.health]\ncheck = \"tcp\"\ninterval = \"100ms\"\n\
                  fast_interval = \"100ms\"\nfall = 2\n";
    let plan = Plan { pool: "", ..Plan::of(&[backend.address, nobody]) };
    let proxy = Proxy::start(&format!("{}{health}", plan.text("127.0.0.1:0")), run);
    let down = format!("backend=\"{nobody}\",state=\"down\"");
    eventually("it is down", || (proxy.metric("backend_state", &down) == 1).then_some(()));
    let row_of = |pool: &Value, address: SocketAddr| {
        let backends = pool["backends"].as_array().unwrap();
        backends.iter().find(|row| row["backend"] == address.to_string()).unwrap().clone()
    };
    let pool = eventually("the other one was probed", || {
        let pool = pool(&proxy);
        (row_of(&pool, backend.address)["last_probe"]["result"] == "ok").then_some(pool)
    });
    let row = |address| row_of(&pool, address);
    assert_eq!(row(nobody)["state"], "down");
    let why = "2 probes in a row failed, the last one so: the connection was refused";
    assert_eq!(row(nobody)["why"], why);
    assert_eq!(row(nobody)["last_probe"]["result"], "refused");
    assert_eq!(pool["tiers"][0]["healthy"], 1);
    let failed = format!("backend=\"{nobody}\",result=\"refused\"");
    assert!(proxy.metric("backend_probes_total", &failed) >= 2);
    assert_eq!(proxy.metric("backend_probe_success", ""), 1, "the other one's alone");
}

#[test]
fn the_pools_can_be_seen_while_the_proxy_drains() {
    let backend = Echo::start();
    let mut proxy = Plan::of(&[backend.address]).start();
    let client = connect(proxy.address());
    pass(&client, &client, 0..1000);
    proxy.signal(Signal::TERM);
    proxy.await_event("draining: no new connections");
    assert_eq!(pool(&proxy)["backends"][0]["connections"], 1);
    drop(client);
    assert_eq!(proxy.exit_code(), 0);
}
