//! `ringmain check`: validate a configuration, say what this host lacks for it and, if asked, what
//! its pools would contain now.

use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Config};
use crate::control::ProbeTls;
use crate::engine::support;
use crate::server::{Stock, budget, try_rings, usable_cpus};

use super::exit;
use super::output::{Output, count};
use super::resolve::{Unanswered, resolve};

pub(super) fn check(path: &Path, resolves: bool) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            return exit::fail(exit::CONFIGURATION, &format_args!("{errors}\n{LATER}"));
        }
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
    for warning in config.warnings().into_iter().chain(stock.warnings()) {
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

/// Which files are meant, and what for, is not certain before.
const LATER: &str = "the files that a configuration names are looked at once its text is in order";

/// Shows what this host gives; what it lacks is returned.
fn host(config: &Config, out: &mut Output) -> Vec<String> {
    let mut lacking = Vec::new();
    let mut workers = 1;
    // As many as there will be, of the size they will have: less may be allowed where that is not.
    let mut rings = support::probe();
    match usable_cpus(&config.process) {
        Ok(cpus) => {
            workers = cpus.len();
            out.line(format_args!("{}, on CPUs {cpus:?}", count(workers, "worker")));
            match budget(config, workers) {
                Ok(budget) => {
                    out.line(format_args!("descriptors: {budget}, of {}", budget.limit));
                    rings = rings
                        .and_then(|()| try_rings(&config.process, workers, budget.connections));
                }
                Err(error) => lacking.push(error.to_string()),
            }
        }
        Err(error) => lacking.push(error.to_string()),
    }
    match rings {
        Ok(()) => {
            out.line(format_args!("kernel: {}, io_uring works", support::kernel_release()));
        }
        Err(error) => lacking.push(error.to_string()),
    }
    for advice in sysctls(config, workers, &read).into_iter().chain(state_directory(config)) {
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

/// Settings of the kernel that would hold this configuration back, with so many workers. `read`
/// knows their values by their paths.
fn sysctls(config: &Config, workers: usize, read: &dyn Fn(&str) -> Option<u64>) -> Vec<String> {
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
    // All workers are one user.
    let pipes = (config.process.pipes * workers) as u64;
    let pages = pipes * config.process.pipe_size as u64 / 4096;
    if let Some(soft) = read("fs/pipe-user-pages-soft")
        && soft > 0
        && soft < pages
    {
        advice.push(format!(
            "fs.pipe-user-pages-soft is {soft} pages and the pipes of {} may need {pages}; beyond \
             it new pipes shrink and bulk slows down: run \
             `sysctl fs.pipe-user-pages-soft={pages}`, or lower process.pipes",
            count(workers, "worker")
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
    advice.extend(socket_buffers(config, read));
    advice
}

/// The limits that cut what SO_RCVBUF and SO_SNDBUF ask for, without a word.
fn socket_buffers(
    config: &Config,
    read: &dyn Fn(&str) -> Option<u64>,
) -> impl Iterator<Item = String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(process: &str, workers: usize, values: &[(&str, u64)]) -> Vec<String> {
        let text = format!(
            "[process]\n{process}\n[listener.l]\nlisten = \"127.0.0.1:0\"\npool = \"p\"\n\
             receive_buffer = \"1MiB\"\n[pool.p]\nbackends = [\"127.0.0.1:9\"]\n"
        );
        let config = config::parse(&text, "test").unwrap();
        let known = |key: &str| values.iter().find(|(name, _)| *name == key).map(|&(_, is)| is);
        sysctls(&config, workers, &known)
    }

    #[test]
    fn a_host_that_gives_enough_gets_no_advice() {
        let enough = [
            ("net/core/somaxconn", 4096),
            ("fs/pipe-user-pages-soft", 16_384),
            ("fs/pipe-max-size", 1 << 20),
            ("net/core/rmem_max", 1 << 20),
        ];
        assert_eq!(advice("", 4, &enough), [""; 0]);
        assert_eq!(advice("", 4, &[]), [""; 0], "what can not be read is not known");
    }

    #[test]
    fn what_cuts_a_setting_is_told_with_the_remedy() {
        let told = |key, value| advice("", 1, &[(key, value)]).join("\n");
        assert!(told("net/core/somaxconn", 128).contains("sysctl net.core.somaxconn=4096"));
        assert!(told("fs/pipe-max-size", 4096).contains("fs.pipe-max-size"));
        assert!(told("net/core/rmem_max", 212_992).contains("listener.l.receive_buffer"));
    }

    #[test]
    fn the_pipes_of_all_workers_are_one_users() {
        let soft = [("fs/pipe-user-pages-soft", 16_384)];
        assert_eq!(advice("pipes = 64\npipe_size = \"256KiB\"", 4, &soft), [""; 0]);
        let told = advice("pipes = 64\npipe_size = \"256KiB\"", 5, &soft).join("\n");
        assert!(told.contains("sysctl fs.pipe-user-pages-soft=20480"), "{told}");
    }
}
