//! What is asked of the resolver, and what it answers. Asks nothing itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A name and what is to be known of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// As configured, or as a service record gives it: then with a trailing dot.
    pub name: Arc<str>,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Its addresses of both families.
    Addresses,
    /// Its SRV records.
    Services,
}

pub type Outcome = Result<Answer, Failure>;

/// A good answer, with at least one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub records: Vec<Record>,
    /// The least TTL of what led to the records, aliases included.
    pub valid_for: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Address(IpAddr),
    Service(Service),
}

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// With a trailing dot, in lower case; never the root, which means that there is no service.
    pub target: Arc<str>,
    pub port: u16,
    pub priority: u16,
    pub weight: u16,
    /// From the additional section; empty if it has none of the target's.
    pub addresses: Vec<IpAddr>,
}

/// Why there is no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// The name does not exist.
    NxDomain,
    /// The name exists, without records of the kind.
    Empty,
    /// No nameserver answers such questions for us.
    Refused,
    /// A nameserver failed, or said what makes no sense.
    Failed,
    /// No nameserver answered in time, or none could be reached.
    Timeout,
}

impl Failure {
    /// The word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::NxDomain => "nxdomain",
            Failure::Empty => "empty",
            Failure::Refused => "refused",
            Failure::Failed => "failed",
            Failure::Timeout => "timeout",
        }
    }
}
