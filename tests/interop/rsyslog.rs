//! Owns rsyslogd: as an agent that reads a file of numbered messages and forwards them over TCP,
//! and as a receiver that tells what comes; both also over TLS.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::openssl::{Certificate, NAME};
use super::process::Process;
use super::receivers::Framing;

pub struct Agent {
    process: Process,
    _folder: TempDir,
}

impl Agent {
    /// Sends messages that end in the numbers from 0 to `count`, that one left out.
    pub fn start(proxy: SocketAddr, framing: Framing, count: usize) -> Agent {
        Agent::start_with(proxy, framing, count, ["", ""])
    }

    /// Over TLS, to whoever shows this certificate; framed by length.
    pub fn start_over_tls(proxy: SocketAddr, trusted: &Certificate, count: usize) -> Agent {
        let global = format!(r#"DefaultNetstreamDriverCAFile="{}""#, trusted.file().display());
        let action = format!(
            r#"StreamDriver="gtls" StreamDriverMode="1" StreamDriverAuthMode="x509/name"
               StreamDriverPermittedPeers="{NAME}""#
        );
        Agent::start_with(proxy, Framing::OctetCounted, count, [&global, &action])
    }

    /// With more of the settings of all, and of how it sends.
    fn start_with(proxy: SocketAddr, framing: Framing, count: usize, more: [&str; 2]) -> Agent {
        let folder = TempDir::new().unwrap();
        let mut messages = String::new();
        for number in 0..count {
            writeln!(messages, "a line that an application wrote into its log {number}").unwrap();
        }
        fs::write(folder.path().join("messages"), messages).unwrap();
        let file = folder.path().join("rsyslog.conf");
        fs::write(&file, configuration(&folder, proxy, framing, more)).unwrap();
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
    _folder: TempDir,
}

impl Receiver {
    pub fn start(address: SocketAddr) -> Receiver {
        Receiver::start_with(address, ["", ""])
    }

    pub fn start_over_tls(address: SocketAddr, certificate: &Certificate) -> Receiver {
        let (file, key) = (certificate.file(), certificate.key());
        let (file, key) = (file.display(), key.display());
        // It wants an authority although it verifies nobody.
        let global = format!(
            r#"DefaultNetstreamDriverCAFile="{file}"
               DefaultNetstreamDriverCertFile="{file}" DefaultNetstreamDriverKeyFile="{key}""#
        );
        let module = r#"StreamDriver.Name="gtls" StreamDriver.Mode="1"
                        StreamDriver.AuthMode="anon""#;
        Receiver::start_with(address, [&global, module])
    }

    /// With more of the settings of all, and of the module that receives.
    fn start_with(address: SocketAddr, [global, module]: [&str; 2]) -> Receiver {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("rsyslog.conf");
        let (ip, port, at) = (address.ip(), address.port(), folder.path().display());
        let configuration = format!(
            r#"
            global(workDirectory="{at}" {global})
            module(load="imtcp" {module})
            input(type="imtcp" address="{ip}" port="{port}")
            action(type="omfile" file="/dev/stdout")
            "#
        );
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("rsyslogd");
        command.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.path().join("pid"));
        Receiver { process: Process::start(&mut command), _folder: folder }
    }

    /// The next message that has come.
    pub fn next(&self) -> String {
        self.process.stdout.next_of("message").expect("the receiver has ended")
    }

    /// Lets it end in order, and gives what it has received since the last one that was asked for.
    pub fn stop(mut self) -> Vec<String> {
        self.process.terminate();
        let (status, rest) = self.process.end();
        assert!(status.success(), "{status}");
        rest
    }
}

/// It connects again after a tenth of the messages, so that every receiver gets a share.
fn configuration(
    folder: &TempDir,
    proxy: SocketAddr,
    framing: Framing,
    [global, action]: [&str; 2],
) -> String {
    let folder = folder.path().display();
    let (target, port) = (proxy.ip(), proxy.port());
    let framing = match framing {
        Framing::OctetCounted => "octet-counted",
        Framing::Lines => "traditional",
    };
    format!(
        r#"
        global(workDirectory="{folder}" {global})
        module(load="imfile")
        input(type="imfile" File="{folder}/messages" Tag="application")
        action(type="omfwd" target="{target}" port="{port}" protocol="tcp" {action}
               TCP_Framing="{framing}" RebindInterval="10000"
               template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1")
        "#
    )
}
