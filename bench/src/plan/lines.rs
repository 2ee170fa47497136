//! Owns a plan as data, and its text: each line with its arithmetic and how its terms are known.

use serde::{Deserialize, Serialize};

use super::check::Check;
use crate::report::table::{aligned, row};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub lines: Vec<Line>,
    pub hosts: u32,
    /// What the number of hosts follows from.
    pub because: String,
    pub settings: Vec<Setting>,
    /// Predictions for mixed loads on the measured host, and what these came to.
    #[serde(default)]
    pub checks: Vec<Check>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub what: String,
    pub value: String,
    pub arithmetic: String,
    pub known: Known,
}

/// How the least certain term of a line is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// By the demand.
    Given,
    Measured,
    /// Measured in another range than it is used in.
    Extended,
    Assumed,
    /// Can not be measured on loopback, and no calibration was given.
    Unknown,
}

/// A kernel limit or one of the service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub name: String,
    pub at_least: u64,
    /// Of the host the costs were measured on, where it is known.
    pub current: Option<u64>,
    pub arithmetic: String,
}

impl Known {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Measured => "measured",
            Self::Extended => "extended",
            Self::Assumed => "assumed",
            Self::Unknown => "unknown",
        }
    }
}

impl Setting {
    pub fn suffices(&self) -> Option<bool> {
        self.current.map(|current| current >= self.at_least)
    }
}

impl Plan {
    pub fn text(&self) -> String {
        let mut lines = vec![row(["what", "value", "known", "arithmetic"])];
        lines.extend(self.lines.iter().map(|line| {
            let known = line.known.as_str().to_owned();
            vec![line.what.clone(), line.value.clone(), known, line.arithmetic.clone()]
        }));
        let mut text = aligned(4, &lines);
        text += &format!("\nHosts: {}, {}\n\nLimits of each host\n", self.hosts, self.because);
        let mut limits = vec![row(["limit", "at least", "measured host", "arithmetic"])];
        limits.extend(self.settings.iter().map(|of| {
            let verdict = match (of.current, of.suffices()) {
                (Some(current), Some(true)) => format!("{current}, enough"),
                (Some(current), _) => format!("{current}, RAISE"),
                (None, _) => "-".to_owned(),
            };
            vec![of.name.clone(), of.at_least.to_string(), verdict, of.arithmetic.clone()]
        }));
        text += &aligned(4, &limits);
        if !self.checks.is_empty() {
            text += "\n";
        }
        for check in &self.checks {
            text += &format!("{}\n", check.text());
        }
        text
    }
}
