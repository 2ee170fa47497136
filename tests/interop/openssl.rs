//! Owns the programs of OpenSSL: a certificate, `s_server` as a backend, `s_client` as an agent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::process::{Process, bounded, run};

/// The name the certificate is made out to.
pub const NAME: &str = "aggregator.test";

/// A self-signed certificate and its key, in files.
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    pub fn make() -> Certificate {
        Certificate::of(NAME)
    }

    /// Made out to another name.
    pub fn of(name: &str) -> Certificate {
        let made = Certificate { folder: TempDir::new().unwrap() };
        let mut command = bounded("openssl");
        command.args(["req", "-x509", "-nodes", "-days", "365", "-newkey", "ec"]);
        command.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        command.args(["-subj", &format!("/CN={name}")]);
        command.args(["-addext", &format!("subjectAltName=DNS:{name}")]);
        // It is not for signing others: rustls takes no authority for a server.
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        command.arg("-keyout").arg(made.key()).arg("-out").arg(made.file());
        run(&mut command, Vec::new());
        made
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

/// `openssl s_server`.
pub struct Server {
    _process: Process,
    pub address: SocketAddr,
}

impl Server {
    /// `mode` is what it does with a connection: `-www` answers HTTP with what it knows of the
    /// session, `-rev` sends each line back reversed.
    pub fn start(certificate: &Certificate, address: &str, mode: &str) -> Server {
        Server::start_with(certificate, address, mode, &[])
    }

    /// With more options.
    pub fn start_with(
        certificate: &Certificate,
        address: &str,
        mode: &str,
        options: &[&str],
    ) -> Server {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", address, mode]).args(options);
        command.arg("-cert").arg(certificate.file()).arg("-key").arg(certificate.key());
        let process = Process::start(&mut command);
        let ready = process.stdout.until("ACCEPT").pop().unwrap();
        // It names the address only where the kernel has chosen the port.
        let address = ready.strip_prefix("ACCEPT ").unwrap_or(address).parse().unwrap();
        Server { _process: process, address }
    }
}

/// `openssl s_client`, which verifies the certificate and its name.
pub fn client(certificate: &Certificate, proxy: SocketAddr, options: &[&str]) -> Process {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &proxy.to_string(), "-servername", NAME]);
    command.args(["-verify_return_error", "-verify_hostname", NAME]);
    command.arg("-CAfile").arg(certificate.file()).args(options);
    Process::start(&mut command)
}

/// Asks a web server behind the proxy for something, and gives all that the client wrote until the
/// server had ended the session in order.
pub fn request(mut client: Process) -> String {
    client.say("GET / HTTP/1.0\n\n");
    let (status, said) = client.end();
    let said = said.join("\n");
    assert!(status.success(), "{status}: {said}");
    said
}

/// Says a line to a server with `-rev`, awaits the answer and ends the session; gives what the
/// client wrote until then.
pub fn converse(mut client: Process) -> String {
    client.say("telemetry\n");
    let said = client.stdout.until("yrtemelet").join("\n");
    // At the begin of a line this ends s_client.
    client.say("Q\n");
    let (status, _) = client.end();
    assert!(status.success(), "{status}: {said}");
    said
}
