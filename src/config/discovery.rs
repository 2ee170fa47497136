//! Where a pool's backends come from, other than the file itself. Looks nothing up.

use std::path::PathBuf;
use std::time::Duration;

use super::units::{MINUTE, SECOND};

/// One source of backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub kind: SourceKind,
    /// Of each backend found, 0 to 65,535; for SRV records and files, which may give a weight of
    /// their own, where they do not.
    pub weight: u16,
    /// Added to the tier of each backend found, so that a whole source may be a backup.
    pub tier: u16,
    /// Of each backend found.
    pub max_connections: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// The A and AAAA records of a name: each address is a backend named after itself.
    Dns { name: String, port: u16 },
    /// SRV records: each target and port is a backend, named `target:port`.
    Srv { name: String },
    /// Names made by counting, in order: each is a backend, named `name:port`.
    Template { names: Vec<String>, port: u16 },
    /// A file of backends, watched.
    File { path: PathBuf },
}

/// How a pool's sources are asked, and what is done when they fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// A name is not asked for again sooner, whatever its TTL.
    pub min_interval: Duration,
    /// A name is asked for again at the latest after this, whatever its TTL.
    pub max_interval: Duration,
    /// How soon a name is asked for again after a failure; doubled with each, to `max_interval`.
    pub retry_interval: Duration,
    pub hold: Hold,
    /// An answer that would leave the pool with fewer backends is not believed. Default 0.
    pub min_backends: usize,
    /// Percent of the backends that may vanish with one answer, 1 to 99; more must be in a second
    /// answer as well. None: no limit.
    pub max_loss: Option<u8>,
}

/// How long the last good answer is kept in each case of failure; `None`: for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The name does not exist.
    pub nxdomain: Option<Duration>,
    /// It exists, without records of the kind.
    pub empty: Option<Duration>,
    pub refused: Option<Duration>,
    /// SERVFAIL, and every other failure that a nameserver reports.
    pub failed: Option<Duration>,
    pub timeout: Option<Duration>,
    /// A file that is missing or cannot be read or understood.
    pub unreadable: Option<Duration>,
}

impl Default for Discovery {
    fn default() -> Discovery {
        Discovery {
            min_interval: SECOND,
            max_interval: 5 * MINUTE,
            retry_interval: SECOND,
            hold: Hold::default(),
            min_backends: 0,
            max_loss: None,
        }
    }
}

impl Default for Hold {
    fn default() -> Hold {
        Hold {
            nxdomain: Some(30 * SECOND),
            empty: Some(30 * SECOND),
            refused: None,
            failed: None,
            timeout: None,
            unreadable: None,
        }
    }
}
