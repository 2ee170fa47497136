//! Owns how curl is called: through the proxy, to a name it verifies, undisturbed by its user.

use std::net::SocketAddr;
use std::process::Command;

use super::openssl::{Certificate, NAME};
use super::process::bounded;

/// curl with `certificate` as the only authority it trusts.
pub fn curl(certificate: &Certificate, proxy: SocketAddr) -> Command {
    let mut command = plain_curl();
    command.args(["--resolve", &format!("{NAME}:{}:{}", proxy.port(), proxy.ip())]);
    command.arg("--cacert").arg(certificate.file());
    command
}

/// Without TLS.
pub fn plain_curl() -> Command {
    let mut command = bounded("curl");
    // The first leaves out ~/.curlrc, `--noproxy` what the environment says of proxies.
    command.args(["-q", "--silent", "--show-error", "--fail", "--noproxy", "*"]);
    command
}

pub fn url(proxy: SocketAddr, path: &str) -> String {
    format!("https://{NAME}:{}{path}", proxy.port())
}
