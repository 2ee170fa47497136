//! Owns where the program's own log goes, in which form and from which level.
//! Does not log sessions (`access_log` does), and does not rotate or limit rates.
//!
//! An event is written by the thread that logs it, and a target that blocks blocks that thread: a
//! worker logs only what is rare.

use std::env;
use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use tracing::Level;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self as form, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How the program logs.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// The least severe level shown. The libraries in use are shown from warnings on at most.
    pub level: Level,
    pub format: LogFormat,
}

/// The form of the log, and with it its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text if standard error is a terminal, the journal if it leads there, otherwise JSON.
    Auto,
    /// Lines to read, on standard error; coloured on a terminal, unless `NO_COLOR` is set.
    Text,
    /// One object per line, on standard error.
    Json,
    /// The journal of systemd, with each field as a field `RINGMAIN_...` of its own. `journalctl`
    /// shows these with `--output=verbose` or `json`.
    Journald,
}

/// Starts logging, for the whole process and its whole life.
pub fn start_log(options: LogOptions) -> Result<(), LogError> {
    tracing_subscriber::registry()
        .with(layer(options.format)?)
        .with(filter(options.level))
        .try_init()
        .map_err(|_| LogError::AlreadyStarted)
}

/// Why logging could not be started.
#[derive(Debug)]
pub enum LogError {
    /// The journal was asked for by name, and its socket does not answer.
    NoJournal(io::Error),
    /// Something else in the process receives the events already.
    AlreadyStarted,
}

impl LogError {
    /// The word operators see.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NoJournal(_) => "no-journal",
            Self::AlreadyStarted => "already-started",
        }
    }
}

impl Display for LogError {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        match self {
            Self::NoJournal(error) => write!(formatter, "cannot log to the journal: {error}"),
            Self::AlreadyStarted => formatter.write_str("logging has been started already"),
        }
    }
}

impl std::error::Error for LogError {}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn layer(format: LogFormat) -> Result<BoxedLayer, LogError> {
    let stderr = io::stderr();
    match format {
        LogFormat::Text => {
            let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            Ok(text(io::stderr, stderr.is_terminal() && !plain))
        }
        LogFormat::Json => Ok(json(io::stderr)),
        LogFormat::Journald => journald().map_err(LogError::NoJournal),
        LogFormat::Auto if stderr.is_terminal() => layer(LogFormat::Text),
        LogFormat::Auto if is_stream(&stderr, env::var_os("JOURNAL_STREAM").as_deref()) => {
            // Without the socket, standard error still reaches the journal.
            Ok(journald().unwrap_or_else(|_| json(io::stderr)))
        }
        LogFormat::Auto => Ok(json(io::stderr)),
    }
}

/// What Ringmain says from `level` on, and what its libraries say from warnings on: at `debug`
/// their words would bury ours.
fn filter(level: Level) -> Targets {
    Targets::new().with_target("ringmain", level).with_default(level.min(Level::WARN))
}

fn text<W>(writer: W, colour: bool) -> BoxedLayer
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    form::layer().with_writer(writer).with_ansi(colour).with_target(false).boxed()
}

fn json<W>(writer: W) -> BoxedLayer
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = form::layer().with_writer(writer).json();
    layer.flatten_event(true).with_current_span(false).with_span_list(false).boxed()
}

fn journald() -> io::Result<BoxedLayer> {
    // The crate's own mapping calls what is informational a notice.
    let priorities = PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        ..PriorityMappings::new()
    };
    let layer = tracing_journald::layer()?
        .with_syslog_identifier("ringmain".to_owned())
        .with_field_prefix(Some("RINGMAIN".to_owned()))
        .with_priority_mappings(priorities);
    Ok(layer.boxed())
}

/// Whether `file` is the stream that systemd names in `JOURNAL_STREAM`, as device and inode. The
/// variable alone says little: it is inherited by programs whose output was redirected
/// (systemd.exec(5), "JOURNAL_STREAM").
fn is_stream(file: &impl AsFd, journal_stream: Option<&OsStr>) -> bool {
    let Some(journal_stream) = journal_stream else { return false };
    rustix::fs::fstat(file)
        .is_ok_and(|status| journal_stream == &*format!("{}:{}", status.st_dev, status.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use tempfile::NamedTempFile;

    /// What is logged from `level` on through the layer that `layer` makes for a file.
    fn logged(level: Level, layer: impl FnOnce(fs::File) -> BoxedLayer) -> String {
        let file = NamedTempFile::new().expect("a file");
        let layer = layer(file.reopen().expect("reopened"));
        let subscriber = tracing_subscriber::registry().with(layer).with(filter(level));
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "ringmain::proxy", "a detail");
            tracing::info!(target: "ringmain::proxy", backend = "a \"b\"", "backend is up");
            tracing::info!(target: "library", "chatter");
            tracing::warn!(target: "library", "trouble");
        });
        fs::read_to_string(file.path()).expect("read")
    }

    #[test]
    fn text_shows_message_and_fields_without_colour() {
        let text = logged(Level::INFO, |file| text(file, false));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with(r#"Z  INFO backend is up backend="a \"b\"""#), "{text}");
        assert!(lines[1].ends_with("Z  WARN trouble"), "{text}");
    }

    #[test]
    fn json_is_one_flat_object_per_line() {
        let text = logged(Level::INFO, json);
        let objects: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        assert_eq!(objects.len(), 2, "{text}");
        assert_eq!(objects[0]["level"], "INFO");
        assert_eq!(objects[0]["message"], "backend is up");
        assert_eq!(objects[0]["backend"], "a \"b\"");
        assert_eq!(objects[1]["target"], "library");
    }

    #[test]
    fn the_level_bounds_the_program_and_its_libraries() {
        let lines = |level| logged(level, |file| text(file, false)).lines().count();
        assert_eq!(lines(Level::DEBUG), 3, "a detail, no chatter");
        assert_eq!(lines(Level::WARN), 1);
        assert_eq!(lines(Level::ERROR), 0);
    }

    #[test]
    fn the_journal_is_recognised_by_device_and_inode() {
        let file = tempfile::tempfile().expect("a file");
        let status = file.metadata().expect("status");
        let stream = format!("{}:{}", status.dev(), status.ino());
        assert!(is_stream(&file, Some(OsStr::new(&stream))));
        assert!(!is_stream(&file, Some(OsStr::new("1:1"))));
        assert!(!is_stream(&file, None));
    }

    #[test]
    fn the_journal_is_refused_exactly_where_it_does_not_listen() {
        let there = Path::new("/run/systemd/journal/socket").exists();
        match layer(LogFormat::Journald) {
            Ok(_) => assert!(there),
            Err(error) => {
                assert!(!there, "{error}");
                assert_eq!(error.as_str(), "no-journal");
            }
        }
    }
}
