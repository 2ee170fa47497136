//! The worker's relay memory: which buffers the kernel holds, which are free, who holds the rest.
//!
//! A buffer is with the kernel (offered to coming receives), with a session (filled, on its way
//! out), or free. A small number is kept with the kernel, so that the same few stay warm in the
//! CPU's caches; one that a session holds on to is replaced from the free ones. When none is free
//! receives wait, which is the back-pressure.
//!
//! Filled buffers that no session has taken yet stand in a `Queue`, linked through the accounts
//! here, so that a queue costs nothing.

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
    /// By buffer, for those in a queue.
    filled: Vec<Filled>,
}

/// Filled buffers in the order of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    /// `NONE` when it is empty.
    first: u16,
    last: u16,
}

/// What is known of a buffer in a queue.
#[derive(Clone, Copy, Debug, Default)]
struct Filled {
    /// Bytes from its start.
    length: u32,
    /// The buffer behind it, unless it is the last.
    next: u16,
}

/// No buffer has this number: a ring has at most 32,768.
const NONE: u16 = u16::MAX;

impl Queue {
    pub(super) const EMPTY: Queue = Queue { first: NONE, last: NONE };

    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }
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
            filled: vec![Filled::default(); usize::from(sizes.count)],
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

    /// Puts a filled buffer at the end of a queue. Bytes that fit behind those of the last one are
    /// moved there: a queue holds as many buffers as its bytes need, however small the pieces.
    pub(super) fn append(&mut self, queue: &mut Queue, id: u16, length: u32) {
        if let Some(last) = self.filled.get_mut(usize::from(queue.last)) {
            let start = last.length;
            if start + length <= self.sizes.size {
                last.length += length;
                // SAFETY: both buffers are here, neither with the kernel nor with a session; they
                // do not overlap, and the bytes fit.
                unsafe {
                    let end = self.memory(queue.last).add(start as usize);
                    end.copy_from_nonoverlapping(self.memory(id), length as usize);
                }
                return self.released(id);
            }
            last.next = id;
        } else {
            queue.first = id;
        }
        self.filled[usize::from(id)] = Filled { length, next: NONE };
        queue.last = id;
    }

    /// Takes the first buffer of a queue, and how many bytes it was filled with.
    pub(super) fn take_first(&mut self, queue: &mut Queue) -> Option<(u16, u32)> {
        let id = queue.first;
        let Filled { length, next } = *self.filled.get(usize::from(id))?;
        queue.first = next;
        if next == NONE {
            queue.last = NONE;
        }
        Some((id, length))
    }

    pub(super) fn release_all(&mut self, queue: &mut Queue) {
        while let Some((id, _)) = self.take_first(queue) {
            self.released(id);
        }
    }

    /// Buffers in a queue.
    pub(super) fn count(&self, queue: &Queue) -> usize {
        let next = |id: &u16| Some(self.filled.get(usize::from(*id))?.next);
        std::iter::successors(Some(queue.first), next).take_while(|id| *id != NONE).count()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers() -> Buffers {
        Buffers::new(BufferSizes { size: 8, count: 4, offered: 4 }).unwrap()
    }

    /// What the kernel does: takes a free buffer and fills it.
    fn fill(buffers: &mut Buffers, bytes: &[u8]) -> (u16, u32) {
        let id = buffers.free.pop().unwrap();
        let memory = buffers.memory(id);
        // SAFETY: the buffer was free, and the tests' pieces fit.
        unsafe { memory.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        (id, bytes.len() as u32)
    }

    fn append(buffers: &mut Buffers, queue: &mut Queue, bytes: &[u8]) {
        let (id, length) = fill(buffers, bytes);
        buffers.append(queue, id, length);
    }

    fn take(buffers: &mut Buffers, queue: &mut Queue) -> Option<Vec<u8>> {
        let (id, length) = buffers.take_first(queue)?;
        // SAFETY: the buffer was taken just now, and `length` bytes of it were filled.
        let bytes = unsafe { &*buffers.bytes(id, 0..length) }.to_vec();
        buffers.released(id);
        Some(bytes)
    }

    #[test]
    fn a_queue_gives_the_bytes_in_the_order_they_came() {
        let (mut buffers, mut queue) = (buffers(), Queue::EMPTY);
        for bytes in [&b"abcdef"[..], b"ghijkl", b"mno"] {
            append(&mut buffers, &mut queue, bytes);
        }
        assert_eq!(buffers.count(&queue), 3);
        assert_eq!(take(&mut buffers, &mut queue).unwrap(), b"abcdef");
        append(&mut buffers, &mut queue, b"pqrstu");
        for bytes in [&b"ghijkl"[..], b"mno", b"pqrstu"] {
            assert_eq!(take(&mut buffers, &mut queue).unwrap(), bytes);
        }
        assert!(queue.is_empty());
        assert_eq!(take(&mut buffers, &mut queue), None);
        assert_eq!(buffers.held(), 0);
    }

    #[test]
    fn small_pieces_share_a_buffer_as_far_as_they_fit() {
        let (mut buffers, mut queue) = (buffers(), Queue::EMPTY);
        for bytes in [&b"a"[..], b"bc", b"defgh", b"i", b"jk"] {
            append(&mut buffers, &mut queue, bytes);
        }
        assert_eq!((buffers.count(&queue), buffers.held()), (2, 2));
        assert_eq!(take(&mut buffers, &mut queue).unwrap(), b"abcdefgh");
        append(&mut buffers, &mut queue, b"l");
        assert_eq!(take(&mut buffers, &mut queue).unwrap(), b"ijkl");
        assert!(queue.is_empty());
    }

    #[test]
    fn a_queue_that_nobody_takes_goes_back() {
        let (mut buffers, mut queue) = (buffers(), Queue::EMPTY);
        append(&mut buffers, &mut queue, b"abcdefgh");
        append(&mut buffers, &mut queue, b"i");
        buffers.release_all(&mut queue);
        assert_eq!((queue.is_empty(), buffers.held()), (true, 0));
    }
}
