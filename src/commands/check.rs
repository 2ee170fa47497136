//! `ringmain check`: validate a configuration, and say what this host lacks for it.

use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Config};
use crate::engine::support;
use crate::server::{budget, usable_cpus};

use super::exit;

pub(super) fn check(path: &Path) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(errors) => return exit::fail(exit::CONFIGURATION, &errors),
    };
    let (listeners, pools) = (config.listeners.len(), config.pools.len());
    println!("{}: valid; {listeners} listeners, {pools} pools", path.display());
    let mut lacking = Vec::new();
    match support::probe() {
        Ok(()) => println!("kernel: {}, io_uring works", support::kernel_release()),
        Err(error) => lacking.push(error.to_string()),
    }
    match usable_cpus(&config.process) {
        Ok(cpus) => {
            println!("workers: {}, on CPUs {cpus:?}", cpus.len());
            match budget(&config, cpus.len()) {
                Ok(budget) => println!("descriptors: {budget}, of {}", budget.limit),
                Err(error) => lacking.push(error.to_string()),
            }
        }
        Err(error) => lacking.push(error.to_string()),
    }
    for advice in sysctls(&config) {
        println!("advice: {advice}");
    }
    if lacking.is_empty() {
        return ExitCode::SUCCESS;
    }
    exit::fail(exit::UNAVAILABLE, &lacking.join("\nringmain: "))
}

/// Settings of the kernel that would hold this configuration back.
fn sysctls(config: &Config) -> Vec<String> {
    let mut advice = Vec::new();
    let backlog = config.listeners.iter().map(|listener| listener.backlog).max().unwrap_or(0);
    if let Some(somaxconn) = read("net/core/somaxconn")
        && somaxconn < u64::from(backlog)
    {
        advice.push(format!(
            "net.core.somaxconn is {somaxconn} and cuts a backlog of {backlog}; \
             run `sysctl net.core.somaxconn={backlog}`"
        ));
    }
    let pages = config.process.pipes as u64 * config.process.pipe_size as u64 / 4096;
    if let Some(soft) = read("fs/pipe-user-pages-soft")
        && soft > 0
        && soft < pages
    {
        advice.push(format!(
            "fs.pipe-user-pages-soft is {soft} pages and the pipes of one worker may need {pages}; \
             beyond it new pipes shrink and bulk slows down: raise it, or lower process.pipes"
        ));
    }
    if let Some(most) = read("fs/pipe-max-size")
        && most < config.process.pipe_size as u64
    {
        advice.push(format!(
            "fs.pipe-max-size is {most} and cuts process.pipe_size; run \
             `sysctl fs.pipe-max-size={}`",
            config.process.pipe_size
        ));
    }
    advice
}

fn read(key: &str) -> Option<u64> {
    std::fs::read_to_string(format!("/proc/sys/{key}")).ok()?.trim().parse().ok()
}
