//! Owns what stands while runs come and go: the addresses of backends, the certificates, and the
//! proxy between. It makes no load.

use std::io;
use std::net::SocketAddr;

use super::backends::Doors;
use super::directory::Directory;
use super::metrics::Counted;
use super::placement::Placement;
use super::proxy::Proxy;
use super::tls::Material;

/// All that a run needs beside its order. A proxy in it lives as long as this does, so that what it
/// keeps from one run to the next can be seen.
pub struct Standing {
    /// Goes first, while there is somebody to take its last words.
    pub proxy: Option<Proxy>,
    pub material: Option<Material>,
    /// Where the backends of each group are reached; nobody is there between runs.
    pub doors: Vec<Doors>,
    pub placement: Placement,
    /// Runs count the proxy's system calls, which makes each of them a little dearer.
    pub counts_calls: bool,
    /// Holds certificates and configurations; goes last.
    pub directory: Directory,
}

impl Standing {
    /// What the proxy has counted of what went wrong, if there is one.
    pub fn counted(&self) -> Counted {
        self.proxy.as_ref().map_or_else(Counted::new, Proxy::counted)
    }

    /// The addresses of each group's backends.
    pub fn addresses(&self) -> io::Result<Vec<Vec<SocketAddr>>> {
        self.doors.iter().map(Doors::addresses).collect()
    }
}
