//! Random sequences on virtual time, judged by rules that know nothing of how the machine works.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::stage::{MILLISECOND, SECOND, Stage, ejection, health};
use crate::balance::Standing;
use crate::config::{Ejection, Health};
use crate::control::health::{Cause, Change, Output, ProbeFailure};

const SEEDS: u64 = 256;

#[test]
fn whatever_happens_the_rules_hold() {
    let replayed = std::env::var("RINGMAIN_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = replayed.map_or(0..SEEDS, |seed: u64| seed..seed + 1);
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        let run = catch_unwind(AssertUnwindSafe(|| run(seed)));
        seen.add(run.unwrap_or_else(|panic| {
            eprintln!("RINGMAIN_SEED={seed}");
            resume_unwind(panic)
        }));
    }
    // A rule that never had anything to judge has proved nothing.
    if seeds.count() > 1 {
        let Seen { downs, ups, ejections, capped, cancels, starts, drains } = seen;
        let least = [downs, ups, ejections, capped, cancels, starts, drains].into_iter().min();
        assert!(least >= Some(100), "{seen:?}");
    }
}

/// What has happened over all.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    downs: u32,
    ups: u32,
    ejections: u32,
    /// Ejections of the greatest length.
    capped: u32,
    cancels: u32,
    starts: u32,
    drains: u32,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.downs += other.downs;
        self.ups += other.ups;
        self.ejections += other.ejections;
        self.capped += other.capped;
        self.cancels += other.cancels;
        self.starts += other.starts;
        self.drains += other.drains;
    }
}

/// What the rules know of one member.
struct Known {
    standing: Option<Standing>,
    /// Results in a row of one kind, as they were handed in.
    well: u32,
    failed: u32,
    ejected_until: Option<Duration>,
    last_length: Option<Duration>,
    /// When the last probe ended, unless one is under way or the addresses have changed since.
    ended: Option<Duration>,
}

struct Judge {
    health: Health,
    ejection: Ejection,
    known: BTreeMap<Arc<str>, Known>,
    judged: usize,
    seen: Seen,
}

fn run(seed: u64) -> Seen {
    let mut random = fastrand::Rng::with_seed(seed);
    let health = Health {
        rise: random.u32(1..4),
        fall: random.u32(1..4),
        jitter: random.u8(0..=50),
        fast_interval: random.u32(200..=2000) * MILLISECOND,
        ..health()
    };
    let ejection = Ejection {
        max_share: random.u8(1..=100),
        max_time: random.u32(10..30) * SECOND,
        ..ejection()
    };
    let slow_start = random.bool().then_some(random.u32(1..20) * SECOND);
    let mut stage = Stage::new(Some(health.clone()), Some(ejection.clone()), slow_start);
    let mut judge =
        Judge { health, ejection, known: BTreeMap::new(), judged: 0, seen: Seen::default() };
    let names: Vec<Arc<str>> = (0..random.usize(1..12)).map(|n| format!("b{n}").into()).collect();
    for name in &names {
        stage.members.insert(Arc::clone(name), vec![([10, 0, 0, 1], 1).into()]);
    }
    judge.publish(&mut stage);
    for _ in 0..300 {
        happen(&names, &mut stage, &mut judge, &mut random);
        let end = stage.now + random.u32(0..3000) * MILLISECOND;
        stage.took = random.u32(0..1000) * MILLISECOND;
        while judge.step(&mut stage, end) {}
        stage.now = end;
    }
    judge.quiet(&names, &mut stage);
    judge.seen
}

/// One event of any kind.
fn happen(names: &[Arc<str>], stage: &mut Stage, judge: &mut Judge, random: &mut fastrand::Rng) {
    let name = &names[random.usize(..names.len())];
    match random.u8(0..17) {
        0..5 => {
            let failures = [ProbeFailure::Refused, ProbeFailure::Timeout, ProbeFailure::Ours];
            stage.answers.insert(Arc::clone(name), failures[random.usize(..3)]);
        }
        5..9 => drop(stage.answers.remove(name)),
        9..13 => {
            let in_a_row = random.u32(0..20);
            stage.failures(name, in_a_row);
        }
        13 => stage.drain(name, random.bool()),
        14 => {
            if stage.members.remove(name).is_none() {
                stage.members.insert(Arc::clone(name), vec![([10, 0, 0, 1], 1).into()]);
            }
            judge.publish(stage);
        }
        15 => {
            if !stage.drains.remove(name) {
                stage.drains.insert(Arc::clone(name));
            }
            judge.publish(stage);
        }
        _ => {
            if let Some(addresses) = stage.members.get_mut(name) {
                let before = addresses.clone();
                *addresses = vec![([10, 0, 0, random.u8(..)], 1).into()];
                if *addresses != before {
                    let known = judge.known.get_mut(name).unwrap();
                    (known.well, known.failed, known.ended) = (0, 0, None);
                }
            }
            judge.publish(stage);
        }
    }
    judge.outputs(stage);
}

impl Judge {
    fn publish(&mut self, stage: &mut Stage) {
        self.known.retain(|name, _| stage.members.contains_key(name));
        let serves = |known: &Known| known.standing.is_some_and(Standing::is_eligible);
        let alone = !self.known.values().any(serves);
        for name in stage.members.keys() {
            self.known.entry(Arc::clone(name)).or_insert_with(|| Known {
                standing: alone.then_some(Standing::Up),
                well: 0,
                failed: 0,
                ejected_until: None,
                last_length: None,
                ended: None,
            });
        }
        stage.publish();
        self.outputs(stage);
    }

    fn step(&mut self, stage: &mut Stage, end: Duration) -> bool {
        let before: BTreeMap<_, _> =
            stage.in_flight.iter().map(|(name, (probe, _))| (Arc::clone(name), *probe)).collect();
        let more = stage.step(end);
        for name in before.keys().filter(|name| !stage.in_flight.contains_key(*name)) {
            let known = self.known.get_mut(name).unwrap();
            known.ended = Some(stage.now);
            match stage.answers.get(name) {
                Some(failure) if failure.is_ours() => {}
                Some(_) => (known.well, known.failed) = (0, known.failed + 1),
                None => (known.well, known.failed) = (known.well + 1, 0),
            }
        }
        self.outputs(stage);
        more
    }

    fn outputs(&mut self, stage: &Stage) {
        for output in &stage.outputs[self.judged..] {
            match output {
                Output::Probe { name, .. } => self.probe(name, stage.now),
                Output::Cancel { .. } => self.seen.cancels += 1,
                Output::Eject { .. } | Output::Ailing { .. } => {}
                Output::Readmit { name } => {
                    let known = self.known.get_mut(name).unwrap();
                    if known.ejected_until.is_some_and(|until| until <= stage.now) {
                        assert_eq!(known.ejected_until.take(), Some(stage.now), "{name}");
                    }
                }
                Output::Changed(change) => self.change(change, stage),
            }
        }
        self.judged = stage.outputs.len();
        for (name, known) in &self.known {
            let late = known.ejected_until.is_some_and(|until| until < stage.now);
            assert!(!late, "{name} is out for longer than it was told");
            assert_eq!(stage.standing(name), known.standing.unwrap_or(Standing::Down), "{name}");
            let ails = stage.ailing.contains(name);
            assert!(!(ails && is_eligible(known)), "{name} serves and ails");
            assert!(ails || known.standing != Some(Standing::Ejected), "{name}: nobody is told");
        }
    }

    /// No sooner than the schedule allows.
    fn probe(&mut self, name: &Arc<str>, now: Duration) {
        let known = self.known.get_mut(name).unwrap();
        if let Some(ended) = known.ended.take() {
            let pause = now - ended;
            let (fast, slow) = (self.health.fast_interval, self.health.interval);
            let jitter = f64::from(self.health.jitter) / 100.0;
            let (least, most) = (fast.min(slow), fast.max(slow));
            assert!(pause >= least.mul_f64(1.0 - jitter) - MILLISECOND, "{name} {pause:?}");
            assert!(pause <= most.mul_f64(1.0 + jitter) + MILLISECOND, "{name} {pause:?}");
        }
    }

    fn change(&mut self, change: &Change, stage: &Stage) {
        let name = &change.name;
        let eligible = self.known.values().filter(|known| is_eligible(known)).count();
        let ejected = self.known.values().filter(|known| known.ejected_until.is_some()).count();
        let known = self.known.get_mut(name).unwrap();
        let drains_at_once = change.from.is_none() && change.to == Standing::Draining;
        assert!(change.from == known.standing || drains_at_once, "{change}");
        known.standing = Some(change.to);
        match change.cause {
            Cause::ProbesFailed { in_a_row, .. } => {
                assert_eq!((in_a_row, known.failed), (self.health.fall, self.health.fall));
                assert_eq!(change.to, Standing::Down);
                self.seen.downs += 1;
            }
            Cause::ProbesSucceeded { in_a_row } => {
                assert_eq!((in_a_row, known.well), (self.health.rise, self.health.rise));
                assert_eq!(change.from, Some(Standing::Down));
                self.seen.ups += 1;
            }
            Cause::ConnectionsFailed { in_a_row, ejected_for } => {
                assert!(in_a_row >= self.ejection.failures && change.to == Standing::Ejected);
                let share = stage.members.len() * usize::from(self.ejection.max_share) / 100;
                assert!(ejected < share.max(1), "{ejected} of {}", stage.members.len());
                assert!(eligible > 1, "the last one is ejected");
                let (base, max) = (self.ejection.base_time, self.ejection.max_time);
                let doubled = known.last_length.map_or(base, |last| (2 * last).min(max));
                assert!(ejected_for >= base && ejected_for <= doubled, "{ejected_for:?}");
                known.last_length = Some(ejected_for);
                known.ejected_until = Some(stage.now + ejected_for);
                self.seen.ejections += 1;
                self.seen.capped += u32::from(ejected_for == max);
            }
            Cause::FirstProbeSucceeded | Cause::FirstProbeFailed(_) => {
                assert!(matches!(change.from, None | Some(Standing::Down)), "{change}");
            }
            Cause::SlowStart => {
                let started = matches!(change.from, Some(Standing::Starting(_)));
                assert!(started && change.to.is_eligible(), "{change}");
                self.seen.starts += 1;
            }
            Cause::EjectionEnded => assert_eq!(change.from, Some(Standing::Ejected)),
            Cause::Drained | Cause::DrainListed => {
                assert_eq!(change.to, Standing::Draining);
                self.seen.drains += 1;
            }
            Cause::Undrained | Cause::DrainUnlisted => {
                assert_eq!(change.from, Some(Standing::Draining));
            }
            Cause::Unprobed => panic!("everyone is probed: {change}"),
        }
    }

    /// Nothing goes wrong any more: everyone is up before long, and stays so.
    fn quiet(&mut self, names: &[Arc<str>], stage: &mut Stage) {
        stage.answers.clear();
        names.iter().for_each(|name| stage.drain(name, false));
        self.outputs(stage);
        for seconds in [120, 600] {
            let end = stage.now + seconds * SECOND;
            while self.step(stage, end) {}
            stage.now = end;
            let up = |name| stage.standing(name) == Standing::Up;
            assert!(stage.members.keys().all(|name| up(name)), "not everyone is up in the end");
            if seconds == 120 {
                stage.take_log();
            }
        }
        assert_eq!(stage.take_log(), [""; 0], "something changes without a cause");
    }
}

fn is_eligible(known: &Known) -> bool {
    known.standing.is_some_and(Standing::is_eligible)
}
