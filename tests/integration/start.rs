//! Starts: refused with a code and a sentence that helps, or with sockets and a manager of others.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_getaffinity};
use tempfile::TempDir;

use super::patience::{DEADLINE, eventually};
use super::peer::{Echo, vacant};
use super::proxy::{Plan, Proxy, refusal, run, run_after};
use super::stream::{connect, pass};

#[test]
fn all_errors_of_a_configuration_are_told_with_key_and_line() {
    let config = "\
[process]
workers = 0
unknown = 1
[listener.front]
listen = \"nowhere\"
pool = \"none\"
[pool.back]
backends = [\"127.0.0.1\"]
";
    let refusal = refusal(config, run);
    assert_eq!(refusal.code, 78);
    for place in [
        ":2: process.workers:",
        ":3: process.unknown:",
        ":5: listener.front.listen:",
        ":6: listener.front.pool:",
        ":8: pool.back.backends",
    ] {
        assert!(refusal.reason.contains(place), "no {place} in\n{}", refusal.reason);
    }
}

#[test]
fn a_configuration_that_does_not_exist_is_named() {
    let refusal = refusal("", |_| run(Path::new("/nonexistent/ringmain.toml")));
    assert_eq!(refusal.code, 78);
    assert!(refusal.reason.contains("/nonexistent/ringmain.toml"), "{}", refusal.reason);
}

#[test]
fn a_port_in_use_is_told_and_refused() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refusal = refusal(&Plan::of(&[vacant()]).text(&address), run);
    assert_eq!(refusal.code, 71);
    let sentence = format!("listener.front.listen: cannot listen on {address}");
    assert!(refusal.reason.contains(&sentence), "{}", refusal.reason);
    assert!(refusal.reason.contains("another program has the port"), "{}", refusal.reason);
}

#[test]
fn a_second_instance_on_the_same_address_is_refused() {
    let (backend, address) = (Echo::start(), vacant());
    let config = |backend| Plan::of(&[backend]).text(&address.to_string());
    let first = Proxy::start(&config(backend.address), run);
    let second = refusal(&config(backend.address), run);
    assert_eq!(second.code, 71);
    let sentence = format!("another Ringmain serves {address} already");
    assert!(second.reason.contains(&sentence), "{}", second.reason);
    let client = connect(first.address());
    pass(&client, &client, 0..100);
}

#[test]
fn an_address_within_one_that_is_served_is_refused_and_so_is_one_around_it() {
    let (backend, address) = (Echo::start(), vacant());
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    for (served, wanted) in [(everywhere, address), (address, everywhere)] {
        let config = |listen: SocketAddr| Plan::of(&[backend.address]).text(&listen.to_string());
        let _first = Proxy::start(&config(served), run);
        let second = refusal(&config(wanted), run);
        assert_eq!(second.code, 71, "{}", second.reason);
        assert!(second.reason.contains("another program has the port"), "{}", second.reason);
    }
}

#[test]
fn listeners_of_one_configuration_may_overlap() {
    let (backend, address) = (Echo::start(), vacant());
    let listen = format!("0.0.0.0:{}\", \"{address}", address.port());
    let text = Plan::of(&[backend.address]).text("LISTEN");
    let proxy = Proxy::start(&text.replace("\"LISTEN\"", &format!("[\"{listen}\"]")), run);
    let client = connect(proxy.address());
    pass(&client, &client, 0..100);
}

/// The CPUs that the tests may use.
fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

#[test]
fn each_worker_runs_on_a_cpu_of_its_own() {
    let backend = Echo::start();
    let proxy = Plan { process: "workers = 2", ..Plan::of(&[backend.address]) }.start();
    let cpus = |name: &str| {
        let threads = std::fs::read_dir(proxy.procfs("task")).unwrap();
        let status = threads.map(|thread| thread.unwrap().path().join("status"));
        let mut texts = status.filter_map(|status| std::fs::read_to_string(status).ok());
        let text = texts.find(|text| text.starts_with(&format!("Name:\t{name}\n"))).unwrap();
        let cpus = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t"));
        cpus.unwrap().parse::<usize>().expect("one CPU")
    };
    // Where there is only one, they share it.
    assert_eq!(cpus("worker-0") != cpus("worker-1"), allowed().len() > 1);
}

#[test]
fn workers_keep_to_the_cpus_that_the_process_may_use() {
    let backend = Echo::start();
    let plan = Plan { process: "workers = \"auto\"", ..Plan::of(&[backend.address]) };
    let proxy = Proxy::start(&plan.text("127.0.0.1:0"), |config| {
        let mut command = Command::new("taskset");
        let last = allowed().pop().unwrap().to_string();
        command.args(["-c", &last, env!("CARGO_BIN_EXE_ringmain"), "run", "--config"]).arg(config);
        command
    });
    proxy.await_metric("worker_sessions_open", |open| open == 0);
    let (_, metrics) = proxy.get("/metrics");
    let workers = metrics.lines().filter(|line| line.starts_with("ringmain_worker_sessions_open{"));
    assert_eq!(workers.count(), 1);
}

#[test]
fn a_soft_limit_on_descriptors_is_raised_as_far_as_it_goes() {
    let process = "workers = 1\nmax_connections = 1000";
    let config = Plan { process, ..Plan::of(&[vacant()]) }.text("127.0.0.1:0");
    let proxy = Proxy::start(&config, run_after("ulimit -S -n 256; ulimit -H -n 4096;"));
    let limits = std::fs::read_to_string(proxy.procfs("limits")).unwrap();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open.split_whitespace().nth(3), Some("4096"), "{open}");
}

#[test]
fn a_successor_may_take_the_address_while_the_first_drains() {
    let (backend, address) = (Echo::start(), vacant());
    let config = || Plan::of(&[backend.address]).text(&address.to_string());
    let mut first = Proxy::start(&config(), run);
    let client = connect(first.address());
    pass(&client, &client, 0..100);
    first.signal(Signal::TERM);
    first.await_event("draining: no new connections");
    let free = || TcpListener::bind(address).ok().map(drop);
    eventually("the address is given up", free);
    let second = Proxy::start(&config(), run);
    let other = connect(second.address());
    pass(&other, &other, 0..100);
    pass(&client, &client, 100..200);
    drop(client);
    assert_eq!(first.exit_code(), 0);
}

#[test]
fn too_few_descriptors_are_refused_with_the_arithmetic() {
    let process = "workers = 1\nmax_connections = 1000";
    let config = Plan { process, ..Plan::of(&[vacant()]) }.text("127.0.0.1:0");
    let refusal = refusal(&config, run_after("ulimit -n 1024;"));
    assert_eq!(refusal.code, 69);
    for part in ["2 x 1000 connections =", "the limit is 1024", "LimitNOFILE="] {
        assert!(refusal.reason.contains(part), "no {part} in\n{}", refusal.reason);
    }
}

/// Serves a socket that was opened before the proxy, with two workers.
fn inheriting(backend: &Echo) -> Proxy {
    let inherited = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = inherited.local_addr().unwrap();
    let plan = Plan { process: "workers = 2", ..Plan::of(&[backend.address]) };
    let shell = run_after("exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1");
    let proxy = Proxy::start(&plan.text(&address.to_string()), |path| {
        let mut command = shell(path);
        command.stdin(OwnedFd::from(inherited));
        command
    });
    assert_eq!(proxy.address(), address);
    proxy
}

#[test]
fn an_inherited_socket_is_served_to_the_end() {
    let backend = Echo::start();
    let mut proxy = inheriting(&backend);
    let client = connect(proxy.address());
    pass(&client, &client, 0..10_000);
    proxy.signal(Signal::TERM);
    proxy.await_event("draining: no new connections");
    pass(&client, &client, 10_000..20_000);
    drop(client);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn an_inherited_socket_is_shared_by_the_workers() {
    let backend = Echo::start();
    let proxy = inheriting(&backend);
    let clients: Vec<_> = (0..256).map(|_| connect(proxy.address())).collect();
    clients.iter().for_each(|client| pass(client, client, 0..1_000));
    drop(clients);
    // How evenly is the host's affair, which may give one of them little time.
    let sessions = proxy.sessions(256);
    let first = sessions.iter().filter(|session| session["worker"] == 0).count();
    assert!((1..=255).contains(&first), "worker 0 has {first} of 256");
}

#[test]
fn the_service_manager_hears_of_start_and_end() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let hear = || {
        let mut message = [0; 1000];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let config = Plan::of(&[vacant()]).text("127.0.0.1:0");
    let mut proxy = Proxy::start(&config, |config| {
        let mut command = run(config);
        command.env("NOTIFY_SOCKET", &path);
        command
    });
    assert!(hear().lines().any(|line| line == "READY=1"));
    proxy.signal(Signal::TERM);
    assert!(hear().lines().any(|line| line == "STOPPING=1"));
    assert_eq!(proxy.exit_code(), 0);
}
