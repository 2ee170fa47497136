//! Plays runs, each of which draws all it does from its seed, and says which of them failed.

use std::collections::BTreeMap;
use std::env;
use std::ops::Range;
use std::thread;

use fastrand::Rng;

/// How often each thing came about.
pub type Tally = BTreeMap<&'static str, u64>;

pub struct Runs {
    seeds: Range<u64>,
}

impl Runs {
    /// As many as `RINGMAIN_FUZZ` says, or else `default`; or the one of `RINGMAIN_SEED`.
    pub fn of(default: u64) -> Runs {
        let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        let seeds = match number("RINGMAIN_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..number("RINGMAIN_FUZZ").unwrap_or(default),
        };
        Runs { seeds }
    }

    pub fn count(&self) -> u64 {
        self.seeds.end - self.seeds.start
    }

    /// Plays them all, on every CPU.
    pub fn play(&self, run: impl Fn(&mut Rng, &mut Tally) + Sync) -> Tally {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let play_every = |first: usize| {
            let mut tally = Tally::new();
            for seed in self.seeds.clone().skip(first).step_by(threads) {
                let _report = Report { seed };
                run(&mut Rng::with_seed(seed), &mut tally);
            }
            tally
        };
        let mut total = Tally::new();
        thread::scope(|scope| {
            let parts = (0..threads).map(|first| scope.spawn(move || play_every(first)));
            for part in parts.collect::<Vec<_>>() {
                for (name, count) in part.join().expect("a run failed, and said why") {
                    *total.entry(name).or_default() += count;
                }
            }
        });
        total
    }
}

/// Prints how to play a run again, should it fail.
struct Report {
    seed: u64,
}

impl Drop for Report {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("to run it alone: RINGMAIN_SEED={} cargo test --test fuzz", self.seed);
        }
    }
}
