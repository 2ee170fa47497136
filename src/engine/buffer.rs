//! A received piece of a stream: an owned buffer of the worker's relay memory.

use std::ops::{Deref, Range};

use super::executor::Engine;

/// Bytes that were received and are to be sent on. Dropped, it goes back to the relay memory.
pub struct Buffer {
    /// Absent only while the buffer is handed over to a send.
    engine: Option<Engine>,
    id: u16,
    start: u32,
    end: u32,
}

impl Buffer {
    /// Takes charge of buffer `id`, of which the first `length` bytes were filled.
    pub(super) fn new(engine: Engine, id: u16, length: u32) -> Buffer {
        Buffer { engine: Some(engine), id, start: 0, end: length }
    }

    /// Drops the first `count` bytes, at most all.
    pub fn consume(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.start = self.end.min(self.start.saturating_add(count));
    }

    /// What it holds, to be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let Some(engine) = &self.engine else { return &mut [] };
        let memory = engine.core().io.borrow().buffers.memory(self.id);
        // SAFETY: the range was received into the buffer, which is this value's alone until it is
        // dropped, and the memory lives as long as the engine that the value holds.
        unsafe {
            let start = memory.as_ptr().add(self.start as usize);
            std::slice::from_raw_parts_mut(start, (self.end - self.start) as usize)
        }
    }

    /// Whether the bytes reach to the end of the buffer: a sign that more was waiting.
    pub fn is_full(&self) -> bool {
        let size = |engine: &Engine| engine.core().io.borrow().buffers.size();
        self.engine.as_ref().is_some_and(|engine| self.end == size(engine))
    }

    pub(super) fn range(&self) -> Range<u32> {
        self.start..self.end
    }

    /// Gives the buffer up without returning it: the operation that takes it will.
    pub(super) fn into_id(mut self) -> u16 {
        self.engine = None;
        self.id
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some(engine) = &self.engine else { return &[] };
        let io = engine.core().io.borrow();
        // SAFETY: this handle holds buffer `id`, so the kernel does not write it; the memory
        // lives as long as the engine, which the handle keeps.
        unsafe { &*io.buffers.bytes(self.id, self.start..self.end) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(engine) = &self.engine {
            engine.core().io.borrow_mut().buffers.released(self.id);
        }
    }
}
