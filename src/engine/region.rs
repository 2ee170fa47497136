//! Page-aligned anonymous memory that takes up room only where it was written.

use std::io;
use std::ptr::NonNull;

/// A mapping of zeroed pages, returned to the system when dropped.
pub(super) struct Region {
    start: NonNull<u8>,
    length: usize,
}

impl Region {
    /// `length` is rounded up to whole pages by the kernel; it is not 0.
    pub(super) fn new(length: usize) -> io::Result<Region> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // NORESERVE: a large relay memory costs address space until it is needed.
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping touches nothing that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Region { start, length })
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and whoever drops it has no pointer into it any more.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert_eq!(result, 0);
    }
}
