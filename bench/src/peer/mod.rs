//! Owns the reference peers: two plain proxies on public runtimes, to see what Ringmain's own
//! engine is worth. They balance round robin, and have no limits, time-outs or logs.

mod with_tokio;
mod with_tokio_uring;

use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener};

use clap::{Args, ValueEnum};

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

#[cfg(test)]
pub use with_tokio::run as run_tokio;

/// What one direction holds at a time.
const BUFFER: usize = 64 * 1024;
