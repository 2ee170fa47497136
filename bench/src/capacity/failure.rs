//! Owns the reasons for which nothing was put under load.

use std::{fmt, io};

use crate::{compare, report};

#[derive(Debug)]
pub enum Failure {
    TwoCpusNeeded,
    /// A mix of agents could not be read; sentences.
    Profile(String),
    /// The first run could not be made; why.
    NoRuns(String),
    Compare(compare::Failure),
    Report(report::Failure),
    Host(io::Error),
}

impl Failure {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TwoCpusNeeded => "two_cpus_needed",
            Self::Profile(_) => "unusable_profile",
            Self::NoRuns(_) => "no_runs",
            Self::Compare(failure) => failure.as_str(),
            Self::Report(failure) => failure.as_str(),
            Self::Host(_) => "host_error",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(failure) => return failure.fmt(f),
            Self::Report(failure) => return failure.fmt(f),
            _ => write!(f, "{}: ", self.as_str())?,
        }
        match self {
            Self::TwoCpusNeeded => f.write_str("the proxy and the load need a CPU each"),
            Self::Profile(why) | Self::NoRuns(why) => f.write_str(why),
            Self::Host(error) => write!(f, "{error}"),
            Self::Compare(_) | Self::Report(_) => Ok(()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl From<compare::Failure> for Failure {
    fn from(failure: compare::Failure) -> Self {
        Self::Compare(failure)
    }
}

impl From<report::Failure> for Failure {
    fn from(failure: report::Failure) -> Self {
        Self::Report(failure)
    }
}
