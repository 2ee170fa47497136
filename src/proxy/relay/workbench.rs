//! Memory in which a worker turns bulk through TLS, of one session after the other. What is there
//! belongs to a step that does not wait, so that an idle session holds nothing of it, and it stays
//! in the cache.

use crate::engine::{Block, BlockSize, Engine};

/// A worker's; made when it is first needed.
#[derive(Default)]
pub(in crate::proxy) struct Workbench {
    received: Vec<u8>,
    opened: Vec<u8>,
    made: Vec<u8>,
}

/// Where a step works.
pub(super) struct Areas<'w> {
    /// What a source had.
    pub(super) received: &'w mut [u8],
    /// The same in the clear, if it is encrypted anew.
    pub(super) opened: &'w mut [u8],
    /// What the target is to get. As long as the largest block, so that one holds what the target
    /// does not take.
    pub(super) made: &'w mut [u8],
}

impl Workbench {
    pub(super) fn areas(&mut self, engine: &Engine) -> Areas<'_> {
        if self.made.is_empty() {
            let most = Block::capacity(engine, BlockSize::Several);
            self.received = vec![0; most - SPARE];
            self.opened = vec![0; most];
            self.made = vec![0; most];
        }
        Areas { received: &mut self.received, opened: &mut self.opened, made: &mut self.made }
    }
}

/// What may come of a step beyond what was received: the part of a record from before, and what
/// records add.
const SPARE: usize = 18 << 10;
