//! Owns `soak`: its arguments, its progress and where its results go.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::course::{Course, Ended, soaked};
use super::drift::Soak;
use super::victim::Soaked;
use crate::capacity::{Failure, LoadOptions, Site, described, mix};
use crate::figures::Document;
use crate::generate::Protocol;
use crate::judge::Load;
use crate::report::{self, Progress, Results, save, units};

#[derive(Args)]
pub struct Options {
    /// What the load speaks
    #[arg(long, value_enum, default_value = "tcp-echo")]
    protocol: Protocol,
    /// A mix of agents from a file instead, in its proportions; configs/fleets has some
    #[arg(long, value_name = "FILE", conflicts_with_all = ["protocol", "size", "arrivals"])]
    profile: Option<PathBuf>,
    #[command(flatten)]
    load: LoadOptions,
    /// Threads of the Ringmain
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: u32,
    /// Units per second
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: u32,
    /// How long, in minutes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Seconds of each window that is judged by itself
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    window: u32,
    /// Seconds between faults, on average; 0: none
    #[arg(long, default_value_t = 120)]
    faults: u32,
    /// What the faults are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where soak.json, soak.hlog and soak.html go
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
}

impl Options {
    fn course(&self) -> Course {
        let load = Load {
            rate: Some(f64::from(self.rate)),
            connections: self.load.connections,
            window: Duration::from_secs(self.window.into()),
            warm_up: Duration::from_millis(200),
        };
        let length = Duration::from_secs(u64::from(self.minutes) * 60);
        let gap = (self.faults > 0).then(|| Duration::from_secs(self.faults.into()));
        Course { seed: self.seed, length, gap, load }
    }

    /// Shows and keeps what there is, unless it is nothing.
    fn conclude(
        &self,
        soak: Soak,
        document: Document,
        is_interrupted: bool,
    ) -> Result<(), Failure> {
        if document.runs.is_empty() {
            let ended = soak.ended.unwrap_or_default();
            let is_wanted = is_interrupted.then_some(Failure::Interrupted(None));
            return Err(is_wanted.unwrap_or(Failure::NoRuns(ended)));
        }
        print!("{}", soak.table());
        let mut results = Results::new(document);
        results.soak = Some(soak);
        let html = save(&results, &self.output, "soak")?;
        if is_interrupted {
            return Err(Failure::Interrupted(Some(html)));
        }
        eprintln!("saved {}", html.display());
        Ok(())
    }

    /// Each window is kept, so there is an end to how many there are.
    fn check_windows(&self) -> Result<(), Failure> {
        let seconds = self.minutes * 60;
        if seconds.div_ceil(self.window) <= MOST_WINDOWS {
            return Ok(());
        }
        let least = seconds.div_ceil(MOST_WINDOWS);
        Err(Failure::NoRuns(format!(
            "{} windows are more than the {MOST_WINDOWS} that can be kept; give --window {least} \
             or more",
            seconds.div_ceil(self.window)
        )))
    }
}

pub fn soak(options: &Options) -> Result<(), Failure> {
    options.check_windows()?;
    report::check_output(&options.output, report::files_of("soak"))?;
    let site = Site::prepare()?;
    let (order, left_out) = match &options.profile {
        Some(path) => mix(path)?,
        None => (options.load.order(options.protocol), Vec::new()),
    };
    if !left_out.is_empty() {
        let names = left_out.join(", ");
        eprintln!("left out, as Ringmain does not carry datagrams yet: {names}");
    }
    let mut rig = site.through_ringmain(order, options.workers, options.load.passthrough);
    let course = options.course();
    let load = course.load;
    let able = rig.check(&load).and_then(|()| rig.find_proxy());
    able.map_err(|fault| Failure::NoRuns(fault.to_string()))?;
    let step = load.window + load.warm_up;
    let mut progress = Progress::new(step * course.windows());
    rig.show_on(progress.live());
    let mut victim = Soaked { rig };
    let (soak, runs) = soaked(&mut victim, &course, &mut |ended| tell(&mut progress, &ended, step));
    drop(progress);
    let mut host = site.host();
    described(&mut host, "soak", &victim.rig);
    let soak = Soak { left_out, ..soak };
    options.conclude(soak, site.document(host, runs), site.is_interrupted())
}

fn tell(progress: &mut Progress, ended: &Ended, step: Duration) {
    let run = ended.run;
    let memory = run.cost.as_ref().map_or(0, |cost| cost.memory_pss);
    let trick = ended.trick.map_or("", |trick| trick.as_str());
    let what = format!("{:>4} of {}", ended.number + 1, ended.of);
    progress.ended(step, &what, run, &format!("{:>9}  {trick}", units::bytes(memory as f64)));
}

/// A histogram of a window takes a quarter of a MiB until all are written.
const MOST_WINDOWS: u32 = 5000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Directory;
    use crate::line::options;
    use crate::report::{Loaded, everything};

    #[test]
    fn a_soak_has_no_more_windows_than_are_kept() {
        let checked = |line: &str| {
            let options: Options = options(&format!("--rate 10 {line}"));
            options.check_windows().map_err(|failure| failure.to_string())
        };
        assert_eq!(checked("--minutes 60"), Ok(()));
        let said = checked("--minutes 10080 --window 10").unwrap_err();
        assert!(said.contains("60480 windows") && said.contains("--window 121"), "{said}");
        assert_eq!(checked("--minutes 10080 --window 121"), Ok(()));
    }

    #[test]
    fn a_course_is_as_the_line_says() {
        let course = |line: &str| {
            let options: Options = options(&format!("--rate 10 {line}"));
            options.course()
        };
        let seconds = Duration::from_secs;
        let usual = course("");
        assert_eq!(
            (usual.length, usual.gap, usual.windows()),
            (seconds(3600), Some(seconds(120)), 360)
        );
        assert_eq!((usual.load.rate, usual.load.connections), (Some(10.0), 64));
        let other = course("--faults 0 --seed 5 --window 7 --minutes 1 --connections 9");
        assert_eq!((other.gap, other.seed, other.windows()), (None, 5, 9));
        assert_eq!((other.load.window, other.load.connections), (seconds(7), 9));
    }

    #[test]
    fn windows_are_kept_however_a_soak_ends() {
        let directory = Directory::create().unwrap();
        let at = directory.path().join("results");
        let options: Options = options(&format!("--rate 10 --output {}", at.display()));
        let everything = everything();
        let soak = || Soak {
            ended: Some("the proxy has ended".to_owned()),
            ..everything.soak.clone().unwrap()
        };
        let nothing = || Document { runs: Vec::new(), ..everything.document.clone() };
        let failure = options.conclude(soak(), nothing(), true).unwrap_err();
        assert_eq!((failure.exit_code(), at.exists()), (130, false));
        let failure = options.conclude(soak(), nothing(), false).unwrap_err();
        assert_eq!((&*failure.to_string(), at.exists()), ("no_runs: the proxy has ended", false));
        let kept = || {
            let text = std::fs::read_to_string(at.join("soak.json")).unwrap();
            std::fs::remove_dir_all(&at).unwrap();
            let Ok(Loaded::Results(results)) = Loaded::from_json(&text) else { panic!("{text}") };
            (results.document.runs.len(), results.soak)
        };
        let all = (everything.document.runs.len(), Some(soak()));
        let failure = options.conclude(soak(), everything.document.clone(), true).unwrap_err();
        assert_eq!(failure.exit_code(), 130);
        assert!(failure.to_string().contains("soak.html"), "{failure}");
        assert_eq!(kept(), all);
        options.conclude(soak(), everything.document.clone(), false).unwrap();
        assert_eq!(kept(), all);
    }
}
