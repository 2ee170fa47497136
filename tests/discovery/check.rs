//! `check --resolve`: what it shows of pools whose sources answer, fail or lie, and how it ends.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::dns::{Behaviour, DnsServer, ResponseCode, a, srv};

/// How a check has ended and what it said.
struct Checked {
    code: Option<i32>,
    shown: String,
    complaint: String,
}

/// Checks a pool `aggregators` of these lines, whose names are asked of the server.
fn check(server: &DnsServer, process: &str, pool: &str) -> Checked {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, server, process, pool);
    let mut command = command(&path);
    let output = command.arg("--resolve").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (shown, complaint) = (text(output.stdout), text(output.stderr));
    Checked { code: output.status.code(), shown, complaint }
}

fn write(folder: &TempDir, server: &DnsServer, process: &str, pool: &str) -> std::path::PathBuf {
    let nameserver = server.address();
    let text = format!(
        "[process]\nworkers = 1\n{process}\n\
         [resolver]\nnameservers = [\"{nameserver}\"]\ntimeout = \"3s\"\ntries = 1\nsearch = []\n\
         [listener.front]\nlisten = \"127.0.0.1:0\"\npool = \"aggregators\"\n\
         [pool.aggregators]\n{pool}\n"
    );
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// A check that is killed if it does not end.
fn command(config: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["30", env!("CARGO_BIN_EXE_ringmain"), "check", "--config"]).arg(config);
    command
}

impl Checked {
    /// The words of the only line that begins with this one.
    #[track_caller]
    fn row(&self, first: &str) -> Vec<&str> {
        let rows = self.shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut rows = rows.filter(|words| words.first() == Some(&first));
        let row = rows.next().unwrap_or_else(|| panic!("no {first} in\n{}", self.shown));
        assert_eq!(rows.next(), None, "{first} is shown twice in\n{}", self.shown);
        row
    }

    #[track_caller]
    fn assert_line(&self, line: &str) {
        assert!(self.shown.lines().any(|shown| shown == line), "no {line:?} in\n{}", self.shown);
    }
}

/// An address at which nobody listens.
fn vacant() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn backends_are_shown_with_all_that_the_records_say() {
    let server = DnsServer::start();
    server.set("_x._tcp.test", [srv(10, 7, 6000, "b.test"), srv(20, 65535, 6001, "a.test")]);
    server.set("a.test", [a("127.0.0.7")]);
    server.set("b.test", [a("127.0.0.8"), a("127.0.0.9")]);
    let checked = check(
        &server,
        "",
        "policy = \"random-two\"\n\
         backends = [\"127.0.0.2:1\", { address = \"127.0.0.3:1\", drain = true }]\n\
         sources = [{ dns = \"b.test:9\", tier = 3 }, { srv = \"_x._tcp.test\" }]",
    );
    assert_eq!(checked.code, Some(0), "{}{}", checked.shown, checked.complaint);
    checked.assert_line(&format!("nameservers: {}", server.address()));
    checked.assert_line("pool.aggregators: 6 backends, random-two");
    checked.assert_line("  sources[0]: dns b.test:9: 2 backends");
    checked.assert_line("  sources[1]: srv _x._tcp.test: 2 backends");
    assert_eq!(checked.row("backend"), ["backend", "weight", "tier", "from", "check", "addresses"]);
    assert_eq!(
        checked.row("b.test:6000"),
        ["b.test:6000", "7", "0", "sources[1]", "none", "127.0.0.8:6000,", "127.0.0.9:6000"]
    );
    assert_eq!(checked.row("a.test:6001")[1..4], ["65535", "1", "sources[1]"]);
    assert_eq!(checked.row("127.0.0.9:9")[1..4], ["1", "3", "sources[0]"]);
    assert_eq!(checked.row("127.0.0.2:1")[1..5], ["1", "0", "backends", "none"]);
    assert_eq!(checked.row("127.0.0.3:1")[1..6], ["1", "0", "backends", "draining,", "none"]);
    assert!(!checked.shown.contains("warning"), "{}", checked.shown);
}

#[test]
fn backends_are_probed_once_where_there_is_a_check() {
    let server = DnsServer::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (open, closed) = (listener.local_addr().unwrap(), vacant());
    let pool = format!(
        "backends = [\"{open}\", \"{closed}\"]\n[pool.aggregators.health]\ncheck = \"tcp\""
    );
    let checked = check(&server, "", &pool);
    assert_eq!(checked.code, Some(0), "a probe that fails is no source that does not answer");
    let (open, closed) = (open.to_string(), closed.to_string());
    assert_eq!(checked.row(&open)[4], "ok,");
    assert_eq!(checked.row(&closed)[4], "refused,");
    checked.assert_line(&format!(
        "warning: pool.aggregators: backend {closed}: the probe failed: the connection was refused"
    ));
}

#[test]
fn what_does_not_answer_is_told_with_its_place_and_has_a_code_of_its_own() {
    let server = DnsServer::start();
    server.set("here.test", [a("127.0.0.7")]);
    let checked = check(
        &server,
        "",
        "sources = [{ dns = \"here.test:9\" }, { srv = \"_gone._tcp.test\" }, \
         { file = \"/nonexistent/list\" }]",
    );
    assert_eq!(checked.code, Some(75), "{}{}", checked.shown, checked.complaint);
    assert_eq!(checked.row("127.0.0.7:9")[3], "sources[0]");
    checked.assert_line(
        "warning: pool.aggregators.sources[1]: services of _gone._tcp.test: the name does not \
         exist (nxdomain); correct it here, or add it to DNS",
    );
    checked.assert_line(
        "warning: pool.aggregators.sources[2]: file /nonexistent/list: cannot be opened: No such \
         file or directory (os error 2); create it, or correct the path",
    );
    assert_eq!(checked.complaint, "ringmain: 2 of 3 sources did not answer in full\n");
}

#[test]
fn a_nameserver_that_is_silent_is_told_and_so_is_a_pool_that_stays_empty() {
    let server = DnsServer::start();
    server.behave(Behaviour::Silent);
    let checked = check(&server, "", "sources = [{ dns = \"x.test:9\" }]");
    assert_eq!(checked.code, Some(75), "{}{}", checked.shown, checked.complaint);
    checked.assert_line("pool.aggregators: 0 backends, round-robin");
    checked.assert_line(
        "warning: pool.aggregators.sources[0]: addresses of x.test: no nameserver answers \
         (timeout); see that those in resolver.nameservers can be reached, or give others",
    );
    checked.assert_line(
        "warning: pool.aggregators: it has no backend, and would refuse every session until it \
         has one",
    );
}

#[test]
fn what_was_saved_is_shown_and_nothing_is_saved() {
    let server = DnsServer::start();
    server.set("y.test", [a("127.0.0.8")]);
    server.behave(Behaviour::Says(ResponseCode::Refused));
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pool-aggregators.json");
    let saved = "{ \"format\": \"ringmain backends\", \"version\": 1, \"pool\": \"aggregators\", \
                 \"sources\": { \"dns y.test:9\": [{ \"name\": \"127.0.0.7:9\", \
                 \"addresses\": [\"127.0.0.7:9\"], \"weight\": 1, \"tier\": 0 }] } }";
    std::fs::write(&path, saved).unwrap();
    let process = format!("state_directory = {:?}", folder.path());
    let pool = "sources = [{ dns = \"y.test:9\" }]";
    let checked = check(&server, &process, pool);
    assert_eq!(checked.code, Some(75), "{}{}", checked.shown, checked.complaint);
    assert_eq!(checked.row("127.0.0.7:9")[3], "sources[0]");
    checked.assert_line(
        "warning: pool.aggregators.sources[0]: dns y.test:9: what was saved of it before is used",
    );
    server.behave(Behaviour::Honest);
    // A probe that is never answered gives a save the time that it would take.
    let silent = TcpListener::bind("127.0.0.8:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let pool = format!(
        "{pool}\n[pool.aggregators.health]\ncheck = \"tls-hello\"\nport = {port}\ntimeout = \"2s\""
    );
    let checked = check(&server, &process, &pool);
    assert_eq!(checked.code, Some(0), "{}{}", checked.shown, checked.complaint);
    assert_eq!(checked.row("127.0.0.8:9")[4], "timeout,");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), saved);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let server = DnsServer::start();
    let folder = TempDir::new().unwrap();
    let path = write(&folder, &server, "", "backends = [\"127.0.0.2:1\"]");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(&path);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &*complaint), (Some(0), ""));
}

#[test]
fn the_examples_of_the_readme_are_valid() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let mut parts = text.split("```toml\n");
    parts.next();
    let examples: Vec<&str> = parts.map(|part| part.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        ringmain::config::parse(example, "README.md").unwrap_or_else(|errors| panic!("{errors}"));
    }
}
