//! Owns the search for the highest rate at which a system holds an objective: which rate is run
//! next, when it is enough, and what is known then. It makes no load and reads no clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::knee::{Knee, Point, curve, knee};
use super::objective::Objective;
use super::posterior::{Interval, Posterior};
use super::resource::{Exhausted, exhausted};
use super::system::{Fault, Load, System};
use crate::figures::Run;

/// Within which the search stays. Rates in units per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The first rate; it doubles from there.
    pub start: f64,
    pub lowest: f64,
    pub highest: f64,
    /// Half of the interval's width that is narrow enough, in parts of the limit.
    pub precision: f64,
    /// Runs that confirm the rate found.
    pub repeats: u32,
    /// Runs of ramp and bisection together.
    pub runs: u32,
    /// Runs at even steps up to a tenth beyond the limit, for the curve.
    pub points: u32,
    pub connections: u32,
    pub window: Duration,
    pub warm_up: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Twice the rate, as long as it holds.
    Ramp,
    /// The rate that the limit is as likely above as below.
    Bisect,
    /// A rate that ought to hold, over and over.
    Confirm,
    /// Even steps, for the curve of rate and latency.
    Curve,
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ramp => "ramp",
            Self::Bisect => "bisect",
            Self::Confirm => "confirm",
            Self::Curve => "curve",
        }
    }
}

/// One run of the search and what it was found to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub stage: Stage,
    pub rate: f64,
    /// The terms of the objective that it missed, in words; none, if it held.
    pub misses: Vec<String>,
    /// Its place among the runs of the document.
    pub run: usize,
}

/// Told while the search goes on.
pub enum Event<'a> {
    /// A run begins: so many there are at most from now on, it among them.
    Begins {
        left: u32,
    },
    Ended {
        trial: &'a Trial,
        run: &'a Run,
    },
}

/// How a search came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The interval is as narrow as was asked for.
    Found,
    /// So many runs as were allowed did not make it narrow enough.
    RunsSpent,
    /// The highest rate allowed holds.
    AboveHighest,
    /// The lowest rate allowed does not hold.
    BelowLowest,
    /// A run could not be made; in words, why.
    Fault(String),
}

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    pub objective: String,
    pub ending: Ending,
    /// Where the limit is; `None` where it was not bracketed.
    pub limit: Option<Interval>,
    /// The rate that held when it was repeated, if one did.
    pub confirmed: Option<Confirmed>,
    pub exhausted: Exhausted,
    pub knee: Option<Knee>,
    pub curve: Vec<Point>,
    pub trials: Vec<Trial>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmed {
    pub rate: f64,
    pub held: u32,
    pub of: u32,
}

impl Bounds {
    /// Runs of a whole search, at most.
    pub fn most_runs(&self) -> u32 {
        self.runs + self.repeats * CONFIRMATIONS + self.points
    }

    /// The same where the first rate that is repeated holds.
    pub fn usual_runs(&self) -> u32 {
        self.runs + self.repeats + self.points
    }

    pub fn load(&self, rate: f64) -> Load {
        Load {
            rate: Some(rate),
            connections: self.connections,
            window: self.window,
            warm_up: self.warm_up,
        }
    }
}

/// Finds the highest rate that holds; the runs are in the order of the trials.
pub fn search(
    system: &mut dyn System,
    objective: &Objective,
    bounds: &Bounds,
    told: &mut dyn FnMut(Event),
) -> (Limit, Vec<Run>) {
    let mut search = Search { system, objective, bounds, told, trials: Vec::new(), runs: vec![] };
    let mut confirmed = None;
    let (ending, limit) = match search.find(&mut confirmed) {
        Ok(found) => found,
        Err(fault) => (Ending::Fault(fault.to_string()), None),
    };
    let Search { trials, runs, .. } = search;
    // A fault in a later stage takes nothing from what the earlier ones have shown.
    let limit = limit.or_else(|| bracketed(&trials, bounds));
    let curve = curve(&runs, objective.quantile());
    let missed = trials.iter().filter(|trial| !trial.held()).map(|trial| &runs[trial.run]);
    let limit = Limit {
        objective: objective.to_string(),
        ending,
        limit,
        confirmed,
        exhausted: exhausted(missed),
        knee: knee(&curve),
        curve,
        trials,
    };
    (limit, runs)
}

/// What the trials say of the limit, if some held and some missed.
fn bracketed(trials: &[Trial], bounds: &Bounds) -> Option<Interval> {
    let both = trials.iter().any(Trial::held) && trials.iter().any(|trial| !trial.held());
    both.then(|| learned(trials, bounds).interval())
}

fn learned(trials: &[Trial], bounds: &Bounds) -> Posterior {
    let mut posterior = Posterior::new(bounds.lowest, bounds.highest);
    trials.iter().for_each(|trial| posterior.learn(trial.rate, trial.held()));
    posterior
}

impl Trial {
    pub fn held(&self) -> bool {
        self.misses.is_empty()
    }
}

struct Search<'a> {
    system: &'a mut dyn System,
    objective: &'a Objective,
    bounds: &'a Bounds,
    told: &'a mut dyn FnMut(Event),
    trials: Vec<Trial>,
    runs: Vec<Run>,
}

impl Search<'_> {
    fn find(
        &mut self,
        confirmed: &mut Option<Confirmed>,
    ) -> Result<(Ending, Option<Interval>), Fault> {
        let ending = match self.ramp()? {
            None => self.bisect()?,
            Some(Ending::AboveHighest) => {
                *confirmed = self.confirm(self.bounds.highest)?;
                self.draw(self.bounds.highest)?;
                return Ok((Ending::AboveHighest, None));
            }
            Some(ending) => return Ok((ending, None)),
        };
        let interval = learned(&self.trials, self.bounds).interval();
        *confirmed = self.confirm(interval.low)?;
        let interval = learned(&self.trials, self.bounds).interval();
        self.draw(interval.median)?;
        Ok((ending, Some(interval)))
    }

    /// Until a rate holds and one misses; otherwise the end of the search. As all that follows
    /// looks between the two, a rate counts as missed only when most of three runs say so.
    fn ramp(&mut self) -> Result<Option<Ending>, Fault> {
        let Bounds { start, lowest, highest, .. } = *self.bounds;
        let mut rate = start.clamp(lowest, highest);
        let mut held_before = false;
        while self.spent() < self.bounds.runs {
            let held = self.holds_mostly(rate)?;
            match (held, held_before) {
                (true, _) if rate >= highest => return Ok(Some(Ending::AboveHighest)),
                (false, true) => return Ok(None),
                (true, false) if rate < start => return Ok(None),
                (true, _) => rate = (rate * UP).min(highest),
                (false, false) if rate <= lowest => return Ok(Some(Ending::BelowLowest)),
                (false, false) => rate = (rate / DOWN).max(lowest),
            }
            held_before |= held;
        }
        Ok(Some(Ending::RunsSpent))
    }

    /// One run that holds is taken at its word.
    fn holds_mostly(&mut self, rate: f64) -> Result<bool, Fault> {
        Ok(self.run(Stage::Ramp, rate)?
            || (self.run(Stage::Ramp, rate)? && self.run(Stage::Ramp, rate)?))
    }

    fn bisect(&mut self) -> Result<Ending, Fault> {
        let mut posterior = learned(&self.trials, self.bounds);
        loop {
            let interval = posterior.interval();
            if interval.relative_error() <= self.bounds.precision {
                return Ok(Ending::Found);
            }
            if self.spent() >= self.bounds.runs {
                return Ok(Ending::RunsSpent);
            }
            let held = self.run(Stage::Bisect, interval.median)?;
            posterior.learn(interval.median, held);
        }
    }

    /// The highest of a few rates, from `rate` down, that most repeats hold.
    fn confirm(&mut self, rate: f64) -> Result<Option<Confirmed>, Fault> {
        let of = self.bounds.repeats;
        let mut rate = rate;
        for _ in 0..CONFIRMATIONS {
            let mut held = 0;
            for _ in 0..of {
                held += u32::from(self.run(Stage::Confirm, rate)?);
            }
            if held * 2 > of {
                return Ok(Some(Confirmed { rate, held, of }));
            }
            rate = (rate * STEP_DOWN).max(self.bounds.lowest);
        }
        Ok(None)
    }

    /// Even steps to a little above `limit`.
    fn draw(&mut self, limit: f64) -> Result<(), Fault> {
        let points = self.bounds.points;
        for step in 1..=points {
            let rate = limit * BEYOND * f64::from(step) / f64::from(points);
            self.run(Stage::Curve, rate.clamp(self.bounds.lowest, self.bounds.highest))?;
        }
        Ok(())
    }

    /// Whether it held.
    fn run(&mut self, stage: Stage, rate: f64) -> Result<bool, Fault> {
        let left = self.left(stage);
        (self.told)(Event::Begins { left });
        let run = self.system.run(&self.bounds.load(rate))?;
        let misses = self.objective.misses(&run).iter().map(ToString::to_string).collect();
        let trial = Trial { stage, rate, misses, run: self.runs.len() };
        (self.told)(Event::Ended { trial: &trial, run: &run });
        let held = trial.held();
        self.trials.push(trial);
        self.runs.push(run);
        Ok(held)
    }

    /// Runs of ramp and bisection so far.
    fn spent(&self) -> u32 {
        self.made(Stage::Ramp) + self.made(Stage::Bisect)
    }

    fn made(&self, stage: Stage) -> u32 {
        self.trials.iter().filter(|trial| trial.stage == stage).count() as u32
    }

    /// Runs from now on, as the stages usually go.
    fn left(&self, stage: Stage) -> u32 {
        let Bounds { runs, repeats, points, .. } = *self.bounds;
        let searching = runs.saturating_sub(self.spent());
        let confirming = repeats.saturating_sub(self.made(Stage::Confirm));
        let drawing = points - self.made(Stage::Curve).min(points);
        match stage {
            Stage::Ramp | Stage::Bisect => searching + confirming + drawing,
            Stage::Confirm => confirming.max(1) + drawing,
            Stage::Curve => drawing,
        }
    }
}

const UP: f64 = 2.0;
const DOWN: f64 = 4.0;
/// When most repeats miss at a rate, the next is a twentieth lower.
const STEP_DOWN: f64 = 0.95;
/// Rates that are tried before it is said that none was confirmed.
const CONFIRMATIONS: u32 = 3;
/// The curve ends a tenth above the limit, where the system can be seen to give way.
const BEYOND: f64 = 1.1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::simulated::{Mortal, Queue, Step};
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            start: 100.0,
            lowest: 10.0,
            highest: 1e6,
            precision: 0.03,
            repeats: 5,
            runs: 40,
            points: 11,
            connections: 64,
            window: Duration::from_secs(20),
            warm_up: Duration::from_secs(2),
        }
    }

    fn found(system: &mut dyn System, objective: &str, bounds: &Bounds) -> (Limit, Vec<Run>) {
        search(system, &objective.parse().unwrap(), bounds, &mut |_| {})
    }

    fn is_within(limit: &Limit, truth: f64, error: f64) -> bool {
        let Interval { median, low, high, .. } = limit.limit.unwrap();
        (median / truth - 1.0).abs() < error && low < truth * 1.02 && truth * 0.98 < high
    }

    #[test]
    fn the_limit_of_a_queue_is_where_theory_has_it() {
        let mut narrow = 0;
        for seed in 0..10 {
            let mut queue = Queue::new(2000.0, seed);
            let truth = queue.limit(0.99, 10e6);
            // A shorter window has too few units in its last hundredth to tell rates apart.
            let bounds = Bounds { window: Duration::from_secs(60), ..bounds() };
            let (limit, runs) = found(&mut queue, "p99=10ms", &bounds);
            assert!(is_within(&limit, truth, 0.05), "{seed}: {:?}, not {truth}", limit.limit);
            narrow += u32::from(limit.ending == Ending::Found);
            assert!(queue.runs <= bounds.most_runs());
            assert_eq!(runs.len(), queue.runs as usize);
            let knee = limit.knee.unwrap();
            assert!((700.0..1300.0).contains(&knee.rate), "{seed}: {knee:?}");
        }
        // Its runs differ by a few per cent, which is as much as is asked for.
        assert!(narrow >= 7, "{narrow} of 10");
    }

    #[test]
    fn a_confirmed_rate_holds_when_it_is_repeated() {
        let (limit, _) = found(&mut Step::new(5432.0, 0.0, 1), "p99=1ms", &bounds());
        let confirmed = limit.confirmed.unwrap();
        assert_eq!((confirmed.held, confirmed.of), (5, 5));
        assert!((5100.0..=5432.0).contains(&confirmed.rate), "{confirmed:?}");
    }

    #[test]
    fn one_run_in_ten_that_goes_wrong_misleads_nobody() {
        let mut wrong = 0;
        for seed in 0..50 {
            let mut step = Step::new(5432.0, 0.1, seed);
            let (limit, _) = found(&mut step, "p99=1ms", &bounds());
            assert!(step.runs <= bounds().most_runs());
            wrong += u32::from(!is_within(&limit, 5432.0, 0.06));
        }
        assert!(wrong <= 3, "{wrong} of 50");
    }

    #[test]
    fn a_limit_outside_the_bounds_is_said_to_be_there() {
        let (above, _) = found(&mut Step::new(1e9, 0.0, 1), "p99=1ms", &bounds());
        assert_eq!((above.ending, above.limit), (Ending::AboveHighest, None));
        assert_eq!(above.confirmed.unwrap().rate, 1e6);
        let (below, _) = found(&mut Step::new(1.0, 0.0, 1), "p99=1ms", &bounds());
        assert_eq!((below.ending, below.limit), (Ending::BelowLowest, None));
        assert_eq!(below.confirmed, None);
    }

    #[test]
    fn a_start_above_the_limit_finds_its_way_down() {
        let bounds = Bounds { start: 50_000.0, ..bounds() };
        let (limit, _) = found(&mut Step::new(700.0, 0.0, 1), "p99=1ms", &bounds);
        assert!(is_within(&limit, 700.0, 0.04), "{:?}", limit.limit);
    }

    #[test]
    fn a_fault_keeps_what_was_learned_before_it() {
        let step = Step::new(5432.0, 0.0, 1);
        let mut mortal = Mortal { system: step, runs_left: 14 };
        let (limit, runs) = found(&mut mortal, "p99=1ms", &bounds());
        assert!(matches!(&limit.ending, Ending::Fault(why) if why.contains("has ended")));
        assert_eq!((runs.len(), limit.trials.len()), (14, 14));
        assert!(is_within(&limit, 5432.0, 0.2), "{:?}", limit.limit);
        let mut dead = Mortal { system: Step::new(1.0, 0.0, 1), runs_left: 0 };
        assert_eq!(found(&mut dead, "p99=1ms", &bounds()).0.limit, None);
    }

    #[test]
    fn what_is_told_is_what_was_done() {
        let (mut begun, mut ended, mut most) = (0, 0, 0);
        let objective: Objective = "p99=1ms".parse().unwrap();
        let mut told = |event: Event| match event {
            Event::Begins { left } => {
                most = most.max(begun + left as usize);
                begun += 1;
            }
            Event::Ended { trial, run } => {
                ended += 1;
                assert_eq!(run.offered, Some(trial.rate));
            }
        };
        let mut step = Step::new(5432.0, 0.0, 1);
        let (_, runs) = search(&mut step, &objective, &bounds(), &mut told);
        assert_eq!((begun, ended), (runs.len(), runs.len()));
        assert!(most as u32 <= bounds().most_runs());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_step_is_found_within_the_runs_allowed(limit in 50.0..5e5, seed: u64) {
            let mut step = Step::new(limit, 0.0, seed);
            let (found, _) = found(&mut step, "p99=1ms", &bounds());
            prop_assert!(step.runs <= bounds().most_runs());
            prop_assert!(is_within(&found, limit, 0.04), "{:?}", found.limit);
        }
    }
}
