//! Exit codes, after sysexits.h, and how an error reaches the user.

use std::fmt::Display;
use std::process::ExitCode;

use crate::server::{Ended, StartError};

use super::output::complain;

/// What `--help` says of them.
pub(super) const HELP: &str = "\
Exit codes: 0 ended in order; 2 wrong options; 69 this host lacks something (io_uring, limits); \
70 internal error; 71 an address or another resource of the system is taken; 75 a source of \
backends did not answer (check --resolve); 78 the configuration is wrong; 130 ended at once by a \
second signal.";

/// This host lacks something that a restart will not bring.
pub(super) const UNAVAILABLE: u8 = 69;
/// Something of our own broke.
pub(super) const SOFTWARE: u8 = 70;
/// The system refused a resource; it may give it later.
pub(super) const SYSTEM: u8 = 71;
/// A source of backends did not answer; it may later.
pub(super) const UNANSWERED: u8 = 75;
/// The configuration is wrong.
pub(super) const CONFIGURATION: u8 = 78;
/// A second signal ended the drain.
pub(super) const INTERRUPTED: u8 = 130;

/// Prints the error and gives its code.
pub(super) fn fail(code: u8, error: &dyn Display) -> ExitCode {
    complain(error);
    ExitCode::from(code)
}

/// The code for how a server ended.
pub(super) fn outcome(result: Result<Ended, StartError>) -> ExitCode {
    match result {
        Ok(Ended::InOrder) => ExitCode::SUCCESS,
        Ok(Ended::AtOnce) => ExitCode::from(INTERRUPTED),
        Err(error) => fail(code(&error), &error),
    }
}

fn code(error: &StartError) -> u8 {
    use crate::server::WorkerError;
    match error {
        StartError::Unsupported(_)
        | StartError::Limit(_)
        | StartError::Cpu(_)
        | StartError::Worker(WorkerError::Unsupported(_)) => UNAVAILABLE,
        StartError::Listen(_)
        | StartError::Worker(WorkerError::Io(_))
        | StartError::AccessLog(_)
        | StartError::Admin(_)
        | StartError::System(..) => SYSTEM,
        // Of the configuration, or of a file that completes it.
        StartError::Control(_) | StartError::Material(_) => CONFIGURATION,
        StartError::Broken(_) => SOFTWARE,
    }
}
