//! The commands of the `ringmain` program, one file or folder each, and the exit codes they share.

mod arguments;
mod check;
mod demo;
mod exit;
mod output;
mod resolve;
mod run;

pub use arguments::main;
