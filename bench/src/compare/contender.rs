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
use crate::sockets;

pub struct Contender {
    program: Program,
    /// They listen from beginning to end, so that it never finds one gone.
    backends: Vec<TcpListener>,
    at: Vec<SocketAddrV4>,
    configuration: String,
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
    /// The most connections that there are at a time.
    pub most: u32,
}

impl Contender {
    /// An error is a sentence for the user.
    pub fn start(candidate: Candidate, network: u8, venue: &Venue) -> Result<Self, String> {
        let program = Program::find(candidate).map_err(|missing| missing.to_string())?;
        let backends = listen_at(network).map_err(|error| error.to_string())?;
        let at: Vec<SocketAddrV4> = backends.iter().map(|(address, _)| *address).collect();
        let started = launch(&program, &at, venue, candidate.as_str())?;
        let Launched { listen, process, configuration } = started;
        let backends = backends.into_iter().map(|(_, listener)| listener).collect();
        Ok(Self { program, backends, at, configuration, listen, process })
    }

    /// Starts another process of the same candidate, which has seen no connection yet.
    pub fn start_fresh(&self, venue: &Venue) -> Result<(Listen, Process), String> {
        let name = format!("{}-fresh", self.candidate().as_str());
        let Launched { listen, process, .. } = launch(&self.program, &self.at, venue, &name)?;
        Ok((listen, process))
    }

    pub fn backends(&self) -> &[TcpListener] {
        &self.backends
    }

    pub fn candidate(&self) -> Candidate {
        self.program.candidate
    }

    pub fn describe(&self) -> Contestant {
        Contestant {
            candidate: self.candidate(),
            version: self.program.version.clone(),
            configuration: self.configuration.clone(),
        }
    }
}

/// One process of a candidate.
struct Launched {
    listen: Listen,
    process: Process,
    configuration: String,
}

fn launch(
    program: &Program,
    backends: &[SocketAddrV4],
    venue: &Venue,
    name: &str,
) -> Result<Launched, String> {
    let listen = free_addresses().map_err(|error| error.to_string())?;
    let directory = venue.directory.join(name);
    let certificates = venue.with_tls.then_some(&*venue.directory);
    let most = venue.most;
    let place = Place { directory: &directory, listen, certificates, backends, most };
    let process = start(program, &place, venue.cpus, &directory.join("log"))
        .map_err(|error| format!("{error}\n{}", said(&directory)))?;
    Ok(Launched { listen, process, configuration: program.configuration(&place) })
}

fn start(
    program: &Program,
    place: &Place<'_>,
    cpus: Cpus,
    log: &Path,
) -> Result<Process, super::process::StartError> {
    fs::create_dir_all(place.directory)?;
    let command = program.command(place)?;
    // The address that is opened last.
    let ends_tls = place.certificates.is_some() && program.candidate.ends_tls();
    let ready = if ends_tls { place.listen.rsa } else { place.listen.plain };
    Process::start(command, cpus.proxy, File::create(log)?, ready)
}

/// What a candidate has said before it failed.
fn said(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_default()
}

/// Backends of one candidate, in a network of its own: none meets the TIME_WAIT of another.
fn listen_at(network: u8) -> io::Result<Vec<(SocketAddrV4, TcpListener)>> {
    let listen = |host| {
        let address = Ipv4Addr::new(127, 1, network, host);
        let listener = sockets::listener(SocketAddrV4::new(address, 0))?;
        Ok((SocketAddrV4::new(address, listener.local_addr()?.port()), listener))
    };
    (1..=BACKENDS).map(listen).collect()
}

/// As many as keep a candidate from running out of ports for its connections in TIME_WAIT.
const BACKENDS: u8 = 16;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Directory;

    #[test]
    fn backends_of_two_candidates_share_no_address() {
        let addresses = |network| {
            let listen = listen_at(network).unwrap();
            listen.into_iter().map(|(address, _)| *address.ip()).collect::<Vec<_>>()
        };
        let (first, second) = (addresses(3), addresses(4));
        assert_eq!((first.len(), second.len()), (16, 16));
        let all: std::collections::HashSet<_> = first.iter().chain(&second).collect();
        assert_eq!(all.len(), 32);
    }

    #[test]
    fn a_candidate_that_does_not_start_is_told_with_what_it_said() {
        let directory = Directory::create().unwrap();
        let cpu = super::super::cpus::allowed().unwrap()[0];
        let cpus = Cpus { proxy: cpu, load: cpu };
        let directory = directory.path().to_owned();
        let venue = Venue { cpus, directory, with_tls: false, most: 1 };
        // The peers are a command of this executable, which is the tests' here and has none.
        let Err(told) = Contender::start(Candidate::Tokio, 5, &venue) else { panic!("it runs") };
        assert!(told.starts_with("exited\n") && told.contains("listen"), "{told}");
    }
}
