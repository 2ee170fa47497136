//! Owns what a fleet asks for, as taken from its profile, and what hosts it is to be carried by; it
//! plans nothing.

use clap::Args;

use crate::generate::{Dialogue, Group, Order, Pace, Protocol};

/// A fleet, the kind of host that is to carry it, and how much is to be kept free.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    pub name: String,
    pub streams: Vec<Stream>,
    /// Groups that are not planned for, and why.
    pub left_out: Vec<(String, String)>,
    pub host: HostKind,
    pub headroom: Headroom,
}

/// Agents alike, all of them together: a group of the profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    pub name: String,
    pub protocol: Protocol,
    /// Connections at a time.
    pub agents: u32,
    pub units_per_second: f64,
    /// Bytes of payload, both ways.
    pub bytes_per_unit: f64,
    /// Beside those that are units themselves.
    pub reconnects_per_second: f64,
    /// How many times the usual its own spikes are.
    pub spike: f64,
}

#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub struct HostKind {
    /// CPUs of each host; 0: as on the host that was measured
    #[arg(long, default_value_t = 0)]
    pub cores: u32,
    /// Memory of each host in GiB; 0: as on the host that was measured
    #[arg(long, default_value_t = 0.0, value_parser = parse_memory)]
    pub memory_gib: f64,
    /// Addresses of backends behind each host
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub backends: u32,
    /// Gbit/s of an interface, if it is less than a calibration has seen
    #[arg(long, value_parser = parse_positive)]
    pub interface_gbits: Option<f64>,
}

#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub struct Headroom {
    /// How many times the usual load a spike is, where the profile has none that are higher
    #[arg(long, default_value_t = 1.5, value_parser = parse_spike)]
    pub spike: f64,
    /// Hosts that may be lost while the spike lasts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub hosts_lost: u32,
    /// Share of a host's CPUs and memory that may be used then
    #[arg(long, default_value_t = 0.7, value_parser = parse_part)]
    pub used: f64,
}

impl Demand {
    /// `names` are those of the groups, in their order. Every error at once, with its key.
    pub fn of(
        order: &Order,
        names: &[String],
        host: HostKind,
        headroom: Headroom,
    ) -> Result<Demand, Vec<String>> {
        let (mut streams, mut left_out, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for (group, name) in order.groups.iter().zip(names) {
            let path = format!("agents.{name}");
            if !crosses_ringmain(group.protocol) {
                left_out.push((name.clone(), "Ringmain does not carry UDP yet".to_owned()));
                continue;
            }
            match Stream::of(group, name) {
                Some(stream) => streams.push(stream),
                None => errors.push(format!(
                    "{path}.rate: \"closed\" says no rate to plan for; give units per second"
                )),
            }
        }
        if streams.is_empty() && errors.is_empty() {
            errors.push("agents: no group crosses Ringmain; there is nothing to plan".to_owned());
        }
        let name = order.name.clone();
        match errors.is_empty() {
            true => Ok(Demand { name, streams, left_out, host, headroom }),
            false => Err(errors),
        }
    }

    pub fn agents(&self) -> f64 {
        self.streams.iter().map(|of| f64::from(of.agents)).sum()
    }

    /// Connections per second, whatever for, in a spike.
    pub fn peak_connects(&self) -> f64 {
        self.streams.iter().map(|of| of.connects() * self.spike_of(of)).sum()
    }

    /// Bytes of payload per second, both ways, in a spike.
    pub fn peak_bytes(&self) -> f64 {
        let peak = |of: &Stream| of.units_per_second * of.bytes_per_unit * self.spike_of(of);
        self.streams.iter().map(peak).sum()
    }

    /// All spikes may come at once.
    pub fn spike_of(&self, stream: &Stream) -> f64 {
        stream.spike.max(self.headroom.spike)
    }
}

impl Stream {
    /// `None`: its loop is closed, so that nobody knows its rate.
    fn of(group: &Group, name: &str) -> Option<Stream> {
        let Pace::Open { rate, spikes, .. } = group.pace else { return None };
        let lifetime = group.lifetime.filter(|_| !is_visit(group.protocol));
        let reconnects = lifetime.map_or(0.0, |mean| f64::from(group.agents) / mean.as_secs_f64());
        Some(Stream {
            name: name.to_owned(),
            protocol: group.protocol,
            agents: group.agents,
            units_per_second: rate,
            bytes_per_unit: group.sizes.mean() * ways(group.protocol),
            reconnects_per_second: reconnects,
            spike: spikes.map_or(1.0, |spikes| spikes.factor),
        })
    }

    /// The name that costs measured for this stream alone go by.
    pub fn key(&self) -> String {
        format!("{} ({})", self.protocol.as_str(), self.name)
    }

    pub fn connects(&self) -> f64 {
        let visits = if is_visit(self.protocol) { self.units_per_second } else { 0.0 };
        visits + self.reconnects_per_second
    }

    /// The protocol whose unit is such a connection, and one message on it.
    pub fn connect_protocol(&self) -> Protocol {
        connect_protocol(self.protocol)
    }
}

pub fn connect_protocol(protocol: Protocol) -> Protocol {
    match protocol.handshakes() {
        Some(_) => Protocol::TlsConnect,
        None => Protocol::TcpConnect,
    }
}

pub fn is_visit(protocol: Protocol) -> bool {
    protocol.dialogue() == Dialogue::Visit
}

/// Its listeners are of TCP.
fn crosses_ringmain(protocol: Protocol) -> bool {
    !protocol.as_str().contains("udp")
}

/// How often the payload of a unit crosses the proxy: echoes come back.
fn ways(protocol: Protocol) -> f64 {
    let echoes = matches!(protocol, Protocol::TcpEcho | Protocol::TlsEcho) || is_visit(protocol);
    if echoes { 2.0 } else { 1.0 }
}

fn parse_positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.001..=1e6).contains(&number) => Ok(number),
        _ => Err("a number above 0 is needed".to_owned()),
    }
}

fn parse_memory(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1e6).contains(&number) => Ok(number),
        _ => Err("a number of GiB is needed".to_owned()),
    }
}

fn parse_spike(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (1.0..=100.0).contains(&number) => Ok(number),
        _ => Err("a number from 1 to 100 is needed".to_owned()),
    }
}

fn parse_part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 1.0 => Ok(number),
        _ => Err("a number above 0 and up to 1 is needed".to_owned()),
    }
}

/// A fleet for tests: 100,000 echoes/s of 20,000 agents and 20,000/s of 5,000 with TLS.
#[cfg(test)]
pub fn sample_demand() -> Demand {
    let stream = |name: &str, protocol, agents, rate, bytes| Stream {
        name: name.to_owned(),
        protocol,
        agents,
        units_per_second: rate,
        bytes_per_unit: bytes,
        reconnects_per_second: 0.0,
        spike: 1.0,
    };
    let mut plain = stream("plain", Protocol::TcpEcho, 20_000, 100_000.0, 400.0);
    plain.reconnects_per_second = 50.0;
    Demand {
        name: "sample".to_owned(),
        streams: vec![plain, stream("tls", Protocol::TlsEcho, 5_000, 20_000.0, 1_000.0)],
        left_out: Vec::new(),
        host: HostKind { cores: 8, memory_gib: 32.0, backends: 4, interface_gbits: None },
        headroom: Headroom { spike: 1.5, hosts_lost: 1, used: 0.7 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet;

    fn demand(text: &str) -> Result<Demand, Vec<String>> {
        let order = fleet::load("fleet.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        let names: Vec<String> = ["echo", "visits"].map(str::to_owned).to_vec();
        let sample = sample_demand();
        Demand::of(&order, &names, sample.host, sample.headroom)
    }

    const FLEET: &str = "name = \"x\"\n\
        [agents.echo]\nprotocol = \"tls-echo\"\ncount = 600\nrate = 1000\nsize = 100\n\
        lifetime = \"1m\"\nspikes = { every = \"30s\", length = \"3s\", factor = 4 }\n\
        [agents.visits]\nprotocol = \"tcp-connect\"\ncount = 10\nrate = 20\n\
        size = { least = 100, most = 300 }\n";

    #[test]
    fn a_profile_is_a_demand() {
        let demand = demand(FLEET).unwrap();
        let [echo, visits] = &demand.streams[..] else { panic!("two streams") };
        assert_eq!((echo.units_per_second, echo.bytes_per_unit), (1000.0, 200.0));
        // 600 connections that last a minute; and each visit is one.
        assert_eq!((echo.reconnects_per_second, visits.connects()), (10.0, 20.0));
        assert_eq!(echo.connect_protocol(), Protocol::TlsConnect);
        assert_eq!(visits.bytes_per_unit, 400.0);
        assert_eq!((demand.agents(), demand.peak_connects()), (610.0, 10.0 * 4.0 + 20.0 * 1.5));
        // Its own spikes are higher than the ones kept room for; the other group has none.
        assert_eq!((demand.spike_of(echo), demand.spike_of(visits)), (4.0, 1.5));
        assert_eq!(demand.peak_bytes(), 200_000.0 * 4.0 + 8_000.0 * 1.5);
    }

    #[test]
    fn what_can_not_be_planned_is_told_at_once_with_its_keys() {
        let closed = FLEET.replace("rate = 1000", "rate = \"closed\"");
        let closed = closed.replace("rate = 20\n", "rate = \"closed\"\n");
        let closed = closed.replace("spikes = {", "#");
        let errors = demand(&closed).unwrap_err();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("agents.echo.rate:"), "{errors:?}");
        assert!(errors[1].starts_with("agents.visits.rate:"), "{errors:?}");
    }
}
