//! Owns the asking of this host for what a measurement depends on; it changes nothing.

use std::collections::BTreeMap;
use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity};

use crate::figures::Host;

/// This host, now. What it does not say is left empty.
pub fn survey() -> Host {
    let (cpu_model, hypervisor) = cpu(&read("/proc/cpuinfo"));
    let version = concat!("ringmain-bench ", env!("CARGO_PKG_VERSION")).to_owned();
    Host {
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpu_model,
        cpus: cpus(),
        memory: memory(&read("/proc/meminfo")).unwrap_or(0),
        hypervisor: hypervisor.to_owned(),
        sysctls: SYSCTLS.iter().filter_map(|name| sysctl(name)).collect(),
        versions: BTreeMap::from([("bench".to_owned(), version)]),
        configurations: BTreeMap::new(),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn cpus() -> u32 {
    let set = sched_getaffinity(None);
    set.map_or(0, |set| (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).count() as u32)
}

/// Of proc_cpuinfo: the model, and whether somebody says to be below.
fn cpu(text: &str) -> (String, &'static str) {
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.unwrap_or("").trim_start_matches([' ', '\t', ':']);
    let is_hypervised = text.lines().any(|line| {
        line.starts_with("flags") && line.split_ascii_whitespace().any(|flag| flag == "hypervisor")
    });
    (model.to_owned(), if is_hypervised { "virtual machine" } else { "none" })
}

/// Bytes, of proc_meminfo(5).
fn memory(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn sysctl(name: &str) -> Option<(String, String)> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let value = fs::read_to_string(path).ok()?;
    let value: Vec<&str> = value.split_ascii_whitespace().collect();
    Some((name.to_owned(), value.join(" ")))
}

/// Those that figures of a proxy hang on.
pub const SYSCTLS: [&str; 20] = [
    "fs.file-max",
    "fs.nr_open",
    "kernel.io_uring_disabled",
    "kernel.perf_event_paranoid",
    "net.core.busy_poll",
    "net.core.netdev_max_backlog",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_wmem",
    "net.netfilter.nf_conntrack_max",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_described() {
        let host = survey();
        assert!(!host.kernel.is_empty() && host.cpus > 0 && host.memory > 0, "{host:?}");
        assert!(host.sysctls.contains_key("net.core.somaxconn"));
        assert!(host.versions["bench"].starts_with("ringmain-bench 0"), "{host:?}");
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(memory("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(memory(""), None);
    }

    #[test]
    fn a_cpu_is_named_with_who_is_below_it() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC 9R14\nflags\t\t: fpu vme\n";
        assert_eq!(cpu(text), ("AMD EPYC 9R14".to_owned(), "none"));
        let virtual_one = text.replace("vme", "hypervisor vme");
        assert_eq!(cpu(&virtual_one).1, "virtual machine");
        assert_eq!(cpu("bogomips: hypervisor\n"), (String::new(), "none"));
    }
}
