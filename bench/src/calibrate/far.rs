//! Owns a system whose runs are made in a network namespace; it judges nothing.

use std::panic::resume_unwind;
use std::thread;

use super::namespaces::Namespace;
use crate::figures::Run;
use crate::judge::{Fault, Load, System};

pub struct Far<'a, S> {
    pub system: S,
    pub namespace: &'a Namespace,
}

impl<S: System + Send> System for Far<'_, S> {
    fn run(&mut self, load: &Load) -> Result<Run, Fault> {
        let Far { system, namespace } = self;
        // Sockets are in the namespace of the thread that makes them, and threads in that of their
        // parent: one is made for each run, so that this one stays where it is.
        let run = || {
            namespace.enter().map_err(|error| Fault::Unable(format!("setns: {error}")))?;
            system.run(load)
        };
        let ran = thread::scope(|scope| scope.spawn(run).join());
        let run = ran.unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(Run { candidate: "ringmain-network".to_owned(), ..run })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    use rustix::process::geteuid;

    use super::super::namespaces::Namespaces;
    use super::*;
    use crate::figures::sample;

    /// Notes in which network its runs are made.
    #[derive(Default)]
    struct Somewhere {
        networks: Vec<PathBuf>,
    }

    impl System for Somewhere {
        fn run(&mut self, load: &Load) -> Result<Run, Fault> {
            self.networks.push(network());
            match load.rate {
                Some(rate) => Ok(sample("ringmain", rate)),
                None => Err(Fault::Interrupted),
            }
        }
    }

    fn network() -> PathBuf {
        fs::read_link("/proc/thread-self/ns/net").unwrap()
    }

    #[test]
    fn runs_are_made_in_the_namespace_and_this_thread_stays_where_it_is() {
        if !geteuid().is_root() {
            eprintln!("namespaces are made by root");
            return;
        }
        let Namespaces { here, there } = Namespaces::create(0, 0).unwrap();
        let outside = network();
        for namespace in [&here, &there] {
            let mut far = Far { system: Somewhere::default(), namespace };
            let (window, warm_up) = (Duration::ZERO, Duration::ZERO);
            let load = Load { rate: Some(50.0), connections: 1, window, warm_up };
            let run = far.run(&load).unwrap();
            assert_eq!((&*run.candidate, run.achieved), ("ringmain-network", 50.0));
            assert_eq!(far.run(&Load { rate: None, ..load }), Err(Fault::Interrupted));
            let network = fs::read_link(namespace.file("net")).unwrap();
            assert_eq!(far.system.networks, [network.clone(), network]);
        }
        assert_eq!(network(), outside);
    }
}
