//! What failures leave of a pool, and what was saved of it.

use std::time::Duration;

use super::scene::*;
use crate::config::{Hold, SourceKind};
use crate::control::discovery::*;

/// What is left of one backend a moment before and a moment after the hold of the case is over.
#[test]
fn every_failure_keeps_the_last_good_answer_for_the_hold_of_its_case() {
    let hold = |seconds| Some(seconds * SECOND);
    let distinct = Hold {
        nxdomain: hold(10),
        empty: hold(20),
        refused: hold(30),
        failed: hold(40),
        timeout: hold(50),
        unreadable: hold(60),
    };
    let (defaults, endless) = (Hold::default(), endless());
    for (name, hold, failure, end) in [
        ("nxdomain", &distinct, Failure::NxDomain, Some(10)),
        ("empty", &distinct, Failure::Empty, Some(20)),
        ("refused", &distinct, Failure::Refused, Some(30)),
        ("failed", &distinct, Failure::Failed, Some(40)),
        ("timeout", &distinct, Failure::Timeout, Some(50)),
        ("nxdomain by default", &defaults, Failure::NxDomain, Some(30)),
        ("empty by default", &defaults, Failure::Empty, Some(30)),
        ("refused by default", &defaults, Failure::Refused, None),
        ("failed by default", &defaults, Failure::Failed, None),
        ("timeout by default", &defaults, Failure::Timeout, None),
        ("nxdomain for ever", &endless, Failure::NxDomain, None),
    ] {
        for source in [dns("x"), template(&["x"])] {
            let mut options = options(&[source, file("other")]);
            options.discovery.hold = hold.clone();
            let mut scene = Scene::new(options);
            scene.files.insert("other".into(), Ok("10.0.0.9:1 name=z".into()));
            scene.set(addresses_of("x"), ips(&["10.0.0.1"]));
            scene.pass(1);
            assert_eq!(scene.machine.found().len(), 2, "{name}");
            scene.set(addresses_of("x"), Err(failure));
            while scene.told(": ") == 0 {
                scene.run_to(scene.now + SECOND / 100);
            }
            let failed_at = scene.asked.last().unwrap().0;
            let Some(end) = end else {
                scene.pass(86_400);
                assert_eq!(scene.machine.found().len(), 2, "{name}");
                continue;
            };
            scene.run_to(failed_at + end * SECOND - SECOND / 100);
            assert_eq!(scene.machine.found().len(), 2, "{name}: too soon");
            scene.run_to(failed_at + end * SECOND);
            assert_eq!(scene.names(), "z", "{name}: too late");
            assert_eq!(scene.told("its last good answer is dropped"), 1, "{name}");
            scene.set(addresses_of("x"), ips(&["10.0.0.1"]));
            scene.pass(300);
            assert_eq!(scene.machine.found().len(), 2, "{name}: back");
        }
    }
}

#[test]
fn a_pool_is_never_emptied_by_a_resolver_that_fails() {
    let sources = [srv("s"), dns("x"), template(&["t-0", "t-1"]), file("list")];
    for source in sources {
        for failure in [Failure::Refused, Failure::Failed, Failure::Timeout] {
            let mut options = options(std::slice::from_ref(&source));
            let zero = Some(Duration::ZERO);
            options.discovery.hold =
                Hold { refused: zero, failed: zero, timeout: zero, unreadable: zero, ..endless() };
            let mut scene = Scene::new(options);
            scene.set(services_of("s"), targets(&["a.", "b."]));
            scene.files.insert("list".into(), Ok("a:1\nb:1\n".into()));
            let names = ["x", "t-0", "t-1", "a.", "b.", "a", "b"];
            for name in names {
                scene.set(addresses_of(name), ips(&["10.0.0.1", "10.0.0.2"]));
            }
            scene.pass(1);
            assert_eq!(scene.machine.found().len(), 2, "{source:?}");
            scene.set(services_of("s"), Err(failure));
            for name in names {
                scene.set(addresses_of(name), Err(failure));
            }
            scene.files.insert("list".into(), Err("is gone".into()));
            let (path, contents) = ("list".into(), Err("is gone".into()));
            scene.handle(Input::FileRead { path, contents });
            scene.pass(3600);
            assert!(!scene.machine.found().is_empty(), "{source:?} {failure:?}");
            let doubts = scene.told("answer not believed: it would leave 0 backends");
            assert!((1..=2).contains(&doubts), "{source:?}: {:?}", scene.events);
        }
    }
}

#[test]
fn one_nxdomain_after_long_silence_is_no_long_nxdomain() {
    let mut scene = Scene::new(options(&[dns("x")]));
    scene.set(addresses_of("x"), ips(&["10.0.0.1"]));
    scene.pass(1);
    scene.set(addresses_of("x"), Err(Failure::Timeout));
    scene.pass(3600);
    let asked = scene.asked.len();
    scene.set(addresses_of("x"), Err(Failure::NxDomain));
    while scene.asked.len() == asked {
        scene.pass(1);
    }
    assert_eq!(scene.names(), "10.0.0.1:1");
    scene.pass(30);
    assert_eq!(scene.names(), "", "the owner says that there is none");
}

#[test]
fn a_failure_that_is_over_takes_nothing_away_later() {
    for source in [dns("x"), template(&["x"])] {
        let mut scene = Scene::new(options(&[source]));
        scene.set(addresses_of("x"), ips(&["10.0.0.1"]));
        scene.pass(1);
        scene.set(addresses_of("x"), Err(Failure::NxDomain));
        scene.pass(20);
        assert_eq!(scene.told("sources[0]: addresses of x: the name does not exist (nxdomain)"), 1);
        let Ok(mut answer) = ips(&["10.0.0.1"]) else { unreachable!() };
        answer.valid_for = 300 * SECOND;
        scene.set(addresses_of("x"), Ok(answer));
        scene.pass(200);
        assert_eq!(scene.changes.len(), 1, "{:?}", scene.events);
    }
}

#[test]
fn failures_are_told_once_each_and_the_return_too() {
    let mut scene = Scene::new(options(&[dns("x")]));
    scene.set(addresses_of("x"), Err(Failure::Timeout));
    scene.pass(100);
    let never = "sources[0]: addresses of x: no nameserver answers (timeout); see that those in \
                 resolver.nameservers can be reached, or give others \
                 (there is no earlier answer to keep)";
    assert_eq!(scene.events, [never]);
    scene.set(addresses_of("x"), ips(&["10.0.0.1"]));
    scene.pass(300);
    scene.set(addresses_of("x"), Err(Failure::Refused));
    scene.pass(100);
    scene.set(addresses_of("x"), Err(Failure::NxDomain));
    scene.pass(200);
    let expected = [
        "sources[0]: addresses of x: answers again",
        "backend 10.0.0.1:1 added at 10.0.0.1:1, weight 1, tier 0",
        "sources[0]: addresses of x: the nameservers refuse to answer (refused); have them serve \
         this host, or give others in resolver.nameservers (the last good answer is kept)",
        "sources[0]: addresses of x: the name does not exist (nxdomain); correct it here, or add \
         it to DNS (the last good answer is kept for 30s)",
        "sources[0]: addresses of x: failed for too long; its last good answer is dropped",
        "backend 10.0.0.1:1 removed",
    ];
    assert_eq!(scene.events[1..], expected);
}

#[test]
fn a_target_that_fails_keeps_its_addresses() {
    let mut scene = Scene::new(options(&[srv("s")]));
    scene.set(services_of("s"), targets(&["a.", "b."]));
    scene.set(addresses_of("a."), ips(&["10.0.0.1"]));
    scene.set(addresses_of("b."), ips(&["10.0.0.2"]));
    scene.pass(1);
    scene.set(addresses_of("a."), Err(Failure::Failed));
    scene.pass(3600);
    assert_eq!(scene.names(), "a:1 b:1");
    let Ok(mut answer) = targets(&["a.", "b."]) else { unreachable!() };
    for record in &mut answer.records {
        if let Record::Service(service) = record {
            service.weight = 9;
        }
    }
    scene.set(services_of("s"), Ok(answer));
    scene.pass(20);
    assert_eq!(scene.backends(), ["a:1 10.0.0.1:1 w9 t0", "b:1 10.0.0.2:1 w9 t0"]);
}

/// What an earlier run of the same pool saved.
fn saved_by(sources: &[SourceKind]) -> Saved {
    let mut scene = Scene::new(options(sources));
    scene.set(services_of("s"), targets(&["old."]));
    for name in ["old.", "t-0", "t-1"] {
        scene.set(addresses_of(name), ips(&["10.0.0.1"]));
    }
    scene.pass(1);
    scene.machine.to_save()
}

#[test]
fn what_was_saved_is_used_while_nobody_answers_at_the_start() {
    let sources = [srv("s"), template(&["t-0", "t-1"])];
    for failure in [Failure::Timeout, Failure::Failed, Failure::Refused] {
        let saved = saved_by(&sources);
        let mut scene = Scene::new(DiscoveryOptions { saved: saved.clone(), ..options(&sources) });
        scene.pass(1);
        assert_eq!(scene.names(), "", "nobody has failed yet");
        scene.set(addresses_of("t-0"), Err(failure));
        scene.set(addresses_of("t-1"), ips(&["10.0.0.2"]));
        scene.set(services_of("s"), Err(failure));
        for question in scene.open.clone() {
            let outcome = scene.zone[&question].clone();
            scene.answer(question, outcome);
        }
        scene.pass(3600);
        let expected =
            ["old:1 10.0.0.1:1 w1 t0", "t-0:1 10.0.0.1:1 w1 t0", "t-1:1 10.0.0.2:1 w1 t0"];
        assert_eq!(scene.backends(), expected, "{failure:?}");
        assert_eq!(scene.told("the set saved before is used"), 2, "once for each source");
        let names = |saved: &Saved| format!("{saved:?}").matches("name:").count();
        assert_eq!(names(&scene.machine.to_save()), 3, "it is saved again");
        scene.set(services_of("s"), targets(&["new."]));
        scene.set(addresses_of("new."), ips(&["10.0.0.3"]));
        scene.pass(400);
        assert_eq!(scene.names(), "new:1 t-0:1 t-1:1", "it is not mixed with what is fresh");
    }
}

#[test]
fn what_was_saved_is_not_used_against_an_answer() {
    let sources = [srv("s"), template(&["t-0"])];
    let saved = saved_by(&sources);
    let mut scene = Scene::new(DiscoveryOptions { saved: saved.clone(), ..options(&sources) });
    scene.set(services_of("s"), Err(Failure::NxDomain));
    scene.set(addresses_of("t-0"), Err(Failure::Empty));
    scene.pass(100);
    assert_eq!(scene.names(), "", "the owner says that there is none");
    scene.set(services_of("s"), Err(Failure::Timeout));
    scene.set(addresses_of("t-0"), Err(Failure::Timeout));
    scene.pass(1000);
    assert_eq!(scene.names(), "", "and nobody has said otherwise");
    let mut scene = Scene::new(DiscoveryOptions { saved, ..options(&sources) });
    scene.set(services_of("s"), targets(&["new."]));
    scene.set(addresses_of("t-0"), ips(&["10.0.0.5"]));
    scene.set(addresses_of("new."), Err(Failure::Timeout));
    scene.pass(100);
    assert_eq!(scene.names(), "t-0:1");
    let saved = format!("{:?}", scene.machine.to_save());
    assert!(saved.contains("10.0.0.5:1") && !saved.contains("old"), "{saved}");
    scene.set(services_of("s"), Err(Failure::Timeout));
    scene.set(addresses_of("t-0"), Err(Failure::Timeout));
    scene.pass(100);
    assert_eq!(scene.backends(), ["t-0:1 10.0.0.5:1 w1 t0"], "its time is over");
}

#[test]
fn a_machine_takes_over_from_one_with_other_options() {
    let sources = [srv("s"), template(&["t-0", "t-1"])];
    let current = saved_by(&sources);
    let mut options = options(&[srv("s"), template(&["t-0"])]);
    options.discovery.min_interval = 2 * SECOND;
    let mut scene = Scene::new(options);
    scene.machine.resume(&current);
    assert_eq!(scene.names(), "old:1 t-0:1 t-1:1");
    scene.set(services_of("s"), targets(&["new."]));
    scene.set(addresses_of("new."), ips(&["10.0.0.3"]));
    scene.set(addresses_of("t-0"), ips(&["10.0.0.1"]));
    scene.pass(1);
    assert_eq!(scene.names(), "new:1 t-0:1");
}
