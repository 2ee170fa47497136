//! Owns the arithmetic of a plan: from costs and a demand to lines and a number of hosts.

use super::costs::{Costs, PerConnection};
use super::demand::{Demand, Stream};
use super::limits::limits;
use super::lines::{Known, Line, Plan};
use crate::figures::Host;
use crate::report::units;

/// A protocol of the demand that was not measured.
#[derive(Debug, PartialEq, Eq)]
pub struct NotMeasured(pub String);

/// Measured between two hosts, or two network namespaces, for what loopback can not tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// CPU per unit there, in parts of that on loopback, for the same protocol.
    pub cpu_factor: f64,
    /// Bits of payload per second, both ways, that one network interface was seen to carry.
    pub interface_bits: f64,
}

/// What all streams need together, before headroom.
struct Need {
    cpus: f64,
    bytes: f64,
    descriptors: f64,
}

/// Plans for the demand. `host` is where the costs were measured.
pub fn planned(
    demand: &Demand,
    costs: &Costs,
    calibration: Option<Calibration>,
    host: &Host,
) -> Result<Plan, NotMeasured> {
    let mut lines = Vec::new();
    let need = needs(demand, costs, calibration, &mut lines)?;
    let (hosts, because) = hosts(demand, &need, &mut lines);
    network(demand, calibration, hosts, &mut lines);
    let serving = hosts - demand.headroom.hosts_lost;
    let descriptors = need.descriptors / f64::from(serving);
    let settings = limits(demand, serving, descriptors, host);
    Ok(Plan { lines, hosts, because, settings, check: None })
}

fn needs(
    demand: &Demand,
    costs: &Costs,
    calibration: Option<Calibration>,
    lines: &mut Vec<Line>,
) -> Result<Need, NotMeasured> {
    let mut need = Need { cpus: 0.0, bytes: 0.0, descriptors: 0.0 };
    for stream in &demand.streams {
        let missing = || NotMeasured(stream.protocol.clone());
        let cost = costs.of_protocol(&stream.protocol).ok_or_else(missing)?;
        let (cpu, between) = cost.cpu_at(demand.headroom.used);
        need.cpus += cpu_line(stream, cpu.median, between, lines);
        let of = cost.per_connection();
        let agents = f64::from(stream.agents);
        memory_line(stream, of, lines);
        need.bytes += agents * (of.bytes + SOCKETS_BYTES);
        need.descriptors += agents * of.descriptors.max(2.0);
    }
    if let Some(Calibration { cpu_factor, .. }) = calibration {
        let before = need.cpus;
        need.cpus *= cpu_factor;
        lines.push(Line {
            what: "CPUs, with a network".to_owned(),
            value: units::digits(need.cpus),
            arithmetic: format!("{} x {cpu_factor:.2} by calibration", units::digits(before)),
            known: Known::Measured,
        });
    } else {
        lines.push(Line {
            what: "receiving from a network".to_owned(),
            value: "not in it".to_owned(),
            arithmetic: "loopback charges receive work to the sender; give --calibration"
                .to_owned(),
            known: Known::Unknown,
        });
    }
    Ok(need)
}

fn cpu_line(stream: &Stream, nanoseconds: f64, between: bool, lines: &mut Vec<Line>) -> f64 {
    let cpus = stream.units_per_second * nanoseconds / 1e9;
    let (rate, each) = (units::number(stream.units_per_second), units::time(nanoseconds));
    lines.push(Line {
        what: format!("{}: CPUs", stream.protocol),
        value: units::digits(cpus),
        arithmetic: format!("{rate} units/s x {each}"),
        known: if between { Known::Measured } else { Known::Extended },
    });
    cpus
}

fn memory_line(stream: &Stream, of: PerConnection, lines: &mut Vec<Line>) {
    let agents = f64::from(stream.agents);
    let proxy = agents * of.bytes;
    let (each, how) = (units::bytes(of.bytes), if of.is_slope { "each" } else { "each, at most" });
    lines.push(Line {
        what: format!("{}: memory of the proxy", stream.protocol),
        value: units::bytes(proxy),
        arithmetic: format!("{} connections x {each} {how}", stream.agents),
        known: if of.is_slope { Known::Measured } else { Known::Extended },
    });
    lines.push(Line {
        what: format!("{}: memory of the kernel", stream.protocol),
        value: units::bytes(agents * SOCKETS_BYTES),
        arithmetic: format!("{} connections x {}", stream.agents, units::bytes(SOCKETS_BYTES)),
        known: Known::Assumed,
    });
}

/// The number of hosts, and what it follows from.
fn hosts(demand: &Demand, need: &Need, lines: &mut Vec<Line>) -> (u32, String) {
    let headroom = &demand.headroom;
    let (spike, used) = (headroom.spike, headroom.used);
    let cores = f64::from(demand.host.cores);
    let memory = demand.host.memory_gib * 1024.0_f64.powi(3);
    // A spike sends more on the connections there are; it opens no more of them.
    let by_cpu = need.cpus * spike / (cores * used);
    let by_memory = need.bytes / (memory * used);
    // A sum is known no better than its least certain part.
    let parts = lines.iter().filter(|line| line.what.ends_with("CPUs"));
    let cpu_known = parts.map(|line| line.known).max().unwrap_or(Known::Measured);
    let mut push = |what: &str, value: f64, known: Known, arithmetic: String| {
        let (what, value) = (what.to_owned(), units::digits(value));
        lines.push(Line { what, value, arithmetic, known });
    };
    let cpus = units::digits(need.cpus);
    push(
        "hosts by CPU",
        by_cpu,
        cpu_known,
        format!("{cpus} x {spike} spike / ({cores} cores x {used} used)"),
    );
    let (bytes, of) = (units::bytes(need.bytes), units::bytes(memory));
    push("hosts by memory", by_memory, Known::Assumed, format!("{bytes} / ({of} x {used} used)"));
    let (most, name) = if by_cpu >= by_memory { (by_cpu, "CPU") } else { (by_memory, "memory") };
    let serving = (most.ceil() as u32).max(1);
    let lost = headroom.hosts_lost;
    (serving + lost, format!("as {serving} have to carry a spike by {name} when {lost} are lost"))
}

fn network(demand: &Demand, calibration: Option<Calibration>, hosts: u32, lines: &mut Vec<Line>) {
    let serving = f64::from(hosts - demand.headroom.hosts_lost);
    // What comes in from agents goes out to backends: each byte crosses the interface twice.
    let bits = demand.bytes() * 8.0 * 2.0 * demand.headroom.spike / serving;
    let each = units::digits(bits / 1e9);
    lines.push(Line {
        what: "network of a host".to_owned(),
        value: format!("{each} Gbit/s"),
        arithmetic: format!(
            "{}/s x 8 bits x in and out x {} spike / {serving} hosts, headers not counted",
            units::bytes(demand.bytes()),
            demand.headroom.spike
        ),
        known: Known::Given,
    });
    let (value, arithmetic, known) = match calibration {
        Some(Calibration { interface_bits, .. }) => {
            let count = (bits / (interface_bits * demand.headroom.used)).ceil().max(1.0);
            let one = units::digits(interface_bits / 1e9);
            let used = demand.headroom.used;
            (format!("{count}"), format!("{each} / ({one} x {used} used)"), Known::Measured)
        }
        None => {
            let why = "loopback has none; give --calibration with a run between two hosts";
            ("not said".to_owned(), why.to_owned(), Known::Unknown)
        }
    };
    lines.push(Line { what: "interfaces of a host".to_owned(), value, arithmetic, known });
}

/// Two TCP sockets that wait, with their files, inodes and dentries; what is queued in them comes
/// on top, up to net.ipv4.tcp_mem.
const SOCKETS_BYTES: f64 = 8192.0;

#[cfg(test)]
mod tests {
    use super::super::demand::SAMPLE;
    use super::*;
    use crate::figures::{Run, sample};

    fn costs() -> Costs {
        let at = |protocol: &str, nanoseconds: f64| {
            let mut run = sample("ringmain", 0.7 * 1e9 / nanoseconds);
            run.cost.as_mut().unwrap().cpu_seconds = 0.7 * run.window;
            run.cost.as_mut().unwrap().memory_pss = 64 * 20_000;
            Run { protocol: protocol.to_owned(), ..run }
        };
        Costs::of([at("tcp-echo", 20e3), at("tls-echo", 50e3)].iter())
    }

    fn plan(text: &str, calibration: Option<Calibration>) -> Plan {
        let demand = Demand::from_toml(text).unwrap();
        planned(&demand, &costs(), calibration, &Host::default()).unwrap()
    }

    #[test]
    fn hosts_carry_the_spike_with_one_lost() {
        // 100,000 x 20 us + 20,000 x 50 us = 3 CPUs; x 1.5 / (8 x 0.7) = 0.80: one, and one more.
        let small = plan(SAMPLE, None);
        assert_eq!(small.hosts, 2, "{}", small.text());
        let cores = plan(&SAMPLE.replace("cores = 8", "cores = 2"), None);
        // 3 x 1.5 / (2 x 0.7) = 3.2: four, and one more.
        assert_eq!(cores.hosts, 5, "{}", cores.text());
        assert!(cores.because.contains("CPU"));
        let memory = plan(&SAMPLE.replace("memory_gib = 32.0", "memory_gib = 0.5"), None);
        assert!(memory.because.contains("memory") && memory.hosts > 2, "{}", memory.text());
    }

    #[test]
    fn what_loopback_can_not_tell_is_said_to_be_unknown() {
        let unknown =
            |plan: &Plan| plan.lines.iter().filter(|line| line.known == Known::Unknown).count();
        let without = plan(SAMPLE, None);
        assert_eq!(unknown(&without), 2, "{}", without.text());
        let with = plan(SAMPLE, Some(Calibration { cpu_factor: 2.0, interface_bits: 10e9 }));
        assert_eq!(unknown(&with), 0, "{}", with.text());
        assert!(with.lines.iter().any(|line| line.value == "6.00"), "{}", with.text());
    }

    #[test]
    fn a_protocol_without_costs_is_named() {
        let demand = Demand::from_toml(&SAMPLE.replace("tls-echo", "udp")).unwrap();
        let error = planned(&demand, &costs(), None, &Host::default()).unwrap_err();
        assert_eq!(error, NotMeasured("udp".to_owned()));
    }
}
