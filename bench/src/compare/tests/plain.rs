//! Owns the tests of runs without TLS.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::subject::{Speed, Subject};
use super::super::work::{Task, Work};
use super::stage::{
    CHANGED, INTACT, Places, Spoil, Stage, broken_proxy, hoarding_proxy, plain_proxy, tls_proxy,
};
use crate::certificates::Identity;
use crate::generate::{Failure, Protocol};

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
fn any_protocol_goes_through_a_plain_proxy() {
    let stage = Stage::new();
    let ecdsa = tls_proxy(stage.backend, stage.server_config(Identity::Ecdsa));
    let places = Places { ecdsa, ..Places::all_at(plain_proxy(stage.backend)) };
    for protocol in [
        Protocol::Ndjson,
        Protocol::SyslogTls,
        Protocol::Datadog,
        Protocol::TlsConnect,
        Protocol::Vector,
        Protocol::VectorTls,
        Protocol::OtlpGrpcTls,
    ] {
        let subject = Subject::Protocol { protocol, connections: 4, size: 300 };
        for speed in [Speed::Full, Speed::Rate(100.0)] {
            let figures = stage.run_subject(subject, speed, &places);
            let rate = figures.as_ref().map(|figures| figures.rate);
            assert!(
                rate.is_ok_and(|rate| rate > 0.0),
                "{protocol:?} {speed:?}: {:?}",
                figures.err()
            );
        }
    }
}

#[test]
fn figures_come_with_the_name_of_the_proxy_and_what_it_cost() {
    let stage = Stage::new();
    let subject = Subject::Work(Work::PingPong64);
    let Task::Carry(shape) = subject.task() else { panic!("it carries") };
    let (warm_up, window) = (Duration::from_millis(20), Duration::from_millis(200));
    let order = subject.order(shape, Speed::Full, warm_up, window);
    let carried = stage.carry(&order, plain_proxy(stage.backend)).unwrap();
    assert_eq!((&*carried.run.candidate, carried.run.workers), ("plain", 1));
    assert_eq!((&*carried.run.protocol, carried.spoiled), ("pingpong-64", 0));
    // The proxy is a thread of this process, which had the CPU.
    assert!(carried.usage.is_some_and(|usage| usage.proxy > 0));
}

#[test]
fn connections_that_a_proxy_does_not_end_are_found_out() {
    let mut stage = Stage::new();
    stage.between.lingering = Duration::from_millis(50);
    let target = hoarding_proxy(stage.backend, usize::MAX);
    assert_eq!(stage.fault(Work::PingPong64, target), "lingering");
    let held = stage.hold(Work::Idle, [1, 3], target, || Ok(()));
    assert!(matches!(held, Err(Failure::Lingering(3))), "{held:?}");
}

#[test]
fn connections_that_do_not_reach_a_backend_or_do_not_stay_are_not_held() {
    let stage = Stage::new();
    let target = hoarding_proxy(stage.backend, HELD_BYTES);
    let held = stage.hold(Work::Idle, [1, 8], target, || Ok(()));
    assert!(matches!(held, Err(Failure::NotHeld { .. })), "{held:?}");
    for (back, word) in [(CHANGED, "malformed"), ((|_| None) as Spoil, "closed")] {
        let target = broken_proxy(stage.backend, INTACT, back);
        let held = stage.hold(Work::Idle, [1, 2], target, || Ok(()));
        let Err(Failure::NotConnected { cause, .. }) = held else { panic!("{held:?}") };
        assert_eq!(cause, word);
    }
}

#[test]
fn connections_are_used_before_they_are_quiet() {
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let count: Spoil = |bytes| {
        PASSED.fetch_add(bytes.len(), Ordering::Relaxed);
        Some(bytes)
    };
    let stage = Stage::new();
    let target = broken_proxy(stage.backend, count, INTACT);
    let passed = || Ok(PASSED.load(Ordering::Relaxed));
    let counts = stage.hold(Work::Idle, [2, 5], target, passed).unwrap();
    assert_eq!(counts, [2 * HELD_BYTES, 5 * HELD_BYTES]);
}

/// Bytes that go each way on a connection before it is quiet.
const HELD_BYTES: usize = 4 * 128 + (16 << 10);

#[test]
fn a_stop_ends_the_holding_of_connections() {
    let stage = Stage::new();
    stage.stop.store(true, Ordering::Relaxed);
    let held = stage.hold(Work::Idle, [1, 2], plain_proxy(stage.backend), || Ok(()));
    assert!(matches!(held, Err(Failure::Interrupted)), "{held:?}");
}

#[test]
fn a_stop_ends_the_run() {
    let stage = Stage::new();
    stage.stop.store(true, Ordering::Relaxed);
    let target = plain_proxy(stage.backend);
    assert_eq!(stage.fault(Work::Bulk, target), "interrupted");
}
