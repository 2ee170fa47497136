//! Owns the limits of kernel and service that a plan needs raised, each with its arithmetic.

use super::demand::Demand;
use super::lines::Setting;
use crate::figures::Host;

/// For each of `serving` hosts; `descriptors` are what its connections take.
pub fn limits(demand: &Demand, serving: u32, descriptors: f64, host: &Host) -> Vec<Setting> {
    let hosts = f64::from(serving);
    let agents = demand.agents() / hosts;
    let connects = demand.peak_connects() / hosts;
    let waiting = connects * TIME_WAIT;
    let backends = f64::from(demand.host.backends);
    let lost = f64::from(demand.headroom.hosts_lost);
    let current = |name: &str| host.sysctls.get(name).and_then(|text| text.trim().parse().ok());
    let setting = |name: &str, at_least: f64, arithmetic: String| Setting {
        name: name.to_owned(),
        at_least: at_least.ceil() as u64,
        current: current(name),
        arithmetic,
    };
    // All agents of the lost hosts come at once, over the second that their retries are spread on.
    let burst = demand.agents() * lost / (hosts + lost) / hosts + connects;
    let (agents_text, waiting_text) = (format!("{agents:.0} open"), format!("{waiting:.0}"));
    let mut settings = vec![
        Setting {
            current: host.sysctls.get(PORT_RANGE).and_then(|text| ports(text)),
            ..setting(
                PORT_RANGE,
                (agents + waiting) / backends,
                format!(
                    "ports per backend address: ({agents_text} + {connects:.1}/s x {TIME_WAIT} s \
                     in TIME_WAIT) / {backends} backends"
                ),
            )
        },
        setting(
            "net.ipv4.tcp_max_tw_buckets",
            waiting * 2.0,
            format!("{waiting_text} in TIME_WAIT on each side of the proxy x 2 sides"),
        ),
        setting(
            "net.netfilter.nf_conntrack_max",
            (agents + waiting) * 2.0,
            format!("({agents_text} + {waiting_text}) x 2 sides; none, if conntrack is not loaded"),
        ),
        setting(
            "net.core.somaxconn",
            burst,
            format!("{burst:.0} agents in the second after {lost} hosts are lost"),
        ),
        setting(
            "net.ipv4.tcp_max_syn_backlog",
            burst,
            "as many handshakes as may be waiting to be accepted".to_owned(),
        ),
    ];
    let files = descriptors + SPARE;
    let arithmetic = format!("{descriptors:.0} of connections + {SPARE} for the rest");
    settings.push(setting("LimitNOFILE (systemd)", files, arithmetic));
    settings.push(setting("fs.nr_open", files, "no less than LimitNOFILE".to_owned()));
    settings.push(setting("fs.file-max", files * 2.0, "the service and all others".to_owned()));
    settings
}

/// "32768 60999": how many there are.
fn ports(text: &str) -> Option<u64> {
    let mut ends = text.split_ascii_whitespace();
    let (first, last): (u64, u64) = (ends.next()?.parse().ok()?, ends.next()?.parse().ok()?);
    last.checked_sub(first).map(|between| between + 1)
}

const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";
/// Seconds; Linux has it fixed.
const TIME_WAIT: f64 = 60.0;
/// Listeners, rings, pipes, logs, probes and the control plane.
const SPARE: f64 = 1024.0;

#[cfg(test)]
mod tests {
    use super::super::demand::sample_demand;
    use super::*;

    fn of(name: &str, sysctl: (&str, &str), demand: &Demand) -> Setting {
        let mut host = Host::default();
        host.sysctls.insert(sysctl.0.to_owned(), sysctl.1.to_owned());
        let all = limits(demand, 1, 50_000.0, &host);
        all.into_iter().find(|setting| setting.name == name).unwrap()
    }

    #[test]
    fn ports_are_counted_for_each_backend_address() {
        // (25,000 + 50 x 1.5 x 60) / 4.
        let mut demand = sample_demand();
        let ports = of(PORT_RANGE, (PORT_RANGE, "32768 60999"), &demand);
        assert_eq!((ports.at_least, ports.current), (7375, Some(28_232)));
        assert_eq!(ports.suffices(), Some(true));
        demand.host.backends = 1;
        let one = of(PORT_RANGE, (PORT_RANGE, "32768 60999"), &demand);
        assert_eq!((one.at_least, one.suffices()), (29_500, Some(false)));
    }

    #[test]
    fn connections_that_end_are_held_for_a_minute_on_both_sides() {
        // 50 x 1.5 x 60 x 2; and with the 25,000 that are open, x 2.
        let name = "net.ipv4.tcp_max_tw_buckets";
        assert_eq!(of(name, (name, "4096"), &sample_demand()).at_least, 9_000);
        let name = "net.netfilter.nf_conntrack_max";
        assert_eq!(of(name, (name, "262144"), &sample_demand()).at_least, 59_000);
    }

    #[test]
    fn spikes_of_a_group_of_its_own_count_as_they_do_for_cpus() {
        // 50 x 4 x 60 x 2 of plain, whose spikes are higher than those kept room for.
        let mut demand = sample_demand();
        demand.streams[0].spike = 4.0;
        let name = "net.ipv4.tcp_max_tw_buckets";
        assert_eq!(of(name, (name, "4096"), &demand).at_least, 24_000);
        let name = "net.core.somaxconn";
        assert_eq!(of(name, (name, "4096"), &demand).at_least, 12_700);
    }

    #[test]
    fn the_backlog_takes_the_agents_of_a_lost_host() {
        // Half of 25,000 come to the one that is left, beside 75 new ones.
        let name = "net.core.somaxconn";
        let backlog = of(name, (name, "4096"), &sample_demand());
        assert_eq!((backlog.at_least, backlog.suffices()), (12_575, Some(false)));
    }

    #[test]
    fn what_the_host_does_not_say_is_left_open() {
        let files = of("LimitNOFILE (systemd)", ("a", "b"), &sample_demand());
        assert_eq!((files.at_least, files.suffices()), (51_024, None));
    }
}
