//! What the engine needs of this host, asked at start, and the advice where it is missing.
//!
//! Each refusal of the kernel becomes one sentence that names the cause and the remedy.

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Why the engine cannot run on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// Linux before 6.1, or io_uring features held back.
    KernelTooOld { release: String },
    /// `kernel.io_uring_disabled` is 1 or 2 and forbids it to this user.
    DisabledBySysctl { value: u32 },
    /// A seccomp filter or a security module refuses the system call.
    Forbidden,
    /// The kernel was built without io_uring.
    NotBuilt,
    /// Memory for the ring or its buffers was refused, usually by RLIMIT_MEMLOCK.
    Memory { limit: Option<u64> },
    /// An operation the engine relies on is unknown to the kernel.
    MissingOperation { name: &'static str, release: String },
    /// No descriptor was left for the ring.
    Descriptors,
    /// Anything else, with the system's own words.
    Other { errno: i32 },
}

impl Unsupported {
    /// One word for logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Unsupported::KernelTooOld { .. } => "kernel-too-old",
            Unsupported::DisabledBySysctl { .. } => "io-uring-disabled",
            Unsupported::Forbidden => "io-uring-forbidden",
            Unsupported::NotBuilt => "io-uring-not-built",
            Unsupported::Memory { .. } => "memory-refused",
            Unsupported::MissingOperation { .. } => "operation-missing",
            Unsupported::Descriptors => "descriptors",
            Unsupported::Other { .. } => "other",
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::KernelTooOld { release } => write!(
                f,
                "this kernel ({release}) is too old: Ringmain needs Linux 6.1 or later; upgrade \
                 the kernel (Debian 12 and RHEL 10 have it)"
            ),
            Unsupported::DisabledBySysctl { value } => write!(
                f,
                "io_uring is switched off on this host (kernel.io_uring_disabled = {value}); \
                 run `sysctl kernel.io_uring_disabled=0`, or, with the value 1, put the service's \
                 group into kernel.io_uring_group"
            ),
            Unsupported::Forbidden => f.write_str(
                "io_uring_setup is forbidden by a seccomp filter or a security module; container \
                 runtimes do so by default: allow io_uring_setup, io_uring_enter and \
                 io_uring_register in the seccomp profile, or run Ringmain outside the container",
            ),
            Unsupported::NotBuilt => f.write_str(
                "this kernel was built without io_uring (CONFIG_IO_URING), or a seccomp filter \
                 hides it; use a stock kernel 6.1 or later and allow io_uring_setup",
            ),
            Unsupported::Memory { limit } => {
                f.write_str("the kernel refused memory for the ring and its buffers")?;
                match limit {
                    Some(limit) => write!(
                        f,
                        "; the memlock limit is {limit} bytes: raise it (LimitMEMLOCK= in the \
                         unit, `ulimit -l` in a shell) or lower process.workers"
                    ),
                    None => f.write_str("; free memory or lower process.workers"),
                }
            }
            Unsupported::MissingOperation { name, release } => write!(
                f,
                "this kernel ({release}) lacks the io_uring operation {name}; upgrade to an \
                 unmodified Linux 6.1 or later"
            ),
            Unsupported::Descriptors => f.write_str(
                "no file descriptor was left to make a ring; raise the limit (LimitNOFILE= in \
                 the unit, `ulimit -n` in a shell)",
            ),
            Unsupported::Other { errno } => {
                write!(
                    f,
                    "io_uring_setup failed: {}; the kernel's log (`dmesg`) may say why, and a \
                     stock kernel 6.1 or later is known to work",
                    io::Error::from_raw_os_error(*errno)
                )
            }
        }
    }
}

impl std::error::Error for Unsupported {}

/// The least kernel, as (major, minor).
const LEAST_KERNEL: (u32, u32) = (6, 1);

/// Asks for everything the engine relies on, with a small ring that is given back at once.
pub fn probe() -> Result<(), Unsupported> {
    let release = kernel_release();
    if kernel_version(&release).is_some_and(|version| version < LEAST_KERNEL) {
        return Err(Unsupported::KernelTooOld { release });
    }
    let ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .build(8)
        .map_err(explain_ring)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(explain_ring)?;
    let needed = [
        (opcode::Accept::CODE, "ACCEPT"),
        (opcode::Connect::CODE, "CONNECT"),
        (opcode::Recv::CODE, "RECV"),
        (opcode::Send::CODE, "SEND"),
        (opcode::PollAdd::CODE, "POLL_ADD"),
        (opcode::Read::CODE, "READ"),
        (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
        (opcode::Timeout::CODE, "TIMEOUT"),
    ];
    for (code, name) in needed {
        if !probe.is_supported(code) {
            return Err(Unsupported::MissingOperation { name, release });
        }
    }
    Ok(())
}

/// Turns an error of io_uring_setup or of a registration into advice.
pub(super) fn explain_ring(error: io::Error) -> Unsupported {
    match error.raw_os_error().unwrap_or(0) {
        libc::ENOSYS => Unsupported::NotBuilt,
        libc::EPERM | libc::EACCES => match io_uring_disabled() {
            Some(value) if value > 0 => Unsupported::DisabledBySysctl { value },
            _ => Unsupported::Forbidden,
        },
        libc::ENOMEM => explain_memory(error),
        libc::EMFILE | libc::ENFILE => Unsupported::Descriptors,
        libc::EINVAL => Unsupported::KernelTooOld { release: kernel_release() },
        errno => Unsupported::Other { errno },
    }
}

pub(super) fn explain_memory(_error: io::Error) -> Unsupported {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    Unsupported::Memory { limit }
}

/// As `uname -r` prints it.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn io_uring_disabled() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_compare_as_numbers() {
        assert_eq!(kernel_version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(kernel_version("5.10.0-32-amd64"), Some((5, 10)));
        assert!(kernel_version("6.9.1") > kernel_version("6.1.0-37"));
        assert_eq!(kernel_version("unknown"), None);
    }

    #[test]
    fn each_refusal_becomes_its_own_advice() {
        let said = |errno| explain_ring(io::Error::from_raw_os_error(errno)).to_string();
        assert!(said(libc::ENOSYS).contains("CONFIG_IO_URING"));
        assert!(said(libc::ENOMEM).contains("memlock"));
        assert!(said(libc::EINVAL).contains("6.1"));
        assert!(said(libc::EMFILE).contains("LimitNOFILE"));
        assert!(said(libc::EPERM).contains("io_uring"));
    }
}
