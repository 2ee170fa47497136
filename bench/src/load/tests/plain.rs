//! Owns the tests of runs without TLS.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::stage::{CHANGED, INTACT, Spoil, Stage, broken_proxy, plain_proxy};
use crate::load::{Fault, Hold, Pace, Work};

fn fault(work: Work, back: Spoil) -> Option<Fault> {
    let mut stage = Stage::new();
    let target = broken_proxy(stage.backend, INTACT, back);
    stage.run(work, Pace::Full, target).err()
}

#[test]
fn a_paced_pingpong_through_a_plain_proxy_is_counted_and_timed() {
    let mut stage = Stage::new();
    let target = plain_proxy(stage.backend);
    let outcome = stage.run(Work::PingPong64, Pace::Rate(2_000.0), target).unwrap();
    // 400 are due in the window. Before it 40 were: some of those may have been late.
    assert!((100..=440).contains(&outcome.tally.units), "{}", outcome.tally.units);
    assert!(outcome.tally.latency.len() <= outcome.tally.units);
    assert!(outcome.tally.latency.max() > 0);
}

#[test]
fn every_work_goes_through_a_plain_proxy_at_both_paces() {
    let mut stage = Stage::new();
    let target = plain_proxy(stage.backend);
    for work in [Work::Bulk, Work::PingPong64, Work::ConnectReset, Work::ConnectFin] {
        let rate = if work == Work::Bulk { 1e8 } else { 500.0 };
        for pace in [Pace::Full, Pace::Rate(rate)] {
            let outcome = stage.run(work, pace, target).unwrap();
            assert!(outcome.tally.units > 0, "{work:?} {pace:?}");
        }
    }
}

#[test]
fn connections_are_held_through_both_readings() {
    let mut stage = Stage::new();
    let target = plain_proxy(stage.backend);
    for (few, all) in [(2, 40), (1, 1)] {
        let hold = Hold { terms: None, target, few, all, quiet: Duration::ZERO };
        let held = stage.site.hold(&hold, || Ok(connections_to(target.port()))).unwrap();
        assert_eq!((held.few, held.all), (few, all));
    }
}

/// Those that the kernel has as established from a client to this port.
fn connections_to(port: u16) -> usize {
    let text = fs::read_to_string("/proc/net/tcp").unwrap();
    let is_one = |line: &&str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        fields[2].ends_with(&format!(":{port:04X}")) && fields[3] == "01"
    };
    text.lines().filter(is_one).count()
}

#[test]
fn a_changed_byte_is_found_out() {
    for work in [Work::PingPong64, Work::ConnectReset, Work::Bulk] {
        assert_eq!(fault(work, CHANGED), Some(Fault::WrongBytes), "{work:?}");
    }
}

#[test]
fn a_stream_that_loses_its_end_is_found_out() {
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let cut: Spoil = |bytes| {
        let is_late = PASSED.fetch_add(bytes.len(), Ordering::Relaxed) > 1_000_000;
        Some(if is_late { &[] } else { bytes })
    };
    assert_eq!(fault(Work::Bulk, cut), Some(Fault::WrongBytes));
}

#[test]
fn a_connection_closed_early_is_found_out() {
    assert_eq!(fault(Work::ConnectFin, |_| None), Some(Fault::ClosedEarly));
}

#[test]
fn a_stop_ends_the_run() {
    let mut stage = Stage::new();
    stage.stop.store(true, Ordering::Relaxed);
    let target = plain_proxy(stage.backend);
    let result = stage.run(Work::Bulk, Pace::Full, target);
    assert_eq!(result.err(), Some(Fault::Interrupted));
}
