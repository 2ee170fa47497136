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

#[cfg(test)]
mod tests {
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
}
