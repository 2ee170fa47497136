//! Owns the Ringmain that is soaked, and the doing of tricks: to its process, and to its backends.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::tricks::{Mischief, Trick};
use crate::figures::Run;
use crate::generate::{Behaviour, Generator, Mischief as Misdeeds, Outage};
use crate::judge::{Fault, Load, System};
use crate::report::Live;

/// A generator with a Ringmain between, on which tricks can be played.
pub struct Soaked {
    generator: Generator,
}

impl Soaked {
    pub fn new(generator: Generator) -> Soaked {
        Soaked { generator }
    }

    pub fn generator(&self) -> &Generator {
        &self.generator
    }

    /// From now on its runs are shown there while they are made.
    pub fn show_on(&mut self, live: Live) {
        self.generator.show_on(live);
    }

    fn process(&self) -> Result<Pid, Fault> {
        let id = self.generator.proxy().and_then(|proxy| i32::try_from(proxy.process.id()).ok());
        id.and_then(Pid::from_raw)
            .ok_or_else(|| Fault::Unreachable("the proxy has no process".to_owned()))
    }
}

impl System for Soaked {
    fn run(&mut self, load: &Load) -> Result<Run, Fault> {
        let run = self.generator.run(load);
        // What backends do wrong is for one window.
        self.generator.behave(Behaviour::default());
        run
    }
}

impl Mischief for Soaked {
    fn play(&mut self, trick: Trick) -> Result<(), Fault> {
        let process = self.process()?;
        match trick {
            Trick::Reload => later(move || signal(process, Signal::HUP)),
            Trick::Pause => later(move || {
                signal(process, Signal::STOP);
                wait(PAUSE);
                signal(process, Signal::CONT);
            }),
            Trick::BackendStall => {
                let stall = Some(Outage { at: AT, length: STALL });
                self.generator.behave(Behaviour { stall, ..Behaviour::default() });
            }
            Trick::BackendDeath => {
                let death = Some(Outage { at: AT, length: DEATH });
                self.generator.behave(Behaviour { death, ..Behaviour::default() });
            }
            Trick::BackendErrors => {
                let mischief = Misdeeds { reset: ERRORS, close: ERRORS, ..Misdeeds::default() };
                self.generator.behave(Behaviour { mischief, ..Behaviour::default() });
            }
        }
        Ok(())
    }
}

/// Returns at once; the trick comes when the load is under way.
fn later(trick: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        wait(LEAD);
        trick();
    });
}

fn signal(process: Pid, signal: Signal) {
    // Where the proxy has ended meanwhile, the run says so.
    kill_process(process, signal).ok();
}

/// Nobody sends: it is the time that is waited for.
fn wait(time: Duration) {
    let (_alive, never) = std::sync::mpsc::channel::<()>();
    never.recv_timeout(time).ok();
}

/// From the beginning of a run to a trick in it: beyond the warm-up, so that it is measured.
const LEAD: Duration = Duration::from_millis(900);
const PAUSE: Duration = Duration::from_millis(330);
/// From the beginning of the window on.
const AT: Duration = Duration::from_millis(500);
const STALL: Duration = Duration::from_secs(1);
const DEATH: Duration = Duration::from_secs(1);
/// Share of requests that end in a reset, and as many in the end of the connection.
const ERRORS: f64 = 0.000_2;
