//! Owns what two files say of limits that were searched for: which have moved for real. It searches
//! nothing.

use super::capacities::{is_at_least, named};
use super::results::Capacity;
use super::table::{aligned, row};
use super::units;
use crate::judge::Interval;

/// `None` where no search of one is in the other.
pub fn compared(before: &[Capacity], after: &[Capacity], real_only: bool) -> Option<String> {
    let other = |of: &Capacity| after.iter().find(|other| is_same(of, other));
    let pairs: Vec<(&Capacity, &Capacity)> =
        before.iter().filter_map(|of| Some((of, other(of)?))).collect();
    if pairs.is_empty() {
        return None;
    }
    let head = ["search", "figure", "verdict", "A", "[interval]", "B", "[interval]", "B/A"];
    let mut table = vec![row(head)];
    let mut real = 0;
    for (before, after) in &pairs {
        let verdict = Verdict::of(before, after);
        real += u32::from(verdict.is_real());
        if !real_only || verdict.is_real() {
            table.push(limits(before, after, verdict));
            table.push(confirmed(before, after));
        }
    }
    let mut text = aligned(3, &table);
    text += &format!(
        "{real} of {} limits differ for real: their intervals lie apart; a rate that was confirmed \
         is a step of its search, and its limit says whether it has moved\n",
        pairs.len()
    );
    Some(text)
}

fn is_same(of: &Capacity, other: &Capacity) -> bool {
    let load = |of: &Capacity| (of.protocol.clone(), of.workers, of.connections);
    load(of) == load(other) && of.limit.objective == other.limit.objective
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Higher,
    Lower,
    /// The intervals overlap.
    Noise,
    /// The measuring side gave out in one of them, so that where its limit is nobody knows.
    LowerBound,
    /// One of them was not bracketed.
    Unknown,
}

impl Verdict {
    fn of(before: &Capacity, after: &Capacity) -> Self {
        let (Some(a), Some(b)) = (before.limit.limit, after.limit.limit) else {
            return Self::Unknown;
        };
        match (a, b) {
            _ if is_at_least(before) || is_at_least(after) => Self::LowerBound,
            (a, b) if b.low > a.high => Self::Higher,
            (a, b) if b.high < a.low => Self::Lower,
            _ => Self::Noise,
        }
    }

    fn is_real(self) -> bool {
        matches!(self, Self::Higher | Self::Lower)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Higher => "real, better",
            Self::Lower => "real, worse",
            Self::Noise => "noise",
            Self::LowerBound => "lower bounds",
            Self::Unknown => "not found",
        }
    }
}

fn limits(before: &Capacity, after: &Capacity, verdict: Verdict) -> Vec<String> {
    let side = |of: &Capacity| match of.limit.limit {
        Some(Interval { median, low, high, .. }) => [
            format!("{}/s", units::number(median)),
            format!("[{}..{}]", units::number(low), units::number(high)),
        ],
        None => ["-".to_owned(), "-".to_owned()],
    };
    let medians = before.limit.limit.zip(after.limit.limit);
    let ratio = medians.map(|(a, b)| b.median / a.median);
    let name = format!("{}, {}", named(before), before.limit.objective);
    let ([a, interval_a], [b, interval_b]) = (side(before), side(after));
    let ratio = ratio.map_or("-".to_owned(), units::digits);
    let verdict = verdict.as_str().to_owned();
    vec![name, "limit".to_owned(), verdict, a, interval_a, b, interval_b, ratio]
}

fn confirmed(before: &Capacity, after: &Capacity) -> Vec<String> {
    let side = |of: &Capacity| match of.limit.confirmed {
        Some(of) => [format!("{}/s", units::number(of.rate)), format!("{} of {}", of.held, of.of)],
        None => ["-".to_owned(), "-".to_owned()],
    };
    let rates = before.limit.confirmed.zip(after.limit.confirmed);
    let ratio = rates.map_or("-".to_owned(), |(a, b)| units::digits(b.rate / a.rate));
    let ([a, held_a], [b, held_b]) = (side(before), side(after));
    let (name, figure) = (String::new(), "confirmed, runs that held".to_owned());
    vec![name, figure, "-".to_owned(), a, held_a, b, held_b, ratio]
}

#[cfg(test)]
mod tests {
    use super::super::results::capacity_sample;
    use super::*;

    fn verdict(before: [f64; 3], after: [f64; 3]) -> String {
        let all = [before, after].map(|limit| vec![capacity_sample(limit)]);
        compared(&all[0], &all[1], false).unwrap()
    }

    #[test]
    fn limits_whose_intervals_lie_apart_have_moved() {
        let (low, high) = ([1000.0, 980.0, 1030.0], [1200.0, 1160.0, 1230.0]);
        assert!(verdict(low, high).contains("real, better"), "{}", verdict(low, high));
        assert!(verdict(high, low).contains("real, worse"));
        assert!(verdict(high, low).contains("[1160..1230]"), "{}", verdict(high, low));
        let near = verdict(low, [1050.0, 1020.0, 1090.0]);
        assert!(near.contains("noise") && near.contains("0 of 1 limits"), "{near}");
        assert!(near.contains("5 of 6"), "{near}");
    }

    #[test]
    fn what_the_generator_limited_is_no_limit_to_compare() {
        let before = vec![capacity_sample([1000.0, 980.0, 1030.0])];
        let mut after = vec![capacity_sample([1200.0, 1160.0, 1230.0])];
        after[0].limit.exhausted.resource = crate::judge::Resource::Generator;
        let text = compared(&before, &after, false).unwrap();
        assert!(text.contains("lower bounds") && text.contains("0 of 1 limits"), "{text}");
        assert!(!compared(&before, &after, true).unwrap().contains("1030"));
    }

    #[test]
    fn other_objectives_are_other_searches() {
        let before = vec![capacity_sample([1000.0, 980.0, 1030.0])];
        let mut after = before.clone();
        after[0].limit.objective = "p50=1ms".to_owned();
        assert_eq!(compared(&before, &after, false), None);
    }
}
