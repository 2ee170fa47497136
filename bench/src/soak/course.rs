//! Owns the order of a soak: windows one after the other, a trick in some; it reads no clock.

use std::time::Duration;

use super::drift::{Soak, Window, drifts, is_quiet};
use super::tricks::{Mischief, Trick, schedule};
use crate::figures::{Moment, Run};
use crate::judge::{Fault, Load, System, is_generator_limited};

/// What a soak is to be.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub seed: u64,
    pub length: Duration,
    /// On average there is so much time between two tricks; `None`: there are none.
    pub gap: Option<Duration>,
    pub load: Load,
}

impl Course {
    pub fn windows(&self) -> u32 {
        (self.length.as_secs_f64() / self.load.window.as_secs_f64()).ceil() as u32
    }
}

/// A system that can be put under load and played tricks on.
pub trait Victim: System + Mischief {}
impl<V: System + Mischief> Victim for V {}

/// One window of a soak that has ended.
pub struct Ended<'a> {
    pub number: usize,
    pub of: usize,
    pub trick: Option<Trick>,
    pub run: &'a Run,
}

/// Runs window after window. A fault ends it early, with what there is.
pub fn soaked(
    victim: &mut dyn Victim,
    course: &Course,
    told: &mut dyn FnMut(Ended),
) -> (Soak, Vec<Run>) {
    let window = course.load.window;
    let count = course.windows() as usize;
    let tricks = match course.gap {
        Some(gap) => schedule(course.seed, count, gap, window),
        None => vec![None; count],
    };
    let (mut runs, mut ended) = (Vec::new(), None);
    for (number, &trick) in tricks.iter().enumerate() {
        match one(victim, &course.load, trick) {
            Ok(mut run) => {
                // A window is one point of the whole.
                run.series.clear();
                told(Ended { number, of: count, trick, run: &run });
                runs.push(run);
            }
            Err(fault) => {
                ended = Some(fault.to_string());
                break;
            }
        }
    }
    let soak = judged(course, &tricks, &runs, ended);
    (soak, runs)
}

fn one(victim: &mut dyn Victim, load: &Load, trick: Option<Trick>) -> Result<Run, Fault> {
    if let Some(trick) = trick {
        victim.play(trick)?;
    }
    victim.run(load)
}

fn judged(course: &Course, tricks: &[Option<Trick>], runs: &[Run], ended: Option<String>) -> Soak {
    // Each window takes its warm-up as well.
    let step = (course.load.window + course.load.warm_up).as_secs_f64();
    let played = tricks.iter().take(runs.len()).enumerate();
    let played: Vec<(usize, Trick)> =
        played.filter_map(|(number, trick)| Some((number, (*trick)?))).collect();
    let is_quiet = |number: usize| is_quiet(&played, number);
    let windows: Vec<Window> = runs
        .iter()
        .enumerate()
        .map(|(number, run)| Window { at: number as f64 * step, run, is_quiet: is_quiet(number) })
        .collect();
    let failed = |quiet: bool| {
        let of = windows.iter().filter(|window| window.is_quiet == quiet);
        of.map(|window| window.run.counts.failed()).sum()
    };
    Soak {
        seed: course.seed,
        length: runs.len() as f64 * step,
        windows: runs.len(),
        drifts: drifts(&windows),
        limited: runs.iter().filter(|run| is_generator_limited(run)).count(),
        failed_quiet: failed(true),
        failed_disturbed: failed(false),
        tricks: played,
        ended,
        left_out: Vec::new(),
    }
}

/// A soak as one run, whose seconds are its windows: for plots over the whole of its time.
pub fn whole(runs: &[Run], step: f64) -> Option<Run> {
    let mut whole = runs.first()?.clone();
    let moment = |(number, run): (usize, &Run)| Moment {
        at: number as f64 * step,
        achieved: run.achieved,
        p50: run.latency.quantile(0.5),
        p99: run.latency.quantile(0.99),
        max: run.latency.max(),
        cpu: run.cpus_used(),
        memory: run.cost.as_ref().map(|cost| cost.memory_pss),
        descriptors: run.cost.as_ref().map(|cost| cost.descriptors),
        open: run.connections,
    };
    whole.series = runs.iter().enumerate().map(moment).collect();
    for run in &runs[1..] {
        whole.latency.merge(&run.latency);
        whole.bytes += run.bytes;
        whole.achieved += run.achieved;
        whole.window += run.window;
        merge_counts(&mut whole, run);
    }
    whole.bytes /= runs.len() as f64;
    whole.achieved /= runs.len() as f64;
    Some(whole)
}

fn merge_counts(whole: &mut Run, run: &Run) {
    whole.counts.add(&run.counts);
    for (word, count) in &run.told {
        *whole.told.entry(word.clone()).or_default() += count;
    }
    if let (Some(all), Some(of)) = (&mut whole.cost, &run.cost) {
        all.cpu_seconds += of.cpu_seconds;
        all.user += of.user;
        all.system += of.system;
        all.softirq += of.softirq;
        all.busy = all.busy.zip(of.busy).map(|(a, b)| a + b);
        (all.memory_pss, all.descriptors) = (of.memory_pss, of.descriptors);
        all.system_calls = all.system_calls.zip(of.system_calls).map(|(a, b)| a + b);
    }
    whole.generator.generator = whole.generator.generator.max(run.generator.generator);
    whole.generator.backends = whole.generator.backends.max(run.generator.backends);
    whole.generator.lag_max = whole.generator.lag_max.max(run.generator.lag_max);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::sample;

    /// Leaks a descriptor in each window, and ends when it has had enough.
    struct Leaky {
        windows: u32,
        enough: u32,
        played: Vec<Trick>,
    }

    impl System for Leaky {
        fn run(&mut self, _load: &Load) -> Result<Run, Fault> {
            if self.windows == self.enough {
                return Err(Fault::Unreachable("the proxy has ended".to_owned()));
            }
            self.windows += 1;
            let mut run = sample("ringmain", 100.0);
            run.cost.as_mut().unwrap().descriptors += self.windows;
            run.series = whole(&[run.clone()], 1.0).unwrap().series;
            Ok(run)
        }
    }

    impl Mischief for Leaky {
        fn play(&mut self, trick: Trick) -> Result<(), Fault> {
            self.played.push(trick);
            Ok(())
        }
    }

    fn course() -> Course {
        let load = Load {
            rate: Some(100.0),
            connections: 64,
            window: Duration::from_secs(10),
            warm_up: Duration::ZERO,
        };
        let gap = Some(Duration::from_secs(60));
        Course { seed: 3, length: Duration::from_secs(3600), gap, load }
    }

    #[test]
    fn a_descriptor_for_each_window_is_a_drift() {
        let mut leaky = Leaky { windows: 0, enough: u32::MAX, played: Vec::new() };
        let (soak, runs) = soaked(&mut leaky, &course(), &mut |_| {});
        assert_eq!((runs.len(), soak.length), (360, 3600.0));
        let drift = soak.drifts.iter().find(|drift| drift.figure == "descriptors").unwrap();
        assert!((drift.slope.slope - 0.1).abs() < 1e-9 && drift.slope.drifts(), "{drift:?}");
        assert_eq!(soak.tricks.iter().map(|(_, trick)| *trick).collect::<Vec<_>>(), leaky.played);
        assert!(!leaky.played.is_empty());
        assert!(soak.table().contains("grows"), "{}", soak.table());
        let first = soak.tricks[0].0;
        assert_eq!(soak.marks()[0], first as f64 * 10.0);
    }

    #[test]
    fn windows_that_the_generator_limited_are_marked() {
        let mut runs = vec![sample("ringmain", 100.0); 20];
        let soak = judged(&course(), &[None; 20], &runs, None);
        assert_eq!(soak.limited, 0);
        assert!(!soak.table().contains('*'), "{}", soak.table());
        runs[12].generator.backends = 1.0;
        let soak = judged(&course(), &[None; 20], &runs, None);
        assert!(soak.table().contains("in 1 of 20 windows the generator"), "{}", soak.table());
        assert_eq!(whole(&runs, 10.0).unwrap().generator.backends, 1.0);
        let memory = soak.table().lines().nth(1).unwrap().to_owned();
        assert!(memory.contains("MiB*"), "{memory}");
    }

    #[test]
    fn a_proxy_that_ends_leaves_what_there_is() {
        let mut leaky = Leaky { windows: 0, enough: 30, played: Vec::new() };
        let (soak, runs) = soaked(&mut leaky, &course(), &mut |_| {});
        assert_eq!(runs.len(), 30);
        assert!(soak.ended.as_ref().unwrap().contains("has ended"));
        assert!(soak.tricks.iter().all(|(number, _)| *number < 30));
    }

    #[test]
    fn a_soak_as_one_run_counts_all_of_its_windows() {
        let runs = vec![sample("ringmain", 100.0); 5];
        let whole = whole(&runs, 10.0).unwrap();
        assert_eq!((whole.window, whole.achieved), (50.0, 100.0));
        assert_eq!(whole.latency.count(), 5 * runs[0].latency.count());
        assert!((whole.cpu_per_unit().unwrap() - runs[0].cpu_per_unit().unwrap()).abs() < 1e-6);
        assert_eq!(whole.series.len(), 5);
    }

    #[test]
    fn units_that_failed_are_told_apart_by_what_was_done_to_the_proxy() {
        let mut runs = vec![sample("ringmain", 100.0); 8];
        let mut tricks = vec![None; 8];
        tricks[2] = Some(Trick::Reload);
        // In the window with the trick, in the one after it, and in a quiet one.
        (runs[2].counts.lost, runs[3].counts.lost, runs[6].counts.lost) = (100, 20, 3);
        let mut course = course();
        course.load.warm_up = Duration::from_millis(500);
        let soak = judged(&course, &tricks, &runs, None);
        assert_eq!((soak.failed_quiet, soak.failed_disturbed), (3, 120));
        assert_eq!((soak.seed, soak.tricks.len(), soak.length), (3, 1, 84.0));
        assert_eq!(soak.marks(), [21.0]);
    }

    #[test]
    fn tricks_are_those_of_the_seed_and_windows_are_told_as_they_end() {
        let mut leaky = Leaky { windows: 0, enough: 50, played: Vec::new() };
        let mut heard = Vec::new();
        let (soak, runs) = soaked(&mut leaky, &course(), &mut |ended| {
            heard.push((ended.number, ended.of, ended.trick));
        });
        let length = Duration::from_secs(60);
        let tricks = schedule(3, 360, length, Duration::from_secs(10));
        let told = tricks.iter().take(50).enumerate().map(|(number, trick)| (number, 360, *trick));
        assert_eq!(heard, told.collect::<Vec<_>>());
        assert_eq!(soak.tricks.len(), tricks[..50].iter().flatten().count());
        assert!(runs.iter().all(|run| run.series.is_empty()));
        let quiet = Course { gap: None, ..course() };
        let mut leaky = Leaky { windows: 0, enough: 50, played: Vec::new() };
        assert!(soaked(&mut leaky, &quiet, &mut |_| {}).0.tricks.is_empty());
    }

    #[test]
    fn a_soak_as_one_run_is_the_sum_of_its_windows_and_ends_as_the_last() {
        let run = |number: u32| {
            let mut run = sample("ringmain", f64::from(number) * 100.0);
            run.counts.lost = number.into();
            run.told = [("closed-idle".to_owned(), number.into())].into();
            let cost = run.cost.as_mut().unwrap();
            (cost.memory_pss, cost.descriptors) = (u64::from(number) << 20, number);
            run
        };
        let whole = whole(&[run(1), run(2), run(3)], 10.5).unwrap();
        assert_eq!((whole.achieved, whole.bytes), (200.0, 200.0 * 256.0));
        assert_eq!((whole.counts.lost, whole.counts.sent), (6, 6_000));
        assert_eq!(whole.told["closed-idle"], 6);
        let cost = whole.cost.unwrap();
        assert_eq!((cost.memory_pss, cost.descriptors), (3 << 20, 3));
        assert!((cost.busy.unwrap() - 600.0 * 1.1e-4).abs() < 1e-9, "{cost:?}");
        let points = whole.series.iter().map(|of| (of.at, of.achieved, of.memory));
        let known = [(0.0, 100.0, 1), (10.5, 200.0, 2), (21.0, 300.0, 3)];
        let known = known.map(|(at, rate, mib)| (at, rate, Some(mib << 20)));
        assert_eq!(points.collect::<Vec<_>>(), known);
    }
}
