//! Owns `plan`: reads the demand, the costs and what they are checked against, and shows the plan.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::arithmetic::{Calibration, NotMeasured, planned};
use super::check::{Check, checked};
use super::costs::Costs;
use super::demand::{Demand, DemandError, Stream};
use crate::figures::{Document, Run, Unreadable};
use crate::judge::Estimate;
use crate::report::{self, Results};

#[derive(Args)]
pub struct Options {
    /// What the fleet asks for, in TOML: tables stream, host and headroom
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// Results of capacity or run that costs are taken from; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    costs: Vec<PathBuf>,
    /// Whose costs
    #[arg(long, default_value = "ringmain")]
    candidate: String,
    /// Results of the same protocols between two hosts or network namespaces, for what loopback
    /// can not tell
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Results of a mixed load, which the prediction is set against
    #[arg(long, value_name = "FILE", requires = "mix")]
    check: Option<PathBuf>,
    /// What the mixed load was: units per second of a protocol; may be repeated
    #[arg(long, value_name = "PROTOCOL=RATE", value_parser = parse_part)]
    mix: Vec<(String, f64)>,
    /// Where plan.json and plan.html go
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
}

/// Why there is no plan.
#[derive(Debug)]
pub enum Failure {
    Read(PathBuf, io::Error),
    Profile(PathBuf, DemandError),
    Results(PathBuf, Unreadable),
    /// The protocol, and those that were measured.
    NotMeasured(String, Vec<String>),
    /// The runs of the file tell nothing of what it is for.
    NothingIn(PathBuf),
    Save(report::Failure),
}

pub fn plan(options: &Options) -> Result<(), Failure> {
    let text = read(&options.profile)?;
    let demand = Demand::from_toml(&text)
        .map_err(|error| Failure::Profile(options.profile.clone(), error))?;
    let mut documents = Vec::new();
    for path in &options.costs {
        documents.push(document(path)?);
    }
    let of_candidate = |run: &&Run| run.candidate == options.candidate;
    let costs = Costs::of(documents.iter().flat_map(|of| &of.runs).filter(of_candidate));
    let missing = |protocol: &str| {
        let names = costs.names().into_iter().map(str::to_owned).collect();
        Failure::NotMeasured(protocol.to_owned(), names)
    };
    let calibration = match &options.calibration {
        Some(path) => Some(calibrated(path, &costs, demand.headroom.used)?),
        None => None,
    };
    // At least one file is required on the command line.
    let host = documents[0].host.clone();
    let mut plan = planned(&demand, &costs, calibration, &host)
        .map_err(|NotMeasured(protocol)| missing(&protocol))?;
    if let Some(path) = &options.check {
        plan.check = Some(check(path, &costs, &options.mix, missing)?);
    }
    print!("{}", plan.text());
    let command = std::env::args().collect();
    let mut results = Results::new(Document::new(command, documents[0].begun, host, Vec::new()));
    results.plan = Some(plan);
    let html = report::save(&results, &options.output, "plan").map_err(Failure::Save)?;
    eprintln!("saved {}", html.display());
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::Read(path.to_owned(), error))
}

fn document(path: &Path) -> Result<Document, Failure> {
    let text = read(path)?;
    Document::from_json(&text).map_err(|reason| Failure::Results(path.to_owned(), reason))
}

/// What a network adds, from runs there; the median over the protocols that both have.
fn calibrated(path: &Path, costs: &Costs, used: f64) -> Result<Calibration, Failure> {
    let document = document(path)?;
    let there = Costs::of(document.runs.iter());
    let factors = there.names().into_iter().filter_map(|name| {
        let (far, _) = there.of_protocol(name)?.cpu_at(used);
        let (near, _) = costs.of_protocol(name)?.cpu_at(used);
        Some(far.median / near.median)
    });
    let factor = Estimate::of(factors.collect::<Vec<_>>());
    // Payload is counted both ways, and each way crosses the proxy's interfaces twice.
    let bits = document.runs.iter().map(|run| run.bytes * 8.0 * 2.0).max_by(f64::total_cmp);
    match (factor, bits) {
        (Some(factor), Some(bits)) if bits > 0.0 => {
            Ok(Calibration { cpu_factor: factor.median, interface_bits: bits })
        }
        _ => Err(Failure::NothingIn(path.to_owned())),
    }
}

fn check(
    path: &Path,
    costs: &Costs,
    mix: &[(String, f64)],
    missing: impl Fn(&str) -> Failure,
) -> Result<Check, Failure> {
    let document = document(path)?;
    let stream = |(protocol, rate): &(String, f64)| Stream {
        protocol: protocol.clone(),
        agents: 0,
        units_per_second: *rate,
        bytes_per_unit: 0.0,
        connects_per_second: 0.0,
    };
    let streams: Vec<Stream> = mix.iter().map(stream).collect();
    let unknown = |of: &&Stream| costs.of_protocol(&of.protocol).is_none();
    if let Some(of) = streams.iter().find(unknown) {
        return Err(missing(&of.protocol));
    }
    checked(costs, &streams, &document.runs).ok_or_else(|| Failure::NothingIn(path.to_owned()))
}

fn parse_part(text: &str) -> Result<(String, f64), String> {
    let (protocol, rate) = text.split_once('=').ok_or("PROTOCOL=RATE is needed")?;
    match rate.parse() {
        Ok(rate) if (1.0..=1e11).contains(&rate) => Ok((protocol.to_owned(), rate)),
        _ => Err("a rate from 1 to 1e11 per second is needed".to_owned()),
    }
}

impl Failure {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Read(..) => "unreadable_file",
            Self::Profile(_, error) => error.as_str(),
            Self::Results(_, reason) => reason.as_str(),
            Self::NotMeasured(..) => "not_measured",
            Self::NothingIn(_) => "nothing_measured",
            Self::Save(failure) => failure.as_str(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Save(failure) = self {
            return failure.fmt(f);
        }
        write!(f, "{}: ", self.as_str())?;
        match self {
            Self::Read(path, error) => write!(f, "{} can not be read: {error}", path.display()),
            Self::Profile(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Results(path, reason) => write!(f, "{}: {reason}", path.display()),
            Self::NotMeasured(protocol, names) => write!(
                f,
                "there are no costs of `{protocol}`, only of: {}; measure it with capacity, at \
                 rates that are carried and that the generator does not limit, and give its \
                 results by --costs",
                names.join(", ")
            ),
            Self::NothingIn(path) => write!(
                f,
                "{} has no runs of the same protocols at a rate that was carried, with the \
                 proxy's CPU; measure them with capacity",
                path.display()
            ),
            Self::Save(_) => Ok(()),
        }
    }
}
