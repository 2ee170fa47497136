//! Owns a Ringmain that a run starts in front of its backends, with a listener for each group; it
//! ends with its owner.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::{self, File};
use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::certificates::{Authority, Identity, key_of};
use crate::compare::candidate::Candidate;
use crate::compare::process::Process;
use crate::compare::program::Program;

use super::failure::Failure;
use super::metrics::{self, Counted};
use super::network::Network;

/// A proxy that runs.
pub struct Proxy {
    pub process: Process,
    pub version: String,
    /// What it was started with.
    pub configuration: String,
    /// Where the agents of each group go.
    pub listens: Vec<SocketAddr>,
    /// Where it says what it has counted, if it can be reached from here.
    admin: Option<SocketAddr>,
    log: PathBuf,
}

/// What is in front of one group's backends.
pub struct Front {
    pub backends: Vec<SocketAddr>,
    /// The proxy ends TLS.
    pub ends_tls: bool,
    /// What it has to agree on then.
    pub alpn: Option<&'static [u8]>,
}

impl Proxy {
    /// Starts one with so many workers on `cpus`; its files go to `directory`.
    pub fn start(
        fronts: &[Front],
        workers: u32,
        cpus: &[usize],
        network: &Network,
        authority: Option<&Authority>,
        directory: &Path,
    ) -> Result<Proxy, Failure> {
        let program = found()?;
        let listens = network.proxy_addresses(fronts.len() + 1);
        let mut listens = listens.map_err(Failure::host("no free port"))?;
        // Elsewhere its loopback is none of ours.
        let admin = listens.pop().filter(|_| *network == Network::Loopback);
        let configuration = configuration(fronts, &listens, admin, workers, directory);
        let path = directory.join("ringmain.toml");
        let log = directory.join("ringmain.log");
        let prepared = authority.map_or(Ok(()), |authority| authority.write(directory));
        let prepared = prepared.and_then(|()| fs::write(&path, &configuration));
        let file = prepared.and_then(|()| File::create(&log));
        let file = file.map_err(Failure::host("the files of the proxy"))?;
        let mut command = network.command(program.path().as_os_str());
        command.arg("run").arg("--config").arg(&path);
        let process = Process::start_on(command, cpus, file, listens[0]).map_err(|error| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            Failure::Proxy(format!("{error}\n{said}"))
        })?;
        let listens = listens.into_iter().map(SocketAddr::V4).collect();
        let version = program.version.clone();
        let admin = admin.map(SocketAddr::V4);
        Ok(Proxy { process, version, configuration, listens, admin, log })
    }

    /// What it has counted of what went wrong; nothing where it does not say.
    pub fn counted(&self) -> Counted {
        self.admin.and_then(|admin| metrics::ask(admin).ok()).unwrap_or_default()
    }

    /// Whether it is still there; if not, what it said last.
    pub fn check(&mut self) -> Result<(), Failure> {
        if self.process.is_running() {
            return Ok(());
        }
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        Err(Failure::Gone(said))
    }
}

/// The program, which is built and found once.
pub fn found() -> Result<&'static Program, Failure> {
    static FOUND: OnceLock<Program> = OnceLock::new();
    if let Some(program) = FOUND.get() {
        return Ok(program);
    }
    let program = Program::find(Candidate::Ringmain)
        .map_err(|missing| Failure::Proxy(missing.to_string()))?;
    Ok(FOUND.get_or_init(|| program))
}

fn configuration(
    fronts: &[Front],
    listens: &[SocketAddrV4],
    admin: Option<SocketAddrV4>,
    workers: u32,
    directory: &Path,
) -> String {
    let admin = admin.map_or("off".to_owned(), |admin| admin.to_string());
    let mut text = format!(
        "[process]\nworkers = {workers}\n\n[log]\nlevel = \"warn\"\naccess = \"off\"\n\n\
         [admin]\nlisten = \"{admin}\"\n"
    );
    if fronts.iter().any(|front| front.ends_tls) {
        let chain = directory.join(Identity::Ecdsa.as_str()).with_extension("pem");
        let (chain, key) = (chain.display(), key_of(&chain).display().to_string());
        text += &format!(
            "\n[tls.bench]\ncertificates = [{{ chain = \"{chain}\", key = \"{key}\" }}]\n\
             min_version = \"1.3\"\n"
        );
        // Clients that offer nothing are not refused for it.
        let ended = fronts.iter().filter(|front| front.ends_tls);
        let alpn: BTreeSet<&[u8]> = ended.filter_map(|front| front.alpn).collect();
        if !alpn.is_empty() {
            let names: Vec<_> = alpn.into_iter().map(String::from_utf8_lossy).collect();
            text += &format!("alpn = {names:?}\n");
        }
    }
    for (number, (front, listen)) in fronts.iter().zip(listens).enumerate() {
        let tls = if front.ends_tls { "tls = \"bench\"\n" } else { "" };
        let backends: Vec<String> = front.backends.iter().map(|at| format!("\"{at}\"")).collect();
        let backends = backends.join(", ");
        // As with the peers of `compare`, which have no keep-alive by default.
        write!(
            text,
            "\n[listener.group-{number}]\nlisten = \"{listen}\"\n{tls}pool = \"group-{number}\"\n\
             keepalive_idle = \"off\"\n\n[pool.group-{number}]\nkeepalive_idle = \"off\"\n\
             backends = [{backends}]\n"
        )
        // A string takes all that is written to it.
        .unwrap_or_default();
    }
    text
}
