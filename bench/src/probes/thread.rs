//! Owns the CPU time of one thread, as the scheduler counts it.

use std::{fs, io};

use rustix::thread::Pid;

/// Nanoseconds that the thread of this process has run.
pub fn ran(thread: Pid) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"))?;
    let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
    first.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
