//! The descriptor table of the simulated process, and its pipes.
//!
//! It knows which operations hold a descriptor; it does not perform them.

use std::collections::VecDeque;

use rustix::io::Errno;

use super::super::{Descriptor, Token};
use super::{EndpointId, ListenerId, RingId};

/// What a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Socket { end: EndpointId, reset_on_close: bool },
    Listener(ListenerId),
    PipeReader(PipeId),
    PipeWriter(PipeId),
}

/// Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PipeId(usize);

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) object: Object,
    /// Operations submitted on it whose last completion was not taken yet, oldest first.
    pub(super) held_by: Vec<(RingId, Token)>,
}

/// Numbers are given out lowest first, as in Linux, so that a stale one soon names another file.
pub(super) struct Descriptors {
    entries: Vec<Option<Entry>>,
    /// RLIMIT_NOFILE.
    pub(super) limit: usize,
    pipes: Vec<Pipe>,
}

impl Descriptors {
    pub(super) fn new() -> Descriptors {
        Descriptors { entries: Vec::new(), limit: usize::MAX, pipes: Vec::new() }
    }

    /// The number that the next descriptor gets.
    pub(super) fn vacant(&self) -> Result<Descriptor, Errno> {
        let index = self.entries.iter().position(Option::is_none).unwrap_or(self.entries.len());
        if index + FIRST >= self.limit {
            return Err(Errno::MFILE);
        }
        Ok(Descriptor((index + FIRST) as i32))
    }

    pub(super) fn insert(&mut self, descriptor: Descriptor, object: Object) {
        let index = descriptor.0 as usize - FIRST;
        if index == self.entries.len() {
            self.entries.push(None);
        }
        self.entries[index] = Some(Entry { object, held_by: Vec::new() });
    }

    /// # Panics
    /// On a number that is not open: whoever uses it would, sooner or later, hit another file.
    pub(super) fn entry(&mut self, descriptor: Descriptor) -> &mut Entry {
        let index = (descriptor.0 as usize).wrapping_sub(FIRST);
        match self.entries.get_mut(index) {
            Some(Some(entry)) => entry,
            _ => panic!("{descriptor:?} is not open: it was closed before, or never opened"),
        }
    }

    /// The operations on a descriptor; none when it was closed since it changed.
    pub(super) fn holders(&self, descriptor: Descriptor) -> Vec<(RingId, Token)> {
        let entry = self.entries.get((descriptor.0 as usize).wrapping_sub(FIRST));
        entry.and_then(Option::as_ref).map_or_else(Vec::new, |entry| entry.held_by.clone())
    }

    pub(super) fn object(&mut self, descriptor: Descriptor) -> Object {
        self.entry(descriptor).object
    }

    pub(super) fn socket(&mut self, descriptor: Descriptor) -> Result<EndpointId, Errno> {
        match self.object(descriptor) {
            Object::Socket { end, .. } => Ok(end),
            _ => Err(Errno::NOTSOCK),
        }
    }

    /// # Panics
    /// While operations are in flight on it.
    pub(super) fn remove(&mut self, descriptor: Descriptor) -> Object {
        let entry = self.entry(descriptor);
        assert!(
            entry.held_by.is_empty(),
            "{descriptor:?} is closed with operations in flight: {:?}",
            entry.held_by
        );
        let object = entry.object;
        self.entries[descriptor.0 as usize - FIRST] = None;
        match object {
            Object::PipeReader(pipe) => self.pipes[pipe.0].reader_open = false,
            Object::PipeWriter(pipe) => self.pipes[pipe.0].writer_open = false,
            Object::Socket { .. } | Object::Listener(_) => {}
        }
        object
    }

    pub(super) fn add_pipe(&mut self, pages: usize) -> PipeId {
        let capacity = pages.max(1);
        let chunks = VecDeque::new();
        self.pipes.push(Pipe { chunks, capacity, reader_open: true, writer_open: true });
        PipeId(self.pipes.len() - 1)
    }

    pub(super) fn pipe(&mut self, pipe: PipeId) -> &mut Pipe {
        &mut self.pipes[pipe.0]
    }

    pub(super) fn open_entries(&self) -> impl Iterator<Item = (Descriptor, &Entry)> {
        let numbered = self.entries.iter().enumerate();
        numbered.filter_map(|(index, entry)| {
            Some((Descriptor((index + FIRST) as i32), entry.as_ref()?))
        })
    }

    pub(super) fn open_pipes(&self) -> usize {
        self.pipes.iter().filter(|pipe| pipe.reader_open || pipe.writer_open).count()
    }

    /// The ring is gone, and its operations with it.
    pub(super) fn forget(&mut self, ring: RingId) {
        for entry in self.entries.iter_mut().flatten() {
            entry.held_by.retain(|(holder, _)| *holder != ring);
        }
    }
}

/// A pipe counts pages, not bytes: a spliced segment takes a page however short it is, so a pipe
/// can be full of few bytes.
#[derive(Debug)]
pub(super) struct Pipe {
    chunks: VecDeque<Vec<u8>>,
    capacity: usize,
    reader_open: bool,
    pub(super) writer_open: bool,
}

impl Pipe {
    pub(super) fn is_broken(&self) -> bool {
        !self.reader_open
    }

    /// Bytes that one splice can put in.
    pub(super) fn room(&self) -> usize {
        (self.capacity - self.chunks.len()) * PAGE
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        self.chunks.extend(data.chunks(PAGE).map(<[u8]>::to_vec));
        debug_assert!(self.chunks.len() <= self.capacity);
    }

    /// The bytes at the front, as far as they are contiguous.
    pub(super) fn front(&self) -> Option<&[u8]> {
        self.chunks.front().map(Vec::as_slice)
    }

    pub(super) fn consume(&mut self, length: usize) {
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.drain(..length);
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
    }

    pub(super) fn length(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }
}

pub(super) const PAGE: usize = 4096;

/// 0, 1 and 2 are the standard streams.
const FIRST: usize = 3;
