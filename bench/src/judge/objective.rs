//! Owns what a load has to hold to count as carried: its text, and whether a run held it.

use std::fmt;
use std::str::FromStr;

use crate::figures::Run;

/// Terms that all have to hold, and that the offered rate was carried.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    terms: Vec<Term>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Term {
    /// So many per cent end within so many nanoseconds; 100 are all, "max".
    Latency { percent: f64, limit: u64 },
    /// At most this share of what was sent.
    Share { of: Outcome, limit: f64 },
    /// At most this share of the CPUs of the proxy's workers.
    Cpu { limit: f64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Loss,
    Errors,
    Duplicates,
    Reordered,
    Corrupted,
}

/// A term that a run did not hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Miss {
    /// The offered rate was not carried: units per second that ended, of those asked for.
    Behind { achieved: f64, offered: f64 },
    /// The term, as written, and what came instead, with its unit.
    Term { term: String, found: String },
    /// Nothing came back to be judged.
    Empty,
}

/// Why a text is no objective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectiveError {
    Empty,
    NotATerm(String),
    UnknownTerm(String),
    Percentile(String),
    Time { term: String, value: String },
    Share { term: String, value: String },
    Twice(String),
}

impl Objective {
    /// What the run did not hold; nothing, if it held all.
    pub fn misses(&self, run: &Run) -> Vec<Miss> {
        if run.counts.sent == 0 && run.achieved == 0.0 {
            return vec![Miss::Empty];
        }
        let behind = run.offered.filter(|offered| run.achieved < offered * CARRIED);
        let behind = behind.map(|offered| Miss::Behind { achieved: run.achieved, offered });
        let missed = self.terms.iter().filter_map(|term| term.missed(run));
        behind.into_iter().chain(missed).collect()
    }

    /// The quantile, from 0 to 1, whose latency is asked for first: what a curve should show.
    pub fn quantile(&self) -> f64 {
        let latency = self.terms.iter().find_map(|term| match term {
            Term::Latency { percent, .. } => Some(percent / 100.0),
            _ => None,
        });
        latency.unwrap_or(0.99)
    }
}

impl Term {
    fn missed(&self, run: &Run) -> Option<Miss> {
        let found = match *self {
            Self::Latency { .. } if run.latency.is_empty() => Some("without an answer".to_owned()),
            Self::Latency { percent, limit } => {
                let found = latency(run, percent);
                // A histogram rounds up, by less than a thousandth of the value.
                (found as f64 > limit as f64 * 1.001).then(|| time(found))
            }
            Self::Share { of, limit } => {
                let count = of.count(run);
                let share = count as f64 / (run.counts.sent.max(1)) as f64;
                (share > limit).then(|| format!("{count} of {}", run.counts.sent))
            }
            Self::Cpu { limit } => {
                let share = run.cpus_used()? / f64::from(run.workers.max(1));
                (share > limit).then(|| format!("{:.1}%", share * 100.0))
            }
        };
        found.map(|found| Miss::Term { term: self.to_string(), found })
    }

    fn name(&self) -> String {
        match self {
            Self::Latency { percent: 100.0, .. } => "max".to_owned(),
            Self::Latency { percent, .. } => format!("p{percent}"),
            Self::Share { of, .. } => of.as_str().to_owned(),
            Self::Cpu { .. } => "cpu".to_owned(),
        }
    }
}

fn latency(run: &Run, percent: f64) -> u64 {
    if percent == 100.0 { run.latency.max() } else { run.latency.quantile(percent / 100.0) }
}

impl Outcome {
    const ALL: [Self; 5] =
        [Self::Loss, Self::Errors, Self::Duplicates, Self::Reordered, Self::Corrupted];

    fn as_str(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Errors => "errors",
            Self::Duplicates => "duplicates",
            Self::Reordered => "reordered",
            Self::Corrupted => "corrupted",
        }
    }

    fn count(self, run: &Run) -> u64 {
        match self {
            Self::Loss => run.counts.lost,
            Self::Errors => run.counts.errors(),
            Self::Duplicates => run.counts.duplicated,
            Self::Reordered => run.counts.reordered,
            Self::Corrupted => run.counts.corrupted,
        }
    }
}

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, ObjectiveError> {
        if text.trim().is_empty() {
            return Err(ObjectiveError::Empty);
        }
        let mut terms: Vec<Term> = Vec::new();
        for part in text.split(',') {
            let part = part.trim();
            let (name, value) =
                part.split_once('=').ok_or_else(|| ObjectiveError::NotATerm(part.to_owned()))?;
            let term = parse_term(name.trim(), value.trim())?;
            if terms.iter().any(|earlier| earlier.name() == term.name()) {
                return Err(ObjectiveError::Twice(term.name()));
            }
            terms.push(term);
        }
        Ok(Self { terms })
    }
}

fn parse_term(name: &str, value: &str) -> Result<Term, ObjectiveError> {
    let time = || {
        parse_time(value)
            .ok_or_else(|| ObjectiveError::Time { term: name.to_owned(), value: value.to_owned() })
    };
    let share = || {
        parse_share(value)
            .ok_or_else(|| ObjectiveError::Share { term: name.to_owned(), value: value.to_owned() })
    };
    if name == "max" {
        return Ok(Term::Latency { percent: 100.0, limit: time()? });
    }
    if name == "cpu" {
        return Ok(Term::Cpu { limit: share()? });
    }
    if let Some(of) = Outcome::ALL.into_iter().find(|of| of.as_str() == name) {
        return Ok(Term::Share { of, limit: share()? });
    }
    let digits = name.strip_prefix('p').filter(|rest| rest.starts_with(|c: char| c.is_numeric()));
    let Some(digits) = digits else { return Err(ObjectiveError::UnknownTerm(name.to_owned())) };
    match digits.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent < 100.0 => {
            Ok(Term::Latency { percent, limit: time()? })
        }
        _ => Err(ObjectiveError::Percentile(name.to_owned())),
    }
}

/// Nanoseconds.
fn parse_time(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = TIMES.iter().rev().find(|(name, _)| *name == unit.trim())?;
    let nanoseconds = number.parse::<f64>().ok()? * factor;
    (1.0..=3.6e12).contains(&nanoseconds).then_some(nanoseconds as u64)
}

/// "0", "0.001" or "0.1%".
fn parse_share(text: &str) -> Option<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().ok()? / 100.0,
        None => text.parse::<f64>().ok()?,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

/// In the largest unit that leaves a number of at least one.
pub fn time(nanoseconds: u64) -> String {
    let units = TIMES.iter().rev().find(|(_, factor)| nanoseconds as f64 >= *factor);
    let (unit, factor) = units.unwrap_or(&TIMES[0]);
    let number = format!("{:.3}", nanoseconds as f64 / factor);
    format!("{}{unit}", number.trim_end_matches('0').trim_end_matches('.'))
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<String> = self.terms.iter().map(Term::to_string).collect();
        f.write_str(&terms.join(","))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Latency { limit, .. } => write!(f, "{name}={}", time(*limit)),
            Self::Share { limit: 0.0, .. } => write!(f, "{name}=0"),
            Self::Share { limit, .. } | Self::Cpu { limit } => {
                // Products of hundredths are not quite what was written.
                write!(f, "{name}={}%", (limit * 1e8).round() / 1e6)
            }
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { achieved, offered } => {
                write!(f, "{achieved:.0}/s of {offered:.0}/s were carried")
            }
            Self::Term { term, found } => write!(f, "{term} was {found}"),
            Self::Empty => f.write_str("nothing was sent"),
        }
    }
}

impl ObjectiveError {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Empty => "empty_objective",
            Self::NotATerm(_) => "not_a_term",
            Self::UnknownTerm(_) => "unknown_term",
            Self::Percentile(_) => "bad_percentile",
            Self::Time { .. } => "bad_time",
            Self::Share { .. } => "bad_share",
            Self::Twice(_) => "term_twice",
        }
    }
}

impl std::error::Error for ObjectiveError {}

impl fmt::Display for ObjectiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.as_str())?;
        match self {
            Self::Empty => f.write_str("the objective is empty; write one like p99.9=5ms,loss=0"),
            Self::NotATerm(text) => {
                write!(f, "`{text}` is no term; terms are NAME=VALUE, as in p99.9=5ms,loss=0")
            }
            Self::UnknownTerm(name) => write!(
                f,
                "`{name}` is not known; there are pNN (as p99.9), max, loss, errors, duplicates, \
                 reordered, corrupted and cpu"
            ),
            Self::Percentile(name) => write!(
                f,
                "`{name}` is no percentile; it has a number above 0 and below 100, as p99.9; the \
                 whole is max"
            ),
            Self::Time { term, value } => write!(
                f,
                "`{term}={value}`: a time with a unit is needed, up to an hour: 500us, 5ms or 1.5s"
            ),
            Self::Share { term, value } => write!(
                f,
                "`{term}={value}`: a share is needed, from 0 to 1 or in per cent: 0, 0.001 or 0.1%"
            ),
            Self::Twice(name) => write!(f, "`{name}` is there twice; keep one of them"),
        }
    }
}

/// Less than this share of the offered rate is not carrying it: a pacer is right to 0.5 %, and
/// units at the end of the window have not ended yet.
const CARRIED: f64 = 0.98;
const TIMES: [(&str, f64); 5] = [("ns", 1.0), ("µs", 1e3), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::simulated;
    use super::*;

    fn objective(text: &str) -> Objective {
        text.parse().unwrap()
    }

    fn error(text: &str) -> ObjectiveError {
        text.parse::<Objective>().unwrap_err()
    }

    #[test]
    fn an_objective_reads_and_writes_itself() {
        for text in ["p99.9=5ms,loss=0", "max=1.5s,errors=0.1%", "p50=250us", "cpu=70%"] {
            assert_eq!(objective(text).to_string(), text);
        }
        assert_eq!(objective(" p99 = 5 ms , loss=0.01").to_string(), "p99=5ms,loss=1%");
    }

    #[test]
    fn what_is_no_objective_says_why() {
        assert_eq!(error(" "), ObjectiveError::Empty);
        assert_eq!(error("p99"), ObjectiveError::NotATerm("p99".to_owned()));
        assert_eq!(error("p99=5ms,"), ObjectiveError::NotATerm(String::new()));
        assert_eq!(error("q99=5ms"), ObjectiveError::UnknownTerm("q99".to_owned()));
        assert_eq!(error("p=5ms"), ObjectiveError::UnknownTerm("p".to_owned()));
        assert_eq!(error("p100=5ms"), ObjectiveError::Percentile("p100".to_owned()));
        assert_eq!(error("p0=5ms"), ObjectiveError::Percentile("p0".to_owned()));
        assert_eq!(error("p99=1ms,p99.0=2ms"), ObjectiveError::Twice("p99".to_owned()));
        for value in ["5", "ms", "5 minutes", "-5ms", "0ms", "2e3s", "1.2.3s", "5000s"] {
            let found = error(&format!("p99={value}"));
            assert_eq!(found.as_str(), "bad_time", "{value}");
            assert!(found.to_string().contains(&format!("p99={value}")), "{found}");
        }
        for value in ["", "2", "-1", "nan", "101%", "5ms"] {
            assert_eq!(error(&format!("loss={value}")).as_str(), "bad_share", "{value}");
        }
    }

    #[test]
    fn each_term_is_missed_alone() {
        let mut run = simulated::quiet_run(1000.0, 10.0);
        assert_eq!(objective("p99.9=1ms,loss=0,errors=0,cpu=90%").misses(&run), []);
        run.latency.record_n(9_000_000, 100);
        run.counts.lost = 1;
        let missed = |text: &str| objective(text).misses(&run).len();
        assert_eq!(missed("p99.9=5ms"), 1);
        assert_eq!(missed("p90=5ms"), 0);
        assert_eq!(missed("max=9ms"), 0);
        assert_eq!(missed("max=8ms"), 1);
        assert_eq!(missed("loss=0"), 1);
        assert_eq!(missed("loss=0.1%"), 0);
        assert_eq!(missed("cpu=0.1%"), 1);
        assert_eq!(missed("p99.9=5ms,loss=0,errors=0"), 2);
    }

    #[test]
    fn a_rate_that_was_not_carried_is_missed_whatever_is_asked() {
        let mut run = simulated::quiet_run(1000.0, 10.0);
        run.achieved = 970.0;
        let misses = objective("p99=1s").misses(&run);
        assert_eq!(misses, [Miss::Behind { achieved: 970.0, offered: 1000.0 }]);
        run.offered = None;
        assert_eq!(objective("p99=1s").misses(&run), []);
    }

    #[test]
    fn a_latency_without_answers_does_not_hold() {
        let mut run = simulated::quiet_run(1000.0, 10.0);
        run.latency = crate::figures::Latency::new();
        assert_eq!(objective("p50=1s").misses(&run).len(), 1);
        assert_eq!(objective("loss=0").misses(&run), []);
    }

    #[test]
    fn silence_holds_nothing() {
        let run = simulated::quiet_run(0.0, 10.0);
        assert_eq!(objective("p99=1s").misses(&run), [Miss::Empty]);
    }

    proptest! {
        #[test]
        fn any_text_is_an_objective_or_an_error_that_says_something(text in "[ -~]{0,30}") {
            match text.parse::<Objective>() {
                Ok(objective) => {
                    let again: Objective = objective.to_string().parse().unwrap();
                    prop_assert_eq!(again.to_string(), objective.to_string());
                }
                Err(error) => prop_assert!(error.to_string().len() > 20),
            }
        }

        #[test]
        fn times_keep_three_digits_after_the_point(nanoseconds in 1u64..3_600_000_000_000) {
            let again = parse_time(&time(nanoseconds)).unwrap() as f64;
            prop_assert!((again / nanoseconds as f64 - 1.0).abs() < 1e-3, "{again}");
        }
    }
}
