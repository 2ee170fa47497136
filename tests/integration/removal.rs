//! What becomes of sessions whose backend is no longer found, and of those that are old.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use super::agents::Agents;
use super::aggregator::Aggregator;
use super::load::ask;
use super::patience::now;
use super::proxy::{Plan, Proxy, base, run};
use super::stream::{connect, expect_end, finish};

#[test]
fn sessions_of_a_removed_backend_stay_or_are_closed_in_order_at_once_or_later() {
    let [a, b] = ["a", "b"].map(Aggregator::start);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backends");
    fs::write(&path, a.address.to_string()).unwrap();
    let rules = [("keep", "keep"), ("close", "close"), ("grace", "700ms")];
    let section = |(name, rule): (&str, &str)| {
        format!(
            "[listener.{name}]\nlisten = \"127.0.0.1:0\"\npool = \"{name}\"\n\
             [pool.{name}]\nsources = [{{ file = \"{}\" }}]\non_removal = \"{rule}\"\n",
            path.display()
        )
    };
    let sections: String = rules.map(section).concat();
    let proxy = Proxy::start(&format!("{}{sections}", base()), run);
    let sessions = rules.map(|(name, _)| connect(proxy.listener(name)));
    for session in &sessions {
        assert_eq!(ask(session, "before").unwrap(), "a");
    }
    let [kept, closed, graced] = &sessions;
    let change = now();
    fs::write(&path, b.address.to_string()).unwrap();
    expect_end(closed);
    let at_once = change.elapsed();
    assert_eq!(ask(graced, "still").unwrap(), "a");
    expect_end(graced);
    let later = change.elapsed();
    assert!(later >= Duration::from_millis(700), "{later:?}");
    println!("on_removal: closed after {at_once:?}, with a grace of 700 ms after {later:?}");
    finish(closed);
    finish(graced);
    assert_eq!(ask(kept, "after").unwrap(), "a");
    let reasons = proxy.sessions(2);
    assert!(reasons.iter().all(|session| session["reason"] == "backend-lost"), "{reasons:?}");
    for (name, _) in rules {
        assert_eq!(ask(&connect(proxy.listener(name)), "new").unwrap(), "b");
    }
}

#[test]
fn old_sessions_are_closed_in_order_and_clients_come_back() {
    let [a, b] = ["a", "b"].map(Aggregator::start);
    let listener = "max_connection_age = \"1s\"\nmax_connection_age_jitter = 20";
    let proxy = Plan { listener, ..Plan::of(&[a.address, b.address]) }.start();
    let agents = Agents::start(proxy.address(), 8);
    let sessions = proxy.sessions(16);
    for session in &sessions {
        assert_eq!(session["reason"], "max-age", "{session}");
        let age = session["total_us"].as_u64().unwrap();
        assert!(age >= 800_000, "{session}");
    }
    let ages = sessions.iter().map(|session| session["total_us"].as_u64().unwrap() / 1000);
    let distinct: BTreeSet<u64> = ages.collect();
    println!("max_connection_age: closed at {distinct:?} ms");
    agents.finish("max_connection_age", &[&a, &b]);
}
