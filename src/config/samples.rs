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
