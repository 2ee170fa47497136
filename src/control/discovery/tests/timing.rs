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
