//! The demo as a program: after its tour it serves whoever comes, until Ctrl-C.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::patience::eventually;
use super::stream::{connect, pass};

#[test]
fn the_demo_serves_until_it_is_interrupted() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmain"));
    let mut demo = command.arg("demo").stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    // It ends without these words when something in its tour was not intact.
    let invitation = said.find(|line| line.contains("curl http://127.0.0.1:")).unwrap();
    let (_, port) = invitation.rsplit_once(':').unwrap();
    let port = port.trim_end_matches('/').parse().unwrap();
    said.find(|line| line.starts_with("Sessions")).unwrap();
    let client = connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    pass(&client, &client, 0..10_000);
    drop(client);
    said.find(|line| line.contains("echo-")).expect("a line for the session");
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    let ended = eventually("the end of the demo", || demo.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}
