//! Owns the reasons for which there is no comparison.

use std::{fmt, io};

use crate::generate;
use crate::report;

/// Why there is no comparison.
#[derive(Debug)]
pub enum Failure {
    TwoCpusNeeded,
    NoCandidates,
    Interrupted,
    Certificates(rcgen::Error),
    Generator(generate::Failure),
    Report(report::Failure),
    Host(io::Error),
}

impl Failure {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TwoCpusNeeded => "two_cpus_needed",
            Self::NoCandidates => "no_candidates",
            Self::Interrupted => "interrupted",
            Self::Certificates(_) => "certificates_failed",
            Self::Generator(failure) => failure.as_str(),
            Self::Report(failure) => failure.as_str(),
            Self::Host(_) => "host_error",
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            // What shells report for SIGINT.
            Self::Interrupted => 130,
            _ => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::TwoCpusNeeded => f.write_str(
                ": the proxy and the load need a CPU each; give this process two, by taskset or by \
                 the CPUs of its container, and check --proxy-cpu and --load-cpu",
            ),
            Self::NoCandidates => f.write_str(
                ": none of the candidates could be started, each as said above; install one of \
                 them, or name others by --candidates",
            ),
            Self::Interrupted => f.write_str(": what was measured until then is kept"),
            Self::Certificates(error) => write!(f, ": {error}"),
            Self::Generator(failure) => write!(f, ": {failure}"),
            Self::Report(failure) => write!(f, ": {failure}"),
            Self::Host(error) => write!(f, ": {error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl From<generate::Failure> for Failure {
    fn from(failure: generate::Failure) -> Self {
        match failure {
            generate::Failure::Interrupted => Self::Interrupted,
            failure => Self::Generator(failure),
        }
    }
}

impl From<report::Failure> for Failure {
    fn from(failure: report::Failure) -> Self {
        Self::Report(failure)
    }
}

impl From<rcgen::Error> for Failure {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificates(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_comparison_ends_as_shells_expect_it() {
        assert_eq!(Failure::from(generate::Failure::Interrupted).exit_code(), 130);
        let failed = Failure::from(generate::Failure::NoTickets);
        assert_eq!((failed.exit_code(), failed.as_str()), (1, "no_tickets"));
    }
}
