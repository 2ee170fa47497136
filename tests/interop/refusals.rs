//! A host that refuses io_uring: what the user reads, and which exit code a script sees. The
//! refusal is a seccomp filter, as container runtimes set one.

use std::process::{Command, Output};

/// Makes io_uring_setup (425 everywhere) fail with the errno in its first argument, and becomes
/// the program in the others. Filters need no privilege once no new ones can be gained.
const FILTER: &str = r#"
import ctypes, os, struct, sys
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7fff0000, 0x00050000
def step(code, then, otherwise, value):
    return struct.pack("HBBI", code, then, otherwise, value)
filter = b"".join([
    step(LOAD, 0, 0, 0),
    step(JUMP_IF_EQUAL, 0, 1, 425),
    step(RETURN, 0, 0, ERRNO | int(sys.argv[1])),
    step(RETURN, 0, 0, ALLOW),
])
steps = ctypes.create_string_buffer(filter)
program = struct.pack("HxxxxxxP", 4, ctypes.addressof(steps))
prctl = ctypes.CDLL(None, use_errno=True).prctl
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
assert prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// The host lacks something that a restart will not bring.
const UNAVAILABLE: i32 = 69;

fn refused(errno: i32, arguments: &[&str]) -> Output {
    let preset = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/tcp.toml");
    Command::new("python3")
        .args(["-c", FILTER, &errno.to_string(), env!("CARGO_BIN_EXE_ringmain")])
        .args(arguments)
        .args(["--config", preset])
        .output()
        .expect("python3 is installed")
}

#[test]
#[ignore = "needs Debian packages"]
fn a_forbidden_io_uring_is_one_sentence_and_an_exit_code_of_its_own() {
    for command in ["run", "check"] {
        let output = refused(libc::EPERM, &[command]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(UNAVAILABLE), "{said}");
        assert_eq!(said.lines().filter(|line| line.contains("io_uring")).count(), 1, "{said}");
        assert!(said.contains("seccomp"), "{said}");
    }
}

#[test]
#[ignore = "needs Debian packages"]
fn a_kernel_without_io_uring_is_told_apart_from_one_that_forbids_it() {
    let output = refused(libc::ENOSYS, &["run"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(UNAVAILABLE), "{said}");
    assert!(said.contains("without io_uring"), "{said}");
}
