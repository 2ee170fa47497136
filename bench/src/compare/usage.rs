//! Owns what /proc says about CPU time: that of a tree of processes, and how busy a CPU is.

use std::collections::HashMap;
use std::path::Path;
use std::{fs, io};

use rustix::param::clock_ticks_per_second;

use super::cpus::Cpus;

/// CPU time at one moment.
pub struct Reading {
    /// Nanoseconds of each task: threads, and the kernel's io_uring workers among them.
    tasks: HashMap<u32, u64>,
    /// Nanoseconds of the processes as wholes, with the tasks that have ended, to about a tick.
    processes: u64,
    proxy_cpu: CpuTimes,
    load_cpu: CpuTimes,
}

/// CPU time between two readings.
pub struct Usage {
    /// Nanoseconds.
    pub proxy: u64,
    /// From 0 to 1, whoever uses the CPU.
    pub proxy_cpu_busy: f64,
    pub load_cpu_busy: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct CpuTimes {
    busy: u64,
    total: u64,
}

impl Reading {
    /// Reads the process `root` and everything it has started.
    pub fn take(root: u32, cpus: Cpus) -> io::Result<Self> {
        let tick = 1_000_000_000 / clock_ticks_per_second();
        let mut tasks = HashMap::new();
        let mut processes = 0;
        for process in tree(root, &process_stats()?) {
            processes += process.ticks * tick;
            read_tasks(&Path::new("/proc").join(process.id.to_string()).join("task"), &mut tasks)?;
        }
        let stat = fs::read_to_string("/proc/stat")?;
        Ok(Self {
            tasks,
            processes,
            proxy_cpu: parse_cpu(&stat, cpus.proxy).ok_or(io::ErrorKind::InvalidData)?,
            load_cpu: parse_cpu(&stat, cpus.load).ok_or(io::ErrorKind::InvalidData)?,
        })
    }

    pub fn until(&self, later: &Self) -> Usage {
        let tasks = later.tasks.iter().map(|(id, &after)| {
            let before = self.tasks.get(id).copied().unwrap_or(0);
            after.saturating_sub(before)
        });
        let tasks: u64 = tasks.sum();
        // The tasks are exact, but those that ended in between are missing. Where the processes as
        // wholes used clearly more, they are the better figure.
        let processes = later.processes.saturating_sub(self.processes);
        let proxy = if processes > tasks + PROCESS_ERROR { processes } else { tasks };
        Usage {
            proxy,
            proxy_cpu_busy: self.proxy_cpu.share_until(later.proxy_cpu),
            load_cpu_busy: self.load_cpu.share_until(later.load_cpu),
        }
    }
}

impl CpuTimes {
    fn share_until(self, later: Self) -> f64 {
        let total = later.total.saturating_sub(self.total);
        let busy = later.busy.saturating_sub(self.busy);
        if total == 0 { 0.0 } else { busy as f64 / total as f64 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct ProcessStat {
    id: u32,
    parent: u32,
    /// User and system time, of ended threads as well.
    ticks: u64,
}

fn process_stats() -> io::Result<Vec<ProcessStat>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end between its listing and its reading; then it is none of ours, or its
        // end shows as a fault of the run.
        if let Ok(text) = fs::read_to_string(format!("/proc/{id}/stat")) {
            processes.push(parse_stat(&text).ok_or(io::ErrorKind::InvalidData)?);
        }
    }
    Ok(processes)
}

/// The process `root` and everything it has started.
pub fn tree_of(root: u32) -> io::Result<Vec<u32>> {
    Ok(tree(root, &process_stats()?).iter().map(|process| process.id).collect())
}

/// `root` first, then its children, and theirs.
fn tree(root: u32, processes: &[ProcessStat]) -> Vec<ProcessStat> {
    let mut members: Vec<_> = processes.iter().filter(|of| of.id == root).copied().collect();
    let mut next = 0;
    while let Some(&ProcessStat { id, .. }) = members.get(next) {
        members.extend(processes.iter().filter(|of| of.parent == id));
        next += 1;
    }
    members
}

fn read_tasks(folder: &Path, tasks: &mut HashMap<u32, u64>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A task may end between its listing and its reading.
        if let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) {
            tasks.insert(id, parse_schedstat(&text).ok_or(io::ErrorKind::InvalidData)?);
        }
    }
    Ok(())
}

/// proc_pid_schedstat: time on the CPU in nanoseconds, time waiting for it, time slices.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// proc_pid_stat(5). The second field, the name, may hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<ProcessStat> {
    let (id, _) = text.split_once(' ')?;
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // `fields` begins with the third: state. Parent is the 4th, utime the 14th, stime the 15th.
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some(ProcessStat {
        id: id.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        ticks: user + system,
    })
}

/// The line of one CPU in proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal, and
/// guest times that user and nice already hold.
fn parse_cpu(text: &str, cpu: usize) -> Option<CpuTimes> {
    let name = format!("cpu{cpu}");
    let line = text.lines().find(|line| line.split(' ').next() == Some(&name))?;
    let fields: Option<Vec<u64>> =
        line.split_ascii_whitespace().skip(1).take(8).map(|field| field.parse().ok()).collect();
    let fields = fields?;
    let total: u64 = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some(CpuTimes { busy: total - idle, total })
}

/// utime and stime are each cut to a tick, at both ends: up to four ticks of 10 ms.
const PROCESS_ERROR: u64 = 40_000_000;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_skipped() {
        let text = "4242 (a (b) c) S 17 4242 4242 0 -1 4194560 1 0 0 0 250 31 0 0 20 0 1 0 9 0 0";
        assert_eq!(parse_stat(text), Some(ProcessStat { id: 4242, parent: 17, ticks: 281 }));
    }

    #[test]
    fn the_first_field_of_schedstat_is_the_time_on_the_cpu() {
        assert_eq!(parse_schedstat("172343455 7558233 408\n"), Some(172_343_455));
        assert_eq!(parse_schedstat(""), None);
    }

    #[test]
    fn a_cpu_is_found_by_its_whole_name() {
        let text =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 10 0 20 60 5 1 2 2 7 0\ncpu10 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse_cpu(text, 1), Some(CpuTimes { busy: 35, total: 100 }));
        assert_eq!(parse_cpu(text, 2), None);
    }

    #[test]
    fn the_tree_holds_children_of_children_and_no_one_else() {
        let process = |id, parent| ProcessStat { id, parent, ticks: 0 };
        let all = [process(30, 20), process(20, 10), process(10, 1), process(11, 1)];
        let ids: Vec<u32> = tree(10, &all).iter().map(|process| process.id).collect();
        assert_eq!(ids, [10, 20, 30]);
    }

    fn reading(tasks: &[(u32, u64)], processes: u64) -> Reading {
        let cpu = CpuTimes { busy: 0, total: 0 };
        let tasks = tasks.iter().copied().collect();
        Reading { tasks, processes, proxy_cpu: cpu, load_cpu: cpu }
    }

    #[test]
    fn a_new_task_counts_from_its_beginning() {
        let before = reading(&[(1, 100)], 0);
        let after = reading(&[(1, 350), (2, 50)], 0);
        assert_eq!(before.until(&after).proxy, 300);
    }

    #[test]
    fn time_of_ended_tasks_is_not_lost() {
        let before = reading(&[(1, 0), (2, 900_000_000)], 900_000_000);
        let after = reading(&[(1, 500_000_000)], 1_800_000_000);
        assert_eq!(before.until(&after).proxy, 900_000_000);
    }

    #[test]
    fn what_the_ticks_alone_may_have_missed_is_no_other_time() {
        let before = reading(&[(1, 0)], 0);
        for (processes, proxy) in [(540_000_000, 500_000_000), (540_000_001, 540_000_001)] {
            let after = reading(&[(1, 500_000_000)], processes);
            assert_eq!(before.until(&after).proxy, proxy);
        }
    }

    #[test]
    fn a_cpu_is_as_busy_as_the_share_of_its_time() {
        let before = CpuTimes { busy: 10, total: 100 };
        assert_eq!(before.share_until(CpuTimes { busy: 35, total: 150 }), 0.5);
        assert_eq!(before.share_until(before), 0.0);
    }

    #[test]
    fn each_cpu_has_its_own_times() {
        let allowed = crate::compare::cpus::allowed().unwrap();
        let (first, last) = (allowed[0], allowed[allowed.len() - 1]);
        for (proxy, load) in [(first, last), (last, first)] {
            let take = |cpus| Reading::take(std::process::id(), cpus).unwrap();
            let reading = take(Cpus { proxy, load });
            let later = take(Cpus { proxy: load, load: proxy });
            // What a CPU has done is never less than it was.
            assert!(reading.proxy_cpu.busy <= later.load_cpu.busy);
            assert!(reading.load_cpu.busy <= later.proxy_cpu.busy);
        }
    }

    #[test]
    fn a_reading_has_what_a_process_has_started() {
        let cpu = crate::compare::cpus::allowed().unwrap()[0];
        let take = |root| Reading::take(root, Cpus { proxy: cpu, load: cpu }).unwrap();
        // The inner one works for a while and then waits for the end of its input.
        let work = "i=0; while [ $i -lt 400000 ]; do i=$((i + 1)); done; echo; read end";
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("(sh -c '{work}'); true"));
        let mut outer = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        outer.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let reading = take(outer.id());
        let members = tree_of(outer.id()).unwrap();
        outer.kill().unwrap();
        drop(outer.stdin.take());
        outer.wait().unwrap();
        assert!(members.len() > 1, "{members:?}");
        assert!(members.iter().all(|id| reading.tasks.contains_key(id)), "{members:?}");
        let tasks: u64 = reading.tasks.values().sum();
        assert!(tasks > 2 * PROCESS_ERROR, "{tasks}");
        // Both count the same, one of them in ticks.
        assert!(
            tasks.abs_diff(reading.processes) <= PROCESS_ERROR,
            "{} {tasks}",
            reading.processes
        );
    }

    /// What a kernel thread does for a ring is charged to the process of the ring.
    #[test]
    fn workers_of_a_ring_are_tasks_of_their_process() {
        let cpu = crate::compare::cpus::allowed().unwrap()[0];
        let take = || Reading::take(std::process::id(), Cpus { proxy: cpu, load: cpu }).unwrap();
        let before = take();
        let directory = crate::generate::Directory::create().unwrap();
        let missing = directory.path().join("nothing");
        let comm =
            |id: &u32| fs::read_to_string(format!("/proc/self/task/{id}/comm")).unwrap_or_default();
        let after = tokio_uring::start(async {
            // Nobody removes a file at once: the kernel has a worker for it.
            for _ in 0..5_000 {
                tokio_uring::fs::remove_file(&missing).await.unwrap_err();
            }
            take()
        });
        let workers = after.tasks.iter().filter(|(id, _)| comm(id).starts_with("iou-wrk"));
        let worked: u64 = workers.map(|(_, time)| time).sum();
        assert!(worked > 0, "no worker has done anything");
        assert!(before.until(&after).proxy >= worked);
    }
}
