//! Memory that a session fills itself and a send takes: what was encrypted or decrypted, or was
//! read ahead of the relay. A worker keeps a few for the next who needs one.

use std::ops::Range;

use super::buffers::BufferSizes;
use super::executor::Engine;

/// How much a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockSize {
    /// What comes of one buffer, and of the part of a record that came before it.
    One,
    /// What comes of several.
    Several,
}

/// A piece of memory of one's own, filled from its beginning.
pub struct Block {
    engine: Engine,
    /// Absent only while it is dropped.
    memory: Option<Box<Memory>>,
}

/// What a block consists of. Boxed where it is kept, so that it moves as one pointer.
#[derive(Debug)]
pub(super) struct Memory {
    bytes: Box<[u8]>,
    /// How much of it is filled.
    length: usize,
    size: BlockSize,
}

/// The blocks of one engine: how many bytes are lent, and what waits to be lent again.
pub(super) struct Blocks {
    capacities: [usize; 2],
    /// Boxed already, since that is how they are lent.
    #[allow(clippy::vec_box)]
    free: [Vec<Box<Memory>>; 2],
    lent: usize,
    /// More than this should not be lent: the same as for buffers.
    limit: usize,
    unit: usize,
}

impl Block {
    /// An empty one.
    pub fn new(engine: &Engine, size: BlockSize) -> Block {
        let memory = engine.core().io.borrow_mut().blocks.lend(size);
        Block { engine: engine.clone(), memory: Some(memory) }
    }

    /// How much one of this size holds.
    pub fn capacity(engine: &Engine, size: BlockSize) -> usize {
        engine.core().io.borrow().blocks.capacities[size as usize]
    }

    /// What it has been filled with.
    pub fn filled(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory.bytes[..memory.length])
    }

    pub fn is_empty(&self) -> bool {
        self.filled().is_empty()
    }

    /// What is still free in it; `fill` says how much of that was used.
    pub fn room(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Some(memory) => &mut memory.bytes[memory.length..],
            None => &mut [],
        }
    }

    /// Notes that so many bytes of `room` were filled.
    pub fn fill(&mut self, count: usize) {
        if let Some(memory) = &mut self.memory {
            assert!(count <= memory.bytes.len() - memory.length, "a block is filled within");
            memory.length += count;
        }
    }

    /// Appends `bytes`; `None` if there is no room for all of them, and then nothing is appended.
    pub fn append(&mut self, bytes: &[u8]) -> Option<()> {
        self.room().get_mut(..bytes.len())?.copy_from_slice(bytes);
        self.fill(bytes.len());
        Some(())
    }

    pub(super) fn into_memory(mut self) -> Box<Memory> {
        self.memory.take().unwrap_or_else(|| unreachable!("it has its memory until it is dropped"))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.engine.core().io.borrow_mut().blocks.returned(memory);
        }
    }
}

impl Memory {
    pub(super) fn filled(&self) -> Range<u32> {
        // Blocks are a few buffers long, and a buffer's length is a `u32`.
        0..self.length as u32
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Blocks {
    pub(super) fn new(sizes: BufferSizes) -> Blocks {
        let unit = sizes.size as usize;
        Blocks {
            capacities: [unit + SPARE, SEVERAL * unit + SPARE],
            free: Default::default(),
            lent: 0,
            limit: unit * usize::from(sizes.count),
            unit,
        }
    }

    fn lend(&mut self, size: BlockSize) -> Box<Memory> {
        let capacity = self.capacities[size as usize];
        self.lent += capacity;
        match self.free[size as usize].pop() {
            Some(memory) => memory,
            None => {
                let bytes = vec![0; capacity].into_boxed_slice();
                Box::new(Memory { bytes, length: 0, size })
            }
        }
    }

    /// Takes a block back; only a few are kept, since bursts may need many.
    pub(super) fn returned(&mut self, mut memory: Box<Memory>) {
        self.lent -= memory.bytes.len();
        let free = &mut self.free[memory.size as usize];
        if free.len() < KEPT {
            memory.length = 0;
            free.push(memory);
        }
    }

    /// What a block counts for, in buffers.
    pub(super) fn weight(&self, memory: &Memory) -> usize {
        memory.bytes.len().div_ceil(self.unit)
    }

    /// How many buffers' worth is lent.
    pub(super) fn held(&self) -> usize {
        self.lent.div_ceil(self.unit)
    }

    /// By how many buffers' worth more is lent than should be.
    pub(super) fn excess(&self) -> usize {
        self.lent.saturating_sub(self.limit).div_ceil(self.unit)
    }
}

/// Buffers that a large block holds.
const SEVERAL: usize = 4;
/// For the part of a record that came before, at most 16 KiB and its frame, and for what each
/// record adds when it is encrypted.
const SPARE: usize = 20 << 10;
/// Free blocks of each size that are kept.
const KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_while_they_are_lent_and_used_again() {
        let mut blocks = Blocks::new(BufferSizes { size: 16 << 10, count: 4, offered: 4 });
        let lent: Vec<_> = (0..2).map(|_| blocks.lend(BlockSize::One)).collect();
        // 36 KiB each, of 64 that should be lent at most.
        assert_eq!((blocks.held(), blocks.excess()), (5, 1));
        assert_eq!(blocks.weight(&lent[0]), 3);
        let places: Vec<_> = lent.iter().map(|memory| memory.bytes.as_ptr()).collect();
        lent.into_iter().for_each(|memory| blocks.returned(memory));
        assert_eq!((blocks.held(), blocks.excess()), (0, 0));
        assert!(places.contains(&blocks.lend(BlockSize::One).bytes.as_ptr()));
    }

    #[test]
    fn only_some_free_blocks_are_kept() {
        let mut blocks = Blocks::new(BufferSizes { size: 4 << 10, count: 4, offered: 4 });
        let lent: Vec<_> = (0..100).map(|_| blocks.lend(BlockSize::Several)).collect();
        lent.into_iter().for_each(|memory| blocks.returned(memory));
        assert_eq!(blocks.free[BlockSize::Several as usize].len(), KEPT);
        assert_eq!(blocks.held(), 0);
    }
}
