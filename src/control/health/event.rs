//! What a pool's health is told, what it asks for and what it reports. Decides nothing.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::probe::ProbeFailure;
use crate::balance::Standing;

/// One member as the pool has it now.
#[derive(Clone, Copy, Debug)]
pub struct Entrant<'a> {
    pub name: &'a Arc<str>,
    pub addresses: &'a [SocketAddr],
    /// What lists it says that it is to drain.
    pub drain: bool,
}

/// What has happened. Of a name that is no member, nothing is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The probe asked for has ended, after so long.
    Probed { name: Arc<str>, probe: ProbeId, result: Result<(), ProbeFailure>, took: Duration },
    /// So many connections in a row have failed by the backend's fault, as the workers count.
    Failures { name: Arc<str>, in_a_row: u32 },
    /// The operator takes the backend out, or lets it in again.
    Drain { name: Arc<str>, on: bool },
    /// A deadline has come.
    Tick,
}

/// What is to be done. Outputs are to be taken after every input: `Readmit` changes what the
/// workers' counts say next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A probe is to be made, and its result handed in; there is no other of this member.
    Probe { probe: ProbeId, name: Arc<str>, addresses: Arc<[SocketAddr]> },
    /// Nobody waits for this probe any more.
    Cancel { probe: ProbeId, name: Arc<str> },
    /// Every worker is to stop choosing it at once.
    Eject { name: Arc<str> },
    /// It may be chosen again as far as the workers are concerned, and the failures they have
    /// counted so far are to be forgotten.
    Readmit { name: Arc<str> },
    /// It fails its probes or is ejected, or does so no longer. A standing does not tell while the
    /// member drains.
    Ailing { name: Arc<str>, on: bool },
    /// The pool is to be published again.
    Changed(Change),
}

/// One probe of one member, distinct from all before it in the same pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub(super) u64);

/// A member's standing has changed. Displays as one line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub name: Arc<str>,
    /// `None`: it is new, and had none.
    pub from: Option<Standing>,
    pub to: Standing,
    pub cause: Cause,
}

/// Why a standing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is new, and the pool probes nobody.
    Unprobed,
    /// It is new, and its first probe has succeeded.
    FirstProbeSucceeded,
    /// It is new, and its first probe has failed.
    FirstProbeFailed(ProbeFailure),
    ProbesSucceeded {
        in_a_row: u32,
    },
    ProbesFailed {
        in_a_row: u32,
        last: ProbeFailure,
    },
    ConnectionsFailed {
        in_a_row: u32,
        ejected_for: Duration,
    },
    EjectionEnded,
    /// Its share has grown, at last to the whole.
    SlowStart,
    Drained,
    /// The operator lets it in again.
    Undrained,
    /// What lists it says that it is to drain.
    DrainListed,
    /// And no longer says so.
    DrainUnlisted,
}

/// One member, for the operator's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub standing: Standing,
    /// When the standing began; the steps of a slow start are one standing.
    pub since: Duration,
    /// Why it began; none: it was among the first members, which are taken to be well.
    pub cause: Option<Cause>,
    /// Of the probes that ended; none without a check.
    pub last_probe: Option<LastProbe>,
    /// Its probes so far by the words of their results, those that occurred.
    pub probes: Vec<(&'static str, u64)>,
    /// How often it has been ejected since it became a member.
    pub ejections: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastProbe {
    /// When it ended.
    pub at: Duration,
    pub took: Duration,
    pub result: Result<(), ProbeFailure>,
}

impl LastProbe {
    /// The word for the metric label.
    pub fn as_str(&self) -> &'static str {
        self.result.map_or_else(ProbeFailure::as_str, |()| "ok")
    }
}

impl Change {
    /// It is one more step of a slow start, of which an operator need not read.
    pub fn is_step(&self) -> bool {
        matches!((self.from, self.to), (Some(Standing::Starting(_)), Standing::Starting(_)))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let was = self.from.map_or("new", Standing::as_str);
        write!(f, "{} is {} (was {was}): {}", self.name, self.to.as_str(), self.cause)
    }
}

impl Cause {
    /// The word for the log field.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Unprobed => "unprobed",
            Cause::FirstProbeSucceeded => "first_probe_succeeded",
            Cause::FirstProbeFailed(_) => "first_probe_failed",
            Cause::ProbesSucceeded { .. } => "probes_succeeded",
            Cause::ProbesFailed { .. } => "probes_failed",
            Cause::ConnectionsFailed { .. } => "connections_failed",
            Cause::EjectionEnded => "ejection_ended",
            Cause::SlowStart => "slow_start",
            Cause::Drained => "drained",
            Cause::Undrained => "undrained",
            Cause::DrainListed => "drain_listed",
            Cause::DrainUnlisted => "drain_unlisted",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Unprobed => f.write_str("there is no check to wait for"),
            Cause::FirstProbeSucceeded => f.write_str("its first probe succeeded"),
            Cause::FirstProbeFailed(failure) => write!(f, "its first probe failed: {failure}"),
            Cause::ProbesSucceeded { in_a_row: 1 } => f.write_str("a probe succeeded"),
            Cause::ProbesSucceeded { in_a_row } => {
                write!(f, "{in_a_row} probes in a row succeeded")
            }
            Cause::ProbesFailed { in_a_row: 1, last } => write!(f, "a probe failed: {last}"),
            Cause::ProbesFailed { in_a_row, last } => {
                write!(f, "{in_a_row} probes in a row failed, the last one so: {last}")
            }
            Cause::ConnectionsFailed { in_a_row, ejected_for } => write!(
                f,
                "{in_a_row} connections in a row failed; out for {} s",
                ejected_for.as_secs_f64()
            ),
            Cause::EjectionEnded => f.write_str("its ejection is over"),
            Cause::SlowStart => f.write_str("its slow start is over"),
            Cause::Drained => f.write_str("the operator drains it"),
            Cause::Undrained => f.write_str("the operator lets it in again"),
            Cause::DrainListed => f.write_str("it is listed with drain"),
            Cause::DrainUnlisted => f.write_str("it is no longer listed with drain"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_reads_as_one_line() {
        let change = |from, to, cause| Change { name: "a:1".into(), from, to, cause }.to_string();
        let down = Cause::ProbesFailed { in_a_row: 3, last: ProbeFailure::Refused };
        let lines = [
            change(Some(Standing::Up), Standing::Down, down),
            change(None, Standing::Starting(5), Cause::FirstProbeSucceeded),
        ];
        assert_eq!(
            lines,
            [
                "a:1 is down (was up): 3 probes in a row failed, the last one so: \
                 the connection was refused",
                "a:1 is starting (was new): its first probe succeeded",
            ]
        );
    }
}
