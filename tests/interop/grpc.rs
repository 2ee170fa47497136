//! Owns gRPC's own server, by its Python binding, as a backend that answers health checks.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::openssl::Certificate;
use super::process::Process;

/// It is killed when it is dropped.
pub struct GrpcServer {
    process: Process,
}

impl GrpcServer {
    /// It serves the service `telemetry`, and says that it does.
    pub fn start(address: SocketAddr, certificate: Option<&Certificate>) -> GrpcServer {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/grpc_server.py");
        // Debian's Python, which has the package, whichever comes first in PATH.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(address.to_string());
        if let Some(certificate) = certificate {
            command.arg(certificate.file()).arg(certificate.key());
        }
        let process = Process::start(&mut command);
        process.stdout.until(&format!("listening on {}", address.port()));
        GrpcServer { process }
    }

    /// What it answers from now on: `serving`, `not-serving` or `unavailable`.
    pub fn set(&mut self, state: &str) {
        self.process.say(&format!("{state}\n"));
        self.process.stdout.until(state);
    }
}
