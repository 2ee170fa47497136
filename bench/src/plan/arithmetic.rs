//! Owns the arithmetic of a plan: from costs and a demand to lines and a number of hosts.

use super::costs::{Costs, CpuCost, PerConnection, ProtocolCost};
use super::demand::{Demand, Stream};
use super::limits::limits;
use super::lines::{Known, Line, Plan};
use crate::figures::Host;
use crate::report::units;

/// Streams of the demand, or the connecting of some, that were not measured: each its key in the
/// profile, and what is missing.
#[derive(Debug, PartialEq, Eq)]
pub struct NotMeasured(pub Vec<(String, &'static str)>);

/// What calibration says of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// CPU per unit there, in parts of that on loopback.
    pub cpu_factor: f64,
    /// Bits of payload per second, in and out, that one interface carries.
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
    network: Option<Network>,
    host: &Host,
) -> Result<Plan, NotMeasured> {
    let missing = missing(demand, costs);
    if !missing.is_empty() {
        return Err(NotMeasured(missing));
    }
    let mut lines = Vec::new();
    let need = needs(demand, costs, network, &mut lines);
    let (hosts, because) = hosts(demand, &need, &mut lines);
    interfaces(demand, network, hosts, &mut lines);
    let serving = hosts - demand.headroom.hosts_lost;
    let descriptors = need.descriptors / f64::from(serving);
    let settings = limits(demand, serving, descriptors, host);
    Ok(Plan { lines, hosts, because, settings, checks: Vec::new() })
}

fn missing(demand: &Demand, costs: &Costs) -> Vec<(String, &'static str)> {
    let mut missing = Vec::new();
    for stream in &demand.streams {
        if costs.of_stream(stream).is_none() {
            missing.push((format!("agents.{}.protocol", stream.name), stream.protocol.as_str()));
        }
        if stream.reconnects_per_second > 0.0 && costs.of_connects(stream).is_none() {
            let connect = stream.connect_protocol().as_str();
            missing.push((format!("agents.{}.lifetime", stream.name), connect));
        }
    }
    missing
}

fn needs(demand: &Demand, costs: &Costs, network: Option<Network>, lines: &mut Vec<Line>) -> Need {
    let mut need = Need { cpus: 0.0, bytes: 0.0, descriptors: 0.0 };
    for (name, why) in &demand.left_out {
        lines.push(Line {
            what: name.clone(),
            value: "not in it".to_owned(),
            arithmetic: why.clone(),
            known: Known::Unknown,
        });
    }
    for stream in &demand.streams {
        // That all of them were measured was seen to before.
        let Some(cost) = costs.of_stream(stream) else { continue };
        let spike = demand.spike_of(stream);
        let used = demand.headroom.used;
        let is_like = cost.is_like(stream.bytes_per_unit);
        let rate = stream.units_per_second;
        let term = Term { what: stream.name.clone(), rate, spike, is_like };
        need.cpus += cpu_line(&term, cost, costs.cpu_at(cost, used), lines);
        if let Some(connects) =
            costs.of_connects(stream).filter(|_| stream.reconnects_per_second > 0.0)
        {
            let what = format!("{}, connecting", stream.name);
            let rate = stream.reconnects_per_second;
            let term = Term { what, rate, spike, is_like: true };
            need.cpus += cpu_line(&term, connects, costs.cpu_at(connects, used), lines);
        }
        let of = cost.per_connection();
        let agents = f64::from(stream.agents);
        memory_line(stream, of, lines);
        need.bytes += agents * (of.bytes + SOCKETS_BYTES);
        need.descriptors += agents * of.descriptors.max(2.0);
    }
    fleet_lines(demand, &need, lines);
    if let Some(Network { cpu_factor, .. }) = network {
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
    need
}

/// What all of it comes to, before hosts are counted.
fn fleet_lines(demand: &Demand, need: &Need, lines: &mut Vec<Line>) {
    let cpu_known = least_known(lines);
    let agents = demand.agents();
    lines.push(Line {
        what: "the fleet: CPUs".to_owned(),
        value: units::digits(need.cpus),
        arithmetic: "all of the above, with all spikes at once".to_owned(),
        known: cpu_known,
    });
    lines.push(Line {
        what: "the fleet: memory".to_owned(),
        value: units::bytes(need.bytes),
        arithmetic: format!("of {agents} connections, in the proxy and in the kernel"),
        known: Known::Assumed,
    });
}

/// A sum is known no better than its least certain part.
fn least_known(lines: &[Line]) -> Known {
    let parts = lines.iter().filter(|line| line.what.ends_with("CPUs"));
    parts.map(|line| line.known).max().unwrap_or(Known::Measured)
}

/// Units per second of one kind, and times as many in a spike.
struct Term {
    what: String,
    rate: f64,
    spike: f64,
    /// They are like those that were measured.
    is_like: bool,
}

/// CPUs in a spike.
fn cpu_line(term: &Term, cost: &ProtocolCost, at: CpuCost, lines: &mut Vec<Line>) -> f64 {
    let CpuCost { nanoseconds, is_between } = at;
    let Term { what, rate, spike, is_like } = term;
    let (rate, is_like) = (*rate, *is_like);
    let cpus = rate * spike * nanoseconds.median / 1e9;
    let (text, each) = (units::number(rate), units::time(nanoseconds.median));
    let size = match is_like {
        true => String::new(),
        false => format!(", measured with units of {}", units::bytes(cost.bytes_per_unit)),
    };
    lines.push(Line {
        what: format!("{what}: CPUs"),
        value: units::digits(cpus),
        arithmetic: format!("{text}/s x {spike} spike x {each}{size}"),
        known: if is_between && is_like { Known::Measured } else { Known::Extended },
    });
    cpus
}

fn memory_line(stream: &Stream, of: PerConnection, lines: &mut Vec<Line>) {
    let agents = f64::from(stream.agents);
    let proxy = agents * of.bytes;
    let (each, how) = (units::bytes(of.bytes), if of.is_slope { "each" } else { "each, at most" });
    lines.push(Line {
        what: format!("{}: memory of the proxy", stream.name),
        value: units::bytes(proxy),
        arithmetic: format!("{} connections x {each} {how}", stream.agents),
        known: if of.is_slope { Known::Measured } else { Known::Extended },
    });
    lines.push(Line {
        what: format!("{}: memory of the kernel", stream.name),
        value: units::bytes(agents * SOCKETS_BYTES),
        arithmetic: format!("{} connections x {}", stream.agents, units::bytes(SOCKETS_BYTES)),
        known: Known::Assumed,
    });
}

/// The number of hosts, and what it follows from.
fn hosts(demand: &Demand, need: &Need, lines: &mut Vec<Line>) -> (u32, String) {
    let used = demand.headroom.used;
    let cores = f64::from(demand.host.cores);
    let memory = demand.host.memory_gib * 1024.0_f64.powi(3);
    let by_cpu = need.cpus / (cores * used);
    // A spike sends more on the connections there are; it opens no more of them.
    let by_memory = need.bytes / (memory * used);
    let cpu_known = least_known(lines);
    let mut push = |what: &str, value: f64, known: Known, arithmetic: String| {
        let (what, value) = (what.to_owned(), units::digits(value));
        lines.push(Line { what, value, arithmetic, known });
    };
    let cpus = units::digits(need.cpus);
    push("hosts by CPU", by_cpu, cpu_known, format!("{cpus} / ({cores} cores x {used} used)"));
    let (bytes, of) = (units::bytes(need.bytes), units::bytes(memory));
    push("hosts by memory", by_memory, Known::Assumed, format!("{bytes} / ({of} x {used} used)"));
    let (most, name) = if by_cpu >= by_memory { (by_cpu, "CPU") } else { (by_memory, "memory") };
    let serving = (most.ceil() as u32).max(1);
    let lost = demand.headroom.hosts_lost;
    (serving + lost, format!("as {serving} have to carry a spike by {name} when {lost} are lost"))
}

fn interfaces(demand: &Demand, network: Option<Network>, hosts: u32, lines: &mut Vec<Line>) {
    let serving = f64::from(hosts - demand.headroom.hosts_lost);
    // What comes in from agents goes out to backends: each byte crosses the interface twice.
    let bits = demand.peak_bytes() * 8.0 * 2.0 / serving;
    let each = units::digits(bits / 1e9);
    lines.push(Line {
        what: "network of a host".to_owned(),
        value: format!("{each} Gbit/s"),
        arithmetic: format!(
            "{}/s in a spike x 8 bits x in and out / {serving} hosts, headers not counted",
            units::bytes(demand.peak_bytes()),
        ),
        known: Known::Given,
    });
    let (value, arithmetic, known) = match network {
        Some(Network { interface_bits, .. }) => {
            let line = demand.host.interface_gbits.map(|gbits| gbits * 1e9);
            let one = line.map_or(interface_bits, |line| line.min(interface_bits));
            let used = demand.headroom.used;
            let count = (bits / (one * used)).ceil().max(1.0);
            let known = if one < interface_bits { Known::Given } else { Known::Measured };
            let one = units::digits(one / 1e9);
            (format!("{count}"), format!("{each} / ({one} Gbit/s x {used} used)"), known)
        }
        None => {
            let why = "loopback has none; give --calibration, which `calibrate` measures";
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
    use super::super::demand::sample_demand;
    use super::*;
    use crate::figures::{Run, sample};
    use crate::generate::Protocol;

    fn costs() -> Costs {
        let at = |protocol: &str, nanoseconds: f64, bytes: f64| {
            let mut run = sample("ringmain", 0.7 * 1e9 / nanoseconds);
            run.cost.as_mut().unwrap().cpu_seconds = 0.7 * run.window;
            run.cost.as_mut().unwrap().memory_pss = 64 * 20_000;
            Run { protocol: protocol.to_owned(), bytes: run.achieved * bytes, ..run }
        };
        let runs = [
            at("tcp-echo", 20e3, 400.0),
            at("tls-echo", 50e3, 1000.0),
            at("tcp-connect", 80e3, 128.0),
        ];
        Costs::of(runs.iter())
    }

    fn plan(change: impl FnOnce(&mut Demand), network: Option<Network>) -> Plan {
        let mut demand = sample_demand();
        change(&mut demand);
        planned(&demand, &costs(), network, &Host::default()).unwrap()
    }

    fn line<'a>(plan: &'a Plan, what: &str) -> &'a Line {
        plan.lines.iter().find(|line| line.what == what).unwrap()
    }

    #[test]
    fn hosts_carry_the_spike_with_one_lost() {
        // 100,000 x 20 us + 50 x 80 us + 20,000 x 50 us = 3.004 CPUs; x 1.5 / (8 x 0.7) = 0.80:
        // one, and one more.
        let small = plan(|_| (), None);
        assert_eq!(small.hosts, 2, "{}", small.text());
        // 3.004 x 1.5 / (2 x 0.7) = 3.2: four, and one more.
        let cores = plan(|demand| demand.host.cores = 2, None);
        assert_eq!(cores.hosts, 5, "{}", cores.text());
        assert!(cores.because.contains("CPU"));
        let none_lost = plan(|demand| demand.headroom.hosts_lost = 0, None);
        assert_eq!(none_lost.hosts, 1);
        let memory = plan(|demand| demand.host.memory_gib = 0.5, None);
        assert!(memory.because.contains("memory") && memory.hosts > 2, "{}", memory.text());
    }

    #[test]
    fn each_term_is_there_with_what_it_comes_to() {
        let plan = plan(|demand| demand.streams[1].spike = 4.0, None);
        // 100,000 x 1.5 x 20 us; 50 x 1.5 x 80 us; 20,000 x 4 x 50 us.
        assert_eq!(line(&plan, "plain: CPUs").value, "3.00");
        assert_eq!(line(&plan, "plain, connecting: CPUs").value, "0.00600");
        assert_eq!(line(&plan, "tls: CPUs").value, "4.00");
        assert_eq!(line(&plan, "plain: CPUs").known, Known::Measured);
        // (40 MB/s x 1.5 + 20 MB/s x 4) x 16 bits, on two hosts.
        assert_eq!(line(&plan, "network of a host").value, "1.12 Gbit/s");
    }

    #[test]
    fn what_the_fleet_takes_is_summed() {
        let plan = plan(|demand| demand.streams[1].spike = 4.0, None);
        // 3.00 + 0.006 + 4.00; and 25,000 x (20,000 + 8,192) bytes.
        assert_eq!(line(&plan, "the fleet: CPUs").value, "7.01");
        assert_eq!(line(&plan, "the fleet: CPUs").known, Known::Measured);
        let memory = line(&plan, "the fleet: memory");
        assert_eq!((memory.value.as_str(), memory.known), ("672 MiB", Known::Assumed));
    }

    #[test]
    fn units_unlike_those_measured_are_extended() {
        let plan = plan(|demand| demand.streams[0].bytes_per_unit = 4000.0, None);
        let cpus = line(&plan, "plain: CPUs");
        assert_eq!(cpus.known, Known::Extended);
        assert!(cpus.arithmetic.contains("measured with units of 400 B"), "{cpus:?}");
        assert_eq!(line(&plan, "hosts by CPU").known, Known::Extended);
    }

    #[test]
    fn what_loopback_can_not_tell_is_said_to_be_unknown() {
        let unknown =
            |plan: &Plan| plan.lines.iter().filter(|line| line.known == Known::Unknown).count();
        let without = plan(|_| (), None);
        assert_eq!(unknown(&without), 2, "{}", without.text());
        let network = Some(Network { cpu_factor: 2.0, interface_bits: 10e9 });
        let with = plan(|_| (), network);
        assert_eq!(unknown(&with), 0, "{}", with.text());
        assert_eq!(line(&with, "CPUs, with a network").value, "9.01");
        assert_eq!(line(&with, "interfaces of a host").value, "1");
        let slow = plan(|demand| demand.host.interface_gbits = Some(1.0), network);
        let interfaces = line(&slow, "interfaces of a host");
        // 60 MB/s x 1.5 x 16 bits on two hosts / (1 Gbit/s x 0.7).
        assert_eq!((interfaces.value.as_str(), interfaces.known), ("2", Known::Given));
        let udp = |demand: &mut Demand| {
            demand.left_out.push(("syslog".to_owned(), "not carried".to_owned()));
        };
        assert_eq!(unknown(&plan(udp, None)), 3);
    }

    #[test]
    fn all_that_was_not_measured_is_named_at_once() {
        let mut demand = sample_demand();
        demand.streams[0].protocol = Protocol::Ndjson;
        demand.streams[1].reconnects_per_second = 1.0;
        let error = planned(&demand, &costs(), None, &Host::default()).unwrap_err();
        let wanted = [("agents.plain.protocol", "ndjson"), ("agents.tls.lifetime", "tls-connect")];
        assert_eq!(error, NotMeasured(wanted.map(|(key, of)| (key.to_owned(), of)).to_vec()));
    }
}
