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

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::samples::{valid_pool, with_pool};

    fn source(text: &str) -> Source {
        valid_pool(&format!("max_connections = 7\nsources = [{text}]")).sources.remove(0)
    }

    /// What is printed for a pool with this source, whose line is 5.
    fn refused(text: &str) -> Vec<String> {
        with_pool(&format!("sources = [{text}]"))
    }

    #[test]
    fn every_kind_of_source_is_read() {
        let cases = [
            (
                "dns = \"agg.example.:6000\"",
                SourceKind::Dns { name: "agg.example.".to_owned(), port: 6000 },
            ),
            (
                "srv = \"_vector._tcp.agg.example\"",
                SourceKind::Srv { name: "_vector._tcp.agg.example".to_owned() },
            ),
            (
                "template = \"agg-{00..01}.x:6000\"",
                SourceKind::Template {
                    names: vec!["agg-00.x".to_owned(), "agg-01.x".to_owned()],
                    port: 6000,
                },
            ),
            ("file = \"/etc/a.txt\"", SourceKind::File { path: "/etc/a.txt".into() }),
        ];
        for (text, kind) in cases {
            let bare = source(&format!("{{ {text} }}"));
            let kind_of = |weight, tier, max_connections| Source {
                kind: kind.clone(),
                weight,
                tier,
                max_connections,
            };
            assert_eq!(bare, kind_of(1, 0, Some(7)), "the limit is the pool's");
            let full = format!("{{ {text}, weight = 5, tier = 2, max_connections = 9 }}");
            assert_eq!(source(&full), kind_of(5, 2, Some(9)));
            let backup = format!("{{ {text}, backup = true, max_connections = \"off\" }}");
            assert_eq!(source(&backup), kind_of(1, 1, None));
        }
    }

    #[test]
    fn a_source_is_of_one_kind() {
        assert_eq!(
            refused("{ weight = 1 },\n{ srv = \"a\", file = \"/a\" },\n\"agg.example:6000\""),
            [
                "5: pool.p.sources[0]: names no source; give dns, srv, template or file",
                "6: pool.p.sources[1].file: stands beside srv; give each a source of its own",
                "7: pool.p.sources[2]: found \"agg.example:6000\"; \
                 give a table, written { dns = ... }",
            ]
        );
        assert_eq!(
            with_pool("sources = []"),
            ["5: pool.p.sources: found an empty array; \
              give at least one source, such as { dns = \"agg.example:6000\" }"]
        );
        assert_eq!(
            refused("{ dsn = \"a:1\", dns = \"a:1\" }"),
            ["5: pool.p.sources[0].dsn: unknown key; did you mean `dns`?"]
        );
    }

    #[test]
    fn what_is_no_source_is_refused_with_its_reason() {
        let dns = "give a name and port, such as \"agg.example:6000\"";
        let srv = "give the name of a service, such as \"_vector._tcp.agg.example\"";
        let template = "give names and a port, such as \"agg-{0..11}.example:6000\"";
        let file = "give the absolute path of a file";
        let address = "is an address, which stands under backends";
        let cases = [
            ("dns", "10.0.0.1:6000", format!("\"10.0.0.1:6000\" {address}; {dns}")),
            ("dns", "[::1]:6000", format!("\"[::1]:6000\" {address}; {dns}")),
            ("dns", "agg", format!("\"agg\" has no port from 1 to 65535; {dns}")),
            ("dns", "a..b:1", format!("\"a..b:1\" has nothing before or between its dots; {dns}")),
            (
                "dns",
                "a b:1",
                format!(
                    "\"a b:1\" holds other characters than letters, digits, `-`, `_` and `.`; {dns}"
                ),
            ),
            (
                "dns",
                "10.0.0.256:1",
                format!(
                    "\"10.0.0.256:1\" is made of numbers, \
                     and is neither an address nor a name; {dns}"
                ),
            ),
            ("srv", "::1", format!("\"::1\" {address}; {srv}")),
            ("srv", "a.b:1", format!("\"a.b:1\" has a port, which the SRV records give; {srv}")),
            ("srv", "", format!("\"\" has nothing before or between its dots; {srv}")),
            (
                "template",
                "agg.example:1",
                format!(
                    "\"agg.example:1\" stands for one name alone, which is a dns source; {template}"
                ),
            ),
            (
                "template",
                "a-{0..1}.b",
                format!("\"a-{{0..1}}.b\" has no port from 1 to 65535; {template}"),
            ),
            (
                "template",
                "a{,.}.b:1",
                format!(
                    "\"a{{,.}}.b:1\" stands for \"a..b\", \
                     which has nothing before or between its dots; {template}"
                ),
            ),
            (
                "template",
                "a{0..10000}:1",
                format!("\"a{{0..10000}}:1\" stands for more than 10000 names; {template}"),
            ),
            ("file", "a.txt", format!("found \"a.txt\"; {file}")),
            ("file", "/a\\u0000", format!("found \"/a\\0\"; {file}")),
        ];
        for (key, text, expected) in cases {
            let found = refused(&format!("{{ {key} = \"{text}\" }}"));
            // That it then names no source is no error of its own.
            assert_eq!(found, [format!("5: pool.p.sources[0].{key}: {expected}")]);
        }
    }

    fn discovery(lines: &str) -> Discovery {
        valid_pool(&format!("sources = [{{ srv = \"a\" }}]\n[pool.p.discovery]\n{lines}")).discovery
    }

    #[test]
    fn the_schedule_and_the_holds_are_read() {
        assert_eq!(discovery(""), Discovery::default());
        let read = discovery(
            "min_interval = \"100ms\"\nmax_interval = \"1m\"\nretry_interval = \"1m\"\n\
             hold_nxdomain = \"1s\"\nhold_empty = \"2s\"\nhold_refused = \"3s\"\n\
             hold_failed = \"4s\"\nhold_timeout = \"600s\"\nhold_unreadable = \"6s\"\n\
             min_backends = 3\nmax_loss = 50",
        );
        let expected = Discovery {
            min_interval: Duration::from_millis(100),
            max_interval: MINUTE,
            retry_interval: MINUTE,
            hold: Hold {
                nxdomain: Some(SECOND),
                empty: Some(2 * SECOND),
                refused: Some(3 * SECOND),
                failed: Some(4 * SECOND),
                timeout: Some(600 * SECOND),
                unreadable: Some(6 * SECOND),
            },
            min_backends: 3,
            max_loss: Some(50),
        };
        assert_eq!(read, expected);
        assert_eq!(discovery("hold_nxdomain = \"forever\"").hold.nxdomain, None);
    }

    #[test]
    fn the_schedule_and_the_holds_have_their_limits() {
        let forever = "give a duration from 1ms to 365d, or \"forever\"";
        let cases = [
            (
                "min_interval = \"99ms\"",
                "min_interval: found \"99ms\"; give a duration from 100ms to 1d".to_owned(),
            ),
            (
                "max_interval = \"999ms\"",
                "max_interval: found \"999ms\"; give a duration from 1s to 1d".to_owned(),
            ),
            (
                "min_interval = \"6m\"",
                "min_interval: \"6m\" is longer than max_interval, 5m; give as much or less"
                    .to_owned(),
            ),
            (
                "retry_interval = \"6m\"",
                "retry_interval: \"6m\" is longer than max_interval, 5m; give as much or less"
                    .to_owned(),
            ),
            ("hold_empty = \"0s\"", format!("hold_empty: found \"0s\"; {forever}")),
            (
                "hold_timeout = \"ever\"",
                format!("hold_timeout: \"ever\" does not start with a whole number; {forever}"),
            ),
            (
                "min_backends = 10001",
                "min_backends: found 10001; give an integer from 0 to 10000".to_owned(),
            ),
            (
                "max_loss = 100",
                "max_loss: found 100; give an integer from 1 to 99, or \"off\"".to_owned(),
            ),
            (
                "hold_nx = \"1s\"",
                "hold_nx: unknown key; the keys here are `hold_empty`, `hold_failed`, \
                 `hold_nxdomain`, `hold_refused`, `hold_timeout`, `hold_unreadable`, \
                 `max_interval`, `max_loss`, `min_backends`, `min_interval`, `retry_interval`"
                    .to_owned(),
            ),
            (
                "hold_nxdomian = \"1s\"",
                "hold_nxdomian: unknown key; did you mean `hold_nxdomain`?".to_owned(),
            ),
        ];
        for (line, expected) in cases {
            let text = format!("sources = [{{ srv = \"a\" }}]\n[pool.p.discovery]\n{line}");
            assert_eq!(with_pool(&text), [format!("7: pool.p.discovery.{expected}")]);
        }
    }
}
