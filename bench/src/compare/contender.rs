//! Owns a candidate that is running, and its start; not who runs when.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};

use super::candidate::Candidate;
use super::configuration::{Listen, Place};
use super::cpus::Cpus;
use super::process::Process;
use super::program::Program;
use super::report::Contestant;

pub struct Contender {
    program: Program,
    backends: Vec<SocketAddrV4>,
    pub listen: Listen,
    pub process: Process,
}

/// What all candidates share.
pub struct Venue {
    pub cpus: Cpus,
    /// Holds a directory for each candidate.
    pub directory: PathBuf,
    /// Whether TLS is asked for; the certificates are in the directory then.
    pub with_tls: bool,
}

impl Contender {
    /// An error is a sentence for the user.
    pub fn start(
        candidate: Candidate,
        backends: Vec<SocketAddrV4>,
        venue: &Venue,
    ) -> Result<Self, String> {
        let program = Program::find(candidate).map_err(|missing| missing.to_string())?;
        let (listen, process) = launch(&program, &backends, venue, candidate.as_str())?;
        Ok(Self { program, backends, listen, process })
    }

    /// Starts another process of the same candidate, which has seen no connection yet.
    pub fn start_fresh(&self, venue: &Venue) -> Result<(Listen, Process), String> {
        let name = format!("{}-fresh", self.candidate().as_str());
        launch(&self.program, &self.backends, venue, &name)
    }

    pub fn candidate(&self) -> Candidate {
        self.program.candidate
    }

    pub fn describe(&self) -> Contestant {
        Contestant { candidate: self.candidate(), version: self.program.version.clone() }
    }
}

fn launch(
    program: &Program,
    backends: &[SocketAddrV4],
    venue: &Venue,
    name: &str,
) -> Result<(Listen, Process), String> {
    let listen = free_addresses().map_err(|error| error.to_string())?;
    let directory = venue.directory.join(name);
    let certificates = venue.with_tls.then_some(&*venue.directory);
    let place = Place { directory: &directory, listen, certificates, backends };
    let process = start(program, &place, venue.cpus, &directory.join("log"))
        .map_err(|error| format!("{error}\n{}", said(&directory)))?;
    Ok((listen, process))
}

fn start(
    program: &Program,
    place: &Place<'_>,
    cpus: Cpus,
    log: &Path,
) -> Result<Process, super::process::StartError> {
    fs::create_dir_all(place.directory)?;
    let command = program.command(place)?;
    Process::start(command, cpus.proxy, File::create(log)?, place.listen.plain)
}

/// What a candidate has said before it failed.
fn said(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_default()
}

/// Addresses that the kernel has just given out, and taken back.
fn free_addresses() -> io::Result<Listen> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All at once, so that they differ.
    let listeners = [listen()?, listen()?, listen()?];
    let address = |listener: &TcpListener| {
        Ok::<_, io::Error>(SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port()))
    };
    let [plain, ecdsa, rsa] = &listeners;
    Ok(Listen { plain: address(plain)?, ecdsa: address(ecdsa)?, rsa: address(rsa)? })
}
