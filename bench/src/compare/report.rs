//! Owns the presentation of a comparison as a whole, as text and as JSON; it measures nothing.

use std::path::Path;
use std::{fs, io};

use serde::Serialize;

use super::candidate::Candidate;
use super::congestion;
use super::course::Findings;
use super::cpus::Cpus;
use super::failure::Failure;
use super::memory::MemoryReport;
use super::works::WorkReport;
use crate::figures;
use crate::report;

/// Its first fields are those of a document of runs, and are read as one.
#[derive(Serialize)]
pub struct Comparison {
    pub schema: u32,
    pub tool: &'static str,
    /// The command line, program first.
    pub command: Vec<String>,
    /// Seconds since 1970 when the comparison began.
    pub begun: u64,
    pub host: Host,
    pub rounds: u32,
    pub seconds_paced: f64,
    pub seconds_full: f64,
    pub contestants: Vec<Contestant>,
    #[serde(flatten)]
    pub found: Findings,
}

#[derive(Serialize)]
pub struct Host {
    #[serde(flatten)]
    survey: figures::Host,
    proxy_cpu: usize,
    load_cpu: usize,
    congestion: String,
}

#[derive(Serialize)]
pub struct Contestant {
    pub candidate: Candidate,
    pub version: String,
    /// The text of its file, or its arguments.
    pub configuration: String,
}

impl Comparison {
    pub fn header(&self) -> String {
        let host = &self.host;
        let mut text = format!(
            "{}, Linux {}, proxy on CPU {}, load on CPU {}, {}\n\
             {} rounds of {} s paced and {} s at full speed\n",
            host.survey.cpu_model,
            host.survey.kernel,
            host.proxy_cpu,
            host.load_cpu,
            host.congestion,
            self.rounds,
            self.seconds_paced,
            self.seconds_full,
        );
        for contestant in &self.contestants {
            text += &format!("{}: {}\n", contestant.candidate.as_str(), contestant.version);
        }
        text
    }

    /// Writes compare.json, compare.hlog, compare.html and compare.txt.
    pub fn save(&self, directory: &Path) -> Result<(), Failure> {
        let found = &self.found;
        fs::create_dir_all(directory)?;
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
        fs::write(directory.join("compare.json"), json)?;
        report::save_log(&found.runs, self.begun, &directory.join("compare.hlog"))?;
        report::save_page(&directory.join("compare.json"), &directory.join("compare.html"))?;
        let works = found.works.iter().map(WorkReport::table);
        let tables: Vec<String> =
            works.chain(found.memory.iter().map(MemoryReport::table)).collect();
        let configurations: String = self.contestants.iter().map(Contestant::shown).collect();
        let text = format!("{}\n{}\n{configurations}", self.header(), tables.join("\n"));
        fs::write(directory.join("compare.txt"), text)?;
        eprintln!("saved in {}", directory.display());
        Ok(())
    }
}

impl Contestant {
    fn shown(&self) -> String {
        let (name, rule) = (self.candidate.as_str(), "-".repeat(40));
        format!("{rule}\nconfiguration of {name}\n{rule}\n{}\n", self.configuration)
    }
}

impl Host {
    /// `survey` is of before anything was pinned, as it counts the CPUs.
    pub fn describe(survey: figures::Host, cpus: Cpus) -> io::Result<Self> {
        Ok(Self {
            survey,
            proxy_cpu: cpus.proxy,
            load_cpu: cpus.load,
            congestion: congestion::current()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Footprint, Memory, MemoryRow};
    use super::super::subject::Subject;
    use super::super::work::{Task, Work};
    use super::super::works::{Figures, Row};
    use super::*;
    use crate::figures::{Document, SCHEMA, TOOL, sample};
    use crate::report::Loaded;

    fn comparison() -> Comparison {
        let candidates = [Candidate::Ringmain, Candidate::Haproxy];
        let mut survey = figures::Host { kernel: "6.18.1".to_owned(), ..Default::default() };
        survey.sysctls.insert("net.core.somaxconn".to_owned(), "4096".to_owned());
        let contestant = |candidate: Candidate| Contestant {
            candidate,
            version: "1.2.3".to_owned(),
            configuration: format!("# of {}", candidate.as_str()),
        };
        let congestion = "cubic".to_owned();
        Comparison {
            schema: SCHEMA,
            tool: TOOL,
            command: vec!["ringmain-bench".to_owned(), "compare".to_owned()],
            begun: 1_800_000_000,
            host: Host { survey, proxy_cpu: 1, load_cpu: 0, congestion },
            rounds: 1,
            seconds_paced: 1.0,
            seconds_full: 0.25,
            contestants: candidates.map(contestant).into(),
            found: Findings {
                runs: candidates.map(|of| sample(of.as_str(), 1000.0)).into(),
                ..Findings::default()
            },
        }
    }

    #[test]
    fn the_file_is_a_document_of_runs_as_well() {
        let json = serde_json::to_string(&comparison()).unwrap();
        let document = Document::from_json(&json).unwrap();
        assert_eq!((document.runs.len(), document.begun), (2, 1_800_000_000));
        assert_eq!(document.host.kernel, "6.18.1");
        assert!(matches!(Loaded::from_json(&json), Ok(Loaded::Comparison(_))));
        let other = json.replacen("\"schema\":1", "\"schema\":7", 1);
        let Err(error) = Loaded::from_json(&other) else { panic!("schema 7 was read") };
        assert!(error.to_string().contains("schema 7"), "{error}");
    }

    #[test]
    fn a_comparison_can_be_repeated_by_its_files() {
        let name = format!("ringmain-compare-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let Task::Carry(shape) = Work::ConnectFin.task() else { panic!("it carries") };
        let work = Subject::Work(Work::ConnectFin);
        let run = Figures {
            rate: 9.0,
            cpu: 7e3,
            proxy_share: 0.5,
            proxy_cpu_busy: 0.5,
            load_cpu_busy: 0.5,
            latency: None,
        };
        let row = |candidate| Row { full: vec![run], ..Row::new(candidate) };
        let rows = [Candidate::Ringmain, Candidate::Haproxy].map(row).into();
        let works = vec![WorkReport { work, shape, offered: Some(5.0), rows }];
        let sizes = Footprint { pss: 1 << 20, rss: 1 << 20 };
        let runs = vec![Memory::of(sizes, sizes, 10)];
        let row = MemoryRow { runs, ..MemoryRow::new(Candidate::Haproxy) };
        let memory = vec![MemoryReport { work: Work::Idle, connections: 10, rows: vec![row] }];
        let mut comparison = comparison();
        (comparison.found.works, comparison.found.memory) = (works, memory);
        comparison.save(&directory).unwrap();
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
        let (html, text, log) = (read("compare.html"), read("compare.txt"), read("compare.hlog"));
        fs::remove_dir_all(&directory).unwrap();
        for fact in [
            "Linux 6.18.1",
            "net.core.somaxconn = 4096",
            "ringmain-bench compare",
            "# of haproxy",
            "1.2.3",
            "cubic",
            "<dt>proxy on CPU</dt><dd>1</dd><dt>load on CPU</dt><dd>0</dd>",
            "<dt>rounds</dt><dd>1</dd>",
            "connect-fin: rate at full speed</figcaption>",
            "tcp-echo: latency by percentile",
        ] {
            assert!(html.contains(fact), "{fact}");
        }
        for part in [
            "proxy on CPU 1, load on CPU 0",
            "haproxy: 1.2.3\n",
            "connect-fin, offered 5 connections/s",
            "idle, 10 quiet connections",
            "configuration of haproxy",
            "# of ringmain",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(log.contains("haproxy/tcp-echo"), "{log}");
    }

    #[test]
    fn the_readme_shows_the_fields_of_a_comparison() {
        let readme = include_str!("../../README.md");
        let (_, section) = readme.split_once("\n`compare.json` has ").unwrap();
        let (section, _) = section.split_once("\n\n").unwrap();
        let shown: Vec<&str> = section.split('`').skip(1).step_by(2).collect();
        let mut comparison = comparison();
        let Task::Carry(shape) = Work::ConnectFin.task() else { panic!("it carries") };
        let work = Subject::Work(Work::ConnectFin);
        let rows = vec![Row::new(Candidate::Haproxy)];
        comparison.found.works = vec![WorkReport { work, shape, offered: Some(5.0), rows }];
        let rows = vec![MemoryRow::new(Candidate::Haproxy)];
        comparison.found.memory = vec![MemoryReport { work: Work::Idle, connections: 10, rows }];
        let json = serde_json::to_value(comparison).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let row = &json["works"][0]["rows"][0];
        for of in [&json, &json["contestants"][0], &json["works"][0], row, &json["memory"][0]] {
            for key in keys(of) {
                assert!(shown.contains(&&*key), "nothing is said of {key}");
            }
        }
        let there: Vec<String> = [&json, &json["host"], &json["contestants"][0], &json["works"][0]]
            .into_iter()
            .chain([row, &json["memory"][0]])
            .flat_map(keys)
            .collect();
        for word in shown {
            assert!(there.iter().any(|key| key == word), "there is no {word}");
        }
    }

    #[test]
    fn a_host_is_described_with_the_cpus_that_were_chosen() {
        let cpus = Cpus { proxy: 3, load: 5 };
        let host = Host::describe(figures::Host::default(), cpus).unwrap();
        assert_eq!((host.proxy_cpu, host.load_cpu), (3, 5));
        assert!(!host.congestion.is_empty());
    }
}
