//! Which answers are not believed.

use super::scene::*;
use crate::control::discovery::*;

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

#[test]
fn old_backends_stay_while_the_new_ones_that_work_are_too_few() {
    let mut options = options(&[srv("s")]);
    options.discovery.min_backends = 3;
    let mut scene = Scene::new(options);
    scene.set(services_of("s"), targets(&["a.", "b.", "c."]));
    for name in ["a.", "b.", "c.", "d.", "e."] {
        scene.set(addresses_of(name), ips(&["10.0.0.1"]));
    }
    scene.pass(1);
    scene.set(services_of("s"), targets(&["d.", "e.", "f."]));
    scene.set(addresses_of("f."), Err(Failure::NxDomain));
    scene.pass(300);
    assert_eq!(scene.names(), "a:1 b:1 c:1 d:1 e:1");
    scene.set(addresses_of("f."), ips(&["10.0.0.1"]));
    scene.pass(300);
    assert_eq!(scene.names(), "d:1 e:1 f:1");
}

#[test]
fn a_backend_that_must_stay_has_the_weight_of_today() {
    let mut options = options(&[srv("s")]);
    options.discovery.min_backends = 1;
    let mut scene = Scene::new(options);
    scene.set(services_of("s"), targets(&["a."]));
    scene.set(addresses_of("a."), ips(&["10.0.0.1"]));
    scene.pass(1);
    scene.set(addresses_of("a."), Err(Failure::NxDomain));
    scene.pass(300);
    let Ok(mut answer) = targets(&["a."]) else { unreachable!() };
    let Some(Record::Service(service)) = answer.records.first_mut() else { unreachable!() };
    service.weight = 9;
    scene.set(services_of("s"), Ok(answer));
    scene.pass(20);
    assert_eq!(scene.backends(), ["a:1 10.0.0.1:1 w9 t0"]);
}

#[test]
fn a_backend_that_another_source_names_can_be_done_without() {
    let mut options = options(&[template(&["a"]), file("list")]);
    options.discovery.min_backends = 1;
    let mut scene = Scene::new(options);
    scene.set(addresses_of("a"), ips(&["10.0.0.1"]));
    scene.files.insert("list".into(), Ok("10.0.0.5:1 name=a:1".into()));
    scene.pass(1);
    assert_eq!(scene.backends(), ["a:1 10.0.0.1:1 w1 t0"]);
    scene.set(addresses_of("a"), Err(Failure::NxDomain));
    scene.pass(100);
    assert_eq!(scene.backends(), ["a:1 10.0.0.5:1 w1 t0"]);
}
