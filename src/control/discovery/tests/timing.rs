//! When names are asked for, and how often.

use std::time::Duration;

use super::scene::*;
use crate::config::Discovery;
use crate::control::discovery::*;

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
fn when_others_are_asked_what_failed_is_asked_again_at_once() {
    let mut options = options(&[dns("x"), dns("y"), dns("z")]);
    options.discovery.max_interval = 1000 * SECOND;
    let mut scene = Scene::new(options);
    scene.set(addresses_of("x"), Err(Failure::Timeout));
    scene.set(addresses_of("y"), ips(&["10.0.0.2"]));
    scene.pass(2000);
    let before = [addresses_of("x"), addresses_of("y"), addresses_of("z")]
        .map(|question| scene.times_asked(&question));
    scene.set(addresses_of("x"), ips(&["10.0.0.1"]));
    scene.handle(Input::OthersAreAsked);
    // The question after z is on its way to who is asked no more, and fails there.
    scene.set(addresses_of("z"), ips(&["10.0.0.3"]));
    scene.answer(addresses_of("z"), Err(Failure::Timeout));
    scene.pass(2);
    assert_eq!(scene.names(), "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1");
    let after = [addresses_of("x"), addresses_of("z")].map(|it| scene.times_asked(&it));
    assert_eq!(after, [before[0] + 1, before[2] + 1]);
    let troubled = scene.machine.sources().iter().any(|source| !source.failures.is_empty());
    assert!(troubled, "that of x");
    assert!(scene.machine.sources()[2].failures.is_empty(), "nothing was said of z");
}

#[test]
fn an_answer_of_those_who_are_asked_no_more_counts_all_the_same() {
    let mut scene = Scene::new(options(&[dns("x")]));
    scene.pass(1);
    scene.handle(Input::OthersAreAsked);
    scene.answer(addresses_of("x"), ips(&["10.0.0.1"]));
    scene.pass(1);
    assert_eq!((scene.names(), scene.asked.len()), ("10.0.0.1:1".to_owned(), 1));
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
