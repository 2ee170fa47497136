//! What a command prints: lines on standard output, and the error on standard error. Whoever reads
//! it may leave before the end, as `head` does; that is no failure. Knows no command.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use super::exit;

/// Standard output, line by line.
pub(super) struct Output {
    out: Box<dyn Write>,
    /// Why nothing more is written.
    trouble: Option<io::Error>,
}

impl Output {
    pub(super) fn stdout() -> Output {
        Output::new(Box::new(io::stdout()))
    }

    fn new(out: Box<dyn Write>) -> Output {
        Output { out, trouble: None }
    }

    /// Shows a line at once. After the first that cannot be written nothing is.
    pub(super) fn line(&mut self, text: impl Display) {
        if self.trouble.is_none() {
            let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
            self.trouble = written.err();
        }
    }

    /// The exit code of the command, unless what it had to say could not be written.
    pub(super) fn end(self, code: ExitCode) -> ExitCode {
        match self.trouble {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                exit::fail(exit::SYSTEM, &format!("standard output cannot be written: {error}"))
            }
            _ => code,
        }
    }
}

/// A line on standard error. Where nobody reads it, there is nobody else to be told.
pub(super) fn complain(text: impl Display) {
    writeln!(io::stderr(), "ringmain: {text}").unwrap_or_default();
}

/// A number with its noun.
pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes no bytes, for this reason.
    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn end(reason: ErrorKind) -> String {
        let mut output = Output::new(Box::new(Refusing(reason)));
        output.line("one");
        output.line("two");
        format!("{:?}", output.end(ExitCode::from(3)))
    }

    #[test]
    fn a_reader_that_has_left_changes_nothing() {
        assert_eq!(end(ErrorKind::BrokenPipe), format!("{:?}", ExitCode::from(3)));
    }

    #[test]
    fn a_full_disk_is_an_error() {
        assert_eq!(end(ErrorKind::StorageFull), format!("{:?}", ExitCode::from(exit::SYSTEM)));
    }
}
