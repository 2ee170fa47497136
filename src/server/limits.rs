//! How many connections the descriptors of this process carry.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// The arithmetic of descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// RLIMIT_NOFILE, raised as far as the system allows.
    pub limit: u64,
    /// For each worker: its ring, its eventfd, and its own handle on every listening socket.
    pub workers: u64,
    pub per_worker: u64,
    /// Two for each pipe of every worker.
    pub pipes: u64,
    /// The server's own handles on listening sockets and address locks.
    pub sockets: u64,
    /// process.reserved_descriptors: health, DNS, admin, files, and standard streams.
    pub reserved: u64,
    /// Two for each connection: the client's and the backend's.
    pub connections: u32,
}

/// The descriptor limit does not carry the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitError {
    budget: Budget,
    asked: Option<u32>,
}

impl Budget {
    fn fixed(&self) -> u64 {
        self.workers * self.per_worker + self.pipes + self.sockets + self.reserved
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} workers x {} + {} for pipes + {} for listening sockets + {} reserved + 2 x {} \
             connections = {}",
            self.workers,
            self.per_worker,
            self.pipes,
            self.sockets,
            self.reserved,
            self.connections,
            self.fixed() + 2 * u64::from(self.connections)
        )
    }
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (budget, limit) = (&self.budget, self.budget.limit);
        match self.asked {
            Some(_) => write!(
                f,
                "process.max_connections: {budget} descriptors, and the limit is {limit}; raise \
                 the limit (LimitNOFILE= in the unit, `ulimit -n` in a shell) or lower \
                 process.max_connections"
            ),
            None => write!(
                f,
                "the descriptor limit of {limit} leaves no room for connections: {budget}; \
                 raise it (LimitNOFILE= in the unit, `ulimit -n` in a shell)"
            ),
        }
    }
}

/// Raises the descriptor limit as far as it goes and shares it out.
pub fn budget(config: &Config, workers: usize) -> Result<Budget, LimitError> {
    share_out(config, workers, raise_limit())
}

fn share_out(config: &Config, workers: usize, limit: u64) -> Result<Budget, LimitError> {
    let process = &config.process;
    let addresses: u64 = config.listeners.iter().map(|listener| listener.listen.len() as u64).sum();
    let workers = workers as u64;
    let mut budget = Budget {
        limit,
        workers,
        per_worker: 2 + addresses,
        pipes: workers * 2 * process.pipes as u64,
        sockets: addresses * (workers + 1),
        reserved: process.reserved_descriptors as u64 + STANDARD,
        connections: 0,
    };
    let most = u32::try_from(limit.saturating_sub(budget.fixed()) / 2).unwrap_or(u32::MAX);
    let asked = process.max_connections;
    budget.connections = asked.unwrap_or(most.min(MOST_CONNECTIONS));
    if budget.connections > most || most == 0 {
        return Err(LimitError { budget, asked });
    }
    Ok(budget)
}

/// The limit after raising the soft one to the hard one.
fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    limit.unwrap_or(u64::from(u32::MAX))
}

/// Standard streams, the log, the runtime's epoll and signal descriptors.
const STANDARD: u64 = 16;
/// More than this on one host must be asked for.
const MOST_CONNECTIONS: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(process: &str) -> Config {
        let text = format!(
            "[process]\n{process}\n[listener.l]\nlisten = \"127.0.0.1:0\"\npool = \"p\"\n\
             [pool.p]\nbackends = [\"127.0.0.1:9\"]\n"
        );
        crate::config::parse(&text, "test").unwrap()
    }

    #[test]
    fn the_default_is_what_the_limit_carries() {
        let budget = share_out(&config("pipes = 10"), 2, 1000).unwrap();
        let fixed = 2 * 3 + 40 + 3 + 64 + 16;
        assert_eq!(u64::from(budget.connections), (1000 - fixed) / 2);
    }

    #[test]
    fn too_many_connections_are_refused_with_the_arithmetic() {
        let error = share_out(&config("max_connections = 600"), 1, 1024).unwrap_err().to_string();
        assert!(error.contains("2 x 600 connections = 1413"), "{error}");
        assert!(error.contains("the limit is 1024"), "{error}");
        assert!(error.contains("process.max_connections"), "{error}");
    }

    #[test]
    fn no_room_at_all_is_refused() {
        let error = share_out(&config(""), 4, 256).unwrap_err().to_string();
        assert!(error.contains("leaves no room"), "{error}");
    }
}
