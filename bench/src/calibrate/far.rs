//! Owns a generator whose runs are made in a network namespace; it judges nothing.

use std::panic::resume_unwind;
use std::thread;

use super::namespaces::Namespace;
use crate::figures::Run;
use crate::generate::Generator;
use crate::judge::{Fault, Load, System};

pub struct Far<'a> {
    pub generator: Generator,
    pub namespace: &'a Namespace,
}

impl System for Far<'_> {
    fn run(&mut self, load: &Load) -> Result<Run, Fault> {
        let Far { generator, namespace } = self;
        // Sockets are in the namespace of the thread that makes them, and threads in that of their
        // parent: one is made for each run, so that this one stays where it is.
        let run = || {
            namespace.enter().map_err(|error| Fault::Unable(format!("setns: {error}")))?;
            generator.run(load)
        };
        let ran = thread::scope(|scope| scope.spawn(run).join());
        let run = ran.unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(Run { candidate: "ringmain-network".to_owned(), ..run })
    }
}
