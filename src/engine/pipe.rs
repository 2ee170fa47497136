//! A pipe on loan to one direction of a session, and how much of the stream is in it.

use std::io;

use super::driver::Descriptor;
use super::executor::Engine;
use super::io::Owner;
use super::pipes::RawPipe;

/// Lent by the worker's pool; goes back when dropped.
pub struct Pipe {
    engine: Engine,
    pipe: RawPipe,
    owner: Owner,
    /// Bytes that went in and did not come out yet.
    held: usize,
}

impl Pipe {
    /// An empty pipe, unless the pool has none left for `owner`, on whose account it is held.
    pub fn borrow_from(engine: &Engine, owner: Owner) -> Option<Pipe> {
        let core = engine.core();
        let pipe = core.pipes.borrow_mut().take(owner, &mut core.io.borrow_mut())?;
        Some(Pipe { engine: engine.clone(), pipe, owner, held: 0 })
    }

    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Bytes on their way through.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Bytes that it was asked to hold; the kernel may have given less.
    pub fn size(&self) -> usize {
        self.engine.core().pipes.borrow().size()
    }

    pub(super) fn fill(&mut self, source: Descriptor) -> io::Result<usize> {
        let core = self.engine.core();
        let length = self.size();
        let moved = core.io.borrow_mut().driver.splice(source, self.pipe.write, length)?;
        self.held += moved;
        Ok(moved)
    }

    pub(super) fn drain(&mut self, target: Descriptor) -> io::Result<usize> {
        let mut io = self.engine.core().io.borrow_mut();
        let moved = io.driver.splice(self.pipe.read, target, self.held)?;
        self.held -= moved;
        Ok(moved)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let core = self.engine.core();
        let empty = self.held == 0;
        let (pipes, io) = (&core.pipes, &mut core.io.borrow_mut());
        pipes.borrow_mut().give_back(self.pipe, self.owner, empty, io);
    }
}
