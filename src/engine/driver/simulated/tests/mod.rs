//! The model against what Linux does: each test is a fact that the engine relies on.
//!
//! `process` is what they stand on; `tcp` has the life of a connection, `connecting` its beginning,
//! `operations` what a worker submits and how it waits, `faults` what goes wrong, and whole runs.

mod connecting;
mod faults;
mod operations;
mod process;
mod tcp;
