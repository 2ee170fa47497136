//! `ringmain run`: serve a configuration.

use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, LogLevel};
use crate::observe::{LogFormat, LogOptions, start_log};
use crate::server;

use super::exit;

pub(super) fn run(path: &Path) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(errors) => return exit::fail(exit::CONFIGURATION, &errors),
    };
    if let Err(error) = start_log(log_options(&config.log)) {
        return exit::fail(exit::SYSTEM, &error);
    }
    exit::outcome(server::serve(&config, None, |_| {}))
}

fn log_options(log: &config::Log) -> LogOptions {
    let level = match log.level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let format = match log.format {
        config::LogFormat::Auto => LogFormat::Auto,
        config::LogFormat::Text => LogFormat::Text,
        config::LogFormat::Json => LogFormat::Json,
        config::LogFormat::Journald => LogFormat::Journald,
    };
    LogOptions { level, format }
}
