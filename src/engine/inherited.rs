//! Descriptors that the service manager passed in (sd_listen_fds(3)).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes over the descriptors of LISTEN_FDS; the first call gets them, later ones none.
pub fn inherited_sockets() -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    let passed = sd_notify::listen_fds()?;
    // SAFETY: LISTEN_PID names this process, so the descriptors are meant for it; nothing else in
    // it knows their numbers, and the flag above lets them be taken once.
    Ok(passed.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}
