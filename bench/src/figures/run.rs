//! Owns one run as data: what was asked, what came back and what it cost. It judges nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::latency::Latency;

/// One run at one offered load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Who carried the load: "ringmain", "haproxy", ...; "direct" is the backend without a proxy.
    pub candidate: String,
    /// "tcp-echo", "tls-echo", "syslog-tcp", ...
    pub protocol: String,
    /// Open at a time.
    pub connections: u32,
    /// Threads of the proxy that carry load.
    pub workers: u32,
    /// Units per second; `None` is a closed loop.
    pub offered: Option<f64>,
    /// Units that ended, per second of the window.
    pub achieved: f64,
    /// Bytes of payload per second, both ways.
    pub bytes: f64,
    /// Seconds.
    pub window: f64,
    /// From the time a unit was to begin until it ended.
    pub latency: Latency,
    pub counts: Counts,
    /// `None`: the proxy is not ours to look at.
    pub cost: Option<Cost>,
    pub generator: Busy,
    /// One per second of the window.
    pub series: Vec<Moment>,
    /// What the proxy itself counted of what went wrong, from the beginning of the run to its end:
    /// words of `told`, and others like them. None of what did not occur, nor where it can not be
    /// asked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<String, u64>,
    /// What became of each group of agents, where there are several; together they are the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Share>,
}

/// One group of agents within a run of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// That of the profile.
    pub name: String,
    pub protocol: String,
    pub connections: u32,
    /// Units per second; `None` is a closed loop.
    pub offered: Option<f64>,
    pub achieved: f64,
    /// Bytes of payload per second, both ways.
    pub bytes: f64,
    pub latency: Latency,
    pub counts: Counts,
}

/// Units of the window, by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub sent: u64,
    pub answered: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    /// Of the lost, datagrams that came after the patience for them.
    #[serde(default)]
    pub late: u64,
    /// Of the lost, datagrams that the kernel dropped because our own sockets had no room: the
    /// generator's doing, and not that of whoever is in between.
    #[serde(default)]
    pub dropped: u64,
    /// By kind: one of `kinds`, or another word.
    pub errors: BTreeMap<String, u64>,
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.late += other.late;
        self.dropped += other.dropped;
        for (kind, count) in &other.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
    }
}

/// What the proxy took during the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Of the whole process tree, and of kernel threads that work for it.
    pub cpu_seconds: f64,
    /// Seconds in user space.
    pub user: f64,
    /// Seconds in the kernel.
    pub system: f64,
    /// Seconds in which the proxy's CPUs served softirqs, whoever they were for.
    pub softirq: f64,
    /// Bytes at the end of the window; shared pages are divided by those who share them.
    pub memory_pss: u64,
    /// Open at the end of the window.
    pub descriptors: u32,
    /// How many may be open; `None` where it was not read.
    pub descriptor_limit: Option<u64>,
    /// `None`: the host does not let them be counted.
    pub system_calls: Option<u64>,
    /// Seconds in which the proxy's CPUs were busy, whoever with: what it does not do itself, such
    /// as receiving packets, is in it. `None` where it was not read.
    #[serde(default)]
    pub busy: Option<f64>,
}

/// How busy the measuring side was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Busy {
    /// Share of the generator's CPUs, from 0 to 1.
    pub generator: f64,
    /// Share of the backends' CPUs; on two CPUs it is the generator's.
    pub backends: f64,
    /// Nanoseconds by which the latest unit left after its time, for want of the generator's CPU.
    pub lag_max: u64,
    /// Units per second that the generator carries without a proxy, where it was measured.
    pub ceiling: Option<f64>,
}

/// One second of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds from the beginning of the window.
    pub at: f64,
    /// Units per second.
    pub achieved: f64,
    /// Nanoseconds; 0 where nothing ended.
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
    /// CPUs that the proxy used; `None` where it is not ours to look at.
    pub cpu: Option<f64>,
    /// Bytes by PSS.
    pub memory: Option<u64>,
    pub descriptors: Option<u32>,
    /// Connections the generator had open.
    pub open: u32,
}

/// What a proxy tells that went wrong, as words.
pub mod told {
    /// Sessions that ended for the reason that follows.
    pub const CLOSED: &str = "closed-";
    /// Times a worker stopped accepting for the reason that follows.
    pub const ACCEPT_PAUSED: &str = "accept-paused-";
    /// No source port was free towards a backend.
    pub const CLOSED_PORTS: &str = "closed-source-ports";
    pub const CLOSED_DESCRIPTORS: &str = "closed-descriptors";
    pub const PAUSED_DESCRIPTORS: &str = "accept-paused-descriptors";
    /// The memory for stalled relays was used up.
    pub const CLOSED_MEMORY: &str = "closed-relay-memory";
    /// Limits that were configured.
    pub const PAUSED_LIMIT: &str = "accept-paused-limit";
    pub const CLOSED_LIMIT: &str = "closed-backend-limit";
    /// Backends that could not be connected to, each time.
    pub const CONNECT_FAILURES: &str = "connect-failures";
    /// Receives that had to wait for a buffer.
    pub const BUFFERS: &str = "buffers-exhausted";
    pub const PIPES: &str = "pipes-exhausted";
    pub const OVERFLOWS: &str = "completion-queue-overflows";
}

/// Kinds of errors that say what gave out.
pub mod kinds {
    /// No port was left for a connection (EADDRNOTAVAIL) of the generator.
    pub const PORTS: &str = "ports_exhausted";
    /// EMFILE or ENFILE.
    pub const DESCRIPTORS: &str = "descriptors_exhausted";
    /// ENOMEM or ENOBUFS.
    pub const MEMORY: &str = "memory_exhausted";
    pub const REFUSED: &str = "refused";
    pub const RESET: &str = "reset";
    pub const TIMED_OUT: &str = "timed_out";
}

impl Run {
    /// Units that ended in the window.
    pub fn units(&self) -> f64 {
        self.achieved * self.window
    }

    /// This share, from 0 to 1, of what left on schedule in the window ended in it. Random arrivals
    /// are as many as chance has them, so what left is what counts, and not the rate asked for.
    pub fn is_carried(&self, share: f64) -> bool {
        self.offered.is_some() && self.units() >= self.counts.sent as f64 * share
    }

    /// Nanoseconds of the proxy's CPU per unit.
    pub fn cpu_per_unit(&self) -> Option<f64> {
        let cost = self.cost.as_ref()?;
        (self.units() > 0.0).then(|| cost.cpu_seconds * 1e9 / self.units())
    }

    /// CPUs that the proxy used; 1 is all of one.
    pub fn cpus_used(&self) -> Option<f64> {
        let cost = self.cost.as_ref()?;
        (self.window > 0.0).then(|| cost.cpu_seconds / self.window)
    }

    /// Bytes of the proxy per open connection, its own start among them: no connection takes more.
    pub fn memory_per_connection(&self) -> Option<f64> {
        let cost = self.cost.as_ref()?;
        (self.connections > 0).then(|| cost.memory_pss as f64 / f64::from(self.connections))
    }

    /// Bytes that each of the connections takes that `many` had open and `few` had not.
    pub fn memory_between(few: &Self, many: &Self) -> Option<f64> {
        let pss = |run: &Self| Some(run.cost.as_ref()?.memory_pss as f64);
        let (grown, further) = (pss(many)? - pss(few)?, f64::from(many.connections));
        let further = further - f64::from(few.connections);
        (grown > 0.0 && further > 0.0).then(|| grown / further)
    }

    /// Nanoseconds that the proxy's CPUs were busy per unit.
    pub fn busy_per_unit(&self) -> Option<f64> {
        let busy = self.cost.as_ref()?.busy?;
        (self.units() > 0.0).then(|| busy * 1e9 / self.units())
    }

    pub fn system_calls_per_unit(&self) -> Option<f64> {
        let calls = self.cost.as_ref()?.system_calls?;
        (self.units() > 0.0).then(|| calls as f64 / self.units())
    }
}

impl Counts {
    pub fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Units that did not come back whole and once.
    pub fn failed(&self) -> u64 {
        self.lost + self.duplicated + self.corrupted + self.errors()
    }
}

/// A run for tests: an open loop that held its rate for ten seconds.
#[cfg(test)]
pub fn sample(candidate: &str, rate: f64) -> Run {
    let mut latency = Latency::new();
    latency.record_n(100_000, rate as u64 * 10);
    let units = rate as u64 * 10;
    Run {
        candidate: candidate.to_owned(),
        protocol: "tcp-echo".to_owned(),
        connections: 64,
        workers: 1,
        offered: Some(rate),
        achieved: rate,
        bytes: rate * 256.0,
        window: 10.0,
        latency,
        counts: Counts { sent: units, answered: units, ..Counts::default() },
        cost: Some(Cost {
            cpu_seconds: rate * 1e-4,
            user: rate * 2e-5,
            system: rate * 8e-5,
            softirq: rate * 1e-5,
            memory_pss: 20 << 20,
            descriptors: 150,
            descriptor_limit: Some(1 << 20),
            system_calls: Some(units * 2),
            busy: Some(rate * 1.1e-4),
        }),
        generator: Busy { generator: 0.5, backends: 0.5, lag_max: 20_000, ceiling: None },
        series: Vec::new(),
        told: BTreeMap::new(),
        groups: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_per_unit_of_the_window() {
        let run = sample("ringmain", 1000.0);
        assert_eq!(run.units(), 10_000.0);
        assert!((run.cpu_per_unit().unwrap() - 10_000.0).abs() < 1e-6);
        assert!((run.cpus_used().unwrap() - 0.01).abs() < 1e-12);
        assert_eq!(run.system_calls_per_unit(), Some(2.0));
        assert_eq!(run.memory_per_connection(), Some((20 << 20) as f64 / 64.0));
    }

    #[test]
    fn memory_of_a_connection_is_what_more_of_them_add() {
        let few = sample("ringmain", 1000.0);
        let mut many = Run { connections: 1064, ..few.clone() };
        assert_eq!(Run::memory_between(&few, &many), None);
        many.cost.as_mut().unwrap().memory_pss += 2_800_000;
        assert_eq!(Run::memory_between(&few, &many), Some(2_800.0));
        assert_eq!(Run::memory_between(&few, &few), None);
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let run = Run { achieved: 0.0, connections: 0, ..sample("ringmain", 1000.0) };
        assert_eq!(run.cpu_per_unit(), None);
        assert_eq!(run.memory_per_connection(), None);
        assert_eq!(Run { cost: None, ..run }.cpus_used(), None);
    }

    #[test]
    fn what_left_is_what_has_to_be_carried() {
        let run = sample("ringmain", 1000.0);
        assert!(run.is_carried(0.98));
        // Chance sent fewer than were asked for.
        let mut few = Run { achieved: 950.0, ..run.clone() };
        few.counts.sent = 9_500;
        assert!(few.is_carried(0.98));
        assert!(!Run { achieved: 950.0, ..run.clone() }.is_carried(0.98));
        assert!(!Run { offered: None, ..run }.is_carried(0.98));
    }

    #[test]
    fn reordered_units_came_back() {
        let errors = [(kinds::RESET.to_owned(), 2), (kinds::PORTS.to_owned(), 3)].into();
        let counts = Counts { reordered: 50, lost: 1, errors, ..Counts::default() };
        assert_eq!(counts.failed(), 6);
    }
}
