//! How a pool's backends are probed, and when they are ejected. Probes none.

use std::net::IpAddr;
use std::time::Duration;

use super::address;
use super::check::{self, Check, CheckTls};
use super::field::{Field, Read};
use super::reader::Section;
use super::units::{DAY, MILLISECOND, MINUTE, SECOND, show_duration};

/// `[pool.NAME.health]`: active checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub check: Check,
    /// From the end of one probe to the begin of the next, before jitter.
    pub interval: Duration,
    /// The interval while a backend is about to change: some of the last probes disagree with its
    /// state.
    pub fast_interval: Duration,
    /// Of a whole probe.
    pub timeout: Duration,
    /// Successes in a row that make a backend up, at least 1.
    pub rise: u32,
    /// Failures in a row that make it down, at least 1.
    pub fall: u32,
    /// Percent of an interval by which each is shortened or lengthened at random, 0 to 50.
    pub jitter: u8,
    /// Addresses to probe from, one of each family at most.
    pub source_addresses: Vec<IpAddr>,
    /// `None`: the port of the traffic.
    pub port: Option<u16>,
    /// `None`: in the clear. For `http`, `grpc` and `vector`.
    pub tls: Option<CheckTls>,
}

/// `[pool.NAME.ejection]`: passive checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row that eject a backend, at least 1.
    pub failures: u32,
    /// How soon after the connect a reset counts as a failure.
    pub window: Duration,
    /// The first ejection's time, which doubles with each that follows.
    pub base_time: Duration,
    pub max_time: Duration,
    /// Percent of the backends that may be ejected at the same time, 1 to 100; one always may, if
    /// there are others.
    pub max_share: u8,
}

pub(super) fn health(section: &Section<'_>) -> Health {
    let (check, tls) = check::read(section);
    let interval =
        section.value_or("interval", 2 * SECOND, |field| field.duration(INTERVAL_MIN..=DAY));
    Health {
        check,
        interval,
        fast_interval: section
            .value_or("fast_interval", interval.min(SECOND), |field| fast(field, interval)),
        timeout: section.value_or("timeout", SECOND, |field| field.duration(MILLISECOND..=DAY)),
        rise: section.value_or("rise", 2, |field| field.integer(1..=100)),
        fall: section.value_or("fall", 3, |field| field.integer(1..=100)),
        jitter: section.value_or("jitter", 10, |field| field.integer(0..=50)),
        source_addresses: section.value_or("source_addresses", Vec::new(), source_addresses),
        port: section.value_or("port", None, |field| {
            field.unless("traffic", |field| field.integer(1..=u16::MAX))
        }),
        tls,
    }
}

fn fast(field: &Field<'_>, interval: Duration) -> Read<Duration> {
    let fast = field.duration(INTERVAL_MIN..=DAY)?;
    if fast <= interval {
        return Ok(fast);
    }
    let flaw = format!("is longer than interval, {}", show_duration(interval));
    Err(field.flaw(&flaw, "as much or less"))
}

fn source_addresses(field: &Field<'_>) -> Read<Vec<IpAddr>> {
    let addresses = address::sources(field)?;
    let of_family = |v4: bool| addresses.iter().filter(|address| address.is_ipv4() == v4).count();
    if of_family(true) > 1 || of_family(false) > 1 {
        return Err(field.flaw("has two addresses of one family", "one IPv4 and one IPv6 address"));
    }
    Ok(addresses)
}

pub(super) fn ejection(section: &Section<'_>) -> Ejection {
    let max_time = section.value_or("max_time", 5 * MINUTE, |field| field.duration(SECOND..=DAY));
    Ejection {
        failures: section.value_or("failures", 5, |field| field.integer(1..=1000)),
        window: section.value_or("window", 10 * SECOND, |field| field.duration(MILLISECOND..=DAY)),
        base_time: section.value_or("base_time", max_time.min(30 * SECOND), |field| {
            let base_time = field.duration(SECOND..=DAY)?;
            if base_time <= max_time {
                return Ok(base_time);
            }
            let flaw = format!("is longer than max_time, {}", show_duration(max_time));
            Err(field.flaw(&flaw, "as much or less"))
        }),
        max_time,
        max_share: section.value_or("max_share", 50, |field| field.integer(1..=100)),
    }
}

/// More often than ten times a second, probes are a load of their own.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
