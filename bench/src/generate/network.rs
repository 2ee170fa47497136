//! Owns between which addresses a run takes place: all on loopback, or the proxy in a network
//! namespace of its own. It makes no namespace.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::PathBuf;
use std::process::Command;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    #[default]
    Loopback,
    /// Agents and backends are in the namespace of the thread that makes the runs.
    Apart {
        /// Their address.
        here: Ipv4Addr,
        /// The proxy's.
        there: Ipv4Addr,
        /// The file that stands for the proxy's namespace.
        namespace: PathBuf,
    },
}

impl Network {
    /// Where backends listen.
    pub fn here(&self) -> Ipv4Addr {
        match self {
            Network::Loopback => Ipv4Addr::LOCALHOST,
            Network::Apart { here, .. } => *here,
        }
    }

    /// So many addresses on which a proxy can listen.
    pub fn proxy_addresses(&self, count: usize) -> io::Result<Vec<SocketAddrV4>> {
        match self {
            Network::Loopback => free_addresses(count),
            // Nobody else is in a new namespace.
            Network::Apart { there, .. } => {
                Ok((FIRST_PORT..).take(count).map(|port| SocketAddrV4::new(*there, port)).collect())
            }
        }
    }

    /// The command that starts a program where the proxy is to be; its process is the program's.
    pub fn command(&self, program: &OsStr) -> Command {
        match self {
            Network::Loopback => Command::new(program),
            Network::Apart { namespace, .. } => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", namespace.display())).arg(program);
                command
            }
        }
    }
}

/// Addresses that the kernel has just given out, and taken back.
fn free_addresses(count: usize) -> io::Result<Vec<SocketAddrV4>> {
    // All at once, so that they differ.
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<_>>()?;
    let address = |listener: &TcpListener| {
        Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port()))
    };
    listeners.iter().map(address).collect()
}

const FIRST_PORT: u16 = 7000;
