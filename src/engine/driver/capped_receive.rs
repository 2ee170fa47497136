//! The multishot receive that ends after so many bytes (Linux 6.17), which the io-uring crate does
//! not know: its entry, and whether this kernel takes it.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use io_uring::{IoUring, opcode, squeue, types};

use super::{Descriptor, Kind};

/// `ioprio` of a receive: arm a poll at once, the socket is known to be empty (Linux 5.19).
const POLL_FIRST: u16 = 1;
/// `ioprio` of a receive: go on after a completion (Linux 6.0).
const MULTISHOT: u16 = 2;
/// Where an entry has `optlen`: the bytes that a multishot receive may bring in all (Linux 6.17).
const OPTLEN: usize = 44;

const _: () = assert!(size_of::<squeue::Entry>() == 64, "the crate's entry is the kernel's");

/// A receive into one buffer of `group`, whose length it has.
pub(super) fn single(socket: Descriptor, wait_first: bool, group: u16) -> squeue::Entry {
    entry(socket, if wait_first { POLL_FIRST } else { 0 }, group)
}

/// Receives into buffers of `group`, one after the other, until `cap` bytes have come. The last
/// one may bring more than the cap has left, up to its buffer's length.
pub(super) fn capped(socket: Descriptor, wait_first: bool, cap: u32, group: u16) -> squeue::Entry {
    let first = if wait_first { POLL_FIRST } else { 0 };
    let mut entry = entry(socket, MULTISHOT | first, group);
    // SAFETY: an entry is the kernel's 64 bytes (`Entry` is repr(C) and of that size, as asserted
    // above), aligned to 8, in which these 4 have no other use for a receive.
    unsafe { (&raw mut entry).byte_add(OPTLEN).cast::<u32>().write(cap) };
    entry
}

fn entry(socket: Descriptor, ioprio: u16, group: u16) -> squeue::Entry {
    opcode::Recv::new(types::Fd(socket.0), std::ptr::null_mut(), 0)
        .ioprio(ioprio)
        .buf_group(group)
        .build()
        .flags(squeue::Flags::BUFFER_SELECT)
}

/// Whether the kernel takes a cap. No feature bit tells, so one receive is tried on `ring`, which
/// has no buffers yet: a kernel that knows caps misses one (ENOBUFS), an older one refuses the
/// field that it does not know (EINVAL).
pub(super) fn is_supported(ring: &mut IoUring, group: u16) -> io::Result<bool> {
    let (socket, peer) = UnixStream::pair()?;
    // With the stream at its end nothing can wait.
    drop(peer);
    let entry = capped(Descriptor(socket.as_raw_fd()), false, 1, group);
    // SAFETY: the entry points to nothing.
    let pushed = unsafe { ring.submission().push(&entry.user_data(Kind::Internal as u64)) };
    pushed.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let answer = ring.completion().next().map(|completion| completion.result());
    Ok(answer == Some(-libc::ENOBUFS))
}
