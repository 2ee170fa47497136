//! What good answers make of a pool.

use std::time::Duration;

use super::scene::*;
use crate::config::SourceKind;
use crate::control::discovery::*;

#[test]
fn each_address_of_a_name_is_a_backend() {
    let mut scene = Scene::new(options(&[dns("x")]));
    scene.set(addresses_of("x"), ips(&["10.0.0.2", "2001:db8::1", "10.0.0.1", "0.0.0.0"]));
    scene.pass(0);
    let expected = [
        "10.0.0.1:1 10.0.0.1:1 w1 t0",
        "10.0.0.2:1 10.0.0.2:1 w1 t0",
        "[2001:db8::1]:1 [2001:db8::1]:1 w1 t0",
    ];
    assert_eq!(scene.backends(), expected);
    scene.set(addresses_of("x"), ips(&["2001:db8::1", "10.0.0.1", "10.0.0.2"]));
    scene.pass(100);
    assert_eq!(scene.changes, [Duration::ZERO], "a rotation is no change");
    scene.set(addresses_of("x"), ips(&["10.0.0.3"]));
    scene.pass(10);
    assert_eq!(scene.names(), "10.0.0.3:1");
    assert_eq!(scene.told("removed"), 3);
    assert_eq!(scene.told("backend 10.0.0.3:1 added at 10.0.0.3:1, weight 1, tier 0"), 1);
}

#[test]
fn each_target_of_a_service_is_a_backend_with_both_families() {
    let mut scene = Scene::new(options(&[srv("s")]));
    let service = |target: &str, priority, weight, addresses: &[&str]| {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        Record::Service(Service { target: target.into(), port: 6, priority, weight, addresses })
    };
    let records =
        vec![service("a.x.", 10, 65535, &["10.0.0.1", "2001:db8::1"]), service("b.x.", 20, 5, &[])];
    scene.set(services_of("s"), Ok(Answer { records, valid_for: SECOND }));
    scene.set(addresses_of("b.x."), ips(&["10.0.0.2"]));
    scene.pass(1);
    let expected = ["a.x:6 [2001:db8::1]:6,10.0.0.1:6 w65535 t0", "b.x:6 10.0.0.2:6 w5 t1"];
    assert_eq!(scene.backends(), expected);
    assert_eq!(scene.times_asked(&addresses_of("a.x.")), 0, "its addresses came with it");
    scene.set(addresses_of("b.x."), ips(&["10.0.0.9"]));
    scene.pass(12);
    assert_eq!(scene.backends()[1], "b.x:6 10.0.0.9:6 w5 t1");
    assert_eq!(scene.told("backend b.x:6 is at 10.0.0.9:6 now"), 1);
}

#[test]
fn each_name_of_a_template_is_a_backend_of_its_own() {
    let mut scene = Scene::new(options(&[template(&["a-0.x.", "a-1.x."])]));
    scene.set(addresses_of("a-0.x."), ips(&["10.0.0.1", "2001:db8::1"]));
    scene.set(addresses_of("a-1.x."), Err(Failure::NxDomain));
    scene.pass(1);
    assert_eq!(scene.backends(), ["a-0.x:1 [2001:db8::1]:1,10.0.0.1:1 w1 t0"]);
    scene.set(addresses_of("a-1.x."), ips(&["10.0.0.2"]));
    scene.pass(60);
    assert_eq!(scene.names(), "a-0.x:1 a-1.x:1");
}

#[test]
fn a_file_gives_backends_and_names_to_resolve() {
    let mut scene = Scene::new(options(&[file("list")]));
    scene.set(addresses_of("a.x"), ips(&["10.0.0.9"]));
    scene.files.insert("list".into(), Ok("10.0.0.1:5 weight=7 name=b\na.x:6 backup\n".into()));
    scene.pass(1);
    assert_eq!(scene.backends(), ["a.x:6 10.0.0.9:6 w1 t1", "b 10.0.0.1:5 w7 t0"]);
    scene.write("list", "10.0.0.1:5 weight=8 name=b\n10.0.0.2:5\n");
    scene.pass(1);
    assert_eq!(scene.backends(), ["10.0.0.2:5 10.0.0.2:5 w1 t0", "b 10.0.0.1:5 w8 t0"]);
    assert_eq!(scene.told("backend b has weight 8, tier 0 now"), 1);
    scene.write("list", "10.0.0.1:5\nnonsense\n");
    scene.pass(86_400);
    assert_eq!(scene.names(), "10.0.0.2:5 b", "a bad file changes nothing");
    assert_eq!(scene.told("sources[0]: file list: line 2: \"nonsense\" is no address"), 1, "once");
    scene.write("list", "10.0.0.1:5\n");
    scene.pass(1);
    assert_eq!(scene.names(), "10.0.0.1:5");
    assert_eq!(scene.told("sources[0]: file list: answers again"), 1);
}

#[test]
fn a_whole_set_is_replaced_without_a_gap() {
    let mut scene = Scene::new(options(&[srv("s")]));
    scene.set(services_of("s"), targets(&["a.", "b."]));
    for name in ["a.", "b."] {
        scene.set(addresses_of(name), ips(&["10.0.0.1"]));
    }
    scene.pass(1);
    assert_eq!(scene.names(), "a:1 b:1");
    scene.set(services_of("s"), targets(&["c.", "d.", "e."]));
    scene.pass(15);
    assert_eq!(scene.names(), "a:1 b:1", "none of the new ones is known yet");
    scene.answer(addresses_of("c."), Err(Failure::NxDomain));
    scene.answer(addresses_of("d."), ips(&["10.0.0.2"]));
    scene.pass(1);
    assert_eq!(scene.names(), "a:1 b:1 d:1", "one is still open");
    scene.answer(addresses_of("e."), ips(&["10.0.0.3"]));
    scene.pass(1);
    assert_eq!(scene.names(), "d:1 e:1");
    scene.answer(addresses_of("c."), ips(&["10.0.0.4"]));
    scene.pass(1);
    assert_eq!(scene.names(), "c:1 d:1 e:1", "the last one goes in when it can");
}

#[test]
fn targets_that_all_fail_do_not_replace_those_that_work() {
    let mut scene = Scene::new(options(&[srv("s")]));
    scene.set(services_of("s"), targets(&["a."]));
    scene.set(addresses_of("a."), ips(&["10.0.0.1"]));
    scene.pass(1);
    scene.set(services_of("s"), targets(&["b.", "c."]));
    scene.set(addresses_of("b."), Err(Failure::NxDomain));
    scene.set(addresses_of("c."), Err(Failure::Timeout));
    scene.pass(3600);
    assert_eq!(scene.names(), "a:1");
    scene.set(addresses_of("c."), ips(&["10.0.0.3"]));
    scene.pass(300);
    assert_eq!(scene.names(), "c:1");
}

#[test]
fn the_first_source_that_names_a_backend_has_the_word() {
    let mut options = options(&[file("one"), file("two")]);
    options.sources[1].tier = 5;
    let addresses = vec!["10.9.9.9:1".parse().unwrap()];
    let name = "a".into();
    options.fixed = vec![Found { name, addresses, weight: 3, tier: 0, limit: None, drain: false }];
    let mut scene = Scene::new(options);
    assert_eq!(scene.backends(), ["a 10.9.9.9:1 w3 t0"], "from the beginning");
    scene.write("one", "10.0.0.1:1 name=a\n10.0.0.1:1 name=b");
    scene.write("two", "10.0.0.2:1 name=b\n10.0.0.2:1 name=c");
    scene.pass(1);
    let all = ["a 10.9.9.9:1 w3 t0", "b 10.0.0.1:1 w1 t0", "c 10.0.0.2:1 w1 t5"];
    assert_eq!(scene.backends(), all);
    scene.write("one", "10.0.0.1:1 name=x");
    scene.pass(1);
    assert_eq!(scene.backends()[1], "b 10.0.0.2:1 w1 t5", "now the second has it");
}

#[test]
fn answers_nobody_asked_for_are_ignored() {
    let mut scene = Scene::new(options(&[dns("x")]));
    scene.answer(addresses_of("x"), ips(&["10.0.0.1"]));
    scene.answer(addresses_of("y"), ips(&["10.0.0.1"]));
    scene.pass(1);
    scene.answer(addresses_of("x"), ips(&["10.0.0.2"]));
    scene.answer(addresses_of("x"), ips(&["10.0.0.3"]));
    let (path, contents) = ("list".into(), Ok("10.0.0.4:1".into()));
    scene.handle(Input::FileRead { path, contents });
    scene.pass(1);
    assert_eq!(scene.names(), "10.0.0.2:1");
}

#[test]
fn an_answer_without_a_usable_record_is_an_empty_one() {
    let mut scene = Scene::new(options(&[srv("s"), dns("x")]));
    scene.set(services_of("s"), ips(&["10.0.0.1"]));
    scene.set(addresses_of("x"), ips(&["0.0.0.0", "224.0.0.1"]));
    scene.pass(1);
    assert_eq!(scene.names(), "");
    assert_eq!(scene.told("sources[0]: services of s: the name has no such records (empty)"), 1);
    assert_eq!(scene.told("sources[1]: addresses of x: the name has no such records (empty)"), 1);
}

#[test]
fn changes_in_a_row_are_published_together() {
    let names: Vec<String> = (0..500).map(|index| format!("a-{index}.x")).collect();
    let mut scene = Scene::new(options(&[SourceKind::Template { names, port: 1 }]));
    scene.pass(0);
    for question in scene.open.clone() {
        scene.answer(question, ips(&["10.0.0.1"]));
        scene.run_to(scene.now + SECOND / 500);
    }
    scene.pass(1);
    assert_eq!(scene.machine.found().len(), 500);
    assert_eq!(scene.changes[0], Duration::ZERO, "the first at once");
    assert!((8..=12).contains(&scene.changes.len()), "{:?}", scene.changes);
}

/// With quadratic steps this would take many minutes.
#[test]
fn ten_thousand_backends_are_no_burden() {
    let names: Vec<String> = (0..10_000).map(|index| format!("a-{index}.x.")).collect();
    let texts: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut scene = Scene::new(options(&[srv("s"), template(&texts)]));
    scene.set(services_of("s"), targets(&texts));
    scene.pass(1);
    assert_eq!(scene.open.len(), 10_000);
    for name in &names {
        scene.answer(addresses_of(name), ips(&["10.0.0.1", "2001:db8::1"]));
        scene.run_to(scene.now + SECOND / 2000);
    }
    scene.pass(1);
    assert_eq!(scene.machine.found().len(), 10_000);
    for name in &names {
        scene.set(addresses_of(name), ips(&["10.0.0.1", "2001:db8::2"]));
    }
    scene.pass(11);
    let moved = |found: &Found| found.addresses[0] == "[2001:db8::2]:1".parse().unwrap();
    assert!(scene.machine.found().iter().all(moved));
    let others: Vec<String> = (0..10_000).map(|index| format!("b-{index}.x.")).collect();
    for name in &others {
        scene.set(addresses_of(name), ips(&["10.0.0.2"]));
    }
    let texts: Vec<&str> = others.iter().map(String::as_str).collect();
    scene.set(services_of("s"), targets(&texts));
    scene.pass(12);
    assert_eq!(scene.machine.found().len(), 20_000);
    for name in &names {
        scene.set(addresses_of(name), Err(Failure::NxDomain));
    }
    scene.pass(60);
    assert_eq!(scene.machine.found().len(), 10_000);
    assert_eq!(scene.machine.to_save(), scene.machine.to_save());
}
