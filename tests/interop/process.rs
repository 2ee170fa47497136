//! Owns the programs a test starts: their lines, their deadlines, their end. Knows none of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything that a test waits for may take.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A program that runs until it is told to end, or is dropped.
pub struct Process {
    child: Child,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        let program = command.get_program().to_owned();
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}"));
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Process { child, stdout, stderr }
    }

    /// Writes to its standard input.
    pub fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// The same to a program that may have ended by itself.
    pub fn say_if_there(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).ok();
    }

    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits for its end, and gives what it had still to say on its standard output.
    pub fn end(&mut self) -> (ExitStatus, Vec<String>) {
        let rest = std::iter::from_fn(|| self.stdout.next()).collect();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a program writes, line by line, read as it comes so that the program is never held up.
pub struct Lines(Receiver<String>);

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Lines {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        Lines(receiver)
    }

    /// The next line; `None` once the program has closed its end.
    pub fn next(&self) -> Option<String> {
        self.next_of("any")
    }

    /// The same, where a line of this kind is awaited.
    pub fn next_of(&self, kind: &str) -> Option<String> {
        match self.0.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("no line within {DEADLINE:?}, awaiting: {kind}")
            }
        }
    }

    /// Everything up to the first line that contains `mark`, this line included and last.
    pub fn until(&self, mark: &str) -> Vec<String> {
        let began = now();
        let mut seen = Vec::new();
        while let Some(line) = self.next_of(mark) {
            let found = line.contains(mark);
            seen.push(line);
            if found {
                return seen;
            }
            assert!(began.elapsed() < DEADLINE, "no `{mark}` within {DEADLINE:?}: {seen:#?}");
        }
        panic!("the program ended without `{mark}`: {seen:#?}");
    }
}

/// For deadlines, and for times that are shown.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// A program that ends by itself, and is killed at the deadline.
pub fn bounded(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", &DEADLINE.as_secs().to_string(), program]);
    command
}

/// Runs it with `input` as its standard input.
pub fn output(command: &mut Command, input: Vec<u8>) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    // A program that ends early does not read everything; its output and status tell why.
    let writer = thread::spawn(move || stdin.write_all(&input).ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Runs it to its success, and gives its standard output.
pub fn run(command: &mut Command, input: Vec<u8>) -> String {
    let output = output(command, input);
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
