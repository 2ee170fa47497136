//! Owns what a file of results holds as a whole: the runs, and what was found in them.

use serde::{Deserialize, Serialize};

use super::compared::Comparison;
use crate::calibrate::Calibration;
use crate::figures::{Document, SCHEMA, Unreadable};
use crate::judge::Limit;
use crate::plan::Plan;
use crate::soak::Soak;

/// A document of runs with what the commands made of them, in fields beside its own: who only
/// wants the runs reads it as a plain document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    #[serde(flatten)]
    pub document: Document,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capacity: Vec<Capacity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Soak>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// The limit of one protocol with so many workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    pub protocol: String,
    pub workers: u32,
    pub connections: u32,
    /// Units per second that the generator carries with no proxy between; `None`: not measured.
    #[serde(default)]
    pub ceiling: Option<f64>,
    /// The generator had no CPU of its own.
    #[serde(default)]
    pub shared: bool,
    /// System calls of the proxy per unit, from a run of its own at the confirmed rate; `None`: the
    /// host does not let them be counted.
    #[serde(default)]
    pub calls: Option<f64>,
    /// Bytes that each further connection takes of the proxy, from two runs of their own; `None`:
    /// not measured.
    #[serde(default)]
    pub memory: Option<f64>,
    #[serde(flatten)]
    pub limit: Limit,
}

/// What a file may hold.
pub enum Loaded {
    Results(Box<Results>),
    /// A compare.json.
    Comparison(Box<Comparison>),
}

impl Results {
    pub fn new(document: Document) -> Self {
        Self { document, capacity: Vec::new(), soak: None, plan: None, calibration: None }
    }
}

impl Loaded {
    /// Limits that were searched for.
    pub fn capacity(&self) -> &[Capacity] {
        match self {
            Self::Results(results) => &results.capacity,
            Self::Comparison(_) => &[],
        }
    }

    pub fn is_soak(&self) -> bool {
        matches!(self, Self::Results(results) if results.soak.is_some())
    }

    pub fn from_json(text: &str) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Mark {
            contestants: Option<serde::de::IgnoredAny>,
            schema: Option<u64>,
        }
        // Comparisons are marked by their contestants; the first ones had no schema.
        if let Ok(Mark { contestants: Some(_), schema }) = serde_json::from_str(text) {
            if let Some(other) = schema.filter(|schema| *schema != u64::from(SCHEMA)) {
                return Err(Unreadable::Schema(other));
            }
            let comparison = serde_json::from_str(text).map_err(Unreadable::Malformed)?;
            return Ok(Self::Comparison(Box::new(comparison)));
        }
        Document::from_json(text)?;
        let results = serde_json::from_str(text).map_err(Unreadable::Malformed)?;
        Ok(Self::Results(Box::new(results)))
    }
}

/// A search for tests, that found this limit and its interval.
#[cfg(test)]
pub fn capacity_sample([median, low, high]: [f64; 3]) -> Capacity {
    use crate::judge::{Confirmed, Ending, Exhausted, Interval, Resource};
    Capacity {
        protocol: "tcp-echo".to_owned(),
        workers: 1,
        connections: 64,
        ceiling: None,
        shared: false,
        calls: None,
        memory: None,
        limit: Limit {
            objective: "p99=5ms".to_owned(),
            ending: Ending::Found,
            limit: Some(Interval { median, low, high, confidence: 0.95 }),
            confirmed: Some(Confirmed { rate: low, held: 5, of: 6 }),
            exhausted: Exhausted { resource: Resource::Cpu, evidence: "98%".to_owned() },
            knee: None,
            curve: Vec::new(),
            trials: Vec::new(),
        },
    }
}

/// A file for tests with everything that one may hold: a soak of its runs, among other things.
#[cfg(test)]
pub fn everything() -> Results {
    use crate::calibrate::Factor;
    use crate::figures::{Host, sample};
    use crate::judge::{Estimate, Knee, Point, Slope, Stage, Trial};
    use crate::plan::Check;
    use crate::soak::{Trick, drift_sample};
    let runs = vec![eventful(), sample("direct", 5000.0), sample("ringmain", 980.0)];
    let [near, far] = [0, 2].map(|at| std::slice::from_ref(&runs[at]));
    let factor = Factor::of("tcp-echo", 980.0, near, far);
    let calibration = Calibration::of(factor.into_iter().collect(), &runs[0]);
    let mut capacity = capacity_sample([1000.0, 980.0, 1030.0]);
    let misses = Vec::new();
    capacity.limit.trials = vec![Trial { stage: Stage::Confirm, rate: 980.0, misses, run: 0 }];
    capacity.limit.knee = Some(Knee { rate: 700.0, latency: 2e5, low: 600.0, high: 800.0 });
    let one = Estimate { median: 1.0, low: 1.0, high: 1.0, confidence: 0.95, runs: 6 };
    capacity.limit.curve = vec![Point { rate: 700.0, latency: one }];
    let slope = Slope { slope: 1.0, low: 0.5, high: 1.5, level: 10.0 };
    let soak = Soak {
        seed: 1,
        length: 30.0,
        windows: 3,
        drifts: vec![drift_sample(slope)],
        tricks: vec![(1, Trick::Reload)],
        failed_quiet: 0,
        failed_disturbed: 0,
        limited: 0,
        ended: None,
        left_out: Vec::new(),
    };
    let check = Check {
        rate: 980.0,
        predicted: 1.0,
        measured: one,
        error: 0.0,
        is_limited: false,
        is_of_generator: false,
    };
    let plan = Plan { hosts: 2, checks: vec![check], ..Plan::default() };
    let document = Document::new(Vec::new(), 0, Host::default(), runs);
    Results { document, capacity: vec![capacity], soak: Some(soak), plan: Some(plan), calibration }
}

/// A run in which everything went wrong that there is a word for.
#[cfg(test)]
fn eventful() -> crate::figures::Run {
    use crate::figures::{Moment, Share, kinds, sample, told};
    let mut run = sample("ringmain", 980.0);
    let some = |words: &[&str]| words.iter().map(|word| ((*word).to_owned(), 1)).collect();
    run.told = some(&[
        &format!("{}idle", told::CLOSED),
        &format!("{}limit", told::ACCEPT_PAUSED),
        told::CONNECT_FAILURES,
        told::BUFFERS,
        told::PIPES,
        told::OVERFLOWS,
    ]);
    run.counts.errors = some(&[
        kinds::PORTS,
        kinds::DESCRIPTORS,
        kinds::MEMORY,
        kinds::REFUSED,
        kinds::RESET,
        kinds::TIMED_OUT,
    ]);
    let moment = Moment {
        at: 0.0,
        achieved: 980.0,
        p50: 1,
        p99: 2,
        max: 3,
        cpu: Some(0.1),
        memory: Some(1 << 20),
        descriptors: Some(150),
        open: 64,
    };
    run.series = vec![moment];
    run.groups = vec![Share {
        name: "echoes".to_owned(),
        protocol: run.protocol.clone(),
        connections: run.connections,
        offered: run.offered,
        achieved: run.achieved,
        bytes: run.bytes,
        latency: run.latency.clone(),
        counts: run.counts.clone(),
    }];
    run
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::figures::{Host, sample};

    #[test]
    fn a_plain_document_and_one_with_findings_read_each_other() {
        let document = Document::new(vec![], 0, Host::default(), vec![sample("ringmain", 10.0)]);
        let plain = document.to_json().unwrap();
        let Loaded::Results(results) = Loaded::from_json(&plain).unwrap() else { panic!() };
        assert_eq!(*results, Results::new(document.clone()));
        let whole = serde_json::to_string(&*results).unwrap();
        assert_eq!(Document::from_json(&whole).unwrap(), document);
    }

    #[test]
    fn the_schema_is_checked_whatever_else_is_there() {
        assert!(matches!(Loaded::from_json(r#"{"schema": 9}"#), Err(Unreadable::Schema(9))));
        assert!(Loaded::from_json("nothing").is_err());
    }

    /// Words in backticks.
    fn words(text: &str) -> Vec<&str> {
        text.split('`').skip(1).step_by(2).collect()
    }

    fn keys(value: &Value) -> BTreeSet<String> {
        value.as_object().map(|of| of.keys().cloned().collect()).unwrap_or_default()
    }

    /// All keys and texts that are in it, however deep.
    fn said(value: &Value, all: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                all.insert(key.clone());
                said(value, all);
            }),
            Value::Array(items) => items.iter().for_each(|item| said(item, all)),
            Value::String(text) => drop(all.insert(text.clone())),
            _ => {}
        }
    }

    /// Field and explanation of each line of the tables that show the schema, one table for a
    /// document and one for a run.
    fn tables() -> [Vec<(BTreeSet<String>, &'static str)>; 2] {
        let readme = include_str!("../../README.md");
        let (_, section) = readme.split_once("\n## The schema of results\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let (document, run) = section.split_once("\nA run:\n").unwrap();
        [document, run].map(|text| {
            let lines = text.lines().filter_map(|line| line.strip_prefix("| `"));
            let cells = lines.map(|line| line.split_once(" | ").unwrap());
            let field =
                |name: &str| words(&format!("`{name}")).into_iter().map(str::to_owned).collect();
            cells.map(|(name, what)| (field(name), what)).collect()
        })
    }

    #[test]
    fn the_readme_shows_the_fields_that_there_are() {
        let json = serde_json::to_value(everything()).unwrap();
        let mut known = BTreeSet::new();
        said(&json, &mut known);
        let is_known = |word: &str| match word.strip_suffix('-') {
            // The beginning of a word.
            Some(_) => known.iter().any(|of| of.starts_with(word)),
            None => known.contains(word),
        };
        let of_run = json["runs"][0].clone();
        for (table, value) in tables().iter().zip([&json, &of_run]) {
            let shown: BTreeSet<String> = table.iter().flat_map(|(of, _)| of.clone()).collect();
            assert_eq!(shown, keys(value));
            for (fields, what) in table {
                for word in words(what) {
                    assert!(is_known(word), "{fields:?}: there is no {word}");
                }
                let Some(field) = fields.first().filter(|_| fields.len() == 1) else { continue };
                let inner = match &value[field] {
                    Value::Array(items) if field != "runs" => items.first().unwrap(),
                    inner => inner,
                };
                if *field == "told" {
                    continue;
                }
                for key in keys(inner) {
                    assert!(words(what).contains(&&*key), "{field}: nothing is said of {key}");
                }
            }
        }
    }
}
