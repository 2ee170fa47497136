//! Owns the check of the generator on this host's clock: what virtual time can not show. It prints
//! what was asked and what came, and judges nothing.

use std::time::Duration;

use super::backends::{Behaviour, Outage, Service};
use super::bench::{Bench, Outcome, Route};
use super::failure::Failure;
use super::order::{Group, Order, Pace, Sizes};
use super::protocol::Protocol;
use super::screen::duration;

/// Runs directly against the backends, each of a few seconds, and says how far off they were.
pub fn check(mut bench: Bench) -> Result<(), Failure> {
    bench.route = Route::Direct;
    println!("rates, on 64 connections: what left in three seconds");
    for rate in [100.0, 1_000.0, 5_000.0, 20_000.0] {
        let run = short(&bench, rate)?.run;
        let sent = run.counts.sent as f64 / run.window;
        let lag = duration(run.generator.lag_max);
        let error = (sent / rate - 1.0) * 100.0;
        println!("  {rate:>7} /s asked, {sent:>9.1} /s sent, {error:+.3} %; latest by {lag}");
    }
    println!("service times: what was measured of backends that take as long as they are told");
    for time in [Duration::from_millis(1), Duration::from_millis(20)] {
        bench.behaviour = Behaviour { service: Service::Constant(time), ..Behaviour::default() };
        let latency = short(&bench, 500.0)?.run.latency;
        let [median, p99] = [0.5, 0.99].map(|share| duration(latency.quantile(share)));
        println!("  {time:?} told: p50 {median}, p99 {p99}");
    }
    let stall = Outage { at: Duration::from_secs(1), length: Duration::from_secs(1) };
    bench.behaviour = Behaviour { stall: Some(stall), ..Behaviour::default() };
    let latency = short(&bench, 1_000.0)?.run.latency;
    let (longest, waited) = (duration(latency.max()), latency.share_above(500_000_000) * 100.0);
    println!("a stall of 1 s in a window of 3 s: the longest wait is {longest}, and {waited:.1} %");
    println!("  of the units waited more than half a second (a sixth is 16.7 %)");
    Ok(())
}

fn short(bench: &Bench, rate: f64) -> Result<Outcome, Failure> {
    let group = Group::new(Protocol::TcpEcho, 64, Pace::constant(rate), Sizes::Constant(128));
    let order = Order {
        name: Protocol::TcpEcho.as_str().to_owned(),
        groups: vec![group],
        warm_up: Duration::from_millis(500),
        window: Duration::from_secs(3),
        patience: Duration::from_secs(2),
        seed: 1,
    };
    bench.run(&order, &mut |_| ())
}
