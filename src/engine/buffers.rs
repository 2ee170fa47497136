//! The worker's relay memory: which buffers the kernel holds, which are free, who holds the rest.
//!
//! A buffer is with the kernel (offered to coming receives), with a session (filled, on its way
//! out), or free. A small number is kept with the kernel, so that the same few stay warm in the
//! CPU's caches; one that a session holds on to is replaced from the free ones. When none is free
//! receives wait, which is the back-pressure.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use super::driver::Driver;
use super::region::Region;

/// Sizes of the relay memory of one worker.
#[derive(Clone, Copy, Debug)]
pub struct BufferSizes {
    /// Bytes in one buffer.
    pub size: u32,
    /// Buffers in all.
    pub count: u16,
    /// Buffers kept with the kernel at first; more when bursts ask for it.
    pub offered: u16,
}

/// The accounts of the buffers; their contents are reached through `Buffer`.
pub(super) struct Buffers {
    region: Region,
    sizes: BufferSizes,
    /// Free ones, the most recently used last.
    free: Vec<u16>,
    /// How many are with the kernel.
    offered: u16,
    /// How many should be.
    wanted: u16,
    /// Times a receive found none.
    exhausted: u64,
}

impl Buffers {
    pub(super) fn new(sizes: BufferSizes) -> io::Result<Buffers> {
        let region = Region::new(sizes.size as usize * usize::from(sizes.count))?;
        Ok(Buffers {
            region,
            sizes,
            free: (0..sizes.count).rev().collect(),
            offered: 0,
            wanted: sizes.offered.min(sizes.count),
            exhausted: 0,
        })
    }

    /// Brings the number with the kernel up to what is wanted, as far as there are free ones.
    pub(super) fn offer(&mut self, driver: &mut dyn Driver) {
        while self.offered < self.wanted {
            let Some(id) = self.free.pop() else { return };
            let memory = self.memory(id);
            // SAFETY: a free buffer is nobody's, and it is lent to the driver from here until a
            // completion names it (`taken`). The region outlives the driver (`Io`'s field order).
            unsafe { driver.provide(id, memory, self.sizes.size) };
            self.offered += 1;
        }
    }

    /// The kernel has filled one and given it to a receive.
    pub(super) fn taken(&mut self) {
        self.offered -= 1;
    }

    pub(super) fn released(&mut self, id: u16) {
        self.free.push(id);
    }

    /// A receive found no buffer: offer more at a time from now on.
    pub(super) fn ran_out(&mut self) {
        self.exhausted += 1;
        self.wanted = self.wanted.saturating_mul(2).min(self.sizes.count);
    }

    /// Whether a receive would find a buffer after the next `offer`.
    pub(super) fn available(&self) -> usize {
        usize::from(self.offered).max(self.free.len().min(usize::from(self.wanted)))
    }

    /// Buffers that sessions hold.
    pub(super) fn held(&self) -> usize {
        usize::from(self.sizes.count) - self.free.len() - usize::from(self.offered)
    }

    pub(super) fn exhausted(&self) -> u64 {
        self.exhausted
    }

    pub(super) fn size(&self) -> u32 {
        self.sizes.size
    }

    pub(super) fn memory(&self, id: u16) -> NonNull<u8> {
        debug_assert!(id < self.sizes.count);
        // SAFETY: `id` is below the count, so the offset lies in the region.
        unsafe { self.region.start().add(usize::from(id) * self.sizes.size as usize) }
    }

    /// The bytes of a buffer that a session holds.
    ///
    /// # Safety
    /// The caller holds buffer `id`, `range` was filled, and nothing writes it meanwhile.
    pub(super) unsafe fn bytes(&self, id: u16, range: Range<u32>) -> *const [u8] {
        debug_assert!(range.end <= self.sizes.size);
        // SAFETY: within the buffer, by the caller's promise.
        let start = unsafe { self.memory(id).add(range.start as usize) };
        std::ptr::slice_from_raw_parts(start.as_ptr(), (range.end - range.start) as usize)
    }
}
