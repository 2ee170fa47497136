//! Owns the arguments of `compare` and what they mean when left out.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{EnumValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::candidate::Candidate;
use super::course::{HOLDING, MEMORY_ROUNDS, WARM_UP};
use super::subject::Subject;
use super::work::{Task, Work};
use crate::generate::Protocol;

#[derive(Args)]
pub struct Options {
    /// Runs of each candidate in each work
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of a paced run; a run at full speed takes a quarter
    #[arg(long, default_value_t = 4.0, value_parser = parse_seconds)]
    seconds: f64,
    /// What to ask of the candidates (default: all, unless there are protocols); `latency` is read
    /// off pingpong-64
    #[arg(long, value_enum, value_delimiter = ',')]
    works: Vec<Work>,
    /// The same by protocols, as `run` has them
    #[arg(long, value_delimiter = ',',
        value_parser = EnumValueParser::<Protocol>::new().try_map(parse_carried))]
    protocols: Vec<Protocol>,
    /// Connections of a protocol
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Bytes of its units
    #[arg(long, default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    size: u32,
    /// Whom to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Candidate::ALL)]
    candidates: Vec<Candidate>,
    /// Offered rate of a work or a protocol: requests, connections, messages or bytes per second.
    /// May be repeated; otherwise it is half of what the slowest candidate carries
    #[arg(long = "rate", value_name = "WORK=RATE", value_parser = parse_rate)]
    rates: Vec<(String, f64)>,
    /// CPU of the proxies (default: the last one allowed)
    #[arg(long)]
    pub proxy_cpu: Option<usize>,
    /// CPU of generator and backends (default: the first one left)
    #[arg(long)]
    pub load_cpu: Option<usize>,
    /// Where compare.json, compare.hlog, compare.txt and compare.html go
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
    pub fn subjects(&self) -> Vec<Subject> {
        let all = self.works.is_empty() && self.protocols.is_empty();
        let works = Work::ALL.into_iter().filter(|work| all || self.works.contains(work));
        let mut subjects: Vec<Subject> = works.map(Subject::Work).collect();
        for &protocol in &self.protocols {
            let (connections, size) = (self.connections, self.size as usize);
            let subject = Subject::Protocol { protocol, connections, size };
            if !subjects.contains(&subject) {
                subjects.push(subject);
            }
        }
        subjects
    }

    /// The most connections that any of them has at a time.
    pub fn most_connections(&self) -> u32 {
        self.subjects().into_iter().map(Subject::connections).max().unwrap_or(0)
    }

    /// How long all runs of so many candidates are.
    pub fn planned(&self, subjects: &[Subject], candidates: u32) -> Duration {
        let of = |subject: &Subject| match subject.task() {
            Task::Carry(_) => {
                (self.window_full() + self.window_paced() + WARM_UP * 2) * self.rounds()
            }
            Task::Hold => HOLDING * self.rounds().min(MEMORY_ROUNDS),
        };
        subjects.iter().map(of).sum::<Duration>() * candidates
    }

    /// In the order of the tables, each once.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate> {
        Candidate::ALL.into_iter().filter(|candidate| self.candidates.contains(candidate))
    }

    /// Units per second, where one was given.
    pub fn rate(&self, subject: Subject) -> Option<f64> {
        let of = |(name, _): &&(String, f64)| *name == subject.as_str();
        self.rates.iter().rev().find(of).map(|&(_, rate)| rate)
    }
}

fn parse_carried(protocol: Protocol) -> Result<Protocol, String> {
    if protocol.is_datagrams() {
        return Err("no candidate carries datagrams here; `run --protocol` sends them to a \
                    backend or a target"
            .to_owned());
    }
    Ok(protocol)
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.2..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 0.2 to 60 is needed".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<(String, f64), String> {
    let (name, rate) = text.split_once('=').ok_or("WORK=RATE is needed")?;
    let work = <Work as ValueEnum>::from_str(name, false).map(Work::as_str);
    let protocol = || <Protocol as ValueEnum>::from_str(name, false).map(Protocol::as_str);
    let name = work
        .or_else(|_| protocol())
        .map_err(|_| format!("{name} is no work and no protocol; `compare --help` lists both"))?;
    match rate.parse() {
        Ok(rate) if (1.0..=1e11).contains(&rate) => Ok((name.to_owned(), rate)),
        _ => Err("a rate from 1 to 1e11 per second is needed, of streams in bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_names_its_work() {
        assert_eq!(parse_rate("bulk=5e8"), Ok(("bulk".to_owned(), 5e8)));
        assert_eq!(parse_rate("latency=1000"), Ok(("pingpong-64".to_owned(), 1000.0)));
        assert_eq!(parse_rate("syslog-tls=9"), Ok(("syslog-tls".to_owned(), 9.0)));
        for wrong in ["bulk", "bulk=", "bulk=0", "bulk=nan", "none=5"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }

    fn parsed(line: &str) -> Result<Options, clap::Error> {
        #[derive(clap::Parser)]
        struct Whole {
            #[command(flatten)]
            options: Options,
        }
        let words = ["compare"].into_iter().chain(line.split_ascii_whitespace());
        let whole = <Whole as clap::Parser>::try_parse_from(words)?;
        Ok(whole.options)
    }

    fn subjects(line: &str) -> Vec<&'static str> {
        parsed(line).unwrap().subjects().into_iter().map(Subject::as_str).collect()
    }

    #[test]
    fn the_most_connections_are_those_of_any_subject() {
        let most = |line: &str| parsed(line).unwrap().most_connections();
        assert_eq!(most(""), 2_000);
        assert_eq!(most("--works pingpong-64"), 64);
        assert_eq!(most("--works idle"), 2_000);
        assert_eq!(most("--works connect-fin,pingpong-64"), 1_024);
        assert_eq!(most("--protocols ndjson --connections 20000"), 20_000);
    }

    #[test]
    fn datagrams_are_refused() {
        let Err(error) = parsed("--protocols ndjson,syslog-udp") else { panic!("it was taken") };
        let text = error.to_string();
        assert!(text.contains("'syslog-udp'") && text.contains("carries datagrams"), "{text}");
    }

    #[test]
    fn works_and_protocols_are_asked_for_beside_each_other() {
        assert_eq!(subjects("").len(), Work::ALL.len());
        assert_eq!(subjects("--protocols ndjson,syslog-tls,ndjson"), ["ndjson", "syslog-tls"]);
        let both = subjects("--works tls-idle,latency --protocols datadog");
        assert_eq!(both, ["pingpong-64", "tls-idle", "datadog"]);
    }

    #[test]
    fn a_quick_comparison_has_one_round_of_a_second() {
        let options = parsed("--quick").unwrap();
        assert_eq!((options.rounds(), options.window_paced()), (1, Duration::from_secs(1)));
        assert_eq!(options.window_full(), Duration::from_millis(250));
        let options = parsed("--rounds 7 --seconds 2").unwrap();
        assert_eq!((options.rounds(), options.window_paced()), (7, Duration::from_secs(2)));
        assert!(parsed("--quick --rounds 7").is_err());
    }

    #[test]
    fn the_last_rate_of_a_work_is_taken_for_it_alone() {
        let options = parsed("--rate bulk=5 --rate idle=9 --rate bulk=7").unwrap();
        assert_eq!(options.rate(Subject::Work(Work::Bulk)), Some(7.0));
        assert_eq!(options.rate(Subject::Work(Work::ConnectFin)), None);
    }

    #[test]
    fn candidates_are_those_asked_for_in_the_order_of_the_tables() {
        let of = |line| parsed(line).unwrap().candidates().collect::<Vec<_>>();
        assert_eq!(of(""), Candidate::ALL);
        let some = of("--candidates tokio,nginx,tokio");
        assert_eq!(some, [Candidate::Nginx, Candidate::Tokio]);
    }

    #[test]
    fn a_protocol_has_the_connections_and_the_size_asked_for() {
        let options = parsed("--protocols ndjson --connections 9 --size 300").unwrap();
        let protocol = Protocol::Ndjson;
        let subject = Subject::Protocol { protocol, connections: 9, size: 300 };
        assert_eq!(options.subjects(), [subject]);
    }

    #[test]
    fn the_time_of_all_runs_is_known_before() {
        // Two rounds of 4 s, 1 s and twice 0.2 s for each of three; and two of 6 s.
        let options = parsed("--works bulk,idle --rounds 2 --seconds 4").unwrap();
        let planned = options.planned(&options.subjects(), 3);
        assert_eq!(planned, Duration::from_millis((2 * 5_400 + 2 * 6_000) * 3));
    }

    #[test]
    fn a_run_has_bounded_seconds() {
        assert_eq!(parse_seconds("4"), Ok(4.0));
        assert!(parse_seconds("0").is_err());
        assert!(parse_seconds("inf").is_err());
    }
}
