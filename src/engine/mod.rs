//! The kernel as the rest of Ringmain sees it: futures on sockets, driven by one ring per thread.
//!
//! Reading order: `driver` (operations down, completions up), `slots` (who owns what the kernel may
//! touch), `executor` (tasks and the turn of the loop), then `socket` and `listener`, the
//! operations as futures. `buffers`, `pipes` and `timers` are what they stand on; `remote` is the
//! only way in from another thread. The only `unsafe` code of the project lives in this folder.
#![allow(unsafe_code)]

pub mod driver;
pub mod remote;
pub mod time;
