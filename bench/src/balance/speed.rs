//! Owns what a pick costs on one thread, and what it takes to build and to republish a pool.

use std::hint::black_box;
use std::sync::Arc;

use ringmain::balance::{Policy, Pool, Standing};

use super::stage::{Worker, members, policies, pool};
use super::table;
use crate::clock::Clock;

/// A place is reserved and given back for each pick, which is four atomic operations. They are
/// measured by themselves as well, on the same backends, and told apart.
pub fn report_picks(clock: Clock, nanoseconds: u64) {
    const COUNTS: [usize; 5] = [3, 10, 100, 300, 10_000];
    let leases: Vec<f64> = COUNTS.iter().map(|count| lease(clock, *count, nanoseconds)).collect();
    let cells = |policy: &Policy| {
        let with_lease = COUNTS.iter().map(|count| pick(clock, policy, *count, nanoseconds));
        let cell = |(whole, lease): (f64, &f64)| format!("{:.1} ({whole:.1})", whole - lease);
        with_lease.zip(&leases).map(cell).collect()
    };
    let mut rows: Vec<_> = policies().iter().map(|(name, policy)| (*name, cells(policy))).collect();
    rows.push(("a place alone", leases.iter().map(|lease| format!("{lease:.1}")).collect()));
    let headings: Vec<String> = COUNTS.iter().map(|count| count.to_string()).collect();
    let title = "Nanoseconds per pick, one thread, by number of backends (with the place that is \
                 reserved and given back)";
    table::print(title, &headings, &rows);
}

fn pick(clock: Clock, policy: &Policy, count: usize, nanoseconds: u64) -> f64 {
    let pool = pool(policy, &members(vec![1; count]));
    let mut worker = Worker::new(&pool, 1);
    per_call(clock, nanoseconds, |number| drop(black_box(worker.choose(number & 0xf_ffff))))
}

fn lease(clock: Clock, count: usize, nanoseconds: u64) -> f64 {
    let pool = pool(&Policy::RoundRobin, &members(vec![1; count]));
    let backends: Vec<_> = pool.eligible().collect();
    let mut next = 0;
    per_call(clock, nanoseconds, |_| {
        drop(black_box(backends[next].lease()));
        next = if next + 1 == count { 0 } else { next + 1 };
    })
}

/// The least of a few runs: whatever disturbs makes it longer.
pub(super) fn per_call(clock: Clock, nanoseconds: u64, mut call: impl FnMut(u32)) -> f64 {
    const RUNS: u64 = 5;
    const BATCH: u32 = 1000;
    let mut run = || {
        let (began, mut calls) = (clock.now(), 0u32);
        loop {
            for _ in 0..BATCH {
                call(calls);
                calls = calls.wrapping_add(1);
            }
            let took = clock.now() - began;
            if took >= nanoseconds / RUNS {
                return took as f64 / f64::from(calls);
            }
        }
    };
    run();
    (0..RUNS).map(|_| run()).fold(f64::INFINITY, f64::min)
}

pub fn report_tables(clock: Clock) {
    const COUNTS: [usize; 3] = [100, 1000, 10_000];
    let headings: Vec<String> = COUNTS
        .iter()
        .flat_map(|count| [format!("{count} new"), format!("{count}, one down")])
        .collect();
    let cells = |policy: &Policy| {
        COUNTS.iter().flat_map(|count| build(clock, policy, *count)).collect::<Vec<_>>()
    };
    let rows: Vec<_> = policies().iter().map(|(name, policy)| (*name, cells(policy))).collect();
    table::print("Milliseconds to publish a pool, by number of backends", &headings, &rows);
}

fn build(clock: Clock, policy: &Policy, count: usize) -> [String; 2] {
    let mut members = members(vec![1; count]);
    let mut took = [f64::INFINITY; 2];
    for _ in 0..3 {
        let began = clock.now();
        let first = pool(policy, &members);
        let built = clock.now();
        members[0].standing = Standing::Down;
        let (name, settings) = (Arc::clone(&first.name), first.settings.clone());
        let second = Pool::new(name, settings, members.clone(), Some(&first));
        let republished = clock.now();
        black_box(second);
        members[0].standing = Standing::Up;
        for (took, nanoseconds) in took.iter_mut().zip([built - began, republished - built]) {
            *took = took.min(nanoseconds as f64 / 1e6);
        }
    }
    took.map(|milliseconds| format!("{milliseconds:.2}"))
}
