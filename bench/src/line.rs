//! Owns how tests give options to a command: as a line, which is read as a shell would.

use clap::{Args, Parser};

#[derive(Parser)]
struct Line<O: Args> {
    #[command(flatten)]
    options: O,
}

/// What the words after the name of the command come to.
pub fn parsed<O: Args>(line: &str) -> Result<O, clap::Error> {
    let words = std::iter::once("command").chain(line.split_ascii_whitespace());
    Line::try_parse_from(words).map(|line| line.options)
}

/// The same of a line that is right.
pub fn options<O: Args>(line: &str) -> O {
    parsed(line).unwrap_or_else(|error| panic!("{error}"))
}
