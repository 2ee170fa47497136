//! `[resolver]`: whom to ask for names. Asks nobody.

use std::net::SocketAddr;
use std::time::Duration;

use super::units::SECOND;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// In order of preference; none: those of `/etc/resolv.conf`.
    pub nameservers: Option<Vec<SocketAddr>>,
    /// Appended to names without a trailing dot, in turn; none: those of `/etc/resolv.conf`.
    pub search: Option<Vec<String>>,
    /// Names with fewer dots are searched for before they are taken as they are; none: as
    /// `/etc/resolv.conf` says, or 1.
    pub ndots: Option<usize>,
    /// Of one question to one nameserver.
    pub timeout: Duration,
    /// Times that each nameserver is asked, at least 1.
    pub tries: usize,
    /// Questions in flight at the same time, at least 1.
    pub concurrency: usize,
    /// The largest UDP answer that is asked for with EDNS, 512 to 4096 bytes.
    pub edns_payload: u16,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver {
            nameservers: None,
            search: None,
            ndots: None,
            timeout: 2 * SECOND,
            tries: 2,
            concurrency: 64,
            edns_payload: 1232,
        }
    }
}
