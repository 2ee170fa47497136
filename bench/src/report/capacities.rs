//! Owns what is said of a limit that was searched for, as text; it searches nothing.

use super::results::{Capacity, Results};
use super::units;
use crate::figures::Run;
use crate::judge::{Ending, Estimate, Stage};

/// One fact of a limit: its name and what it came to.
pub type Fact = (&'static str, String);

/// A few lines for the terminal.
pub fn summary(capacity: &Capacity, results: &Results) -> String {
    let (objective, headline) = (&capacity.limit.objective, headline(capacity));
    let mut text = format!("{}, {objective}: {headline}\n", named(capacity));
    for (name, value) in facts(capacity, results) {
        text += &format!("  {name:<22} {value}\n");
    }
    text
}

/// What was put under load.
pub fn named(capacity: &Capacity) -> String {
    let Capacity { protocol, workers, connections, .. } = capacity;
    let plural = if *workers == 1 { "" } else { "s" };
    format!("{protocol}, {workers} worker{plural}, {connections} connections")
}

/// The measuring side was what gave out, so that the limit is there or above.
pub fn is_at_least(capacity: &Capacity) -> bool {
    capacity.limit.exhausted.resource.is_ours() || capacity.shared
}

pub fn headline(capacity: &Capacity) -> String {
    let limit = &capacity.limit;
    let ours = if is_at_least(capacity) { " or more" } else { "" };
    match (&limit.ending, &limit.confirmed) {
        (Ending::AboveHighest, Some(of)) => format!("{}/s or more", units::number(of.rate)),
        (_, Some(of)) => format!("{}/s{ours}", units::number(of.rate)),
        (Ending::BelowLowest, None) => "not at any rate allowed".to_owned(),
        (Ending::Fault(why), None) => format!("not found: {why}"),
        (_, None) => "no rate was confirmed".to_owned(),
    }
}

pub fn facts(capacity: &Capacity, results: &Results) -> Vec<Fact> {
    let limit = &capacity.limit;
    let mut facts = Vec::new();
    if let Some(of) = &limit.confirmed {
        facts.push(("held when repeated", format!("{} of {} runs", of.held, of.of)));
    }
    if let Some(of) = &limit.limit {
        let [median, low, high] = [of.median, of.low, of.high].map(units::number);
        let sure = of.confidence * 100.0;
        facts.push(("limit, units/s", format!("{median} [{low}..{high}] with {sure:.0} %")));
    }
    if let Some(knee) = &limit.knee {
        let (rate, latency) = (units::number(knee.rate), units::time(knee.latency));
        let [low, high] = [knee.low, knee.high].map(units::number);
        facts.push(("knee, units/s", format!("{rate} [{low}..{high}], at {latency}")));
    }
    let exhausted = &limit.exhausted;
    let gave_out = format!("{}: {}", exhausted.resource.as_str(), exhausted.evidence);
    facts.push(("gave out first", gave_out));
    if let Some(ceiling) = capacity.ceiling {
        facts.push(("generator alone", format!("{}/s", units::number(ceiling))));
    }
    if capacity.shared {
        let shared = "the workers took all CPUs, and the generator shared them: a lower bound";
        facts.push(("CPUs", shared.to_owned()));
    }
    let confirming = confirming(capacity, results);
    let per_run = |figure: fn(&Run) -> Option<f64>| {
        Estimate::of(confirming.iter().filter_map(|run| figure(run)))
    };
    let mut costs = |name, figure, write: fn(f64) -> String| {
        if let Some(of) = per_run(figure) {
            let [median, low, high] = [of.median, of.low, of.high].map(write);
            facts.push((name, format!("{median} [{low}..{high}]")));
        }
    };
    costs("CPU per unit", Run::cpu_per_unit, units::time);
    costs("softirq of its CPUs", softirq_share, |share| format!("{:.0} %", share * 100.0));
    match capacity.memory {
        Some(bytes) => {
            let each =
                format!("{}, for each further one, in runs of their own", units::bytes(bytes));
            facts.push(("memory per connection", each));
        }
        // The proxy's own start is in it.
        None => costs("memory per connection", Run::memory_per_connection, |bytes| {
            format!("at most {}", units::bytes(bytes))
        }),
    }
    if limit.confirmed.is_some() {
        let unknown = "unknown: to count them takes root, and tracefs at /sys/kernel/tracing";
        let calls = capacity.calls.map_or(unknown.to_owned(), |calls| {
            format!("{}, in a run of its own", units::digits(calls))
        });
        facts.push(("system calls per unit", calls));
    }
    let spent = limit.trials.len();
    facts.push(("runs", format!("{spent}, {}", ended(&limit.ending))));
    facts
}

/// Of the CPUs of the proxy's workers.
fn softirq_share(run: &Run) -> Option<f64> {
    let of = run.window * f64::from(run.workers.max(1));
    let cost = run.cost.as_ref()?;
    (of > 0.0).then(|| cost.softirq / of)
}

/// The runs that repeated the confirmed rate.
fn confirming<'a>(capacity: &Capacity, results: &'a Results) -> Vec<&'a Run> {
    let rate = capacity.limit.confirmed.map(|of| of.rate);
    let trials = capacity.limit.trials.iter();
    let of = trials.filter(|trial| trial.stage == Stage::Confirm && Some(trial.rate) == rate);
    of.filter_map(|trial| results.document.runs.get(trial.run)).collect()
}

fn ended(ending: &Ending) -> &str {
    match ending {
        Ending::Found => "as narrow as asked for",
        Ending::RunsSpent => "not as narrow as asked for: allow more by --runs",
        Ending::AboveHighest => "the highest rate allowed holds: allow more by --highest",
        Ending::BelowLowest => "the lowest rate allowed does not hold",
        Ending::Fault(why) => why,
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::capacity_sample;
    use super::*;
    use crate::figures::{Document, Host, sample};
    use crate::judge::{Knee, Resource, Trial};

    /// A search whose confirmed rate was run once.
    fn results() -> Results {
        let runs = vec![sample("ringmain", 980.0)];
        let mut results = Results::new(Document::new(vec![], 0, Host::default(), runs));
        let mut capacity = capacity_sample([1000.0, 980.0, 1030.0]);
        let misses = Vec::new();
        capacity.limit.trials = vec![Trial { stage: Stage::Confirm, rate: 980.0, misses, run: 0 }];
        results.capacity = vec![capacity];
        results
    }

    #[test]
    fn memory_is_of_a_connection_or_at_most() {
        let mut results = results();
        // 20 MiB of 64 connections: nearly all of it is the proxy itself.
        let whole = summary(&results.capacity[0], &results);
        assert!(whole.contains("at most 320 KiB"), "{whole}");
        results.capacity[0].memory = Some(2765.0);
        let each = summary(&results.capacity[0], &results);
        assert!(each.contains("2.70 KiB, for each further one"), "{each}");
        assert!(!each.contains("at most"), "{each}");
    }

    #[test]
    fn the_headline_is_what_is_certain_of_a_limit() {
        let with = |change: fn(&mut Capacity)| {
            let mut capacity = capacity_sample([1000.0, 980.0, 1030.0]);
            change(&mut capacity);
            headline(&capacity)
        };
        let nothing_held = |ending| {
            let mut capacity = capacity_sample([1000.0, 980.0, 1030.0]);
            (capacity.limit.confirmed, capacity.limit.ending) = (None, ending);
            headline(&capacity)
        };
        assert_eq!(with(|_| ()), "980/s");
        assert_eq!(with(|of| of.shared = true), "980/s or more");
        let ours = with(|of| of.limit.exhausted.resource = Resource::Generator);
        assert_eq!(ours, "980/s or more");
        assert_eq!(with(|of| of.limit.ending = Ending::AboveHighest), "980/s or more");
        // What was confirmed before a fault holds.
        assert_eq!(with(|of| of.limit.ending = Ending::Fault("gone".to_owned())), "980/s");
        assert_eq!(nothing_held(Ending::BelowLowest), "not at any rate allowed");
        assert_eq!(nothing_held(Ending::Fault("gone".to_owned())), "not found: gone");
        assert_eq!(nothing_held(Ending::RunsSpent), "no rate was confirmed");
    }

    #[test]
    fn facts_are_those_of_the_runs_that_confirmed_the_rate() {
        let mut results = results();
        let capacity = &mut results.capacity[0];
        capacity.limit.knee = Some(Knee { rate: 700.0, latency: 2e5, low: 600.0, high: 800.0 });
        (capacity.ceiling, capacity.calls) = (Some(5_000.0), Some(1.25));
        let confirm = capacity.limit.trials[0].clone();
        // The same rate before it was repeated, and another that was repeated, cost other things.
        let bisect = Trial { stage: Stage::Bisect, run: 1, ..confirm.clone() };
        let other = Trial { rate: 900.0, run: 2, ..confirm.clone() };
        capacity.limit.trials = vec![bisect, other, confirm];
        let mut dear = sample("ringmain", 980.0);
        dear.cost.as_mut().unwrap().cpu_seconds *= 3.0;
        results.document.runs.extend([dear.clone(), dear]);
        // One and a half seconds of softirqs on two CPUs in ten seconds.
        results.document.runs[0].workers = 2;
        results.document.runs[0].cost.as_mut().unwrap().softirq = 1.5;
        let said = summary(&results.capacity[0], &results);
        for line in [
            "tcp-echo, 1 worker, 64 connections, p99=5ms: 980/s",
            "held when repeated     5 of 6 runs",
            "limit, units/s         1000 [980..1030] with 95 %",
            "knee, units/s          700 [600..800], at 200 us",
            "gave out first         cpu: 98%",
            "generator alone        5000/s",
            "CPU per unit           10.0 us [10.0 us..10.0 us]",
            "softirq of its CPUs    8 % [8 %..8 %]",
            "system calls per unit  1.25, in a run of its own",
            "runs                   3, as narrow as asked for",
        ] {
            assert!(said.contains(line), "{line}\n{said}");
        }
        results.capacity[0].calls = None;
        let said = summary(&results.capacity[0], &results);
        assert!(
            said.contains("system calls per unit  unknown: to count them takes root"),
            "{said}"
        );
        assert!(!said.contains("shared them"), "{said}");
        results.capacity[0].shared = true;
        let said = summary(&results.capacity[0], &results);
        assert!(said.contains("the generator shared them: a lower bound"), "{said}");
    }
}
