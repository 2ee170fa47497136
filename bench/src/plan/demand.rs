//! Owns what a fleet asks for, as data, and the file it is read from; it plans nothing.

use std::fmt;

use serde::Deserialize;

/// A fleet, the kind of host that is to carry it, and how much is to be kept free.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    #[serde(rename = "stream")]
    pub streams: Vec<Stream>,
    pub host: HostKind,
    #[serde(default)]
    pub headroom: Headroom,
}

/// Agents alike, all of them together.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// As in the results: "tcp-echo", "syslog-tcp", ...
    pub protocol: String,
    pub agents: u32,
    pub units_per_second: f64,
    /// Bytes of payload, both ways.
    pub bytes_per_unit: f64,
    #[serde(default)]
    pub connects_per_second: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostKind {
    pub cores: u32,
    pub memory_gib: f64,
    /// Addresses of backends behind the host.
    pub backends: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Headroom {
    /// How many times the usual load a spike is.
    pub spike: f64,
    /// Hosts that may be lost while the spike lasts.
    pub hosts_lost: u32,
    /// Share of a host's CPUs and memory that may be used then.
    pub used: f64,
}

impl Default for Headroom {
    fn default() -> Self {
        Self { spike: 1.5, hosts_lost: 1, used: 0.7 }
    }
}

/// Why a text is no demand.
#[derive(Debug)]
pub enum DemandError {
    Malformed(toml::de::Error),
    NoStreams,
    /// A key, and what it has to be.
    OutOfRange(&'static str, &'static str),
}

impl Demand {
    pub fn from_toml(text: &str) -> Result<Self, DemandError> {
        let demand: Self = toml::from_str(text).map_err(DemandError::Malformed)?;
        demand.checked()
    }

    fn checked(self) -> Result<Self, DemandError> {
        if self.streams.is_empty() {
            return Err(DemandError::NoStreams);
        }
        let each = |good: fn(&Stream) -> bool| self.streams.iter().all(good);
        let is_count = |value: f64| value >= 0.0 && value.is_finite();
        let Headroom { spike, used, .. } = self.headroom;
        let rules = [
            (
                each(|of| of.units_per_second > 0.0 && of.units_per_second.is_finite()),
                "stream.units_per_second",
                "above 0",
            ),
            (
                each(|of| of.bytes_per_unit > 0.0 && of.bytes_per_unit.is_finite()),
                "stream.bytes_per_unit",
                "above 0",
            ),
            (
                self.streams.iter().all(|of| is_count(of.connects_per_second)),
                "stream.connects_per_second",
                "0 or more",
            ),
            (self.host.cores > 0, "host.cores", "1 or more"),
            (self.host.backends > 0, "host.backends", "1 or more"),
            (
                self.host.memory_gib > 0.0 && self.host.memory_gib.is_finite(),
                "host.memory_gib",
                "above 0",
            ),
            ((1.0..=100.0).contains(&spike), "headroom.spike", "from 1 to 100"),
            (used > 0.0 && used <= 1.0, "headroom.used", "above 0 and up to 1"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, key, range)) => Err(DemandError::OutOfRange(key, range)),
            None => Ok(self),
        }
    }

    pub fn agents(&self) -> f64 {
        self.streams.iter().map(|of| f64::from(of.agents)).sum()
    }

    pub fn connects(&self) -> f64 {
        self.streams.iter().map(|of| of.connects_per_second).sum()
    }

    /// Bytes of payload per second, both ways.
    pub fn bytes(&self) -> f64 {
        self.streams.iter().map(|of| of.units_per_second * of.bytes_per_unit).sum()
    }
}

impl DemandError {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_profile",
            Self::NoStreams => "no_streams",
            Self::OutOfRange(..) => "out_of_range",
        }
    }
}

impl fmt::Display for DemandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "{}", error.to_string().trim_end()),
            Self::NoStreams => f.write_str("there is no [[stream]]; a fleet has one at least"),
            Self::OutOfRange(key, range) => write!(f, "{key} has to be {range}"),
        }
    }
}

#[cfg(test)]
pub const SAMPLE: &str = r#"
[[stream]]
protocol = "tcp-echo"
agents = 20_000
units_per_second = 100_000.0
bytes_per_unit = 400.0
connects_per_second = 50.0

[[stream]]
protocol = "tls-echo"
agents = 5_000
units_per_second = 20_000.0
bytes_per_unit = 1_000.0

[host]
cores = 8
memory_gib = 32.0
backends = 4
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demand_adds_up() {
        let demand = Demand::from_toml(SAMPLE).unwrap();
        assert_eq!((demand.agents(), demand.connects()), (25_000.0, 50.0));
        assert_eq!(demand.bytes(), 60e6);
        assert_eq!(demand.headroom, Headroom { spike: 1.5, hosts_lost: 1, used: 0.7 });
    }

    #[test]
    fn what_is_no_demand_says_which_key() {
        for (from, to, key) in [
            ("cores = 8", "cores = 0", "host.cores"),
            ("backends = 4", "backends = 0", "host.backends"),
            ("memory_gib = 32.0", "memory_gib = inf", "host.memory_gib"),
            ("= 50.0", "= -1.0", "stream.connects_per_second"),
            ("= 400.0", "= nan", "stream.bytes_per_unit"),
            ("agents = 5_000", "agent = 5_000", "agent"),
            ("[host]", "[headroom]\nspike = 0.5\n[host]", "headroom.spike"),
        ] {
            let text = SAMPLE.replace(from, to);
            assert_ne!(text, SAMPLE, "{from}");
            let error = Demand::from_toml(&text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
