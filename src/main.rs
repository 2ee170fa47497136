//! The `ringmain` program: arguments lead to one command, its outcome to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringmain::commands::main()
}
