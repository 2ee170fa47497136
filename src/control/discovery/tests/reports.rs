//! What the operator is shown of the sources.

use super::scene::*;
use crate::control::discovery::*;

#[test]
fn a_source_is_pending_until_it_has_answered_or_failed() {
    let mut scene = Scene::new(options(&[dns("x"), dns("y")]));
    scene.pass(1);
    assert!(scene.machine.sources().iter().all(SourceReport::is_pending));
    scene.answer(addresses_of("x"), ips(&["10.0.0.1", "10.0.0.2"]));
    scene.answer(addresses_of("y"), Err(Failure::Refused));
    let [x, y] = &scene.machine.sources()[..] else { panic!("two sources") };
    assert!(!x.is_pending() && !y.is_pending());
    assert_eq!((&*x.title, x.backends, x.answers), ("dns x:1", 2, 1));
    assert!(x.failures.is_empty() && x.troubles.is_empty());
    assert!(x.last_answer.is_some_and(|at| at <= scene.now));
    assert_eq!((&*y.title, y.backends, y.answers, y.last_answer), ("dns y:1", 0, 0, None));
    assert_eq!(y.failures, [("refused", 1)]);
    assert_eq!(y.troubles, [("addresses of y".into(), Trouble::Unanswered(Failure::Refused))]);
}

#[test]
fn trouble_goes_with_the_next_answer_and_its_count_stays() {
    let mut scene = Scene::new(options(&[dns("x")]));
    for outcome in [Err(Failure::Timeout), Err(Failure::NxDomain), ips(&["10.0.0.1"])] {
        scene.set(addresses_of("x"), outcome);
        scene.pass(2);
    }
    scene.pass(20);
    let report = &scene.machine.sources()[0];
    let kinds: Vec<_> = report.failures.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["nxdomain", "timeout"]);
    assert!(report.troubles.is_empty() && report.answers > 0, "{report:?}");
}

#[test]
fn the_targets_of_services_say_nothing_about_when_the_services_were_known() {
    let mut scene = Scene::new(options(&[srv("s")]));
    scene.set(services_of("s"), targets(&["a.", "b."]));
    scene.set(addresses_of("a."), ips(&["10.0.0.1"]));
    scene.set(addresses_of("b."), Err(Failure::NxDomain));
    scene.pass(2);
    let known = scene.machine.sources()[0].last_answer;
    assert!(known.is_some());
    scene.set(services_of("s"), Err(Failure::Timeout));
    scene.pass(60);
    let report = &scene.machine.sources()[0];
    assert!(report.answers > 3, "{report:?}");
    let subjects: Vec<&str> = report.troubles.iter().map(|(subject, _)| &**subject).collect();
    assert_eq!(subjects, ["addresses of b.", "services of s"]);
    assert!(report.last_answer < Some(scene.now - 40 * SECOND), "{report:?}");
}

#[test]
fn a_template_has_answered_when_any_of_its_names_has() {
    let mut scene = Scene::new(options(&[template(&["a", "b"])]));
    scene.set(addresses_of("a"), Err(Failure::NxDomain));
    scene.set(addresses_of("b"), ips(&["10.0.0.1"]));
    scene.pass(1);
    let report = &scene.machine.sources()[0];
    assert!(report.last_answer.is_some());
    assert_eq!((report.answers, &report.failures[..]), (1, &[("nxdomain", 1)][..]));
}

#[test]
fn a_backend_belongs_to_the_first_source_that_names_it() {
    let mut scene = Scene::new(options(&[dns("x"), dns("y")]));
    scene.set(addresses_of("x"), ips(&["10.0.0.1"]));
    scene.set(addresses_of("y"), ips(&["10.0.0.1", "10.0.0.2"]));
    scene.pass(1);
    assert_eq!(scene.machine.source_of("10.0.0.1:1"), Some(0));
    assert_eq!(scene.machine.source_of("10.0.0.2:1"), Some(1));
    assert_eq!(scene.machine.source_of("10.0.0.3:1"), None);
    assert_eq!(scene.machine.sources()[1].backends, 2, "those that another names as well too");
}

#[test]
fn what_the_configuration_lists_belongs_to_no_source() {
    let mut options = options(&[dns("x")]);
    options.fixed.push(Found {
        name: "fixed".into(),
        addresses: vec!["10.0.0.9:1".parse().unwrap()],
        weight: 1,
        tier: 0,
        limit: None,
        drain: false,
    });
    let scene = Scene::new(options);
    assert_eq!(scene.machine.source_of("fixed"), None);
}

#[test]
fn news_that_is_not_published_yet_is_known() {
    let mut machine = PoolDiscovery::new(options(&[template(&["a", "b"])]), 1);
    machine.handle(Input::Tick, SECOND);
    for (name, ip) in [("a", "10.0.0.1"), ("b", "10.0.0.2")] {
        let answered = Input::Answered { question: addresses_of(name), outcome: ips(&[ip]) };
        machine.handle(answered, SECOND);
    }
    assert_eq!((machine.found().len(), machine.is_changing()), (1, true));
    machine.handle(Input::Tick, 2 * SECOND);
    assert_eq!((machine.found().len(), machine.is_changing()), (2, false));
}
