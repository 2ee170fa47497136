//! Owns the arguments of `compare` and what they mean when left out.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::candidate::Candidate;
use crate::load::Work;

#[derive(Args)]
pub struct Options {
    /// Runs of each candidate in each work
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of a paced run; a run at full speed takes a quarter
    #[arg(long, default_value_t = 4.0, value_parser = parse_seconds)]
    seconds: f64,
    /// What to ask of the candidates; `latency` is read off pingpong-64
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Work::ALL)]
    works: Vec<Work>,
    /// Whom to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Candidate::ALL)]
    candidates: Vec<Candidate>,
    /// Offered rate of a work: requests, connections or bytes per second. May be repeated;
    /// otherwise it is half of what the slowest candidate carries
    #[arg(long = "rate", value_name = "WORK=RATE", value_parser = parse_rate)]
    rates: Vec<(Work, f64)>,
    /// CPU of the proxies (default: the last one allowed)
    #[arg(long)]
    pub proxy_cpu: Option<usize>,
    /// CPU of generator and backends (default: the first one left)
    #[arg(long)]
    pub load_cpu: Option<usize>,
    /// Where compare.json and compare.txt go
    #[arg(long, default_value = "target/bench")]
    pub output: PathBuf,
    /// One round of one second, to see that everything works
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
}

impl Options {
    pub fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
    }

    pub fn window_paced(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 1.0 } else { self.seconds })
    }

    pub fn window_full(&self) -> Duration {
        self.window_paced() / 4
    }

    /// In the order of the tables, each once.
    pub fn works(&self) -> impl Iterator<Item = Work> {
        Work::ALL.into_iter().filter(|work| self.works.contains(work))
    }

    /// In the order of the tables, each once.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate> {
        Candidate::ALL.into_iter().filter(|candidate| self.candidates.contains(candidate))
    }

    /// Units per second, where one was given.
    pub fn rate(&self, work: Work) -> Option<f64> {
        self.rates.iter().rev().find(|(of, _)| *of == work).map(|&(_, rate)| rate)
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.2..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 0.2 to 60 is needed".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<(Work, f64), String> {
    let (work, rate) = text.split_once('=').ok_or("WORK=RATE is needed")?;
    let work = <Work as clap::ValueEnum>::from_str(work, false)?;
    match rate.parse() {
        Ok(rate) if (1.0..=1e11).contains(&rate) => Ok((work, rate)),
        _ => Err("a rate from 1 to 1e11 per second is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_names_its_work() {
        assert_eq!(parse_rate("bulk=5e8"), Ok((Work::Bulk, 5e8)));
        assert_eq!(parse_rate("latency=1000"), Ok((Work::PingPong64, 1000.0)));
        for wrong in ["bulk", "bulk=", "bulk=0", "bulk=nan", "none=5"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_run_has_bounded_seconds() {
        assert_eq!(parse_seconds("4"), Ok(4.0));
        assert!(parse_seconds("0").is_err());
        assert!(parse_seconds("inf").is_err());
    }
}
