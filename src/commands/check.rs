//! `ringmain check`: validate a configuration, say what this host lacks for it and, if asked, what
//! its pools would contain now.

use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Config};
use crate::control::ProbeTls;
use crate::engine::support;
use crate::server::{Stock, budget, usable_cpus};

use super::exit;
use super::output::{Output, count};
use super::resolve::{Unanswered, resolve};

pub(super) fn check(path: &Path, resolves: bool) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(errors) => return exit::fail(exit::CONFIGURATION, &errors),
    };
    let stock = match Stock::load(&config) {
        Ok(stock) => stock,
        Err(errors) => return exit::fail(exit::CONFIGURATION, &errors),
    };
    let mut out = Output::stdout();
    let listeners = count(config.listeners.len(), "listener");
    let pools = count(config.pools.len(), "pool");
    out.line(format_args!("{}: valid; {listeners}, {pools}", path.display()));
    for line in stock.summary() {
        out.line(line);
    }
    for warning in stock.warnings() {
        out.line(format_args!("warning: {warning}"));
    }
    let lacking = host(&config, &mut out);
    let tls = stock.probe_tls();
    let resolved = if resolves { pools_now(&config, &tls, &mut out) } else { ExitCode::SUCCESS };
    if lacking.is_empty() {
        return out.end(resolved);
    }
    out.end(exit::fail(exit::UNAVAILABLE, &lacking.join("\nringmain: ")))
}

/// Shows what this host gives; what it lacks is returned.
fn host(config: &Config, out: &mut Output) -> Vec<String> {
    let mut lacking = Vec::new();
    match support::probe() {
        Ok(()) => {
            out.line(format_args!("kernel: {}, io_uring works", support::kernel_release()));
        }
        Err(error) => lacking.push(error.to_string()),
    }
    match usable_cpus(&config.process) {
        Ok(cpus) => {
            out.line(format_args!("workers: {}, on CPUs {cpus:?}", cpus.len()));
            match budget(config, cpus.len()) {
                Ok(budget) => {
                    out.line(format_args!("descriptors: {budget}, of {}", budget.limit));
                }
                Err(error) => lacking.push(error.to_string()),
            }
        }
        Err(error) => lacking.push(error.to_string()),
    }
    for advice in sysctls(config).into_iter().chain(state_directory(config)) {
        out.line(format_args!("advice: {advice}"));
    }
    lacking
}

/// Shows what the pools would contain; the code says whether every source answered.
fn pools_now(config: &Config, tls: &ProbeTls, out: &mut Output) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::fail(exit::SYSTEM, &format!("no runtime: {error}")),
    };
    let code = match runtime.block_on(resolve(config, tls, out)) {
        Ok(Unanswered { sources: 0, .. }) => ExitCode::SUCCESS,
        Ok(Unanswered { sources, of }) => {
            let text = format!("{sources} of {} did not answer in full", count(of, "source"));
            exit::fail(exit::UNANSWERED, &text)
        }
        Err(error) => exit::fail(exit::CONFIGURATION, &error),
    };
    // Questions that are still open are nobody's any more.
    runtime.shutdown_background();
    code
}

/// Whether the last good answers could be kept. Who checks may be another user than who serves, so
/// that the rights of the directory are not looked at.
fn state_directory(config: &Config) -> Option<String> {
    let directory = config.process.state_directory.as_ref()?;
    let text = "is no directory, so that backends are not kept for a start at which DNS does not \
                answer; make it, for the user of the service to write to";
    let name = directory.display();
    (!directory.is_dir()).then(|| format!("process.state_directory: {name} {text}"))
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
    advice.extend(socket_buffers(config));
    advice
}

/// The limits that cut what SO_RCVBUF and SO_SNDBUF ask for, without a word.
fn socket_buffers(config: &Config) -> impl Iterator<Item = String> {
    let listeners = config.listeners.iter();
    let listeners = listeners.map(|it| (format!("listener.{}", it.name), &it.socket));
    let pools = config.pools.iter().map(|it| (format!("pool.{}", it.name), &it.socket));
    let asked = listeners.chain(pools).flat_map(|(place, socket)| {
        let receive =
            (format!("{place}.receive_buffer"), "net.core.rmem_max", socket.receive_buffer);
        [receive, (format!("{place}.send_buffer"), "net.core.wmem_max", socket.send_buffer)]
    });
    asked.filter_map(|(key, sysctl, bytes)| {
        let (most, bytes) = (read(&sysctl.replace('.', "/"))?, u64::from(bytes?));
        let advice = || {
            format!("{sysctl} is {most} and cuts {key} of {bytes}; run `sysctl {sysctl}={bytes}`")
        };
        (most < bytes).then(advice)
    })
}

fn read(key: &str) -> Option<u64> {
    std::fs::read_to_string(format!("/proc/sys/{key}")).ok()?.trim().parse().ok()
}
