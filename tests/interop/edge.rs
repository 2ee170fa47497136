//! Owns the configurations in which the proxy speaks TLS itself; does not know what speaks to it.

use std::net::SocketAddr;

use super::openssl::{Certificate, NAME};
use super::proxy::Proxy;

/// TLS ends in the proxy, and goes on in the clear. `keys` are more lines of the table.
pub fn terminating(certificate: &Certificate, backend: SocketAddr, keys: &str) -> Proxy {
    let (table, pool) = (table("edge", certificate, keys), pool("backends", backend));
    Proxy::with_text(&format!("{BEGIN}\n{table}\n{LISTENER}\n{pool}"))
}

/// TLS ends in the proxy, and begins anew towards a backend whose certificate is for `NAME` and
/// vouched for by `trusted`. `keys` are more lines of how it is spoken there.
pub fn reencrypting(
    certificate: &Certificate,
    backend: SocketAddr,
    trusted: &Certificate,
    keys: &str,
) -> Proxy {
    let (table, pool) = (table("edge", certificate, ""), pool("backends", backend));
    let trusted = trusted.file();
    let trusted = trusted.display();
    Proxy::with_text(&format!(
        "{BEGIN}\n{table}\n{LISTENER}\n{pool}\n\
         [pool.backends.tls]\nca = \"{trusted}\"\nserver_name = \"{NAME}\"\n{keys}\n"
    ))
}

/// `[tls.NAME]` with one certificate.
pub fn table(name: &str, certificate: &Certificate, keys: &str) -> String {
    let (chain, key) = (certificate.file(), certificate.key());
    let (chain, key) = (chain.display(), key.display());
    format!("[tls.{name}]\ncertificates = [{{ chain = \"{chain}\", key = \"{key}\" }}]\n{keys}")
}

/// `[pool.NAME]` with one backend.
pub fn pool(name: &str, backend: SocketAddr) -> String {
    format!("[pool.{name}]\nbackends = [\"{backend}\"]\n")
}

/// What each of these configurations begins with. One worker: sessions come in their order.
pub const BEGIN: &str = "[process]\nworkers = 1\n[admin]\nlisten = \"off\"";

const LISTENER: &str = "\
[listener.client]
listen = \"127.0.0.1:0\"
tls = \"edge\"
pool = \"backends\"";
