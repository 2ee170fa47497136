//! How a pool's backends are probed, and when they are ejected. Probes none.

use std::net::IpAddr;
use std::time::Duration;

use super::address;
use super::check::{self, Check, CheckTls, PoolSide};
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

/// `pool_tls` is what the pool's own TLS has for the probes.
pub(super) fn health(section: &Section<'_>, pool_tls: PoolSide) -> Health {
    let (check, tls) = check::read(section, pool_tls);
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

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::samples::{valid_pool, with_pool};

    const BACKENDS: &str = "backends = [\"10.0.0.1:1\"]\n";

    fn health(lines: &str) -> Health {
        let head = "[pool.p.health]\ncheck = \"tcp\"\n";
        valid_pool(&format!("{BACKENDS}{head}{lines}")).health.unwrap()
    }

    fn ejection(lines: &str) -> Ejection {
        valid_pool(&format!("{BACKENDS}[pool.p.ejection]\n{lines}")).ejection.unwrap()
    }

    #[test]
    fn the_sections_switch_health_and_ejection_on() {
        let expected = Health {
            check: Check::Tcp,
            interval: 2 * SECOND,
            fast_interval: SECOND,
            timeout: SECOND,
            rise: 2,
            fall: 3,
            jitter: 10,
            source_addresses: Vec::new(),
            port: None,
            tls: None,
        };
        assert_eq!(health(""), expected);
        let expected = Ejection {
            failures: 5,
            window: 10 * SECOND,
            base_time: 30 * SECOND,
            max_time: 5 * MINUTE,
            max_share: 50,
        };
        assert_eq!(ejection(""), expected);
    }

    #[test]
    fn the_schedule_of_probes_is_read() {
        let read = health(
            "interval = \"10s\"\nfast_interval = \"10s\"\ntimeout = \"20s\"\nrise = 1\nfall = 100\n\
             jitter = 0\nport = 8686\nsource_addresses = [\"::1\", \"10.0.0.9\"]",
        );
        let expected = Health {
            check: Check::Tcp,
            interval: 10 * SECOND,
            fast_interval: 10 * SECOND,
            timeout: 20 * SECOND,
            rise: 1,
            fall: 100,
            jitter: 0,
            source_addresses: ["::1", "10.0.0.9"].map(|ip| ip.parse().unwrap()).to_vec(),
            port: Some(8686),
            tls: None,
        };
        assert_eq!(read, expected);
        assert_eq!(health("port = \"traffic\"").port, None);
    }

    #[test]
    fn what_is_left_out_is_no_longer_than_what_is_given() {
        let half = Duration::from_millis(500);
        assert_eq!(health("interval = \"500ms\"").fast_interval, half);
        assert_eq!(health("interval = \"1h\"").fast_interval, SECOND);
        assert_eq!(ejection("max_time = \"10s\"").base_time, 10 * SECOND);
        assert_eq!(ejection("max_time = \"10m\"").base_time, 30 * SECOND);
    }

    #[test]
    fn ejection_is_read() {
        let read = ejection(
            "failures = 1\nwindow = \"1s\"\nbase_time = \"2s\"\nmax_time = \"2s\"\nmax_share = 100",
        );
        let expected = Ejection {
            failures: 1,
            window: SECOND,
            base_time: 2 * SECOND,
            max_time: 2 * SECOND,
            max_share: 100,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn probes_have_their_limits() {
        let cases = [
            ("interval = \"99ms\"", "interval: found \"99ms\"; give a duration from 100ms to 1d"),
            (
                "fast_interval = \"3s\"",
                "fast_interval: \"3s\" is longer than interval, 2s; give as much or less",
            ),
            ("timeout = \"0s\"", "timeout: found \"0s\"; give a duration from 1ms to 1d"),
            ("rise = 0", "rise: found 0; give an integer from 1 to 100"),
            ("fall = 101", "fall: found 101; give an integer from 1 to 100"),
            ("jitter = 51", "jitter: found 51; give an integer from 0 to 50"),
            ("port = 0", "port: found 0; give an integer from 1 to 65535, or \"traffic\""),
            (
                "source_addresses = [\"10.0.0.8\", \"10.0.0.9\"]",
                "source_addresses: an array has two addresses of one family; \
                 give one IPv4 and one IPv6 address",
            ),
            (
                "source_addresses = [\"a\"]",
                "source_addresses[0]: found \"a\"; give an IP address of this host without a port",
            ),
            ("fal = 1", "fal: unknown key; did you mean `fall`?"),
        ];
        for (line, expected) in cases {
            let found = with_pool(&format!("{BACKENDS}[pool.p.health]\ncheck = \"tcp\"\n{line}"));
            assert_eq!(found, [format!("8: pool.p.health.{expected}")]);
        }
    }

    #[test]
    fn ejection_has_its_limits() {
        let cases = [
            ("failures = 0", "failures: found 0; give an integer from 1 to 1000"),
            ("window = 10", "window: 10 has no unit; give a duration from 1ms to 1d"),
            ("base_time = \"1ms\"", "base_time: found \"1ms\"; give a duration from 1s to 1d"),
            (
                "base_time = \"6m\"",
                "base_time: \"6m\" is longer than max_time, 5m; give as much or less",
            ),
            ("max_time = \"2d\"", "max_time: found \"2d\"; give a duration from 1s to 1d"),
            ("max_share = 0", "max_share: found 0; give an integer from 1 to 100"),
            ("max_sahre = 1", "max_sahre: unknown key; did you mean `max_share`?"),
        ];
        for (line, expected) in cases {
            let found = with_pool(&format!("{BACKENDS}[pool.p.ejection]\n{line}"));
            assert_eq!(found, [format!("7: pool.p.ejection.{expected}")]);
        }
    }
}
