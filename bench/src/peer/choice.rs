//! Owns the choice of a peer: its arguments, and the runtime that they lead to.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::front::{Front, parse_tls};
use super::{with_tokio, with_tokio_uring};

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
    /// Where TLS is ended as well, and with which certificate; tokio alone does so
    #[arg(long, value_name = "ADDRESS=CERTIFICATE", value_parser = parse_tls)]
    tls: Vec<(SocketAddrV4, PathBuf)>,
    /// Given once per backend
    #[arg(long = "backend", required = true)]
    backends: Vec<SocketAddr>,
}

/// Proxies until the process is killed, or accepting fails.
pub fn run(options: Options) -> io::Result<()> {
    let plain = Front::plain(options.listen)?;
    match options.runtime {
        Runtime::Tokio => {
            let mut fronts = vec![plain];
            for (address, certificate) in &options.tls {
                fronts.push(Front::tls(*address, certificate)?);
            }
            with_tokio::run(fronts, options.backends)
        }
        Runtime::TokioUring if options.tls.is_empty() => {
            with_tokio_uring::run(plain.listener, options.backends)
        }
        Runtime::TokioUring => Err(io::ErrorKind::Unsupported.into()),
    }
}
