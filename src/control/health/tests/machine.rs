//! What a pool's health does in sequences that are written out.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::stage::{MILLISECOND, SECOND, Stage, ejection, health};
use crate::balance::Standing;
use crate::config::Health;
use crate::control::health::{Input, ProbeFailure};

const REFUSED: ProbeFailure = ProbeFailure::Refused;

fn probed() -> Stage {
    Stage::new(Some(health()), None, None)
}

fn fail(stage: &mut Stage, name: &str) {
    stage.answers.insert(name.into(), REFUSED);
}

fn heal(stage: &mut Stage, name: &str) {
    stage.answers.remove(name);
}

#[test]
fn the_first_members_are_up_before_any_probe_ends() {
    let mut stage = probed();
    stage.publish();
    stage.took = SECOND;
    stage.members(&["a", "b"]);
    assert_eq!([stage.standing("a"), stage.standing("b")], [Standing::Up; 2]);
    assert_eq!(stage.in_flight.len(), 2);
    assert_eq!(stage.take_log(), [""; 0]);
    assert_eq!(stage.standing("c"), Standing::Down);
}

#[test]
fn a_large_pools_first_probes_are_spread_over_the_interval() {
    let mut stage = probed();
    let names: Vec<String> = (0..1000).map(|index| format!("b{index:03}")).collect();
    stage.members(&names.iter().map(String::as_str).collect::<Vec<_>>());
    stage.pass(2);
    for window in [0..100, 950..1050, 1900..2000] {
        let probes = stage.probes.iter().filter(|(at, _)| window.contains(at)).count();
        assert!((45..=55).contains(&probes), "{probes} in {window:?}");
    }
}

#[test]
fn probes_follow_each_other_by_the_interval_after_their_end() {
    let mut stage = probed();
    stage.took = 500 * MILLISECOND;
    stage.members(&["a"]);
    stage.pass(9);
    assert_eq!(stage.take_probes("a"), [0, 2500, 5000, 7500]);
}

#[test]
fn fall_and_rise_are_counted_in_a_row_and_faster_while_in_doubt() {
    let mut stage = probed();
    stage.members(&["a"]);
    stage.pass(1);
    fail(&mut stage, "a");
    stage.pass(9);
    // Failures at 2, 3 and 4 s; down, nothing is in doubt any more.
    assert_eq!(stage.take_probes("a"), [0, 2000, 3000, 4000, 6000, 8000, 10_000]);
    assert_eq!(stage.take_log(), ["4000 a up -> down probes_failed"]);
    heal(&mut stage, "a");
    stage.pass(6);
    assert_eq!(stage.take_probes("a"), [12_000, 13_000, 15_000]);
    let log = ["13000 a readmit", "13000 a down -> up probes_succeeded"];
    assert_eq!(stage.take_log(), log);
}

#[test]
fn a_row_that_is_broken_counts_from_the_start() {
    let mut stage = probed();
    stage.members(&["a"]);
    for results in ["--+", "-+", "--+", "+", "--+"] {
        results.chars().for_each(|result| stage.next_probe("a", result == '+'));
    }
    assert_eq!(stage.take_log(), [""; 0]);
    for results in ["---", "+-", "+-"] {
        results.chars().for_each(|result| stage.next_probe("a", result == '+'));
    }
    assert_eq!(stage.standing("a"), Standing::Down);
    assert_eq!(stage.take_log().len(), 1);
}

#[test]
fn what_is_ours_is_not_counted() {
    let mut stage = probed();
    stage.members(&["a"]);
    stage.answers.insert("a".into(), ProbeFailure::Ours);
    stage.pass(60);
    assert_eq!(stage.take_log(), [""; 0]);
    let report = stage.health.report("a").unwrap();
    assert_eq!(report.last_probe.unwrap().result, Err(ProbeFailure::Ours));
    assert_eq!(report.standing, Standing::Up);
}

#[test]
fn a_member_that_comes_later_waits_for_its_first_probe() {
    let mut stage = probed();
    stage.members(&["a"]);
    stage.pass(1);
    (stage.took, stage.now) = (100 * MILLISECOND, stage.now + MILLISECOND);
    fail(&mut stage, "c");
    stage.members(&["a", "b", "c"]);
    assert_eq!([stage.standing("b"), stage.standing("c")], [Standing::Down; 2]);
    stage.pass(1);
    let log = ["1101 b new -> up first_probe_succeeded", "1101 c new -> down first_probe_failed"];
    assert_eq!(stage.take_log(), log);
    heal(&mut stage, "c");
    stage.pass(10);
    let log = ["4301 c readmit", "4301 c down -> up probes_succeeded"];
    assert_eq!(stage.take_log(), log, "failed at 1101, well at 3201 and 4301");
}

#[test]
fn members_that_replace_all_who_served_are_up_before_any_probe_ends() {
    let mut stage = probed();
    stage.members(&["a", "b"]);
    stage.pass(1);
    stage.took = SECOND;
    stage.members(&["c", "d"]);
    assert_eq!([stage.standing("c"), stage.standing("d")], [Standing::Up; 2]);
    assert_eq!(stage.in_flight.len(), 2, "they are probed at once");
    // Where one stays that serves, they wait; where one stays that is down, they do not.
    stage.members(&["d", "e"]);
    assert_eq!([stage.standing("d"), stage.standing("e")], [Standing::Up, Standing::Down]);
    fail(&mut stage, "d");
    stage.members(&["d"]);
    stage.pass(10);
    assert_eq!(stage.standing("d"), Standing::Down);
    stage.members(&["d", "f"]);
    assert_eq!(stage.standing("f"), Standing::Up);
}

#[test]
fn a_member_that_comes_while_nothing_can_be_probed_is_asked_again_soon() {
    let mut stage = probed();
    stage.members(&["a"]);
    stage.answers.insert("b".into(), ProbeFailure::Ours);
    stage.members(&["a", "b"]);
    stage.pass(3);
    assert_eq!(stage.take_probes("b"), [0, 1000, 2000, 3000]);
    assert_eq!((stage.take_log(), stage.standing("b")), (Vec::new(), Standing::Down));
}

#[test]
fn without_a_check_everyone_is_admitted_and_slow_start_is_for_those_who_come_later() {
    let mut stage = Stage::new(None, None, Some(100 * SECOND));
    stage.members(&["a"]);
    assert_eq!(stage.standing("a"), Standing::Up);
    stage.members(&["a", "b"]);
    assert_eq!(stage.take_log(), ["0 b new -> 5% unprobed"]);
    stage.pass(200);
    let log = stage.take_log();
    assert_eq!(log.len(), 10);
    assert_eq!(log[..2], ["10000 b 5% -> 15% slow_start", "20000 b 15% -> 25% slow_start"]);
    assert_eq!(log[9], "100000 b 95% -> up slow_start");
    assert_eq!(stage.probes, []);
    assert_eq!(stage.health.next_deadline(), None);
}

#[test]
fn a_member_that_comes_back_starts_slowly_and_may_fail_meanwhile() {
    let mut stage = Stage::new(Some(health()), None, Some(10 * SECOND));
    stage.members(&["a"]);
    fail(&mut stage, "a");
    stage.pass(7);
    heal(&mut stage, "a");
    stage.pass(4);
    stage.took = 10 * MILLISECOND;
    fail(&mut stage, "a");
    stage.pass(5);
    assert_eq!(
        stage.take_log(),
        [
            "2000 a up -> down probes_failed",
            "9000 a readmit",
            "9000 a down -> 5% probes_succeeded",
            "10000 a 5% -> 15% slow_start",
            "11000 a 15% -> 25% slow_start",
            "12000 a 25% -> 35% slow_start",
            "13000 a 35% -> 45% slow_start",
            "14000 a 45% -> 55% slow_start",
            "15000 a 55% -> 65% slow_start",
            "15030 a 65% -> down probes_failed",
        ]
    );
    assert_eq!(stage.health.report("a").unwrap().since, Duration::from_millis(15_030));
}

#[test]
fn an_answer_for_addresses_that_have_changed_is_not_waited_for() {
    let mut stage = probed();
    stage.took = SECOND;
    stage.members(&["a"]);
    let (probe, _) = stage.in_flight["a"];
    stage.members.insert("a".into(), vec!["127.0.0.2:1".parse().unwrap()]);
    stage.now += 10 * MILLISECOND;
    stage.publish();
    assert_eq!(stage.take_log(), ["10 a cancel"]);
    assert_eq!(stage.take_probes("a"), [0, 10], "the new address is probed at once");
    // The old one's end, should it come all the same.
    let result = Err(REFUSED);
    stage.handle(Input::Probed { name: "a".into(), probe, result, took: SECOND });
    assert_eq!(stage.health.report("a").unwrap().last_probe, None);
    assert_eq!(stage.in_flight.len(), 1);
}

#[test]
fn rotated_addresses_are_no_change() {
    let mut stage = probed();
    let mut addresses: Vec<SocketAddr> =
        vec!["127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap()];
    stage.members.insert("a".into(), addresses.clone());
    stage.took = SECOND;
    stage.publish();
    addresses.reverse();
    stage.members.insert("a".into(), addresses);
    stage.publish();
    assert_eq!(stage.take_log(), [""; 0]);
    // The next probe goes by the new order, which the stage asserts.
    stage.pass(4);
    assert_eq!(stage.take_probes("a"), [0, 3000]);
}

#[test]
fn a_name_that_went_and_came_back_is_another_member() {
    let mut stage = probed();
    stage.took = SECOND;
    stage.members(&["a", "b"]);
    let (probe, _) = stage.in_flight["b"];
    stage.members(&["a"]);
    assert_eq!(stage.take_log(), ["0 b cancel"]);
    stage.handle(Input::Probed { name: "b".into(), probe, result: Ok(()), took: SECOND });
    stage.members(&["a", "b"]);
    stage.handle(Input::Probed { name: "b".into(), probe, result: Ok(()), took: SECOND });
    assert_eq!((stage.take_log(), stage.standing("b")), (Vec::new(), Standing::Down));
}

#[test]
fn failures_eject_for_a_time_that_doubles() {
    let mut stage = Stage::new(None, Some(ejection()), None);
    stage.members(&["a", "b"]);
    stage.failures("a", 4);
    assert_eq!(stage.take_log(), [""; 0]);
    for _ in 0..2 {
        stage.failures("a", 5);
        stage.failures("a", 6);
        stage.pass(20);
    }
    assert_eq!(
        stage.take_log(),
        [
            "0 a eject",
            "0 a up -> ejected connections_failed",
            "10000 a readmit",
            "10000 a ejected -> up ejection_ended",
            "20000 a eject",
            "20000 a up -> ejected connections_failed",
            // 10 s in, as long as it was out, forgot the doubling.
            "30000 a readmit",
            "30000 a ejected -> up ejection_ended",
        ]
    );
    stage.failures("a", 5);
    stage.pass(10);
    stage.failures("a", 5);
    stage.pass(20);
    let log = stage.take_log();
    assert_eq!([&log[2][..], &log[6]], ["50000 a readmit", "70000 a readmit"]);
    assert_eq!(stage.health.report("a").unwrap().ejections, 4);
}

#[test]
fn an_ejected_member_starts_slowly_when_it_returns() {
    let mut stage = Stage::new(None, Some(ejection()), Some(10 * SECOND));
    stage.members(&["a", "b"]);
    stage.failures("a", 5);
    stage.pass(11);
    assert_eq!(
        stage.take_log()[3..],
        ["10000 a ejected -> 5% ejection_ended", "11000 a 5% -> 15% slow_start"]
    );
}

#[test]
fn what_was_counted_before_the_return_is_not_held_against_it() {
    let mut stage = Stage::new(None, Some(ejection()), None);
    stage.members(&["a", "b"]);
    stage.failures("a", 9);
    // The driver reads the counters before it learns of the return.
    stage.now = 10 * SECOND;
    stage.failures("a", 9);
    assert_eq!(stage.standing("a"), Standing::Up);
}

#[test]
fn no_more_than_the_share_is_ejected_but_always_one_and_never_the_last() {
    for (members, max_share, expected) in
        [(1, 100, 0), (2, 10, 1), (2, 100, 1), (4, 50, 2), (10, 25, 2), (10, 5, 1), (10, 100, 9)]
    {
        let mut settings = ejection();
        settings.max_share = max_share;
        let mut stage = Stage::new(None, Some(settings), None);
        let names: Vec<String> = (0..members).map(|index| format!("b{index}")).collect();
        stage.members(&names.iter().map(String::as_str).collect::<Vec<_>>());
        names.iter().for_each(|name| stage.failures(name, 100));
        let ejected = names.iter().filter(|name| stage.standing(name) == Standing::Ejected);
        assert_eq!(ejected.count(), expected, "{members} members, {max_share} %");
    }
}

#[test]
fn an_ejected_member_that_leaves_makes_room_for_another() {
    let mut stage = Stage::new(None, Some(ejection()), None);
    stage.members(&["a", "b", "c"]);
    stage.failures("a", 5);
    stage.failures("b", 5);
    assert_eq!(stage.standing("b"), Standing::Up);
    stage.members(&["b", "c"]);
    stage.failures("b", 5);
    assert_eq!(stage.standing("b"), Standing::Ejected);
}

#[test]
fn only_those_who_take_connections_are_ejected() {
    let mut stage = Stage::new(Some(health()), Some(ejection()), None);
    stage.members(&["a", "b", "c", "d"]);
    fail(&mut stage, "a");
    stage.drain("b", true);
    stage.pass(2);
    assert_eq!(stage.take_log().len(), 2);
    stage.failures("a", 50);
    stage.failures("b", 50);
    stage.failures("nobody", 50);
    assert_eq!(stage.take_log(), [""; 0]);
}

#[test]
fn the_strongest_of_what_speaks_against_a_member_is_its_standing() {
    let mut stage = Stage::new(Some(health()), Some(ejection()), None);
    stage.members(&["a", "b"]);
    stage.pass(1);
    stage.failures("a", 5);
    fail(&mut stage, "a");
    stage.pass(4);
    stage.drain("a", true);
    heal(&mut stage, "a");
    stage.pass(3);
    stage.drain("a", false);
    stage.pass(4);
    assert_eq!(
        stage.take_log(),
        [
            "1000 a eject",
            "1000 a up -> ejected connections_failed",
            "4000 a ejected -> down probes_failed",
            "5000 a down -> draining drained",
            "8000 a draining -> ejected undrained",
            "11000 a readmit",
            "11000 a ejected -> up ejection_ended",
        ]
    );
}

#[test]
fn draining_holds_until_the_operator_ends_it_even_over_a_loss() {
    let mut stage = Stage::new(None, None, Some(10 * SECOND));
    stage.members(&["a", "b"]);
    stage.drain("a", true);
    stage.drain("a", true);
    stage.drain("nobody", true);
    stage.members(&["b"]);
    stage.members(&["a", "b", "nobody"]);
    assert_eq!(stage.standing("a"), Standing::Draining);
    stage.drain("a", false);
    stage.members(&["b"]);
    stage.members(&["a", "b"]);
    assert_eq!(
        stage.take_log(),
        [
            "0 a up -> draining drained",
            "0 a new -> draining drained",
            "0 nobody new -> 5% unprobed",
            "0 a readmit",
            "0 a draining -> 5% undrained",
            "0 a new -> 5% unprobed",
        ]
    );
}

#[test]
fn draining_that_ends_while_the_member_is_away_is_over() {
    let mut stage = Stage::new(None, None, None);
    stage.members(&["a", "b"]);
    stage.drain("a", true);
    stage.members(&["b"]);
    stage.drain("a", false);
    stage.members(&["a", "b"]);
    assert_eq!(stage.standing("a"), Standing::Up);
}

#[test]
fn who_is_listed_with_drain_drains_from_the_beginning_until_the_list_says_otherwise() {
    let mut stage = probed();
    stage.drains.insert("a".into());
    stage.members(&["a", "b"]);
    stage.pass(1);
    stage.drains = BTreeSet::from(["b".into()]);
    stage.publish();
    stage.members(&["a"]);
    stage.members(&["a", "b"]);
    let log = [
        "0 a new -> draining drain_listed",
        "1000 a readmit",
        "1000 a draining -> up drain_unlisted",
        "1000 b up -> draining drain_listed",
        "1000 b new -> draining drain_listed",
    ];
    assert_eq!(stage.take_log(), log);
}

#[test]
fn the_operator_lets_in_who_is_listed_with_drain_until_the_list_has_another_word() {
    let mut stage = Stage::new(None, None, None);
    stage.drains.insert("a".into());
    stage.members(&["a", "b"]);
    stage.drain("a", false);
    // What the operator said is not forgotten when the member is lost for a moment.
    stage.members(&["b"]);
    stage.members(&["a", "b"]);
    assert_eq!(stage.standing("a"), Standing::Up);
    stage.drains.clear();
    stage.publish();
    assert_eq!(stage.standing("a"), Standing::Up);
    stage.drains.insert("a".into());
    stage.publish();
    let log = [
        "0 a new -> draining drain_listed",
        "0 a readmit",
        "0 a draining -> up undrained",
        "0 a new -> up unprobed",
        "0 a up -> draining drain_listed",
    ];
    assert_eq!(stage.take_log(), log);
}

#[test]
fn a_member_that_drains_is_probed_and_whether_it_ails_is_told() {
    let mut stage = probed();
    stage.members(&["a", "b"]);
    stage.drain("a", true);
    fail(&mut stage, "a");
    stage.pass(10);
    assert_eq!((stage.standing("a"), stage.ailing.len()), (Standing::Draining, 1));
    heal(&mut stage, "a");
    stage.pass(10);
    assert_eq!((stage.standing("a"), stage.ailing.len()), (Standing::Draining, 0));
    assert_eq!(stage.take_log(), ["0 a up -> draining drained"]);
}

#[test]
fn a_new_member_that_is_drained_is_admitted_by_its_first_probe_all_the_same() {
    let mut stage = probed();
    stage.members(&["a"]);
    stage.took = SECOND;
    stage.members(&["a", "b"]);
    stage.drain("b", true);
    stage.drain("b", false);
    stage.pass(2);
    let log = [
        "0 b new -> draining drained",
        "0 b draining -> down undrained",
        "1000 b readmit",
        "1000 b down -> up first_probe_succeeded",
    ];
    assert_eq!(stage.take_log(), log);
}

#[test]
fn jitter_spreads_the_intervals_within_its_bounds() {
    let settings = Health { jitter: 25, ..health() };
    let mut stage = Stage::new(Some(settings), None, None);
    stage.members(&["a"]);
    stage.pass(1000);
    let probes = stage.take_probes("a");
    let pauses: Vec<u128> = probes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| (1499..=2500).contains(pause)), "{pauses:?}");
    let distinct: BTreeSet<_> = pauses.iter().collect();
    assert!(distinct.len() > 200, "{} of {}", distinct.len(), pauses.len());
    let mean = pauses.iter().sum::<u128>() / pauses.len() as u128;
    assert!((1900..2100).contains(&mean), "{mean}");
}

#[test]
fn a_time_that_jumps_leaves_nothing_undone() {
    let mut stage = Stage::new(Some(health()), Some(ejection()), Some(10 * SECOND));
    stage.members(&["a", "b"]);
    stage.pass(1);
    stage.failures("a", 5);
    stage.take_log();
    stage.now = 3600 * SECOND;
    stage.handle(Input::Tick);
    let log = ["3600000 a readmit", "3600000 a ejected -> 5% ejection_ended"];
    assert_eq!(stage.take_log(), log);
    assert_eq!(stage.in_flight.len(), 2);
    stage.pass(10);
    assert_eq!(stage.standing("a"), Standing::Up);
}

#[test]
fn the_report_says_since_when_and_what_the_last_probe_said() {
    let mut stage = Stage::new(Some(health()), None, Some(10 * SECOND));
    stage.members(&["a"]);
    assert_eq!(stage.health.report("b"), None);
    assert_eq!(stage.health.report("a").unwrap().last_probe, None);
    stage.took = 20 * MILLISECOND;
    fail(&mut stage, "a");
    stage.pass(9);
    let report = stage.health.report("a").unwrap();
    let probe = report.last_probe.unwrap();
    assert_eq!((report.standing, report.since.as_millis()), (Standing::Down, 2040));
    assert_eq!((probe.result, probe.took), (Err(REFUSED), 20 * MILLISECOND));
    assert!(probe.at > 7 * SECOND && probe.at < 9 * SECOND);
    heal(&mut stage, "a");
    stage.pass(6);
    let (report, names) = (stage.health.report("a").unwrap(), stage.health.reports());
    assert!(matches!(report.standing, Standing::Starting(percent) if percent > 5));
    assert_eq!(report.last_probe.unwrap().result, Ok(()));
    assert_eq!(names.map(|(name, _)| Arc::clone(name)).collect::<Vec<_>>(), ["a".into()]);
}
