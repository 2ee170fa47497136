//! Owns the reasons for which there is no run, each one sentence with its remedy.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ringmain::engine::support::Unsupported;

use crate::judge;

use super::thread::ThreadError;
use super::tls::Disagreed;

/// Why there is no run.
#[derive(Debug)]
pub enum Failure {
    /// Nobody accepts there.
    Unreachable {
        target: SocketAddr,
        error: io::Error,
    },
    /// The target accepted at first, and then not all of the connections came about.
    NotConnected {
        target: SocketAddr,
        wanted: u32,
        connected: u32,
        cause: &'static str,
    },
    /// Nobody that was given vouches for what the target shows.
    Untrusted {
        target: SocketAddr,
        reason: &'static str,
    },
    /// The target accepted, and not one handshake succeeded.
    NoHandshake {
        target: SocketAddr,
        cause: &'static str,
    },
    Descriptors {
        needed: u64,
        limit: u64,
    },
    Ports {
        needed: u64,
        free: u64,
        target: IpAddr,
    },
    /// Units of it end at a backend, and there is none of ours.
    NoBackend {
        protocol: &'static str,
    },
    /// Handshakes succeeded and were not what they should have been.
    Disagreed(Disagreed),
    /// Nothing can be resumed.
    NoTickets,
    /// So many connections to backends did not end.
    Lingering(u32),
    /// Fewer connections came to the backends, and stayed, than agents had opened.
    NotHeld {
        open: usize,
        count: usize,
    },
    /// A group of agents sends datagrams, and the Ringmain that the run starts carries none.
    NoDatagrams {
        name: String,
        protocol: &'static str,
    },
    /// So many checks of the generator itself failed.
    Untrue {
        failed: u32,
        checks: u32,
    },
    Options(String),
    /// A profile can not be read, or has errors: a line each.
    Profile(String),
    /// The proxy could not be started.
    Proxy(String),
    /// It has ended under its load; what it said last.
    Gone(String),
    Certificates(String),
    /// The figures would find no place there.
    Output(PathBuf, io::Error),
    Engine(Unsupported),
    Host {
        what: &'static str,
        error: io::Error,
    },
    Interrupted,
}

impl Failure {
    pub fn as_str(&self) -> &'static str {
        match self {
            Failure::Unreachable { .. } => "unreachable",
            Failure::NotConnected { .. } | Failure::NoHandshake { .. } => "not_connected",
            Failure::Untrusted { .. } => "untrusted",
            Failure::Descriptors { .. } => "too_few_descriptors",
            Failure::Ports { .. } => "too_few_ports",
            Failure::NoBackend { .. } => "no_backend",
            Failure::NoDatagrams { .. } => "no_datagrams",
            Failure::Untrue { .. } => "untrue",
            Failure::Options(_) => "options",
            Failure::Profile(_) => "profile",
            Failure::Proxy(_) => "proxy",
            Failure::Gone(_) => "proxy_gone",
            Failure::Certificates(_) => "certificates_failed",
            Failure::Output(..) => "unwritable_file",
            Failure::Engine(_) => "engine",
            Failure::Host { .. } => "host_error",
            Failure::Disagreed(_) => "handshake_disagreed",
            Failure::NoTickets => "no_tickets",
            Failure::Lingering(_) => "lingering",
            Failure::NotHeld { .. } => "not_held",
            Failure::Interrupted => "interrupted",
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            // What shells report for SIGINT.
            Failure::Interrupted => 130,
            Failure::Options(_) | Failure::Profile(_) | Failure::NoDatagrams { .. } => 2,
            _ => 1,
        }
    }

    /// The sentence for commands that have not all of the options of `run`.
    fn in_other_commands(&self) -> String {
        match self {
            Failure::NoDatagrams { name, protocol } => {
                let group = if name == protocol { "" } else { "the group of " };
                format!(
                    "units of {protocol} are datagrams, which Ringmain does not carry yet; leave \
                     {group}{name} out, or take a protocol over TCP"
                )
            }
            Failure::Ports { needed, free, target } => format!(
                "the run needs about {needed} local ports towards {target} and there are {free}; \
                 widen net.ipv4.ip_local_port_range, or take fewer connections or a lower rate"
            ),
            other => other.to_string(),
        }
    }

    pub fn host(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
        move |error| Failure::Host { what, error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable { .. }
            | Failure::NotConnected { .. }
            | Failure::Untrusted { .. }
            | Failure::NoHandshake { .. } => self.say_of_target(f),
            Failure::Descriptors { needed, limit } => write!(
                f,
                "the run needs {needed} descriptors and may open {limit}; raise the limit \
                 (ulimit -n {needed}), or ask for fewer with --connections"
            ),
            Failure::Ports { needed, free, target } => write!(
                f,
                "the run needs about {needed} local ports towards {target} and there are {free}; \
                 widen net.ipv4.ip_local_port_range, give more addresses with --sources, or ask \
                 for fewer connections"
            ),
            Failure::NoBackend { protocol } => write!(
                f,
                "units of {protocol} are counted where they end; give the addresses of backends \
                 to be opened here with --backend-listen, and have the target send to them"
            ),
            Failure::NoDatagrams { name, protocol } => {
                write!(
                    f,
                    "units of {protocol} are datagrams, which Ringmain does not carry yet; leave \
                     --via ringmain out, or name somebody else who carries them with --target"
                )?;
                // In a profile there are others.
                if name == protocol { Ok(()) } else { write!(f, ", or give --without {name}") }
            }
            Failure::Untrue { failed, checks } => write!(
                f,
                "{failed} of {checks} checks failed; see that nothing else runs on this host, and \
                 trust no figures of it before all hold"
            ),
            Failure::Options(sentence) | Failure::Profile(sentence) => f.write_str(sentence),
            Failure::Proxy(sentence) => write!(f, "the proxy can not be started: {sentence}"),
            Failure::Gone(said) if said.trim().is_empty() => {
                f.write_str("the proxy has ended under its load, and said nothing")
            }
            Failure::Gone(said) => {
                write!(f, "the proxy has ended under its load, and said: {}", said.trim())
            }
            Failure::Certificates(error) => write!(f, "no certificates could be made: {error}"),
            Failure::Output(path, error) => write!(
                f,
                "{} can not be written: {error}; name another place by --output",
                path.display()
            ),
            Failure::Engine(unsupported) => unsupported.fmt(f),
            Failure::Host { what, error } => write!(f, "{what}: {error}"),
            Failure::Disagreed(disagreed) => disagreed.fmt(f),
            Failure::NoTickets => f.write_str(
                "the target gave no ticket in its handshakes, so that no session can be resumed; \
                 have it give tickets, or take a protocol with full handshakes",
            ),
            Failure::Lingering(open) => write!(
                f,
                "{open} connections to backends stayed open after those of all agents had ended"
            ),
            Failure::NotHeld { open, count } => write!(
                f,
                "only {open} of {count} quiet connections were open at the backends; see what the \
                 proxy says, and its time-outs"
            ),
            Failure::Interrupted => f.write_str("a run that did not end has no figures"),
        }
    }
}

impl Failure {
    /// The sentence where somebody could not be reached as was meant.
    fn say_of_target(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable { target, error } => write!(
                f,
                "{target} can not be reached ({error}); start what listens there, or give its \
                 address as --target"
            ),
            Failure::NotConnected { target, wanted, connected, cause } => write!(
                f,
                "only {connected} of {wanted} connections to {target} came about in time \
                 ({cause}); ask for fewer with --connections, or raise the target's limits"
            ),
            Failure::Untrusted { target, reason } => write!(
                f,
                "the certificate of {target} is not trusted: {reason}; give another --ca or \
                 --server-name, or --insecure to verify nothing"
            ),
            Failure::NoHandshake { target, cause } => write!(
                f,
                "no handshake with {target} succeeded ({cause}); see that it ends TLS 1.3 there, \
                 asks clients for no certificate, and knows the name it is asked for \
                 (--server-name)"
            ),
            // The others have their own.
            _ => f.write_str(self.as_str()),
        }
    }
}

impl From<ThreadError> for Failure {
    fn from(error: ThreadError) -> Failure {
        match error {
            ThreadError::Unsupported(unsupported) => Failure::Engine(unsupported),
            ThreadError::Host(error) => Failure::Host { what: "a thread of the run", error },
        }
    }
}

impl From<Failure> for judge::Fault {
    fn from(failure: Failure) -> judge::Fault {
        let sentence = failure.in_other_commands();
        match failure {
            Failure::Interrupted => judge::Fault::Interrupted,
            Failure::Unreachable { .. }
            | Failure::NotConnected { .. }
            | Failure::NoHandshake { .. }
            | Failure::Gone(_) => judge::Fault::Unreachable(sentence),
            _ => judge::Fault::Unable(sentence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_commands_are_told_of_no_option_that_is_of_run_alone() {
        let protocol = "syslog-udp";
        for name in [protocol, "switches"] {
            let failure = Failure::NoDatagrams { name: name.to_owned(), protocol };
            assert!(failure.to_string().contains("--via"));
            let said = judge::Fault::from(failure).to_string();
            assert!(said.contains(protocol) && said.contains(name), "{said}");
            assert!(!said.contains("--"), "{said}");
        }
        let target = IpAddr::from([127, 0, 0, 1]);
        let failure = Failure::Ports { needed: 9, free: 5, target };
        assert!(failure.to_string().contains("--sources"));
        let said = judge::Fault::from(failure).to_string();
        assert!(said.contains("ip_local_port_range") && !said.contains("--"), "{said}");
    }

    #[test]
    fn whoever_reads_the_exit_code_tells_an_interrupt_and_a_wrong_line_from_the_rest() {
        let wrong = Failure::Options(String::new()).exit_code();
        assert_eq!((Failure::Interrupted.exit_code(), wrong), (130, 2));
        assert_eq!(Failure::Profile(String::new()).exit_code(), 2);
        assert_eq!(Failure::NoTickets.exit_code(), 1);
    }

    #[test]
    fn other_commands_tell_an_end_that_was_wanted_and_a_proxy_that_is_gone_apart() {
        let fault = |failure: Failure| judge::Fault::from(failure);
        assert_eq!(fault(Failure::Interrupted), judge::Fault::Interrupted);
        let gone = fault(Failure::Gone("panicked".to_owned()));
        assert!(matches!(&gone, judge::Fault::Unreachable(why) if why.contains("panicked")));
        let unable = fault(Failure::Descriptors { needed: 9, limit: 5 });
        assert!(matches!(unable, judge::Fault::Unable(_)), "{unable}");
    }
}
