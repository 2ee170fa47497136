//! Why the demo ended early, and the exit code for it; nothing here ends anything.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::server::StartError;

use super::super::exit;

#[derive(Debug)]
pub(super) enum DemoError {
    /// The proxy did not start, or broke.
    Proxy(StartError),
    /// The system refused what is named.
    System(&'static str, io::Error),
    Certificate(rcgen::Error),
    Tls(rustls::Error),
    /// A step of the tour failed, or its bytes did not arrive as they were sent.
    Step(&'static str, io::Error),
    /// Ctrl-C before the tour was over.
    Interrupted,
}

impl DemoError {
    /// Prints the error and gives its code.
    pub(super) fn exit(self) -> ExitCode {
        match self {
            DemoError::Proxy(error) => exit::outcome(Err(error)),
            DemoError::System(..) => exit::fail(exit::SYSTEM, &self),
            DemoError::Certificate(_) | DemoError::Tls(_) | DemoError::Step(..) => {
                exit::fail(exit::SOFTWARE, &self)
            }
            DemoError::Interrupted => exit::fail(exit::INTERRUPTED, &self),
        }
    }
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemoError::Proxy(error) => error.fmt(f),
            DemoError::System(what, error) => write!(f, "{what}: {error}"),
            DemoError::Certificate(error) => write!(f, "no certificate could be made: {error}"),
            DemoError::Tls(error) => write!(f, "TLS could not be set up: {error}"),
            DemoError::Step(step, error) => write!(f, "the step {step:?} failed: {error}"),
            DemoError::Interrupted => f.write_str("interrupted before the tour was over"),
        }
    }
}
