//! Owns the reasons for which there is no comparison.

use std::{fmt, io};

use rustix::io::Errno;

use crate::load::{Fault, sockets};

/// Why there is no comparison.
#[derive(Debug)]
pub enum Failure {
    TwoCpusNeeded,
    CongestionForbidden,
    NoCandidates,
    Interrupted,
    Certificates(rcgen::Error),
    Host(io::Error),
}

impl Failure {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TwoCpusNeeded => "two_cpus_needed",
            Self::CongestionForbidden => "congestion_forbidden",
            Self::NoCandidates => "no_candidates",
            Self::Interrupted => "interrupted",
            Self::Certificates(_) => "certificates_failed",
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
            Self::TwoCpusNeeded => f.write_str(": the proxy and the load need a CPU each"),
            Self::CongestionForbidden => write!(
                f,
                ": run as root, or add {} to net.ipv4.tcp_allowed_congestion_control",
                sockets::CONGESTION
            ),
            Self::NoCandidates | Self::Interrupted => Ok(()),
            Self::Certificates(error) => write!(f, ": {error}"),
            Self::Host(error) => write!(f, ": {error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Host(errno.into())
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Interrupted => Self::Interrupted,
            Fault::Host(errno) => errno.into(),
            _ => Self::Host(io::Error::other(fault.as_str())),
        }
    }
}

impl From<rcgen::Error> for Failure {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificates(error)
    }
}
