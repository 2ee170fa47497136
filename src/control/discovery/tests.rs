//! The machine through sequences of answers and failures, on virtual time.

use std::time::Duration;

use super::scene::*;
use super::*;
use crate::config::{Discovery, Hold, SourceKind};

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
    assert_eq!(scene.told("file list: line 2: \"nonsense\" is no address"), 1, "once");
    scene.write("list", "10.0.0.1:5\n");
    scene.pass(1);
    assert_eq!(scene.names(), "10.0.0.1:5");
    assert_eq!(scene.told("file list: answers again"), 1);
}

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
fn failures_are_told_once_each_and_the_return_too() {
    let mut scene = Scene::new(options(&[dns("x")]));
    scene.set(addresses_of("x"), Err(Failure::Timeout));
    scene.pass(100);
    let never = "addresses of x: timeout; there is no earlier answer to keep";
    assert_eq!(scene.events, [never]);
    scene.set(addresses_of("x"), ips(&["10.0.0.1"]));
    scene.pass(300);
    scene.set(addresses_of("x"), Err(Failure::Refused));
    scene.pass(100);
    scene.set(addresses_of("x"), Err(Failure::NxDomain));
    scene.pass(200);
    let expected = [
        "addresses of x: answers again",
        "backend 10.0.0.1:1 added at 10.0.0.1:1, weight 1, tier 0",
        "addresses of x: refused; the last good answer is kept",
        "addresses of x: nxdomain; the last good answer is kept for 30s",
        "addresses of x: failed for too long; its last good answer is dropped",
        "backend 10.0.0.1:1 removed",
    ];
    assert_eq!(scene.events[1..], expected);
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

#[test]
fn an_answer_that_leaves_too_few_is_not_believed() {
    let mut options = options(&[dns("x")]);
    options.discovery.min_backends = 3;
    let mut scene = Scene::new(options);
    let set = |scene: &mut Scene, texts: &[&str]| {
        scene.set(addresses_of("x"), ips(texts));
        scene.pass(30);
        scene.names()
    };
    assert_eq!(set(&mut scene, &["10.0.0.1"]), "10.0.0.1:1", "the first answer is believed");
    assert_eq!(set(&mut scene, &["10.0.0.2"]), "10.0.0.2:1", "as many as before");
    let four = set(&mut scene, &["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    assert_eq!(four, "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1 10.0.0.4:1");
    assert_eq!(set(&mut scene, &["10.0.0.5", "10.0.0.6"]), four);
    let doubt = "dns x:1: answer not believed: it would leave 2 backends, fewer than 3";
    assert_eq!(scene.told(doubt), 1, "told once: {:?}", scene.events);
    let three = set(&mut scene, &["10.0.0.5", "10.0.0.6", "10.0.0.7"]);
    assert_eq!(three, "10.0.0.5:1 10.0.0.6:1 10.0.0.7:1");
    scene.set(addresses_of("x"), Err(Failure::NxDomain));
    scene.pass(3600);
    assert_eq!(scene.names(), three, "the end of a hold may not empty it either");
    assert_eq!(scene.told("it would leave 0 backends, fewer than 3"), 1, "told once");
}

#[test]
fn the_least_counts_the_backends_of_all_sources() {
    let mut options = options(&[template(&["a", "b"]), dns("x")]);
    options.discovery.min_backends = 2;
    let mut scene = Scene::new(options);
    scene.set(addresses_of("a"), ips(&["10.0.0.1"]));
    scene.set(addresses_of("b"), ips(&["10.0.0.2"]));
    scene.pass(1);
    scene.set(addresses_of("a"), Err(Failure::NxDomain));
    scene.pass(300);
    assert_eq!(scene.names(), "a:1 b:1", "it cannot be done without");
    scene.set(addresses_of("b"), ips(&["10.0.0.3"]));
    scene.pass(15);
    assert_eq!(scene.backends()[1], "b:1 10.0.0.3:1 w1 t0", "the others go on");
    scene.answer(addresses_of("x"), ips(&["10.0.0.9"]));
    scene.pass(600);
    assert_eq!(scene.names(), "10.0.0.9:1 b:1", "now it can");
}

#[test]
fn a_large_loss_must_be_in_two_answers() {
    let mut options = options(&[dns("x")]);
    options.discovery.max_loss = Some(50);
    let mut scene = Scene::new(options);
    let all = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
    scene.set(addresses_of("x"), ips(&all));
    scene.pass(5);
    let four = scene.names();
    // Two of four are not more than half.
    scene.set(addresses_of("x"), ips(&all[..2]));
    scene.pass(10);
    assert_eq!(scene.machine.found().len(), 2);
    scene.set(addresses_of("x"), ips(&all));
    scene.pass(10);
    assert_eq!(scene.names(), four);
    let asked = scene.asked.len();
    scene.set(addresses_of("x"), ips(&all[..1]));
    while scene.asked.len() == asked {
        scene.run_to(scene.now + SECOND / 10);
    }
    assert_eq!(scene.names(), four, "one answer is not enough");
    assert_eq!(scene.told("3 of 4 backends would vanish; a second answer must confirm it"), 1);
    scene.run_to(scene.now + SECOND * 12 / 10);
    assert_eq!(scene.names(), "10.0.0.1:1", "the second comes soon");
}

#[test]
fn answers_that_lack_different_backends_confirm_nothing() {
    let mut options = options(&[dns("x")]);
    options.discovery.max_loss = Some(30);
    let mut scene = Scene::new(options);
    let all = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
    scene.set(addresses_of("x"), ips(&all));
    scene.pass(5);
    let four = scene.names();
    for round in 0..50 {
        let two = if round % 2 == 0 { &all[..2] } else { &all[2..] };
        scene.set(addresses_of("x"), ips(two));
        let asked = scene.asked.len();
        while scene.asked.len() == asked {
            scene.run_to(scene.now + SECOND / 10);
        }
    }
    assert_eq!(scene.names(), four);
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
    let mut scene = Scene::new(DiscoveryOptions { saved, ..options(&sources) });
    scene.set(services_of("s"), targets(&["new."]));
    scene.set(addresses_of("t-0"), ips(&["10.0.0.5"]));
    scene.set(addresses_of("new."), Err(Failure::Timeout));
    scene.pass(100);
    assert_eq!(scene.names(), "t-0:1");
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

#[test]
fn the_first_source_that_names_a_backend_has_the_word() {
    let mut options = options(&[file("one"), file("two")]);
    options.sources[1].tier = 5;
    let addresses = vec!["10.9.9.9:1".parse().unwrap()];
    options.fixed = vec![Found { name: "a".into(), addresses, weight: 3, tier: 0, limit: None }];
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
fn a_time_to_live_of_zero_is_asked_for_at_the_least_interval() {
    let mut scene = Scene::new(options(&[dns("x")]));
    let Ok(mut answer) = ips(&["10.0.0.1"]) else { unreachable!() };
    answer.valid_for = Duration::ZERO;
    scene.set(addresses_of("x"), Ok(answer));
    scene.pass(100);
    let gaps: Vec<Duration> = scene.asked.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps.len() >= 90, "{}", gaps.len());
    assert!(gaps.iter().all(|gap| (SECOND..=SECOND * 11 / 10).contains(gap)), "{gaps:?}");
}

#[test]
fn a_name_is_asked_once_at_a_time_for_whoever_needs_it() {
    let mut scene = Scene::new(options(&[srv("s"), template(&["a."]), dns("a.")]));
    scene.set(services_of("s"), targets(&["a."]));
    scene.pass(100);
    assert_eq!(scene.times_asked(&addresses_of("a.")), 1, "it is open");
    scene.answer(addresses_of("a."), ips(&["10.0.0.1"]));
    scene.pass(1);
    assert_eq!(scene.names(), "10.0.0.1:1 a:1");
}

#[test]
fn a_name_that_comes_and_goes_is_not_asked_for_sooner() {
    let mut options = options(&[file("list")]);
    options.discovery.min_interval = 10 * SECOND;
    let mut scene = Scene::new(options);
    scene.set(addresses_of("a"), ips(&["10.0.0.1"]));
    for _ in 0..100 {
        scene.write("list", "a:1");
        scene.run_to(scene.now + SECOND / 2);
        scene.write("list", "10.0.0.2:1");
        scene.run_to(scene.now + SECOND / 2);
    }
    let asked = scene.times_asked(&addresses_of("a"));
    assert!((5..=10).contains(&asked), "{asked} times in 100 s");
    scene.pass(100);
    assert_eq!(scene.times_asked(&addresses_of("a")), asked, "nobody needs it");
}

#[test]
fn a_name_dropped_while_it_is_asked_for_is_not_asked_for_twice() {
    let mut scene = Scene::new(options(&[file("list")]));
    for _ in 0..10 {
        scene.write("list", "a:1");
        scene.pass(5);
        scene.write("list", "10.0.0.2:1");
        scene.pass(5);
    }
    assert_eq!(scene.times_asked(&addresses_of("a")), 1);
    scene.answer(addresses_of("a"), ips(&["10.0.0.1"]));
    scene.pass(100);
    assert_eq!(scene.names(), "10.0.0.2:1");
    assert_eq!(scene.times_asked(&addresses_of("a")), 1);
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
    assert_eq!(scene.told("services of s: empty"), 1);
    assert_eq!(scene.told("addresses of x: empty"), 1);
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

#[test]
fn an_interval_of_options_that_contradict_is_no_panic() {
    let mut options = options(&[dns("x")]);
    let (least, most) = (Duration::MAX, Duration::ZERO);
    let discovery = Discovery { min_interval: least, max_interval: most, ..Discovery::default() };
    options.discovery = Discovery { retry_interval: Duration::MAX, ..discovery };
    let mut scene = Scene::new(options);
    scene.set(addresses_of("x"), ips(&["10.0.0.1"]));
    scene.pass(100);
    scene.answer(addresses_of("x"), Err(Failure::Timeout));
    assert_eq!(scene.asked.len(), 1);
}
