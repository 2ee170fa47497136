//! Owns the reading of what a proxy takes, from /proc; it runs nothing.

use std::fs;
use std::io;

use rustix::param::clock_ticks_per_second;

use crate::compare::{Cpus, Footprint, Reading};
use crate::figures::{Busy, Cost};

/// What a proxy has taken up to one moment.
pub struct Mark {
    reading: Reading,
    /// Seconds of the process in user space and in the kernel.
    user: f64,
    system: f64,
    /// Seconds of softirqs on the proxy's CPU.
    softirq: f64,
    memory: u64,
    descriptors: u32,
    descriptor_limit: Option<u64>,
}

impl Mark {
    pub fn take(root: u32, cpus: Cpus) -> io::Result<Self> {
        let tick = clock_ticks_per_second() as f64;
        let stat = fs::read_to_string(format!("/proc/{root}/stat"))?;
        let (user, system) = times(&stat).ok_or(io::ErrorKind::InvalidData)?;
        let all = fs::read_to_string("/proc/stat")?;
        let softirq = softirqs(&all, cpus.proxy).ok_or(io::ErrorKind::InvalidData)?;
        let limits = fs::read_to_string(format!("/proc/{root}/limits"))?;
        Ok(Self {
            reading: Reading::take(root, cpus)?,
            user: user as f64 / tick,
            system: system as f64 / tick,
            softirq: softirq as f64 / tick,
            memory: Footprint::take(root)?.pss,
            descriptors: fs::read_dir(format!("/proc/{root}/fd"))?.count() as u32,
            descriptor_limit: open_files(&limits),
        })
    }

    pub fn until(&self, later: &Self) -> (Cost, Busy) {
        let usage = self.reading.until(&later.reading);
        let cpu_seconds = usage.proxy as f64 / 1e9;
        // Ticks tell the parts to a hundredth of a second; the whole is exact.
        let (user, system) = (later.user - self.user, later.system - self.system);
        let scale = if user + system > 0.0 { cpu_seconds / (user + system) } else { 0.0 };
        let cost = Cost {
            cpu_seconds,
            user: user * scale,
            system: system * scale,
            softirq: later.softirq - self.softirq,
            memory_pss: later.memory,
            descriptors: later.descriptors,
            descriptor_limit: later.descriptor_limit,
            system_calls: None,
        };
        let busy = Busy {
            generator: usage.load_cpu_busy,
            backends: usage.load_cpu_busy,
            lag_max: 0,
            ceiling: None,
        };
        (cost, busy)
    }
}

/// The 14th and 15th field of proc_pid_stat(5), in ticks; the second may hold anything.
fn times(text: &str) -> Option<(u64, u64)> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The seventh figure of the CPU's line in proc_stat(5), in ticks.
fn softirqs(text: &str, cpu: usize) -> Option<u64> {
    let name = format!("cpu{cpu}");
    let line = text.lines().find(|line| line.split(' ').next() == Some(&name))?;
    line.split_ascii_whitespace().nth(7)?.parse().ok()
}

/// The soft limit of `Max open files` in proc_pid_limits(5).
fn open_files(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_read_as_it_writes() {
        let stat = "42 (a) b) S 17 4242 4242 0 -1 4194560 1 0 0 0 250 31 0 0 20 0 1 0 9 0 0";
        assert_eq!(times(stat), Some((250, 31)));
        let text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 10 0 20 60 5 1 77 2 7 0\n";
        assert_eq!((softirqs(text, 1), softirqs(text, 2)), (Some(77), None));
        let text = "Limit   Soft  Hard Units\nMax open files            1024   4096  files\n";
        assert_eq!(open_files(text), Some(1024));
        assert_eq!(open_files("Max open files  unlimited  unlimited  files"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let cpus = Cpus { proxy: 0, load: 0 };
        let mark = Mark::take(std::process::id(), cpus).unwrap();
        let (cost, _) = mark.until(&Mark::take(std::process::id(), cpus).unwrap());
        assert!(cost.memory_pss > 0 && cost.descriptors > 2 && cost.cpu_seconds >= 0.0);
    }
}
