//! Owns a started candidate: its CPU, its readiness and its end; not what it is configured to do.

use std::fs::File;
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::process::{Child, Command, Stdio};
use std::{fmt, io, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process_group, pidfd_open, setrlimit,
};

use super::cpus;

/// Killed, with everything it has started, when dropped.
pub struct Process {
    child: Child,
}

/// Why a candidate is not measured.
#[derive(Debug)]
pub enum StartError {
    /// Before it accepted; its log may say why.
    Exited,
    NotAccepting,
    Host(io::Error),
}

impl Process {
    /// Starts `command` on `cpu`, what it says in `log`, and waits until it accepts at `address`.
    pub fn start(
        command: Command,
        cpu: usize,
        log: File,
        address: SocketAddrV4,
    ) -> Result<Self, StartError> {
        Self::start_on(command, &[cpu], log, address)
    }

    /// The same on several CPUs.
    pub fn start_on(
        mut command: Command,
        on: &[usize],
        log: File,
        address: SocketAddrV4,
    ) -> Result<Self, StartError> {
        // A process group of its own: a Ctrl-C reaches the bench alone, and one signal ends it all.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // A child inherits the CPUs of the thread that starts it, so a thread is pinned for it.
        let spawn = || {
            cpus::pin_to(on)?;
            command.spawn()
        };
        let spawned = thread::scope(|scope| scope.spawn(spawn).join());
        let process = Self { child: spawned.unwrap_or_else(|panic| resume_unwind(panic))? };
        process.wait_until_accepting(address)?;
        Ok(process)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended; one that is stopped has not.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn wait_until_accepting(&self, address: SocketAddrV4) -> Result<(), StartError> {
        let alive = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        for _ in 0..READY_TRIES {
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            // The descriptor of a process is readable once it has ended.
            let mut ended = [PollFd::new(&alive, PollFlags::IN)];
            match poll(&mut ended, Some(&READY_PAUSE)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Err(StartError::Exited),
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(StartError::NotAccepting)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group is the child's until the child is waited for, which is here alone. Where it
        // can not be killed, it has ended.
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        // Waiting for one's own child fails only when it has been waited for.
        self.child.wait().ok();
    }
}

/// Lets this process, and the candidates after it, have as many descriptors as the host allows:
/// 2,000 connections need two each.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

impl StartError {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::NotAccepting => "not_accepting",
            Self::Host(_) => "host_error",
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Exited | Self::NotAccepting => Ok(()),
            Self::Host(error) => write!(f, ": {error}"),
        }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl From<Errno> for StartError {
    fn from(errno: Errno) -> Self {
        Self::Host(errno.into())
    }
}

/// Ten seconds in all.
const READY_TRIES: u32 = 500;
const READY_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "what processes do is waited for on the clock")]
mod tests {
    use super::*;
    use rustix::process::test_kill_process;
    use rustix::thread::sched_getaffinity;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use crate::compare::usage::tree_of;

    fn first_cpu() -> usize {
        let set = sched_getaffinity(None).unwrap();
        (0..1024).find(|&cpu| set.is_set(cpu)).unwrap()
    }

    fn null() -> File {
        File::options().write(true).open("/dev/null").unwrap()
    }

    fn address(listener: &TcpListener) -> SocketAddrV4 {
        listener.local_addr().unwrap().to_string().parse().unwrap()
    }

    #[test]
    fn a_process_runs_on_its_cpu_and_ends_with_its_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new("sleep");
        command.arg("600");
        let process = Process::start(command, first_cpu(), null(), address(&listener)).unwrap();
        let pid = Pid::from_child(&process.child);
        assert_eq!(sched_getaffinity(Some(pid)).unwrap().count(), 1);
        drop(process);
        assert_eq!(test_kill_process(pid), Err(Errno::SRCH));
    }

    #[test]
    fn all_that_a_process_has_started_ends_with_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & sleep 600"]);
        let process = Process::start(command, first_cpu(), null(), address(&listener)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut members = tree_of(process.id()).unwrap();
        while members.len() < 3 {
            assert!(Instant::now() < deadline, "{members:?}");
            thread::yield_now();
            members = tree_of(process.id()).unwrap();
        }
        drop(process);
        // They have ended as well, whoever waits for them.
        while members.iter().any(|&id| is_alive(id)) {
            assert!(Instant::now() < deadline, "{members:?}");
            thread::yield_now();
        }
    }

    fn is_alive(id: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{id}/stat"));
        status.is_ok_and(|text| !text.contains(") Z "))
    }

    #[test]
    fn a_process_runs_until_it_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let start = |command| Process::start(command, first_cpu(), null(), address(&listener));
        let mut command = Command::new("sleep");
        command.arg("600");
        assert!(start(command).unwrap().is_running());
        let mut short = start(Command::new("true")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while short.is_running() {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }

    #[test]
    fn what_a_process_says_is_in_its_log() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = address(&listener);
        drop(listener);
        let directory = crate::generate::Directory::create().unwrap();
        let path = directory.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo the reason >&2; exit 1"]);
        let log = File::create(&path).unwrap();
        let error = Process::start(command, first_cpu(), log, closed).err().unwrap();
        assert_eq!(error.to_string(), "exited");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "the reason\n");
    }

    #[test]
    fn a_process_that_ends_before_it_accepts_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = address(&listener);
        drop(listener);
        let error = Process::start(Command::new("false"), first_cpu(), null(), closed);
        assert!(matches!(error, Err(StartError::Exited)));
    }
}
