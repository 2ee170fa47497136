//! A host that refuses io_uring: what the user reads, and which exit code a script sees. The
//! refusal is a seccomp filter, as container runtimes set one, or a limit on locked memory.

use std::path::Path;
use std::process::{Command, Output};

/// Makes io_uring_setup (425 everywhere) fail with the errno in its first argument, shows the
/// second as kernel.io_uring_disabled if there is one, and becomes the program in the others.
/// Filters need no privilege once no new ones can be gained; what is shown needs that of root.
const FILTER: &str = r#"
import ctypes, os, struct, sys, tempfile
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
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_BIND, MS_PRIVATE_ALL = 0x20000, 0x1000, 0x44000
if sys.argv[2]:
    # What the kernel would say of itself, to this process alone.
    assert libc.unshare(CLONE_NEWNS) == 0
    assert libc.mount(b"none", b"/", None, MS_PRIVATE_ALL, None) == 0
    words = tempfile.NamedTemporaryFile()
    words.write(sys.argv[2].encode() + b"\n")
    words.flush()
    shown = b"/proc/sys/kernel/io_uring_disabled"
    assert libc.mount(words.name.encode(), shown, None, MS_BIND, None) == 0
steps = ctypes.create_string_buffer(filter)
program = struct.pack("HxxxxxxP", 4, ctypes.addressof(steps))
prctl = libc.prctl
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
assert prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0
os.execv(sys.argv[3], sys.argv[3:])
"#;

/// Becomes the program in its other arguments, which may lock so many bytes of memory.
const LITTLE_MEMORY: &str = r#"
import ctypes, os, resource, sys
PR_CAPBSET_DROP, CAP_IPC_LOCK = 24, 14
# Who is not root has not got it, and may not drop it.
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0)
resource.setrlimit(resource.RLIMIT_MEMLOCK, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// The host lacks something that a restart will not bring.
const UNAVAILABLE: i32 = 69;

/// What is said where io_uring_setup fails so, with this value of the sysctl if any.
fn refused(errno: i32, sysctl: &str, command: &str) -> Output {
    run(&[FILTER, &errno.to_string(), sysctl], command)
}

fn run(script: &[&str], command: &str) -> Output {
    let preset = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/tcp.toml");
    let arguments: &[&str] = match command {
        "demo" => &["--once"],
        _ => &["--config", preset],
    };
    Command::new("python3")
        .arg("-c")
        .args(script)
        .args([env!("CARGO_BIN_EXE_ringmain"), command])
        .args(arguments)
        .output()
        .expect("python3 is installed")
}

/// It is one sentence with these words, and the code.
#[track_caller]
fn assert_refusal(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(UNAVAILABLE), "{said}");
    let sentences = said.lines().filter(|line| line.starts_with("ringmain: ")).count();
    assert_eq!(sentences, 1, "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

#[test]
#[ignore = "needs Debian packages"]
fn a_forbidden_io_uring_is_one_sentence_and_an_exit_code_of_its_own() {
    for command in ["run", "check", "demo"] {
        let output = refused(libc::EPERM, "0", command);
        assert_refusal(&output, &["io_uring", "seccomp"]);
    }
}

#[test]
#[ignore = "needs Debian packages"]
fn an_io_uring_that_is_switched_off_is_told_with_the_switch() {
    if !Path::new("/proc/sys/kernel/io_uring_disabled").exists() {
        println!("this kernel, before 6.6, has no such switch");
        return;
    }
    for value in ["1", "2"] {
        let output = refused(libc::EPERM, value, "run");
        let shown = format!("kernel.io_uring_disabled = {value}");
        assert_refusal(&output, &[&shown, "sysctl kernel.io_uring_disabled=0"]);
    }
}

#[test]
#[ignore = "needs Debian packages"]
fn a_kernel_without_io_uring_is_told_apart_from_one_that_forbids_it() {
    assert_refusal(&refused(libc::ENOSYS, "", "run"), &["without io_uring"]);
    assert_refusal(&refused(libc::EINVAL, "", "run"), &["too old", "6.1"]);
}

#[test]
#[ignore = "needs Debian packages"]
fn a_limit_on_locked_memory_is_told_with_the_limit() {
    for command in ["run", "check"] {
        // The second is enough for a small ring, and not for a worker's.
        for bytes in ["0", "65536"] {
            let output = run(&[LITTLE_MEMORY, bytes], command);
            let limit = format!("memlock limit is {bytes} bytes");
            assert_refusal(&output, &[&limit, "LimitMEMLOCK="]);
        }
    }
}
