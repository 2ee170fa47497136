//! Owns the count of system calls of a process, by the kernel's own trace point. Where that can not
//! be had, it says why.

use std::{fs, io};

use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};

/// Counts for each thread that a process had when it was made, and for those they start. While it
/// lives each system call of the whole host takes a little longer.
pub struct Calls {
    threads: Vec<Counter>,
}

impl Calls {
    /// Needs root or CAP_PERFMON, and tracefs where systemd mounts it.
    pub fn of_process(process: u32) -> io::Result<Calls> {
        let id = fs::read_to_string(ENTERED)?;
        let id = id.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{process}/task"))? {
            let name = entry?.file_name();
            let thread = name.to_str().and_then(|name| name.parse().ok());
            let thread = thread.ok_or(io::ErrorKind::InvalidData)?;
            let mut builder = Builder::new(Tracepoint::with_id(id));
            // The call is entered in the kernel, which is left out by default.
            builder.observe_pid(thread).any_cpu().include_kernel().inherit(true).enabled(true);
            threads.push(builder.build()?);
        }
        Ok(Calls { threads })
    }

    /// So far.
    pub fn count(&mut self) -> io::Result<u64> {
        self.threads.iter_mut().map(Counter::read).sum()
    }
}

const ENTERED: &str = "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id";

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the host allows it, its count is exact.
    #[test]
    fn calls_of_this_process_are_counted_one_by_one() {
        let Ok(mut calls) = Calls::of_process(std::process::id()) else {
            eprintln!("this host does not let its system calls be counted");
            return;
        };
        let before = calls.count().unwrap();
        for _ in 0..1000 {
            assert!(rustix::process::getppid().is_some());
        }
        let entered = calls.count().unwrap() - before;
        // Other threads of the tests call as well.
        assert!(entered >= 1000, "{entered}");
    }
}
