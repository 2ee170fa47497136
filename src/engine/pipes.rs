//! The bounded pool of pipes that splice moves bytes through.
//!
//! A pipe is lent to a direction only while bytes flow. Only an empty pipe comes back; one that
//! still holds bytes of an ended session is closed instead.

use std::io;

use super::driver::Descriptor;
use super::io::Io;

/// Limits of the pool of one worker.
#[derive(Clone, Copy, Debug)]
pub struct PipeSizes {
    /// Pipes at the same time; 0 switches splice off.
    pub count: u32,
    /// Bytes a pipe should hold; the kernel may give less.
    pub size: usize,
}

/// The pool.
pub(super) struct Pipes {
    sizes: PipeSizes,
    idle: Vec<RawPipe>,
    held: usize,
    exhausted: u64,
}

/// Both ends of a pipe.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawPipe {
    pub(super) read: Descriptor,
    pub(super) write: Descriptor,
}

impl Pipes {
    pub(super) fn new(sizes: PipeSizes) -> Pipes {
        Pipes { sizes, idle: Vec::new(), held: 0, exhausted: 0 }
    }

    /// An empty pipe, unless the limit is reached or the system refuses one more.
    pub(super) fn take(&mut self, io: &mut Io) -> Option<RawPipe> {
        let pipe = self.idle.pop().or_else(|| {
            let more = (self.held as u64) < u64::from(self.sizes.count);
            more.then(|| self.make(io)).and_then(|made| made.ok())
        });
        match pipe {
            Some(_) => self.held += 1,
            None => self.exhausted += u64::from(self.sizes.count > 0),
        }
        pipe
    }

    fn make(&self, io: &mut Io) -> io::Result<RawPipe> {
        let (read, write) = io.driver.pipe(self.sizes.size)?;
        io.adopt(read);
        io.adopt(write);
        Ok(RawPipe { read, write })
    }

    /// Takes a pipe back; `empty` says whether it can be lent again.
    pub(super) fn give_back(&mut self, pipe: RawPipe, empty: bool, io: &mut Io) {
        self.held -= 1;
        if empty {
            self.idle.push(pipe);
        } else {
            io.release(pipe.read);
            io.release(pipe.write);
        }
    }

    pub(super) fn close_all(&mut self, io: &mut Io) {
        for pipe in self.idle.drain(..) {
            io.release(pipe.read);
            io.release(pipe.write);
        }
    }

    pub(super) fn size(&self) -> usize {
        self.sizes.size
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn exhausted(&self) -> u64 {
        self.exhausted
    }
}
