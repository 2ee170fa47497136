//! The commands of the `ringmain` program, one file each, and the exit codes they share.

mod arguments;
mod check;
mod exit;
mod run;

pub use arguments::main;
