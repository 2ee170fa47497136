//! Backends that the operator takes out and lets in again: who gets new sessions, what becomes of
//! the others, and who has the last word.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::aggregator::Aggregator;
use super::load::{Load, ask, exchange, report};
use super::patience::{eventually, now};
use super::proxy::{Plan, Proxy, base, run};
use super::stream::{connect, connect_in_vain, expect_end, finish};

fn order(proxy: &Proxy, pool: &str, backend: &Aggregator, word: &str) -> Value {
    let path = format!("/pools/{pool}/backends/{}/{word}", backend.address);
    let (status, answer) = proxy.order(&path);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The row of a backend of the only pool.
fn row(proxy: &Proxy, backend: &Aggregator) -> Value {
    let page: Value = serde_json::from_str(&proxy.get("/pools").1).unwrap();
    let rows = page["pools"][0]["backends"].as_array().unwrap();
    let name = backend.address.to_string();
    rows.iter().find(|row| row["backend"] == name).unwrap().clone()
}

#[test]
fn a_drained_backend_keeps_its_sessions_and_gets_no_new_ones_until_it_is_ready() {
    let [a, b] = ["a", "b"].map(Aggregator::start);
    let plan = Plan { process: "workers = 2", ..Plan::of(&[a.address, b.address]) };
    let proxy = plan.start();
    let sessions: Vec<_> = (0..8).map(|_| connect(proxy.address())).collect();
    let held = |name| sessions.iter().find(|session| ask(session, "before").unwrap() == name);
    let (at_a, at_b) = (held("a").unwrap(), held("b").unwrap());
    let load = Load::start(proxy.address());
    load.await_answers(&["a", "b"], now());
    let answer = order(&proxy, "back", &a, "drain");
    let shown = [&answer["pool"], &answer["backend"], &answer["state"], &answer["why"]];
    let drains = "the operator drains it";
    assert_eq!(json!(shown), json!(["back", a.address.to_string(), "draining", drains]));
    assert!(answer["connections"].as_u64().unwrap() >= 1, "{answer}");
    // The answer came when every worker had been told, and each hears of it a moment later.
    load.await_answers(&["b"], now());
    for _ in 0..20 {
        assert_eq!(exchange(proxy.address()).unwrap(), "b");
    }
    assert_eq!((ask(at_a, "a").unwrap(), ask(at_b, "b").unwrap()), ("a".into(), "b".into()));
    assert_eq!(row(&proxy, &a)["state"], "draining");
    let label = format!("backend=\"{}\",state=\"draining\"", a.address);
    assert_eq!(proxy.metric("backend_state", &label), 1);
    proxy.await_words(&format!("{} is draining (was up): {drains}", a.address));
    assert_eq!(order(&proxy, "back", &a, "drain")["state"], "draining", "said twice");
    let change = now();
    assert_eq!(order(&proxy, "back", &a, "ready")["state"], "up");
    report("a backend is ready again", load.await_answers(&["a", "b"], change));
    load.finish("a drain");
    let path = "/pools/back/backends/10.9.9.9:1/drain";
    let (status, answer) = proxy.order(path);
    let why = "pool back has no backend \"10.9.9.9:1\" now; /pools shows those it has";
    assert_eq!((status, &answer["error"]), (404, &json!(why)));
    assert_eq!(proxy.order("/pools/front/backends/10.9.9.9:1/drain").0, 404);
    assert!(proxy.get(path).0.contains("405"));
}

#[test]
fn sessions_of_a_drained_backend_stay_or_are_closed_in_order_at_once_or_later() {
    let [a, b] = ["a", "b"].map(Aggregator::start);
    let rules = [("keep", "keep"), ("close", "close"), ("grace", "700ms")];
    let section = |(name, rule): (&str, &str)| {
        format!(
            "[listener.{name}]\nlisten = \"127.0.0.1:0\"\npool = \"{name}\"\n\
             [pool.{name}]\nbackends = [\"{}\", {{ address = \"{}\", backup = true }}]\n\
             on_drain = \"{rule}\"\n",
            a.address, b.address
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
    for (name, _) in rules {
        order(&proxy, name, &a, "drain");
        let by_b = || (exchange(proxy.listener(name)).unwrap() == "b").then_some(());
        eventually("the backup serves", by_b);
    }
    expect_end(closed);
    assert_eq!(ask(graced, "still").unwrap(), "a");
    expect_end(graced);
    let later = change.elapsed();
    assert!(later >= Duration::from_millis(700), "{later:?}");
    finish(closed);
    finish(graced);
    assert_eq!(ask(kept, "after").unwrap(), "a");
    let lost = |sessions: &[Value]| {
        sessions.iter().filter(|session| session["reason"] == "backend-lost").count()
    };
    // Asking until the backup serves has left any number of lines.
    eventually("both are logged", || (lost(&proxy.sessions(0)) == 2).then_some(()));
}

#[test]
fn a_file_drains_and_the_operator_has_the_last_word_until_it_says_something_new() {
    let [a, b] = ["a", "b"].map(Aggregator::start);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backends");
    let write = |lines: &[String]| {
        let new = path.with_extension("new");
        fs::write(&new, lines.join("\n")).unwrap();
        fs::rename(&new, &path).unwrap();
    };
    let (a_in, a_out) = (a.address.to_string(), format!("{} drain", a.address));
    let b_in = b.address.to_string();
    write(&[a_out.clone(), b_in.clone()]);
    let pool = format!("sources = [{{ file = {path:?} }}]");
    let proxy = Plan { pool: &pool, ..Plan::of(&[]) }.start();
    let load = Load::start(proxy.address());
    load.await_answers(&["b"], now());
    assert_eq!(row(&proxy, &a)["why"], "it is listed with drain");
    let change = now();
    write(&[a_in.clone(), b_in.clone()]);
    report("a file lets a backend in", load.await_answers(&["a", "b"], change));
    let change = now();
    write(&[a_out.clone(), b_in.clone()]);
    report("a file drains a backend", load.await_answers(&["b"], change));
    let change = now();
    order(&proxy, "back", &a, "ready");
    load.await_answers(&["a", "b"], change);
    // What the operator drains stays out however the file lists it, and if it loses it.
    order(&proxy, "back", &b, "drain");
    load.await_answers(&["a"], now());
    let change = now();
    write(std::slice::from_ref(&a_in));
    proxy.await_words(&format!("backend {} removed", b.address));
    eventually("the page shows it", || {
        let page: Value = serde_json::from_str(&proxy.get("/pools").1).unwrap();
        (page["pools"][0]["draining_absent"] == json!([b_in])).then_some(())
    });
    write(&[a_in, b_in]);
    proxy.await_words(&format!("{} is draining (was new)", b.address));
    load.await_answers(&["a"], change);
    let change = now();
    order(&proxy, "back", &b, "ready");
    load.await_answers(&["a", "b"], change);
    load.finish("a file that drains");
}

#[test]
fn where_every_backend_drains_clients_are_refused() {
    let a = Aggregator::start("a");
    let backends = vec![format!("{{ address = \"{}\", drain = true }}", a.address)];
    let plan = Plan { backends, pool: "panic_threshold = 50", ..Plan::of(&[]) };
    let proxy = plan.start();
    connect_in_vain(proxy.address());
    assert_eq!(proxy.session()["reason"], "no-backend");
    order(&proxy, "back", &a, "ready");
    let answer = eventually("it serves", || exchange(proxy.address()).ok());
    assert_eq!(answer, "a");
}

#[test]
fn orders_that_are_switched_off_change_nothing() {
    let a = Aggregator::start("a");
    let config = Plan::of(&[a.address]).text("127.0.0.1:0");
    let config = config.replace("[admin]\n", "[admin]\nallow_changes = \"off\"\n");
    let proxy = Proxy::start(&config, run);
    let (status, answer) = proxy.order(&format!("/pools/back/backends/{}/drain", a.address));
    let why = "orders are switched off by admin.allow_changes";
    assert_eq!((status, &answer["error"]), (403, &json!(why)));
    assert_eq!(row(&proxy, &a)["state"], "up");
}
