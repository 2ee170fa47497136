//! Owns the check of the generator on this host's clock: what virtual time can not show. Each line
//! says what was asked, what came, and whether that is as it should be.

use std::fmt::Write as _;
use std::time::Duration;

use super::backends::{Behaviour, Fate, Mischief, Outage, Service};
use super::bench::{Bench, Outcome, Route, backends_random};
use super::failure::Failure;
use super::order::{Group, Order, Pace, Sizes};
use super::protocol::Protocol;
use super::screen::{duration, own_limit};

/// Runs directly against the backends, each of a few seconds. What does not hold is a failure.
pub fn check(mut bench: Bench) -> Result<(), Failure> {
    bench.route = Route::Direct;
    let mut checks = Checks { bench, failed: 0, count: 0 };
    checks.rates()?;
    checks.service_times()?;
    checks.stall()?;
    checks.mischief()?;
    checks.ceiling()?;
    let Checks { failed, count, .. } = checks;
    println!("{} of {count} hold", count - failed);
    if failed > 0 { Err(Failure::Untrue { failed, checks: count }) } else { Ok(()) }
}

struct Checks {
    bench: Bench,
    failed: u32,
    count: u32,
}

impl Checks {
    /// Prints what a check came to.
    fn says(&mut self, holds: bool, sentence: &str) {
        self.count += 1;
        self.failed += u32::from(!holds);
        println!("  {}  {sentence}", if holds { "ok  " } else { "FAIL" });
    }

    fn run(&self, order: &Order, behaviour: Behaviour) -> Result<Outcome, Failure> {
        let Bench { clock, cpus, ref route, ref sources, ref network, ref signals, .. } =
            self.bench;
        let network = network.clone();
        let (route, sources, signals) = (route.clone(), sources.clone(), signals.clone());
        let bench = Bench { clock, cpus, route, behaviour, sources, network, signals };
        bench.run(order, &mut |_| ())
    }

    /// By what left, and when: the schedule is not asked.
    fn rates(&mut self) -> Result<(), Failure> {
        println!("rates: what left in three seconds by the clock is what was asked, to 0.5 %, and");
        println!("half of it within {} of its time", duration(HALF_WITHIN));
        for protocol in BOTH {
            for rate in [100.0, 1_000.0, 5_000.0, 20_000.0] {
                let outcome = self.run(&order(protocol, 64, rate), Behaviour::default())?;
                let sent = outcome.tally.departures.rate().unwrap_or(0.0);
                let units = outcome.tally.departures.count;
                // In so short a window one unit more or less is not yet another rate.
                let whole = (units as f64 - rate * WINDOW.as_secs_f64()).abs() - 1.0;
                let half = outcome.tally.lag.quantile(0.5);
                let holds = is_near(sent, rate, 0.005)
                    && whole <= 0.005 * rate * 3.0
                    && half <= HALF_WITHIN;
                let error = (sent / rate - 1.0) * 100.0;
                let (half, lag) = (duration(half), duration(outcome.run.generator.lag_max));
                let name = protocol.as_str();
                self.says(
                    holds,
                    &format!(
                        "{name:<8} {rate:>7} /s asked: {units:>6} left, at {sent:>9.1} /s, \
                         {error:+.3} %; half {half} after its time, the latest {lag}"
                    ),
                );
            }
        }
        Ok(())
    }

    /// So seldom on each connection that no request waits for another, and long enough that neither
    /// the way there and back nor the time slices of a CPU for two are a share of it.
    fn service_times(&mut self) -> Result<(), Failure> {
        println!("service times: percentiles are those of what the backends drew, to 1 %");
        for protocol in BOTH {
            for service in [
                Service::Constant(Duration::from_millis(500)),
                Service::Exponential(Duration::from_millis(200)),
            ] {
                let rate = 500.0;
                let order = Order { patience: PATIENCE * 2, ..order(protocol, 2_000, rate) };
                let outcome = self.run(&order, Behaviour { service, ..Behaviour::default() })?;
                let times = known_times(&order, service, rate);
                let (mut sentence, mut holds) = (format!("{:<8}", protocol.as_str()), true);
                for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
                    // There are more than a hundred.
                    let known = times[(share * times.len() as f64) as usize - 1];
                    let measured = outcome.run.latency.quantile(share);
                    holds &= is_near(measured as f64, known as f64, 0.01);
                    let error = (measured as f64 / known as f64 - 1.0) * 100.0;
                    let known = duration(known);
                    // A string takes all that is written to it.
                    write!(sentence, " {name} of {known} {error:+.2} %").unwrap_or_default();
                }
                self.says(holds, &sentence);
            }
        }
        Ok(())
    }

    fn stall(&mut self) -> Result<(), Failure> {
        println!("a stall of 1 s in a window of 3 s: the longest wait is all of it, to 1 %, and a");
        println!("sixth of the units waited for more than half of it, to 1 % of all");
        for protocol in BOTH {
            let stall = Outage { at: Duration::from_secs(1), length: Duration::from_secs(1) };
            let behaviour = Behaviour { stall: Some(stall), ..Behaviour::default() };
            let latency = self.run(&order(protocol, 64, 1_000.0), behaviour)?.run.latency;
            let waited = latency.share_above(500_000_000) * 100.0;
            let holds =
                is_near(latency.max() as f64, 1e9, 0.01) && (waited - 100.0 / 6.0).abs() < 1.0;
            let longest = duration(latency.max());
            let name = protocol.as_str();
            self.says(holds, &format!("{name:<8} longest {longest}; {waited:.1} % waited"));
        }
        Ok(())
    }

    fn mischief(&mut self) -> Result<(), Failure> {
        println!("what backends do wrong on purpose is counted exactly");
        let mischief = Mischief {
            drop: 0.03,
            duplicate: 0.05,
            swap: 0.02,
            corrupt: 0.04,
            ..Mischief::default()
        };
        for protocol in BOTH {
            let behaviour = Behaviour { mischief, ..Behaviour::default() };
            let outcome = self.run(&order(protocol, 64, 2_000.0), behaviour)?;
            let done = |fate| outcome.tally.struck.get(&fate).copied().unwrap_or(0);
            let counts = &outcome.run.counts;
            // What was held back for an answer that never came is lost, and not reordered.
            let away = done(Fate::Drop) + done(Fate::Swap);
            let holds = counts.duplicated == done(Fate::Duplicate)
                && counts.corrupted == done(Fate::Corrupt)
                && counts.lost >= done(Fate::Drop)
                && counts.lost + counts.reordered == away;
            let name = protocol.as_str();
            self.says(
                holds,
                &format!(
                    "{name:<8} {} twice, counted {}; {} changed, counted {}; {away} not sent or \
                     sent later, counted {} lost and {} reordered",
                    done(Fate::Duplicate),
                    counts.duplicated,
                    done(Fate::Corrupt),
                    counts.corrupted,
                    counts.lost,
                    counts.reordered,
                ),
            );
        }
        Ok(())
    }

    fn ceiling(&mut self) -> Result<(), Failure> {
        println!("without a proxy a closed loop ends at the generator's own limit, and says so");
        for protocol in BOTH {
            let mut order = order(protocol, 64, 1.0);
            order.groups[0].pace = Pace::Closed { depth: 4 };
            let run = self.run(&order, Behaviour::default())?.run;
            let (name, busy) = (protocol.as_str(), run.generator.generator * 100.0);
            let holds = own_limit(&run).is_some() && run.counts.failed() == 0;
            let rate = run.achieved;
            self.says(holds, &format!("{name:<8} {rate:>9.1} /s with {busy:.0} % of its CPU"));
        }
        Ok(())
    }
}

/// Three seconds of it.
fn order(protocol: Protocol, agents: u32, rate: f64) -> Order {
    let group = Group::new(protocol, agents, Pace::constant(rate), Sizes::Constant(128));
    Order {
        name: protocol.as_str().to_owned(),
        groups: vec![group],
        warm_up: WARM_UP,
        window: WINDOW,
        patience: PATIENCE,
        seed: 1,
    }
}

/// What the backend draws for the units of the window, in order of length.
fn known_times(order: &Order, service: Service, rate: f64) -> Vec<u64> {
    let mut random = backends_random(order.seed).fork();
    let drawn = std::iter::repeat_with(|| service.draw(&mut random).as_nanos() as u64);
    let units = |time: Duration| (time.as_secs_f64() * rate).round() as usize;
    let mut times: Vec<u64> = drawn.skip(units(order.warm_up)).take(units(order.window)).collect();
    times.sort_unstable();
    times
}

/// Whether it differs by at most this share of what it should be.
fn is_near(value: f64, wanted: f64, share: f64) -> bool {
    (value - wanted).abs() <= share * wanted
}

const BOTH: [Protocol; 2] = [Protocol::TcpEcho, Protocol::UdpEcho];
/// A wheel of deadlines with ticks of a millisecond would have half of them later than this.
const HALF_WITHIN: u64 = 300_000;
const WARM_UP: Duration = Duration::from_millis(500);
const WINDOW: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(2);
