//! Small configurations for the tests of this folder, and what is printed for them.

use super::load::{Config, parse};

pub(super) const POOL: &str = "[pool.p]\nbackends = [\"10.0.0.1:1\"]\n";
pub(super) const LISTENER: &str = "[listener.l]\nlisten = \"0.0.0.0:1\"\npool = \"p\"\n";

/// What is printed for `text`, line by line, without the name of the file.
pub(super) fn errors(text: &str) -> Vec<String> {
    match parse(text, "x.toml") {
        Ok(_) => Vec::new(),
        Err(errors) => {
            let printed = errors.to_string();
            printed.lines().map(|line| line.strip_prefix("x.toml:").unwrap().to_owned()).collect()
        }
    }
}

/// A valid file with `lines` at its top, or what is printed for it.
pub(super) fn with_top(lines: &str) -> Vec<String> {
    errors(&format!("{lines}\n{LISTENER}{POOL}"))
}

/// A valid file with `lines` at the end of its listener, from line 4 on.
pub(super) fn with_listener(lines: &str) -> Vec<String> {
    errors(&format!("{LISTENER}{lines}\n{POOL}"))
}

/// A valid file but for its pool, which has `lines` from line 5 on.
pub(super) fn with_pool(lines: &str) -> Vec<String> {
    errors(&format!("{LISTENER}[pool.p]\n{lines}\n"))
}

pub(super) fn valid(text: &str) -> Config {
    parse(text, "x.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// The only pool of a valid file, which has `lines`.
pub(super) fn valid_pool(lines: &str) -> super::Pool {
    valid(&format!("{LISTENER}[pool.p]\n{lines}\n")).pools.remove(0)
}

/// Two sections that end TLS.
pub(super) const TLS: &str = "\
[tls.edge]\ncertificates = [{ chain = \"/c\", key = \"/k\" }]\n\
alpn = [\"h2\", \"H2\", \"http/1.1\", \"a\", \"b\", \"c\", \"x\", \"y\"]\n\
[tls.inner]\ncertificates = [{ chain = \"/c\", key = \"/k\" }]\n\
alpn = [\"h2\", \"H2\", \"http/1.1\", \"a\", \"b\", \"c\", \"x\", \"y\"]\n";

/// A valid file but for its tls section, which has `lines` from line 2 on.
pub(super) fn with_tls(lines: &str) -> Vec<String> {
    errors(&format!("[tls.t]\n{lines}\n{LISTENER}{POOL}"))
}

/// A valid file but for its only listener, which has `lines` from line 3 on; there are two tls
/// sections, `edge` and `inner`, and the pools `p` and `q`.
pub(super) fn with_entry(lines: &str) -> Vec<String> {
    errors(&entry(lines))
}

/// The only listener of the same file, which is valid.
pub(super) fn valid_entry(lines: &str) -> super::Listener {
    valid(&entry(lines)).listeners.remove(0)
}

fn entry(lines: &str) -> String {
    let pools = "[pool.p]\nbackends = [\"10.0.0.1:1\"]\n[pool.q]\nbackends = [\"10.0.0.1:1\"]\n";
    format!("[listener.l]\nlisten = \"0.0.0.0:1\"\n{lines}\n{pools}{TLS}")
}
