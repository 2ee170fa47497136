//! The commands of the `ringmain` program, one file or folder each, and the exit codes they share.

mod arguments;
mod check;
mod demo;
mod exit;
mod output;
mod resolve;
mod run;

pub use arguments::main;

/// A number with its noun.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
