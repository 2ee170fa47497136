//! The kernel as the rest of Ringmain sees it: futures on sockets, driven by one ring per thread.
//!
//! Reading order: `driver` (operations down, completions up), `slots`, `io` and `receives` (who
//! owns what the kernel may touch, and what a completion means), `ready` and `executor` (tasks and
//! the turn of the loop), then the operations as futures: `listener`, `socket`, `polled`, `buffer`,
//! `pipe`. They stand on `buffers`, `pipes`, `timers` and `alarms`. `remote` and `inbox` are the
//! only ways in from another thread; `notify`, `permits`, `ration` and `channel` join tasks of one,
//! and `line` is where they wait. The only `unsafe` code of the project lives in this folder.
#![allow(unsafe_code)]

mod alarms;
mod block;
mod buffer;
mod buffers;
mod channel;
pub mod driver;
mod executor;
mod inbox;
mod inherited;
mod io;
mod line;
mod listener;
mod notify;
mod panics;
mod permits;
mod pipe;
mod pipes;
mod polled;
mod race;
mod ration;
mod ready;
mod receives;
mod region;
mod remote;
mod slots;
mod socket;
mod stalls;
pub mod support;
#[cfg(test)]
mod tests;
mod time;
mod timers;

pub use alarms::Alarm;
pub use block::{Block, BlockSize};
pub use buffer::Buffer;
pub use buffers::BufferSizes;
pub use channel::{Receiver, Sender, channel};
pub use driver::Interest;
pub use driver::uring::set_options;
pub use executor::{Engine, EngineSettings, EngineStatus, Sleep};
pub use inbox::Inbox;
pub use inherited::inherited_sockets;
pub use io::Owner;
pub use line::Line;
pub use listener::{Incoming, Listener};
pub use notify::{Notified, Notify};
pub use permits::{Permit, Permits, Take};
pub use pipe::Pipe;
pub use pipes::PipeSizes;
pub use polled::Polled;
pub use race::{Either, race};
pub use ration::Ration;
pub use remote::Remote;
pub use socket::{Receive, Send, Sent, Socket};
pub use time::Time;
