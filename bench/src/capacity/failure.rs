//! Owns the reasons for which nothing was put under load.

use std::path::PathBuf;
use std::{fmt, io};

use crate::{compare, report};

#[derive(Debug)]
pub enum Failure {
    TwoCpusNeeded,
    /// A mix of agents could not be read; sentences.
    Profile(String),
    /// The first run could not be made; why.
    NoRuns(String),
    /// Somebody wanted it to end; the page of what was measured until then.
    Interrupted(Option<PathBuf>),
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
            Self::Interrupted(_) => "interrupted",
            Self::Compare(failure) => failure.as_str(),
            Self::Report(failure) => failure.as_str(),
            Self::Host(_) => "host_error",
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted(_) => compare::Failure::Interrupted.exit_code(),
            Self::Compare(failure) => failure.exit_code(),
            _ => 1,
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
            Self::TwoCpusNeeded => f.write_str(
                "the proxy and the load need a CPU each; give this process two, by taskset or by \
                 the CPUs of its container",
            ),
            Self::Profile(why) | Self::NoRuns(why) => f.write_str(why),
            Self::Interrupted(Some(page)) => {
                write!(f, "what was measured until then is in {} and beside it", page.display())
            }
            Self::Interrupted(None) => f.write_str("nothing was measured yet"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_interrupts_gets_what_shells_expect_and_hears_where_the_results_are() {
        let kept = Failure::Interrupted(Some("/d/capacity.html".into()));
        assert_eq!((kept.exit_code(), Failure::Interrupted(None).exit_code()), (130, 130));
        let early = Failure::Compare(compare::Failure::Interrupted);
        assert_eq!((early.exit_code(), Failure::NoRuns(String::new()).exit_code()), (130, 1));
        assert_eq!(
            kept.to_string(),
            "interrupted: what was measured until then is in /d/capacity.html and beside it"
        );
    }
}
