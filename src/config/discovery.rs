//! Where a pool's backends come from, other than the file itself. Looks nothing up.

use std::path::PathBuf;
use std::time::Duration;

use super::backend::{Share, share};
use super::field::{Field, Read, quoted};
use super::reader::Section;
use super::units::{DAY, MILLISECOND, MINUTE, SECOND, YEAR, show_duration};
use super::{hostname, template};

/// One source of backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub kind: SourceKind,
    /// Of each backend found, 0 to 65,535; for SRV records and files, which may give a weight of
    /// their own, where they do not.
    pub weight: u16,
    /// Added to the tier of each backend found, so that a whole source may be a backup.
    pub tier: u16,
    /// Of each backend found.
    pub max_connections: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// The A and AAAA records of a name: each address is a backend named after itself.
    Dns { name: String, port: u16 },
    /// SRV records: each target and port is a backend, named `target:port`.
    Srv { name: String },
    /// Names made by counting, in order: each is a backend, named `name:port`.
    Template { names: Vec<String>, port: u16 },
    /// A file of backends, watched.
    File { path: PathBuf },
}

/// How a pool's sources are asked, and what is done when they fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// A name is not asked for again sooner, whatever its TTL.
    pub min_interval: Duration,
    /// A name is asked for again at the latest after this, whatever its TTL.
    pub max_interval: Duration,
    /// How soon a name is asked for again after a failure; doubled with each, to `max_interval`.
    pub retry_interval: Duration,
    pub hold: Hold,
    /// An answer that would leave the pool with fewer backends is not believed. Default 0.
    pub min_backends: usize,
    /// Percent of the backends that may vanish with one answer, 1 to 99; more must be in a second
    /// answer as well. None: no limit.
    pub max_loss: Option<u8>,
}

/// How long the last good answer is kept in each case of failure; `None`: for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The name does not exist.
    pub nxdomain: Option<Duration>,
    /// It exists, without records of the kind.
    pub empty: Option<Duration>,
    pub refused: Option<Duration>,
    /// SERVFAIL, and every other failure that a nameserver reports.
    pub failed: Option<Duration>,
    pub timeout: Option<Duration>,
    /// A file that is missing or cannot be read or understood.
    pub unreadable: Option<Duration>,
}

impl Default for Discovery {
    fn default() -> Discovery {
        Discovery {
            min_interval: SECOND,
            max_interval: 5 * MINUTE,
            retry_interval: SECOND,
            hold: Hold::default(),
            min_backends: 0,
            max_loss: None,
        }
    }
}

impl Default for Hold {
    fn default() -> Hold {
        Hold {
            nxdomain: Some(30 * SECOND),
            empty: Some(30 * SECOND),
            refused: None,
            failed: None,
            timeout: None,
            unreadable: None,
        }
    }
}

/// `limit` is the pool's on the connections to one backend.
pub(super) fn sources(field: &Field<'_>, limit: Option<u32>) -> Read<Vec<Source>> {
    let items = field.some_items("at least one source, such as { dns = \"agg.example:6000\" }")?;
    Ok(items.iter().filter_map(|item| source(item, limit)).collect())
}

fn source(item: &Field<'_>, limit: Option<u32>) -> Option<Source> {
    item.section("{ dns = ... }")?.read(|section| {
        let Share { weight, tier, max_connections } = share(section, limit);
        Some(Source { kind: kind(section)?, weight, tier, max_connections })
    })
}

fn kind(section: &Section<'_>) -> Option<SourceKind> {
    let dns = section.value_or("dns", None, |field| dns(field).map(Some));
    let srv = section.value_or("srv", None, |field| srv(field).map(Some));
    let template = section.value_or("template", None, |field| template(field).map(Some));
    let file = section.value_or("file", None, |field| file(field).map(Some));
    let given = ["dns", "srv", "template", "file"].into_iter().filter(|key| section.gives(key));
    match given.collect::<Vec<_>>()[..] {
        [] => {
            let message = "names no source; give dns, srv, template or file".to_owned();
            section.reader.refuse_absence(&section.place, message);
        }
        [first, second, ..] => {
            let message = format!("stands beside {first}; give each a source of its own");
            section.reader.refuse(&section.place_of(second), message);
        }
        [_] => {}
    }
    dns.or(srv).or(template).or(file)
}

fn dns(field: &Field<'_>) -> Read<SourceKind> {
    let remedy = "a name and port, such as \"agg.example:6000\"";
    let parsed = hostname::split_port(field.text(remedy)?);
    let checked = parsed.and_then(|(name, port)| hostname::check(name).map(|()| (name, port)));
    let (name, port) = checked.map_err(|error| field.flaw(error.as_str(), remedy))?;
    Ok(SourceKind::Dns { name: name.to_owned(), port })
}

fn srv(field: &Field<'_>) -> Read<SourceKind> {
    let remedy = "the name of a service, such as \"_vector._tcp.agg.example\"";
    let name = field.text(remedy)?;
    if hostname::split_port(name).is_ok() {
        return Err(field.flaw("has a port, which the SRV records give", remedy));
    }
    hostname::check(name).map_err(|error| field.flaw(error.as_str(), remedy))?;
    Ok(SourceKind::Srv { name: name.to_owned() })
}

fn template(field: &Field<'_>) -> Read<SourceKind> {
    let remedy = "names and a port, such as \"agg-{0..11}.example:6000\"";
    let (text, port) = hostname::split_port(field.text(remedy)?)
        .map_err(|error| field.flaw(error.as_str(), remedy))?;
    let names = template::expand(text).map_err(|error| field.flaw(error.as_str(), remedy))?;
    for name in &names {
        hostname::check(name).map_err(|error| {
            field.flaw(&format!("stands for {}, which {}", quoted(name), error.as_str()), remedy)
        })?;
    }
    Ok(SourceKind::Template { names, port })
}

fn file(field: &Field<'_>) -> Read<SourceKind> {
    let path = field.absolute_path("the absolute path of a file")?;
    Ok(SourceKind::File { path })
}

pub(super) fn read(section: &Section<'_>) -> Discovery {
    let default = Discovery::default();
    let max_interval = section
        .value_or("max_interval", default.max_interval, |field| field.duration(SECOND..=DAY));
    // The defaults are no longer than the least `max_interval`.
    let interval = |field: &Field<'_>| {
        let interval = field.duration(INTERVAL_MIN..=DAY)?;
        if interval <= max_interval {
            return Ok(interval);
        }
        let flaw = format!("is longer than max_interval, {}", show_duration(max_interval));
        Err(field.flaw(&flaw, "as much or less"))
    };
    Discovery {
        min_interval: section.value_or("min_interval", default.min_interval, interval),
        max_interval,
        retry_interval: section.value_or("retry_interval", default.retry_interval, interval),
        hold: Hold {
            nxdomain: section.value_or("hold_nxdomain", default.hold.nxdomain, hold),
            empty: section.value_or("hold_empty", default.hold.empty, hold),
            refused: section.value_or("hold_refused", default.hold.refused, hold),
            failed: section.value_or("hold_failed", default.hold.failed, hold),
            timeout: section.value_or("hold_timeout", default.hold.timeout, hold),
            unreadable: section.value_or("hold_unreadable", default.hold.unreadable, hold),
        },
        min_backends: section.value_or("min_backends", default.min_backends, |field| {
            field.integer(0..=MIN_BACKENDS_MAX)
        }),
        max_loss: section.value_or("max_loss", default.max_loss, |field| {
            field.unless("off", |field| field.integer(1..=99))
        }),
    }
}

fn hold(field: &Field<'_>) -> Read<Option<Duration>> {
    field.unless("forever", |field| field.duration(MILLISECOND..=YEAR))
}

/// Ten questions a second for each name are a load on any nameserver already.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// As many backends as a pool is made for.
const MIN_BACKENDS_MAX: usize = 10_000;
