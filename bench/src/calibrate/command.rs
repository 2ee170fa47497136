//! Owns `calibrate`: its arguments, the pairs of runs it makes, and where their results go.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use clap::Args;

use super::far::Far;
use super::finding::{Calibration, Factor};
use super::namespaces::Namespaces;
use crate::capacity::{self, LoadOptions, Site, described};
use crate::figures::{Document, Host, Run};
use crate::generate::{Dialogue, Generator, Network, Protocol};
use crate::judge::{Fault, Load, System};
use crate::report::{self, Progress, Results, save, units};

#[derive(Args)]
pub struct Options {
    /// What the load speaks; protocols that connect for each unit are none for it, as their ports
    /// give out
    #[arg(long, value_enum, value_delimiter = ',',
        default_values_t = [Protocol::TcpEcho, Protocol::TlsEcho, Protocol::SyslogTcp])]
    protocol: Vec<Protocol>,
    #[command(flatten)]
    load: LoadOptions,
    /// Seconds of each run
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Runs in each place
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// Where calibration.json, calibration.hlog and calibration.html go
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
}

/// Why there is no calibration.
#[derive(Debug)]
pub enum Failure {
    NotRoot,
    Missing(&'static str, io::Error),
    NoNamespace,
    Command {
        words: String,
        said: String,
    },
    Steering(io::Error),
    Visits(&'static str),
    /// A run could not be made.
    Run(Fault),
    /// The runs tell nothing of the proxy's CPU.
    NothingMeasured,
    Capacity(capacity::Failure),
    Host(io::Error),
}

pub fn calibrate(options: &Options) -> Result<(), Failure> {
    let visits = |of: &&Protocol| of.dialogue() == Dialogue::Visit;
    if let Some(protocol) = options.protocol.iter().find(visits) {
        return Err(Failure::Visits(protocol.as_str()));
    }
    report::check_output(&options.output, report::files_of("calibration"))
        .map_err(|failure| Failure::Capacity(failure.into()))?;
    let site = Site::prepare().map_err(Failure::Capacity)?;
    let cpus = site.cpus();
    options.check(&site).map_err(Failure::Run)?;
    let namespaces = Namespaces::create(cpus.load, cpus.proxy)?;
    let mut host = site.host();
    let mut runs = Vec::new();
    let found = options.found(&site, &namespaces, &mut host, &mut runs);
    options.ended(found, site.document(host, runs))
}

/// One protocol, on loopback and over the pair of interfaces.
struct Pair<N, F> {
    near: N,
    far: F,
}

impl Options {
    /// All that is asked for, before a network is made for it.
    fn check(&self, site: &Site) -> Result<(), Fault> {
        for &protocol in &self.protocol {
            let generator = site.through_ringmain(self.load.order(protocol), 1, false);
            generator.check(&self.load(None))?;
        }
        Ok(())
    }

    fn found(
        &self,
        site: &Site,
        namespaces: &Namespaces,
        host: &mut Host,
        runs: &mut Vec<Run>,
    ) -> Result<Calibration, Failure> {
        let mut factors = Vec::new();
        // Two runs find the rate of each.
        let count = self.protocol.len() as u32 * (2 + 2 * self.repeats) + 1;
        let mut progress = Progress::new(self.length() * count);
        site.show_on(progress.live());
        for &protocol in &self.protocol {
            let mut pair = self.pair(site, namespaces, protocol);
            let factor = self.measured(&mut pair, protocol, runs, &mut progress)?;
            described(host, protocol.as_str(), &pair.near);
            factors.extend(factor);
        }
        let mut flood = self.pair(site, namespaces, Protocol::StreamUp).far;
        let most = flood.run(&self.load(None)).map_err(Failure::Run)?;
        let found = Calibration::of(factors, &most);
        runs.push(most);
        found.ok_or(Failure::NothingMeasured)
    }

    /// Keeps what was measured, also where nothing was found by it: the runs are worth it.
    fn ended(
        &self,
        found: Result<Calibration, Failure>,
        document: Document,
    ) -> Result<(), Failure> {
        let is_interrupted = matches!(found, Err(Failure::Run(Fault::Interrupted)));
        let interrupted = |kept| Failure::Capacity(capacity::Failure::Interrupted(kept));
        if document.runs.is_empty() {
            let ended = found.map(drop);
            return if is_interrupted { Err(interrupted(None)) } else { ended };
        }
        let mut results = Results::new(document);
        let ended = found.map(|found| {
            print!("{}", found.text());
            results.calibration = Some(found);
        });
        let html = save(&results, &self.output, "calibration");
        let html = html.map_err(|failure| Failure::Capacity(failure.into()))?;
        if is_interrupted {
            return Err(interrupted(Some(html)));
        }
        eprintln!("saved {}", html.display());
        ended
    }

    fn pair<'a>(
        &self,
        site: &Site,
        namespaces: &'a Namespaces,
        protocol: Protocol,
    ) -> Pair<Generator, Far<'a, Generator>> {
        let Namespaces { here, there } = namespaces;
        let network = Network::Apart {
            here: here.address,
            there: there.address,
            namespace: there.file("net"),
        };
        let order = self.load.order(protocol);
        let system = site.over_network(order.clone(), network);
        let near = site.through_ringmain(order, 1, false);
        Pair { near, far: Far { system, namespace: here } }
    }

    /// Of a run.
    fn length(&self) -> Duration {
        self.load(None).window + self.load(None).warm_up
    }

    fn load(&self, rate: Option<f64>) -> Load {
        let window = Duration::from_secs(self.seconds.into());
        let connections = self.load.connections;
        Load { rate, connections, window, warm_up: Duration::from_millis(300) }
    }

    /// Half of what the network carries, or what the generator can do on schedule, is offered in
    /// both places, in turns.
    fn measured(
        &self,
        pair: &mut Pair<impl System, impl System>,
        protocol: Protocol,
        runs: &mut Vec<Run>,
        progress: &mut Progress,
    ) -> Result<Option<Factor>, Failure> {
        let most = pair.far.run(&self.load(None)).map_err(Failure::Run)?.achieved;
        // On its schedule the generator does more for a unit than as fast as it can.
        let half = pair.near.run(&self.load(Some(most / 2.0))).map_err(Failure::Run)?;
        progress.ended(self.length() * 2, protocol.as_str(), &half, "");
        let busy = half.generator.generator.max(half.generator.backends);
        let rate = most / 2.0 * (GENERATOR_USED / busy.max(GENERATOR_USED));
        let rate = rate.round().max(1.0);
        let load = self.load(Some(rate));
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for number in 1..=self.repeats {
            let places: [(&mut dyn System, &mut Vec<Run>); 2] =
                [(&mut pair.near, &mut near), (&mut pair.far, &mut far)];
            for (place, made) in places {
                let run = place.run(&load).map_err(Failure::Run)?;
                runs.push(run.clone());
                made.push(run);
            }
            let busy = |runs: &[Run]| {
                let last = runs.last().and_then(Run::busy_per_unit);
                last.map_or("-".to_owned(), units::time)
            };
            let said = format!(
                "{} at {}/s, {number} of {}: loopback {}, network {}",
                protocol.as_str(),
                units::number(rate),
                self.repeats,
                busy(&near),
                busy(&far)
            );
            if let Some(run) = far.last() {
                progress.ended(self.length() * 2, &said, run, "");
            }
        }
        Ok(Factor::of(protocol.as_str(), rate, &near, &far))
    }
}

/// Share of its CPU: beyond it sends late and in heaps.
const GENERATOR_USED: f64 = 0.7;

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Capacity(failure) => failure.exit_code(),
            _ => 1,
        }
    }

    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotRoot => "not_root",
            Self::Missing(..) => "missing_program",
            Self::NoNamespace => "no_namespace",
            Self::Command { .. } => "network_command",
            Self::Steering(_) => "no_steering",
            Self::Visits(_) => "unfit_protocol",
            Self::Run(fault) => fault.as_str(),
            Self::NothingMeasured => "nothing_measured",
            Self::Capacity(failure) => failure.as_str(),
            Self::Host(_) => "host_error",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity(failure) => return failure.fmt(f),
            Self::Run(fault) => return fault.fmt(f),
            _ => write!(f, "{}: ", self.as_str())?,
        }
        match self {
            Self::NotRoot => f.write_str(
                "calibrate makes two network namespaces, which takes root; run it by sudo",
            ),
            Self::Missing(program, error) => write!(
                f,
                "{program} can not be started ({error}); install util-linux, and iproute2 for ip"
            ),
            Self::NoNamespace => f.write_str(
                "no network namespace could be made, as said above; it takes CAP_SYS_ADMIN and a \
                 kernel with CONFIG_NET_NS",
            ),
            Self::Command { words, said } => write!(
                f,
                "`{words}` failed: {said}; install iproute2, and see that the kernel has veth"
            ),
            Self::Steering(error) => write!(
                f,
                "packets can not be steered to the proxy's CPU ({error}); the kernel needs \
                 CONFIG_RPS"
            ),
            Self::Visits(protocol) => write!(
                f,
                "{protocol} connects for each unit, and between namespaces the ports give out; \
                 take one that keeps its connections, such as tcp-echo"
            ),
            Self::NothingMeasured => {
                f.write_str("the runs tell nothing of the proxy's CPU; give them more --seconds")
            }
            Self::Host(error) => write!(f, "{error}"),
            Self::Capacity(_) | Self::Run(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;

    use super::*;
    use crate::figures::sample;
    use crate::generate::Directory;
    use crate::line;
    use crate::report::Loaded;

    fn options(line: &str) -> Options {
        line::options(line)
    }

    /// Says who was asked for which rate, and what it took of CPUs.
    struct Place<'a> {
        name: &'static str,
        asked: &'a RefCell<Vec<(&'static str, Option<f64>)>>,
        most: f64,
        generator: f64,
        busy: f64,
        patience: usize,
    }

    impl System for Place<'_> {
        fn run(&mut self, load: &Load) -> Result<Run, Fault> {
            if self.asked.borrow().len() == self.patience {
                return Err(Fault::Interrupted);
            }
            self.asked.borrow_mut().push((self.name, load.rate));
            let mut run = sample(self.name, load.rate.unwrap_or(self.most));
            run.generator.generator = self.generator;
            run.cost.as_mut().unwrap().busy = Some(self.busy * run.units());
            Ok(run)
        }
    }

    /// What was asked of whom, the runs that were kept, and what was found.
    type Measured = (Vec<(&'static str, Option<f64>)>, Vec<Run>, Result<Option<Factor>, Failure>);

    /// Here and there, where the generator is so busy at half of the most.
    fn measured(generator: f64, patience: usize) -> Measured {
        let asked = RefCell::default();
        let place =
            |name, most, busy| Place { name, asked: &asked, most, generator, busy, patience };
        let mut pair =
            Pair { near: place("near", 9_000.0, 10e-6), far: place("far", 4_000.0, 15e-6) };
        let mut runs = Vec::new();
        let progress = &mut Progress::new(Duration::ZERO);
        let options = options("--repeats 3");
        let found = options.measured(&mut pair, Protocol::TcpEcho, &mut runs, progress);
        (asked.into_inner(), runs, found)
    }

    #[test]
    fn half_of_what_the_network_carries_is_offered_in_both_places_in_turns() {
        let (asked, runs, found) = measured(0.3, 99);
        let finding = [("far", None), ("near", Some(2_000.0))];
        let turns = [("near", Some(2_000.0)), ("far", Some(2_000.0))].repeat(3);
        assert_eq!(asked, [finding.to_vec(), turns].concat());
        assert_eq!(runs.len(), 6);
        let factor = found.unwrap().unwrap();
        assert_eq!((&*factor.protocol, factor.rate), ("tcp-echo", 2_000.0));
        assert!((factor.factor - 1.5).abs() < 1e-9, "{factor:?}");
    }

    #[test]
    fn a_generator_is_not_asked_for_more_than_it_can_do_on_schedule() {
        let (asked, _, found) = measured(1.0, 99);
        assert_eq!(found.unwrap().unwrap().rate, 1_400.0);
        assert_eq!(asked[2..4], [("near", Some(1_400.0)), ("far", Some(1_400.0))]);
    }

    #[test]
    fn runs_that_were_made_before_somebody_ends_it_are_kept() {
        let (asked, runs, found) = measured(0.3, 5);
        assert!(matches!(found, Err(Failure::Run(Fault::Interrupted))), "{found:?}");
        assert_eq!((asked.len(), runs.len()), (5, 3));
    }

    #[test]
    fn an_end_keeps_what_was_measured_until_then() {
        let directory = Directory::create().unwrap();
        let at = directory.path().join("results");
        let options = options(&format!("--output {}", at.display()));
        let document = |runs| Document::new(Vec::new(), 0, Host::default(), runs);
        let interrupted = || Err(Failure::Run(Fault::Interrupted));
        let nothing = options.ended(interrupted(), document(Vec::new())).unwrap_err();
        assert_eq!((nothing.exit_code(), at.exists()), (130, false));
        let gone = || Err(Failure::Run(Fault::Unreachable("gone".to_owned())));
        let early = options.ended(gone(), document(Vec::new())).unwrap_err();
        assert_eq!((early.as_str(), early.exit_code(), at.exists()), ("unreachable", 1, false));

        let runs = vec![sample("ringmain", 10.0), sample("ringmain-network", 10.0)];
        let kept = || {
            let text = fs::read_to_string(at.join("calibration.json")).unwrap();
            fs::remove_dir_all(&at).unwrap();
            let Ok(Loaded::Results(results)) = Loaded::from_json(&text) else { panic!("{text}") };
            (results.document.runs, results.calibration)
        };
        let failure = options.ended(interrupted(), document(runs.clone())).unwrap_err();
        assert_eq!(failure.exit_code(), 130);
        assert!(failure.to_string().contains("calibration.html"), "{failure}");
        assert_eq!(kept(), (runs.clone(), None));
        assert_eq!(options.ended(gone(), document(runs.clone())).unwrap_err().exit_code(), 1);
        assert_eq!(kept(), (runs.clone(), None));
        let factor = Factor::of("tcp-echo", 1.0, &runs[..1], &runs[1..]);
        let found = Calibration::of(factor.into_iter().collect(), &runs[1]).unwrap();
        options.ended(Ok(found.clone()), document(runs.clone())).unwrap();
        assert_eq!(kept(), (runs, Some(found)));
    }

    #[test]
    fn protocols_whose_ports_give_out_are_refused_before_anything_is_made() {
        let refused = calibrate(&options("--protocol tcp-echo,tls-connect")).unwrap_err();
        assert!(
            refused.to_string().starts_with("unfit_protocol: tls-connect connects"),
            "{refused}"
        );
    }
}
