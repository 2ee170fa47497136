//! Owns the proxy under test, in a process of its own; does not know what speaks through it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::process::Process;

pub struct Proxy {
    process: Process,
    /// As bound, in the order of the configuration.
    addresses: Vec<SocketAddr>,
    pub workers: u64,
}

impl Proxy {
    /// One listener before the backends, and one worker: then sessions take them strictly in turn.
    pub fn start(backends: &[SocketAddr]) -> Proxy {
        let mut text = String::from(
            "[process]\nworkers = 1\n[admin]\nlisten = \"off\"\n\
             [listener.client]\nlisten = \"127.0.0.1:0\"\npool = \"backends\"\n\
             [pool.backends]\nbackends = [\n",
        );
        for (index, address) in backends.iter().enumerate() {
            writeln!(text, "    {{ address = \"{address}\", name = \"{index}\" }},").unwrap();
        }
        text.push_str("]\n");
        Proxy::with_text(&text)
    }

    /// With the text of a configuration file.
    pub fn with_text(text: &str) -> Proxy {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        Proxy::with_configuration(file.path())
    }

    /// Returns when it serves; the file is no longer needed then.
    pub fn with_configuration(file: &Path) -> Proxy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringmain"));
        let process = Process::start(command.arg("run").arg("--config").arg(file));
        let mut addresses = Vec::new();
        for line in process.stderr.until("\"serving\"") {
            let line: Value = serde_json::from_str(&line).unwrap();
            match line["message"].as_str() {
                Some("listening") => {
                    addresses.push(line["address"].as_str().unwrap().parse().unwrap());
                }
                Some("serving") => {
                    let workers = line["workers"].as_u64().unwrap();
                    return Proxy { process, addresses, workers };
                }
                _ => {}
            }
        }
        unreachable!("`until` ends with the line that says it serves")
    }

    /// Where its first listener is reached.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The next line of its log, where one of this kind is awaited.
    pub fn log(&self, kind: &str) -> Value {
        let line = self.process.stderr.next_of(kind).expect("the proxy has ended");
        serde_json::from_str(&line).unwrap()
    }

    /// Lets the sessions finish and ends the proxy in order; gives the lines of the access log, in
    /// the order in which their clients came. A session whose backend is slow to leave may end
    /// behind one that began after it.
    pub fn stop(self) -> Vec<Value> {
        self.end(&["\"ERROR\"", "\"WARN\""])
    }

    /// As `stop`, where backends or nameservers are made to fail, of which it warns.
    pub fn stop_warned(self) -> Vec<Value> {
        self.end(&["\"ERROR\""])
    }

    fn end(mut self, complaints: &[&str]) -> Vec<Value> {
        self.process.terminate();
        let (status, sessions) = self.process.end();
        let log: Vec<String> = std::iter::from_fn(|| self.process.stderr.next()).collect();
        assert!(status.success(), "{status}: {log:#?}");
        let is_complaint = |line: &&String| complaints.iter().any(|mark| line.contains(mark));
        assert_eq!(log.iter().find(is_complaint), None);
        let mut sessions: Vec<Value> =
            sessions.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        sessions.sort_by_key(|session| session["accepted"].as_str().map(str::to_owned));
        sessions
    }

    /// As `stop`, and asserts that every session came to an orderly end.
    pub fn stop_finished(self) -> Vec<Value> {
        let sessions = self.stop();
        for session in &sessions {
            assert_eq!(session["reason"], "finished", "{session}");
        }
        sessions
    }
}
