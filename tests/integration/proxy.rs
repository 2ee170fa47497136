//! Owns a running proxy: its configuration, what it says and writes, its signals and its end.
//! Knows the log, the access log and the metrics by their form; judges none of it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::patience::{DEADLINE, eventually};
use super::peer::vacant;
use super::stream::connect;

/// A configuration of one listener `front` and one pool `back`; keys are lines of TOML.
pub struct Plan<'a> {
    pub process: &'a str,
    pub listener: &'a str,
    pub pool: &'a str,
    /// Backends as TOML values. None: the key is left out.
    pub backends: Vec<String>,
    /// Sections that follow.
    pub more: &'a str,
}

impl Plan<'_> {
    /// One worker, and the defaults.
    pub fn of(backends: &[SocketAddr]) -> Plan<'static> {
        let backends = backends.iter().map(|address| format!("\"{address}\"")).collect();
        Plan { process: "workers = 1", listener: "", pool: "", backends, more: "" }
    }

    pub fn start(&self) -> Proxy {
        Proxy::start(&self.text("127.0.0.1:0"), run)
    }

    /// The configuration, for a listener on this address.
    pub fn text(&self, listen: &str) -> String {
        let Plan { process, listener, pool, backends, more } = self;
        let listed = format!("backends = [{}]\n", backends.join(", "));
        let backends = if backends.is_empty() { "" } else { &listed };
        format!(
            "{}[process]\n{process}\n[listener.front]\nlisten = \"{listen}\"\n\
             pool = \"back\"\n{listener}\n[pool.back]\n{pool}\n{backends}{more}\n",
            base(),
        )
    }
}

/// What every configuration here begins with.
pub fn base() -> String {
    format!("[log]\nformat = \"json\"\n[admin]\nlisten = \"{}\"\n", vacant())
}

/// The command that serves a configuration.
pub fn run(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmain"));
    command.args(["run", "--config"]).arg(config);
    command
}

/// The same from a shell that prepares it first.
pub fn run_after(preparation: &str) -> impl FnOnce(&Path) -> Command {
    let script = format!("{preparation} exec \"$0\" run --config \"$1\"");
    move |config| {
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_ringmain")]).arg(config);
        command
    }
}

/// A proxy that serves. It is killed when dropped.
pub struct Proxy {
    child: Child,
    log: Lines,
    access: Lines,
    listeners: HashMap<String, SocketAddr>,
    admin: SocketAddr,
    _folder: TempDir,
}

impl Proxy {
    /// Starts it and waits until it serves.
    pub fn start(config: &str, command: impl FnOnce(&Path) -> Command) -> Proxy {
        let (folder, path) = write(config);
        let mut command = command(&path);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Lines::read(child.stderr.take().unwrap());
        let access = Lines::read(child.stdout.take().unwrap());
        let listeners = HashMap::new();
        let admin = SocketAddr::from(([0; 4], 0));
        let mut proxy = Proxy { child, log, access, listeners, admin, _folder: folder };
        proxy.log.wait("serving", |events| says(events, "serving").next().map(drop));
        proxy.learn_addresses();
        proxy
    }

    fn learn_addresses(&mut self) {
        let events = self.log.events();
        for event in says(&events, "listening") {
            self.listeners.insert(text(event, "listener"), address(event));
        }
        self.admin = address(says(&events, "metrics at /metrics").next().unwrap());
    }

    /// The address of the listener `front`.
    pub fn address(&self) -> SocketAddr {
        self.listener("front")
    }

    pub fn listener(&self, name: &str) -> SocketAddr {
        self.listeners[name]
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for an event of the log.
    pub fn await_event(&self, message: &str) {
        self.log.wait(message, |events| says(events, message).next().map(drop));
    }

    /// Waits for an event of the log in which these words are.
    pub fn await_words(&self, words: &str) {
        self.await_words_after(0, words);
    }

    /// The same for events after the first `count`.
    pub fn await_words_after(&self, count: usize, words: &str) {
        let says = |event: &Value| event["message"].as_str().is_some_and(|it| it.contains(words));
        self.log.wait(words, |events| events.iter().skip(count).any(says).then_some(()));
    }

    /// How many events the log has.
    pub fn events(&self) -> usize {
        self.log.events().len()
    }

    /// Waits until the access log has `count` lines; gives all there are.
    pub fn sessions(&self, count: usize) -> Vec<Value> {
        let what = format!("{count} lines in the access log");
        self.access.wait(&what, |lines| (lines.len() >= count).then(|| lines.to_vec()))
    }

    /// Waits for the line of the session of this client.
    #[track_caller]
    pub fn session_of(&self, client: SocketAddr) -> Value {
        let name = client.to_string();
        self.access.wait(&format!("line of {name} in the access log"), |lines| {
            lines.iter().find(|session| session["client"] == name).cloned()
        })
    }

    /// Waits until so many sessions in a row have had the first backend that they tried.
    pub fn await_first_tries(&self, count: usize) {
        self.access.wait("sessions that tried one backend alone", |lines| {
            let last = lines.iter().rev().take(count);
            let none = Value::Array(Vec::new());
            (last.filter(|session| session["tried"] == none).count() == count).then_some(())
        });
    }

    /// The line of the only session so far.
    pub fn session(&self) -> Value {
        let mut sessions = self.sessions(1);
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        sessions.remove(0)
    }

    /// Waits for its end; gives the exit code.
    pub fn exit_code(&mut self) -> i32 {
        exit_code(&mut self.child)
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The status line and the body of an answer of the admin server.
    pub fn get(&self, path: &str) -> (String, String) {
        self.request("GET", path)
    }

    /// The same of an order: the status, and the JSON that says what has come of it.
    pub fn order(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.request("POST", path);
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap(), serde_json::from_str(&body).unwrap())
    }

    fn request(&self, method: &str, path: &str) -> (String, String) {
        let mut stream = connect(self.admin);
        let head = "host: proxy\r\ncontent-type: application/json\r\ncontent-length: 0";
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// A metric, summed over those of its samples whose labels contain `label`.
    pub fn metric(&self, name: &str, label: &str) -> u64 {
        let (_, body) = self.get("/metrics");
        let value = |line: &str| {
            let (sample, value) = line.rsplit_once(' ')?;
            let (sample, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let fits = sample.strip_prefix("ringmain_") == Some(name) && labels.contains(label);
            fits.then(|| value.parse::<u64>().unwrap())
        };
        body.lines().filter_map(value).sum()
    }

    /// Waits until a metric, summed over its samples, satisfies the test.
    pub fn await_metric(&self, name: &str, satisfies: impl Fn(u64) -> bool) {
        eventually(name, || satisfies(self.metric(name, "")).then_some(()));
    }

    /// Waits until no session is left, nor anything that one held.
    pub fn await_rest(&self) {
        for gauge in ["worker_sessions_open", "worker_buffers_held", "worker_pipes_held"] {
            self.await_metric(gauge, |value| value == 0);
        }
        self.await_metric("backend_connections", |value| value == 0);
    }

    /// A file of the process under /proc.
    pub fn procfs(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }

    /// Anonymous memory in use, in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(self.procfs("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kibibytes << 10
    }

    /// Whether every thread stands still, as after SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        std::fs::read_dir(self.procfs("task")).unwrap().all(|task| {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            status.lines().any(|line| line.starts_with("State:\tT"))
        })
    }

    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(self.procfs("fd")).unwrap().count()
    }

    /// Waits until it has so many open. That of the last scrape may stay open for a moment.
    pub fn await_descriptors(&self, count: usize) {
        let what = format!("{count} descriptors");
        eventually(&what, || (self.descriptors() == count).then_some(()));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
        if std::thread::panicking() {
            eprintln!("the proxy's log:\n{}", self.log.whole());
        }
    }
}

/// A start that was refused.
#[derive(Debug)]
pub struct Refusal {
    pub code: i32,
    pub reason: String,
}

/// Runs a command that ends by itself.
pub fn refusal(config: &str, command: impl FnOnce(&Path) -> Command) -> Refusal {
    let (_folder, path) = write(config);
    let mut command = command(&path);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = Lines::read(child.stderr.take().unwrap());
    let code = exit_code(&mut child);
    Refusal { code, reason: log.whole() }
}

/// Kills what does not end in time.
fn exit_code(child: &mut Child) -> i32 {
    let id = child.id();
    let ended = || child.try_wait().unwrap();
    eventually(&format!("the end of process {id}"), ended).code().expect("ended by itself")
}

fn write(config: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, config).unwrap();
    (folder, path)
}

/// The session has these values under these keys.
#[track_caller]
pub fn assert_fields(session: &Value, expected: Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&session[key], value, "{key} of {session}");
    }
}

fn says<'e>(events: &'e [Value], message: &str) -> impl Iterator<Item = &'e Value> {
    events.iter().filter(move |event| event["message"] == message)
}

fn text(event: &Value, key: &str) -> String {
    event[key].as_str().unwrap().to_owned()
}

fn address(event: &Value) -> SocketAddr {
    text(event, "address").parse().unwrap()
}

/// Lines of an output of a process, as they come.
struct Lines(Arc<(Mutex<Output>, Condvar)>);

#[derive(Default)]
struct Output {
    text: String,
    /// The lines of JSON; others are the words of a start that was refused.
    events: Vec<Value>,
    ended: bool,
}

impl Lines {
    fn read(output: impl Read + Send + 'static) -> Lines {
        let lines = Lines(Arc::default());
        let shared = Arc::clone(&lines.0);
        std::thread::spawn(move || {
            let (output_so_far, changed) = &*shared;
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line);
                let mut output = output_so_far.lock().unwrap();
                output.events.extend(event);
                output.text.push_str(&line);
                output.text.push('\n');
                changed.notify_all();
            }
            output_so_far.lock().unwrap().ended = true;
            changed.notify_all();
        });
        lines
    }

    /// Waits until `find` finds something in the lines of JSON.
    #[track_caller]
    fn wait<T>(&self, what: &str, find: impl Fn(&[Value]) -> Option<T>) -> T {
        let (output, changed) = &*self.0;
        let mut output = output.lock().unwrap();
        loop {
            if let Some(found) = find(&output.events) {
                return found;
            }
            let ended = output.ended;
            let (guard, waited) = changed.wait_timeout(output, DEADLINE).unwrap();
            if ended || waited.timed_out() {
                let text = guard.text.clone();
                drop(guard);
                panic!("no {what} in\n{text}");
            }
            output = guard;
        }
    }

    /// All of it, once it has ended.
    fn whole(&self) -> String {
        let (output, changed) = &*self.0;
        let output = output.lock().unwrap();
        let (output, waited) =
            changed.wait_timeout_while(output, DEADLINE, |output| !output.ended).unwrap();
        assert!(!waited.timed_out(), "the output does not end");
        output.text.clone()
    }

    fn events(&self) -> Vec<Value> {
        self.0.0.lock().unwrap().events.clone()
    }
}
