//! Owns the tests of runs without TLS.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::subject::Speed;
use super::super::work::Work;
use super::stage::{CHANGED, INTACT, Spoil, Stage, broken_proxy, plain_proxy};

fn fault(work: Work, back: Spoil) -> String {
    let stage = Stage::new();
    let target = broken_proxy(stage.backend, INTACT, back);
    stage.fault(work, target)
}

#[test]
fn a_paced_pingpong_through_a_plain_proxy_is_counted_and_timed() {
    let stage = Stage::new();
    let target = plain_proxy(stage.backend);
    let figures = stage.run(Work::PingPong64, Speed::Rate(2_000.0), target).unwrap();
    // 400 are due in the window; some may end after it.
    assert!((500.0..=2_400.0).contains(&figures.rate), "{}", figures.rate);
    assert!(figures.latency.is_some_and(|latency| latency.p50 > 0));
}

#[test]
fn every_work_goes_through_a_plain_proxy_at_both_speeds() {
    let stage = Stage::new();
    let target = plain_proxy(stage.backend);
    for work in [Work::Bulk, Work::PingPong64, Work::ConnectReset, Work::ConnectFin] {
        let rate = if work == Work::Bulk { 1e8 } else { 500.0 };
        for speed in [Speed::Full, Speed::Rate(rate)] {
            let figures = stage.run(work, speed, target);
            assert!(figures.is_ok_and(|figures| figures.rate > 0.0), "{work:?} {speed:?}");
        }
    }
}

#[test]
fn connections_are_held_through_both_readings() {
    let stage = Stage::new();
    let target = plain_proxy(stage.backend);
    for counts in [[2, 40], [1, 1]] {
        let meter = move || Ok(connections_to(target.port()));
        assert_eq!(stage.hold(Work::Idle, counts, target, meter).unwrap(), counts);
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
    for work in [Work::PingPong64, Work::ConnectReset] {
        assert_eq!(fault(work, CHANGED), "wrong_bytes", "{work:?}");
    }
    // It may be one of a header.
    let said = fault(Work::Bulk, CHANGED);
    assert!(["wrong_bytes", "malformed"].contains(&&*said), "{said}");
}

#[test]
fn a_stream_that_loses_its_end_is_found_out() {
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let cut: Spoil = |bytes| {
        let is_late = PASSED.fetch_add(bytes.len(), Ordering::Relaxed) > 5_000_000;
        Some(if is_late { &[] } else { bytes })
    };
    assert_eq!(fault(Work::Bulk, cut), "lost");
}

#[test]
fn a_connection_closed_early_is_found_out() {
    assert_eq!(fault(Work::ConnectFin, |_| None), "closed");
}

#[test]
fn a_stop_ends_the_run() {
    let stage = Stage::new();
    stage.stop.store(true, Ordering::Relaxed);
    let target = plain_proxy(stage.backend);
    assert_eq!(stage.fault(Work::Bulk, target), "interrupted");
}
