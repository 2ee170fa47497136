//! Owns the doing of tricks: to the process of the proxy that is soaked, and to its backends.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::tricks::{Mischief, Trick};
use crate::figures::Run;
use crate::generate::{Behaviour, Generator, Mischief as Misdeeds, Outage};
use crate::judge::{Fault, Load, System};

/// What tricks are played on: a proxy with a process, and backends that do as they are told.
pub trait Rig: System {
    /// `None`: it was not started yet.
    fn process(&self) -> Option<Pid>;

    /// How backends behave in the runs from now on.
    fn behave(&mut self, behaviour: Behaviour);
}

impl Rig for Generator {
    fn process(&self) -> Option<Pid> {
        let id = self.proxy()?.process.id();
        Pid::from_raw(i32::try_from(id).ok()?)
    }

    fn behave(&mut self, behaviour: Behaviour) {
        Generator::behave(self, behaviour);
    }
}

/// A rig that tricks are played on.
pub struct Soaked<R> {
    pub rig: R,
}

impl<R: Rig> System for Soaked<R> {
    fn run(&mut self, load: &Load) -> Result<Run, Fault> {
        let run = self.rig.run(load);
        // What backends do wrong is for one window.
        self.rig.behave(Behaviour::default());
        run
    }
}

impl<R: Rig> Mischief for Soaked<R> {
    fn play(&mut self, trick: Trick) -> Result<(), Fault> {
        match Deed::of(trick) {
            Deed::ToTheProxy(deed) => {
                let process = self.rig.process();
                let process = process
                    .ok_or_else(|| Fault::Unreachable("the proxy has no process".to_owned()))?;
                later(move || deed(process));
            }
            Deed::ByBackends(behaviour) => self.rig.behave(behaviour),
        }
        Ok(())
    }
}

/// What a trick comes to.
enum Deed {
    ToTheProxy(fn(Pid)),
    ByBackends(Behaviour),
}

impl Deed {
    fn of(trick: Trick) -> Deed {
        let usual = Behaviour::default();
        match trick {
            Trick::Reload => Deed::ToTheProxy(reload),
            Trick::Pause => Deed::ToTheProxy(pause),
            Trick::BackendStall => {
                let stall = Some(Outage { at: AT, length: STALL });
                Deed::ByBackends(Behaviour { stall, ..usual })
            }
            Trick::BackendDeath => {
                let death = Some(Outage { at: AT, length: DEATH });
                Deed::ByBackends(Behaviour { death, ..usual })
            }
            Trick::BackendErrors => {
                let mischief = Misdeeds { reset: ERRORS, close: ERRORS, ..Misdeeds::default() };
                Deed::ByBackends(Behaviour { mischief, ..usual })
            }
        }
    }
}

fn reload(process: Pid) {
    signal(process, Signal::HUP);
}

fn pause(process: Pid) {
    signal(process, Signal::STOP);
    wait(PAUSE);
    signal(process, Signal::CONT);
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

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc::channel;

    use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

    use super::*;
    use crate::figures::sample;

    /// Notes how its backends were told to behave in each run.
    #[derive(Default)]
    struct Noted {
        process: Option<Pid>,
        told: Behaviour,
        runs: Vec<Behaviour>,
    }

    impl System for Noted {
        fn run(&mut self, _load: &Load) -> Result<Run, Fault> {
            self.runs.push(self.told.clone());
            Ok(sample("ringmain", 100.0))
        }
    }

    impl Rig for Noted {
        fn process(&self) -> Option<Pid> {
            self.process
        }

        fn behave(&mut self, behaviour: Behaviour) {
            self.told = behaviour;
        }
    }

    /// A process that waits for the end of its input, and ends with its owner.
    struct Waiting(Child);

    impl Waiting {
        fn start() -> Waiting {
            let child = Command::new("cat").stdin(Stdio::piped()).spawn();
            Waiting(child.unwrap())
        }
    }

    impl Drop for Waiting {
        fn drop(&mut self) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }

    const LOAD: Load = Load {
        rate: Some(100.0),
        connections: 1,
        window: Duration::from_secs(10),
        warm_up: Duration::ZERO,
    };

    #[test]
    fn backends_do_what_they_are_told_for_one_window() {
        let mut soaked = Soaked { rig: Noted::default() };
        let (at, length) = (Duration::from_millis(500), Duration::from_secs(1));
        let outage = Some(Outage { at, length });
        let mischief = Misdeeds { reset: 0.000_2, close: 0.000_2, ..Misdeeds::default() };
        for (trick, behaviour) in [
            (Trick::BackendStall, Behaviour { stall: outage, ..Behaviour::default() }),
            (Trick::BackendDeath, Behaviour { death: outage, ..Behaviour::default() }),
            (Trick::BackendErrors, Behaviour { mischief, ..Behaviour::default() }),
        ] {
            soaked.rig.runs.clear();
            soaked.play(trick).unwrap();
            soaked.run(&LOAD).unwrap();
            soaked.run(&LOAD).unwrap();
            assert_eq!(soaked.rig.runs, [behaviour, Behaviour::default()], "{trick:?}");
        }
    }

    /// What becomes of a child, as it becomes of it.
    fn fate(process: Pid) -> impl FnMut() -> WaitIdStatus {
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let any = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED | WaitIdOptions::EXITED;
            while let Ok(Some(fate)) = waitid(WaitId::Pid(process), any) {
                tell.send(fate).unwrap_or_default();
            }
        });
        move || told.recv_timeout(Duration::from_secs(20)).expect("nothing became of it")
    }

    #[test]
    fn a_proxy_hears_that_it_is_to_read_its_files_again() {
        let waiting = Waiting::start();
        let process = Pid::from_child(&waiting.0);
        let mut next = fate(process);
        let rig = Noted { process: Some(process), ..Noted::default() };
        Soaked { rig }.play(Trick::Reload).unwrap();
        // Who does nothing about it ends by it.
        assert_eq!(next().terminating_signal(), Some(Signal::HUP.as_raw()));
    }

    #[test]
    fn a_proxy_that_is_paused_goes_on_afterwards() {
        let waiting = Waiting::start();
        let process = Pid::from_child(&waiting.0);
        let mut next = fate(process);
        let rig = Noted { process: Some(process), ..Noted::default() };
        Soaked { rig }.play(Trick::Pause).unwrap();
        assert!(next().stopped());
        assert!(next().continued());
    }

    #[test]
    fn a_proxy_that_was_not_started_can_not_be_harmed() {
        let mut soaked = Soaked { rig: Noted::default() };
        let fault = soaked.play(Trick::Pause).unwrap_err();
        assert!(matches!(fault, Fault::Unreachable(_)), "{fault}");
    }
}
