//! Owns the proof that the harness works as it is built: short runs at a low rate, directly and
//! through a Ringmain, by what they write; and what is refused before any load. No time is asserted.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_ringmain-bench");

/// The Ringmain of the same sources, built as this test was.
fn ringmain() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let profile = Path::new(BENCH).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "--quiet", "--package", "ringmain", "--bin", "ringmain"]);
        cargo.arg("--manifest-path").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "ringmain can not be built");
        profile.join("ringmain")
    })
}

/// An empty directory for the files of one test.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // There is none the first time.
    fs::remove_dir_all(&path).ok();
    fs::create_dir_all(&path).unwrap();
    path
}

/// Runs the harness to its end, which is not far.
fn bench(line: &str) -> Output {
    bench_met(line, |_| ())
}

/// The same, and `meet` sees it run; one at a time, as a run may set what the whole host has, for as
/// long as it lasts.
fn bench_met(line: &str, meet: impl FnOnce(&mut Child)) -> Output {
    bench_before(line, Stdio::piped(), meet)
}

/// The same with something else as standard error.
fn bench_before(line: &str, stderr: Stdio, meet: impl FnOnce(&mut Child)) -> Output {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let child = Command::new(BENCH)
        .args(line.split_ascii_whitespace())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn();
    let mut child = Owned(child.unwrap());
    meet(&mut child.0);
    let status = eventually(line, || child.0.try_wait().unwrap());
    let read = |pipe: &mut dyn Read| {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).unwrap();
        text
    };
    let stdout = read(child.0.stdout.as_mut().unwrap());
    let stderr = child.0.stderr.as_mut().map_or(Vec::new(), |pipe| read(pipe));
    Output { status, stdout, stderr }
}

/// Asks until there is a value. Nothing here takes so long, unless it does not end.
#[allow(clippy::disallowed_methods, reason = "the one place that waits without an event")]
fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < DEADLINE, "in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// A process that ends with its owner.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The one run that such a command has kept, of 200 units that all came back.
fn run_of_200(line: &str, output: &Path) -> Value {
    let ended = bench(&format!("{line} {COMMON} --output {}", output.display()));
    assert!(ended.status.success(), "{line}: {}{}", text(&ended.stdout), text(&ended.stderr));
    let json: Value =
        serde_json::from_slice(&fs::read(output.with_extension("json")).unwrap()).unwrap();
    assert!(output.with_extension("hlog").is_file());
    let runs = json["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    let counts = &runs[0]["counts"];
    let sent = counts["sent"].as_u64().unwrap();
    assert!((199..=201).contains(&sent), "{counts}");
    assert_eq!(counts["answered"], sent, "{counts}");
    for wrong in ["lost", "duplicated", "reordered", "corrupted"] {
        assert_eq!(counts[wrong], 0, "{counts}");
    }
    assert_eq!(counts["errors"].as_object().unwrap().len(), 0, "{counts}");
    assert_eq!(runs[0]["offered"], 200.0);
    assert_eq!(runs[0]["connections"], 8);
    json
}

#[test]
fn a_run_directly_says_what_became_of_it() {
    let output = directory("direct").join("echo");
    let json = run_of_200("run --protocol tcp-echo", &output);
    assert_eq!(json["runs"][0]["candidate"], "direct");
    assert_eq!(json["runs"][0]["cost"], Value::Null);
}

#[test]
fn a_run_through_a_ringmain_says_what_that_has_cost() {
    let output = directory("through").join("echo");
    let line =
        format!("run --protocol tcp-echo --via ringmain --ringmain {}", ringmain().display());
    let json = run_of_200(&line, &output);
    let run = &json["runs"][0];
    assert_eq!((&run["candidate"], &run["workers"]), (&"ringmain".into(), &1.into()));
    assert!(run["cost"]["cpu_seconds"].as_f64().unwrap() > 0.0, "{run}");
    let host = &json["host"];
    assert!(host["versions"]["ringmain"].as_str().unwrap().contains("ringmain"), "{host}");
    assert!(host["configurations"]["ringmain.toml"].as_str().unwrap().contains("[listener"));
}

/// Somebody else's proxy, with somebody else's certificate.
#[test]
fn a_target_that_ends_tls_is_believed_by_who_vouches_for_it() {
    let directory = directory("target");
    let [ours, others] = ["ours", "others"].map(|name| authority(&directory, name));
    let (listen, backend) = (free_address(), free_address());
    let _target = start_target(&directory, listen, backend);
    let line = format!(
        "run --protocol tls-echo --target {listen} --backend-listen {backend} --server-name logs.example"
    );
    let output = directory.join("echo");
    let (ours, others) = (ours.display(), others.display());
    let json = run_of_200(&format!("{line} --ca {ours}"), &output);
    assert_eq!(json["runs"][0]["candidate"], "target");

    let refused = |line: &str, code: i32| {
        let ended = bench(&format!("{line} {COMMON}"));
        assert_eq!(ended.status.code(), Some(code), "{line}: {}", text(&ended.stderr));
        // Nothing was shown of a run.
        assert_eq!(text(&ended.stdout), "", "{line}");
        text(&ended.stderr).to_owned()
    };
    let said = refused(&line.replace("--server-name logs.example", ""), 2);
    assert!(said.contains("nobody vouches for") && said.contains("--ca"), "{said}");
    let said = refused(&format!("{line} --ca {others}"), 1);
    assert!(said.contains("is not trusted: no authority that was given has signed it"), "{said}");
    let other = line.replace("logs.example", "metrics.example");
    let said = refused(&format!("{other} --ca {ours}"), 1);
    assert!(said.contains("is not for the name asked for"), "{said}");

    let blind = bench(&format!("{other} {COMMON} --insecure"));
    assert!(blind.status.success(), "{}", text(&blind.stderr));
    assert!(text(&blind.stdout).contains("INSECURE"), "{}", text(&blind.stdout));
}

#[test]
fn results_that_would_find_no_place_are_refused_before_any_load() {
    let fleet = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/fleets/datadog.toml");
    for line in [
        "run --output /proc/results/echo",
        "capacity --output /proc/results",
        "compare --quick --output /proc/results",
        "soak --rate 10 --minutes 1 --output /proc/results",
        "calibrate --output /proc/results",
        &format!("plan --profile {fleet} --output /proc/results"),
    ] {
        let ended = bench(line);
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("/proc/results can not be written"), "{line}: {said}");
        assert!(said.contains("--output") && said.lines().count() == 1, "{line}: {said}");
        assert_eq!(text(&ended.stdout), "", "{line}");
    }
}

/// The file of results that a command leaves which is interrupted after its first run, and how it
/// ended.
fn interrupted(name: &str, line: &str) -> (PathBuf, Output) {
    let directory = directory(&format!("interrupted-{name}"));
    let (ringmain, at) = (ringmain().display(), directory.display());
    let line = format!("{name} {line} --ringmain {ringmain} --output {at}");
    let ended = bench_met(&line, |child| {
        // A run that has ended has a line, which says how much is left.
        said_until(child.stderr.as_mut().unwrap(), " left  ");
        kill_process(Pid::from_child(child), Signal::INT).unwrap();
    });
    assert_eq!(ended.status.code(), Some(130), "{line}: {}", text(&ended.stderr));
    (directory.join(name).with_extension("json"), ended)
}

/// Reads until something was said.
fn said_until(pipe: &mut impl Read, wanted: &str) {
    let (mut said, mut byte) = (String::new(), [0]);
    while !said.contains(wanted) {
        assert_eq!(pipe.read(&mut byte).unwrap(), 1, "it has ended: {said}");
        said.push(byte[0].into());
    }
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_soak_that_is_interrupted_keeps_its_windows() {
    let soak = "--rate 200 --connections 8 --minutes 1 --window 1 --faults 0";
    let (file, ended) = interrupted("soak", soak);
    let said = text(&ended.stderr);
    assert!(said.contains("soak: interrupted: what was measured until then is in"), "{said}");
    let json = json(&file);
    let windows = json["runs"].as_array().unwrap();
    assert_eq!(json["soak"]["windows"], windows.len());
    assert!(!windows.is_empty() && windows[0]["counts"]["lost"] == 0, "{}", windows[0]["counts"]);
    let twice = bench(&format!("diff {} {}", file.display(), file.display()));
    let said = text(&twice.stdout);
    assert!(twice.status.success() && said.contains("a third one tells"), "{said}");
}

/// On a terminal the run that is being made is seen every second, before it ends.
#[test]
fn a_run_is_shown_on_a_terminal_while_it_is_made() {
    let (ringmain, at) = (ringmain().display(), directory("terminal"));
    let (mut screen, terminal) = terminal();
    let soak = "soak --rate 200 --connections 8 --minutes 1 --window 5 --faults 0";
    let line = format!("{soak} --ringmain {ringmain} --output {}", at.display());
    let ended = bench_before(&line, terminal.into(), |child| {
        let (mut shown, mut bytes) = (String::new(), [0; 4096]);
        while !shown.contains("  2 s of 5 s") {
            let length = screen.read(&mut bytes).unwrap_or(0);
            assert!(length > 0, "it has ended: {shown}");
            shown += &String::from_utf8_lossy(&bytes[..length]);
        }
        for part in [" %  ", " left", "tcp-echo: ", " of 200/s  p50 ", "  p99.9 ", "  1 s of 5 s"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        kill_process(Pid::from_child(child), Signal::INT).unwrap();
    });
    // The first window had not ended, so that there is nothing to keep.
    assert_eq!(ended.status.code(), Some(130));
    assert!(!at.join("soak.json").exists());
}

/// What is seen of a terminal, and where programs write to it.
fn terminal() -> (fs::File, fs::File) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&screen).unwrap();
    unlockpt(&screen).unwrap();
    let name = ptsname(&screen, Vec::new()).unwrap();
    let terminal = fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let size = Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).unwrap();
    (screen.into(), terminal)
}

#[test]
fn a_comparison_that_is_interrupted_keeps_its_rounds() {
    let line = "--candidates tokio --works pingpong-64 --rounds 9 --seconds 2";
    let (file, ended) = interrupted("compare", line);
    let said = text(&ended.stderr);
    assert!(said.contains("compare: interrupted: what was measured until then is kept"), "{said}");
    // So much of the table as there is was shown.
    assert!(text(&ended.stdout).contains("tokio"), "{}", text(&ended.stdout));
    let json = json(&file);
    let full = json["works"][0]["rows"][0]["full"].as_array().unwrap();
    assert!((1..9).contains(&full.len()), "{json}");
    assert!(fs::read_to_string(file.with_extension("txt")).unwrap().contains("pingpong-64"));
}

#[test]
fn a_search_and_a_plan_that_are_interrupted_keep_their_runs() {
    let fleet = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/fleets/vector.toml");
    for (name, line) in [
        ("capacity", "--start 200 --connections 8 --seconds 0.5".to_owned()),
        ("plan", format!("--profile {fleet} --connections 8 --seconds 1")),
    ] {
        let (file, ended) = interrupted(name, &line);
        let said = text(&ended.stderr);
        assert!(said.contains(&format!("{name}: interrupted: what was measured")), "{said}");
        let runs = json(&file)["runs"].as_array().unwrap().len();
        assert!((1..20).contains(&runs), "{name}: {runs}");
        assert!(file.with_extension("html").is_file());
    }
}

#[test]
fn a_run_that_is_interrupted_says_so() {
    let line = "run --protocol tcp-echo --rate 100 --connections 4 --window 50s";
    let ended = bench_met(line, |child| {
        said_until(child.stdout.as_mut().unwrap(), "ended/s");
        kill_process(Pid::from_child(child), Signal::TERM).unwrap();
    });
    assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
    let said = text(&ended.stderr).lines().last().unwrap();
    assert!(said.starts_with("run: interrupted: a run that did not end"), "{said}");
}

#[test]
fn a_proxy_that_ends_under_its_load_is_told_and_leaves_no_figures() {
    let (ringmain, output) = (ringmain().display(), directory("gone").join("echo"));
    let line = format!(
        "run --protocol tcp-echo --via ringmain --ringmain {ringmain} --rate 100 --connections 4 \
         --window 3s --patience 100ms --output {}",
        output.display()
    );
    let ended = bench_met(&line, |child| {
        said_until(child.stdout.as_mut().unwrap(), "ended/s");
        let proxy = child_of(child.id()).unwrap();
        kill_process(proxy, Signal::KILL).unwrap();
    });
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("run: proxy_gone: the proxy has ended under its load"), "{said}");
    assert!(!output.with_extension("json").exists());
}

/// A process that this one has started.
fn child_of(parent: u32) -> Option<Pid> {
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        entry.unwrap().file_name().to_str().and_then(|name| name.parse::<i32>().ok())
    });
    // Behind the name come the state and the parent (proc_pid_stat(5)).
    let parent_of = |number: i32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    let mut children = numbers.filter(|&number| parent_of(number) == Some(parent));
    children.next().and_then(Pid::from_raw)
}

#[test]
fn a_ringmain_that_is_not_there_is_told_before_any_load() {
    let profile = "--profile nobody.toml";
    for line in ["run --via ringmain", "capacity", "compare", "soak --rate 1", "calibrate"] {
        let ended = bench(&format!("{line} --ringmain /nowhere/ringmain"));
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{line}: {said}");
        assert!(said.contains("/nowhere/ringmain is no program"), "{line}: {said}");
        assert_eq!(text(&ended.stdout), "", "{line}");
    }
    let ended = bench(&format!("plan {profile} --ringmain /nowhere/ringmain"));
    assert!(text(&ended.stderr).contains("give --ringmain the path"), "{}", text(&ended.stderr));
}

/// Writes NAME.pem, the authority, and NAME-server.pem with its key, of a server that it vouches
/// for. Where the authority is.
fn authority(directory: &Path, name: &str) -> PathBuf {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["logs.example".to_owned()]).unwrap();
    let server = server.signed_by(&key, &issuer).unwrap();
    let at = |kind: &str| directory.join(format!("{name}{kind}.pem"));
    fs::write(at("-server"), server.pem()).unwrap();
    fs::write(at("-server-key"), key.serialize_pem()).unwrap();
    fs::write(at(""), issuer.pem()).unwrap();
    at("")
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A Ringmain that ends TLS, and accepts.
fn start_target(directory: &Path, listen: SocketAddr, backend: SocketAddr) -> Owned {
    let at = directory.display();
    let configuration = format!(
        "[process]\nworkers = 1\n[log]\naccess = \"off\"\n[admin]\nlisten = \"off\"\n\
         [tls.t]\ncertificates = [{{ chain = \"{at}/ours-server.pem\", \
         key = \"{at}/ours-server-key.pem\" }}]\n\
         [listener.l]\nlisten = \"{listen}\"\ntls = \"t\"\npool = \"p\"\n\
         [pool.p]\nbackends = [\"{backend}\"]\n"
    );
    let path = directory.join("target.toml");
    fs::write(&path, configuration).unwrap();
    let log = fs::File::create(directory.join("target.log")).unwrap();
    let child = Command::new(ringmain())
        .arg("run")
        .arg("--config")
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    let mut target = Owned(child.unwrap());
    eventually("the target accepts", || {
        let said = || fs::read_to_string(directory.join("target.log")).unwrap_or_default();
        assert!(target.0.try_wait().unwrap().is_none(), "it has ended: {}", said());
        TcpStream::connect(listen).ok()
    });
    target
}

/// A second at a low rate, with time enough for whatever comes back late.
const COMMON: &str = "--rate 200 --connections 8 --window 1s --warm-up 100ms --patience 20s";
const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
