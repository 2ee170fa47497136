//! The provided-buffer ring that the kernel takes receive buffers from (Linux 5.19).
//!
//! It owns the ring's memory, not the buffers'. The memory is allocated here rather than by the
//! kernel, because kernel-allocated rings have a record of bugs (CVE-2024-0582).

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::engine::region::Region;
use crate::engine::support::{self, Unsupported};

/// One group of buffers, offered in the order of `provide`.
pub(super) struct BufferRing {
    entries: Region,
    mask: u16,
    /// The next entry to fill; the kernel sees it after `publish`.
    tail: u16,
}

impl BufferRing {
    /// `count` is a power of two, at most 32,768.
    pub(super) fn new(ring: &IoUring, count: u16, group: u16) -> Result<BufferRing, Unsupported> {
        assert!(count.is_power_of_two(), "the kernel takes powers of two only");
        let entries = Region::new(usize::from(count) * size_of::<BufRingEntry>())
            .map_err(support::explain_memory)?;
        let address = entries.start().as_ptr() as u64;
        // SAFETY: the region is page-aligned, zeroed, and outlives the ring: `Uring` drops its
        // ring first, and dropping the ring ends the registration.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, count, group, 0) }
            .map_err(explain)?;
        Ok(BufferRing { entries, mask: count - 1, tail: 0 })
    }

    /// Offers a buffer; at most as many at a time as the ring has entries.
    ///
    /// # Safety
    /// As for `Driver::provide`.
    pub(super) unsafe fn provide(&mut self, id: u16, memory: NonNull<u8>, length: u32) {
        let index = usize::from(self.tail & self.mask);
        // SAFETY: the index is masked to the ring's size, and the kernel does not look at the
        // entry before the tail passes it.
        let entry =
            unsafe { &mut *self.entries.start().cast::<BufRingEntry>().add(index).as_ptr() };
        entry.set_addr(memory.as_ptr() as u64);
        entry.set_len(length);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel what was provided since the last time.
    pub(super) fn publish(&mut self) {
        // SAFETY: the tail lies in the reserved field of the first entry, by the kernel's layout;
        // nothing else in this process writes it, and `set_*` above leave the field alone.
        let tail = unsafe {
            let first = self.entries.start().cast::<BufRingEntry>().as_ptr();
            AtomicU16::from_ptr(BufRingEntry::tail(first).cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }
}

fn explain(error: io::Error) -> Unsupported {
    support::explain_ring(error)
}
