//! Owns what a run costs, read from /proc at its beginning, at its end, and once a second.

use std::fs;
use std::io;
use std::path::Path;

use rustix::param::clock_ticks_per_second;

use crate::compare::cpus::Cpus;
use crate::compare::memory::Footprint;
use crate::compare::usage;
use crate::figures::Cost;

use super::calls::Calls;

/// The proxy's tree of processes at one moment.
pub struct Reading {
    usage: usage::Reading,
    user: f64,
    system: f64,
    softirq: f64,
    /// Seconds that the proxy's CPUs were not idle.
    busy: f64,
    calls: Option<u64>,
}

impl Reading {
    /// Of the process `root` and all it has started; softirqs are those of the CPUs `proxy`.
    pub fn take(
        root: u32,
        cpus: Cpus,
        proxy: &[usize],
        calls: Option<&mut Calls>,
    ) -> io::Result<Reading> {
        let tick = 1.0 / clock_ticks_per_second() as f64;
        let (mut user, mut system) = (0.0, 0.0);
        for process in usage::tree_of(root)? {
            let stat = match fs::read_to_string(format!("/proc/{process}/stat")) {
                Ok(stat) => stat,
                // What it has started may end between the listing and this.
                Err(_) if process != root => continue,
                Err(error) => return Err(error),
            };
            let (of_user, of_system) = parse_times(&stat).ok_or(io::ErrorKind::InvalidData)?;
            user += of_user as f64 * tick;
            system += of_system as f64 * tick;
        }
        let stat = fs::read_to_string("/proc/stat")?;
        let (mut softirq, mut busy) = (0.0, 0.0);
        for &cpu in proxy {
            let (of_softirq, of_all) = parse_cpu(&stat, cpu).ok_or(io::ErrorKind::InvalidData)?;
            softirq += of_softirq as f64 * tick;
            busy += of_all as f64 * tick;
        }
        let calls = calls.map(Calls::count).transpose()?;
        let usage = usage::Reading::take(root, cpus)?;
        Ok(Reading { usage, user, system, softirq, busy, calls })
    }

    /// Seconds in which the proxy's CPUs were busy since, whoever with.
    fn busy_until(&self, later: &Reading) -> f64 {
        later.busy - self.busy
    }

    /// What was spent since, with what the proxy holds now.
    pub fn until(&self, later: &Reading, root: u32) -> io::Result<Cost> {
        let cpu_seconds = self.usage.until(&later.usage).proxy as f64 / 1e9;
        Ok(Cost {
            cpu_seconds,
            user: later.user - self.user,
            system: later.system - self.system,
            softirq: later.softirq - self.softirq,
            memory_pss: Footprint::take(root)?.pss,
            descriptors: descriptors(root)?,
            descriptor_limit: descriptor_limit(root),
            system_calls: later.calls.zip(self.calls).map(|(after, before)| after - before),
            busy: Some(self.busy_until(later)),
        })
    }

    /// What CPUs did since.
    pub fn usage_until(&self, later: &Reading) -> usage::Usage {
        self.usage.until(&later.usage)
    }

    /// CPUs that the proxy used in so many seconds.
    pub fn cpus_until(&self, later: &Reading, seconds: f64) -> f64 {
        self.usage.until(&later.usage).proxy as f64 / 1e9 / seconds
    }
}

/// Nanoseconds that a thread of this process has had of a CPU; 0 when it is gone.
pub fn thread_time(thread: i32) -> u64 {
    let path = Path::new("/proc/self/task").join(thread.to_string()).join("schedstat");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Descriptors that the process and what it has started hold.
pub fn descriptors(root: u32) -> io::Result<u32> {
    let mut count = 0;
    for process in usage::tree_of(root)? {
        count += match fs::read_dir(format!("/proc/{process}/fd")) {
            Ok(open) => open.count() as u32,
            Err(_) if process != root => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(count)
}

fn descriptor_limit(root: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{root}/limits")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The 14th and the 15th field of proc_pid_stat(5), after a name that may hold anything.
fn parse_times(text: &str) -> Option<(u64, u64)> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Of a CPU's line in proc_stat(5) the softirqs, and all that was done: user, nice, system, irq and
/// softirq. The times of guests are in the first two; in what was stolen nothing was done here.
fn parse_cpu(text: &str, cpu: usize) -> Option<(u64, u64)> {
    let name = format!("cpu{cpu}");
    let line = text.lines().find(|line| line.split(' ').next() == Some(&name))?;
    let fields = line.split_ascii_whitespace().skip(1).take(7);
    let fields: Vec<u64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let [user, nice, system, _idle, _iowait, irq, softirq] = fields[..] else { return None };
    Some((softirq, user + nice + system + irq + softirq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let text = "4242 (a (b) c) S 17 4242 4242 0 -1 4194560 1 0 0 0 250 31 0 0 20 0 1 0 9 0 0";
        assert_eq!(parse_times(text), Some((250, 31)));
    }

    #[test]
    fn softirqs_are_those_of_the_cpu() {
        let text = "cpu  9 9 9 9 9 9 99 9 0 0\ncpu1 10 0 20 60 5 1 42 2 7 0\n";
        assert_eq!(parse_cpu(text, 1), Some((42, 10 + 20 + 1 + 42)));
        assert_eq!(parse_cpu(text, 0), None);
    }

    #[test]
    fn this_process_has_descriptors_and_a_limit() {
        let own = std::process::id();
        assert!(descriptors(own).unwrap() > 2);
        assert!(descriptor_limit(own).unwrap() > 2);
    }
}
