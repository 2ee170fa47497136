//! `[log]`: what is written about the process and about each connection. Writes nothing.

use std::path::PathBuf;

use super::field::{Field, Read};
use super::reader::Section;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
    pub access: AccessLog,
    /// Lines that may wait to be written, at least 1; more are dropped and counted.
    pub access_queue: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, journald under systemd, else JSON.
    Auto,
    Text,
    Json,
    Journald,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    Stdout,
    Off,
    /// An absolute path.
    File(PathBuf),
}

pub(super) fn read(section: &Section<'_>) -> Log {
    Log {
        level: section.value_or("level", LogLevel::Info, |field| field.choice(&LEVELS)),
        format: section.value_or("format", LogFormat::Auto, |field| field.choice(&FORMATS)),
        access: section.value_or("access", AccessLog::Stdout, access),
        access_queue: section.value_or("access_queue", 8192, |field| field.integer(1..=1_048_576)),
    }
}

fn access(field: &Field<'_>) -> Read<AccessLog> {
    let remedy = "\"stdout\", \"off\" or an absolute path";
    match field.text(remedy)? {
        "stdout" => Ok(AccessLog::Stdout),
        "off" => Ok(AccessLog::Off),
        _ => field.absolute_path(remedy).map(AccessLog::File),
    }
}

const LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

const FORMATS: [(&str, LogFormat); 4] = [
    ("auto", LogFormat::Auto),
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
    ("journald", LogFormat::Journald),
];
