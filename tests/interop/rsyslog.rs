//! Owns rsyslogd: as an agent that reads a file of numbered messages and forwards them over TCP,
//! and as a receiver that writes into a file what comes.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::process::Process;
use super::receivers::Framing;

pub struct Agent {
    process: Process,
    _folder: TempDir,
}

impl Agent {
    /// Sends messages that end in the numbers from 0 to `count`, that one left out.
    pub fn start(proxy: SocketAddr, framing: Framing, count: usize) -> Agent {
        let folder = TempDir::new().unwrap();
        let mut messages = String::new();
        for number in 0..count {
            writeln!(messages, "a line that an application wrote into its log {number}").unwrap();
        }
        fs::write(folder.path().join("messages"), messages).unwrap();
        let file = folder.path().join("rsyslog.conf");
        fs::write(&file, configuration(&folder, proxy, framing)).unwrap();
        let mut command = Command::new("rsyslogd");
        command.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.path().join("pid"));
        Agent { process: Process::start(&mut command), _folder: folder }
    }

    /// Lets it end in order.
    pub fn stop(mut self) {
        self.process.terminate();
        let (status, _) = self.process.end();
        assert!(status.success(), "{status}");
    }
}

/// It is killed when it is dropped.
pub struct Receiver {
    process: Process,
    folder: TempDir,
}

impl Receiver {
    pub fn start(address: SocketAddr) -> Receiver {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("rsyslog.conf");
        let (ip, port, at) = (address.ip(), address.port(), folder.path().display());
        let configuration = format!(
            r#"
            global(workDirectory="{at}")
            module(load="imtcp")
            input(type="imtcp" address="{ip}" port="{port}")
            action(type="omfile" file="{at}/received")
            "#
        );
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("rsyslogd");
        command.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.path().join("pid"));
        Receiver { process: Process::start(&mut command), folder }
    }

    /// Lets it end in order, and gives what it has received.
    pub fn stop(mut self) -> String {
        self.process.terminate();
        let (status, _) = self.process.end();
        assert!(status.success(), "{status}");
        fs::read_to_string(self.folder.path().join("received")).unwrap()
    }
}

/// It connects again after a tenth of the messages, so that every receiver gets a share.
fn configuration(folder: &TempDir, proxy: SocketAddr, framing: Framing) -> String {
    let folder = folder.path().display();
    let (target, port) = (proxy.ip(), proxy.port());
    let framing = match framing {
        Framing::OctetCounted => "octet-counted",
        Framing::Lines => "traditional",
    };
    format!(
        r#"
        global(workDirectory="{folder}")
        module(load="imfile")
        input(type="imfile" File="{folder}/messages" Tag="application")
        action(type="omfwd" target="{target}" port="{port}" protocol="tcp"
               TCP_Framing="{framing}" RebindInterval="10000"
               template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1")
        "#
    )
}
