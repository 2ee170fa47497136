//! Owns the choice of a peer: its arguments, and the runtime that they lead to.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener};

use clap::{Args, ValueEnum};

use super::{with_tokio, with_tokio_uring};
use crate::load::sockets;

/// Which runtime carries the proxy.
#[derive(Clone, Copy, ValueEnum)]
pub enum Runtime {
    Tokio,
    TokioUring,
}

#[derive(Args)]
pub struct Options {
    runtime: Runtime,
    #[arg(long)]
    listen: SocketAddrV4,
    /// Given once per backend
    #[arg(long = "backend", required = true)]
    backends: Vec<SocketAddr>,
}

/// Proxies until the process is killed, or accepting fails.
pub fn run(options: Options) -> io::Result<()> {
    let listener = TcpListener::from(sockets::listener(options.listen)?);
    match options.runtime {
        Runtime::Tokio => with_tokio::run(listener, options.backends),
        Runtime::TokioUring => with_tokio_uring::run(listener, options.backends),
    }
}
