//! `[process]`: what the program as a whole may use. Applies nothing.

use std::path::PathBuf;
use std::time::Duration;

use super::field::{Field, Read};
use super::reader::Section;
use super::units::{DAY, GIB, KIB, MIB, MILLISECOND, SECOND};
use super::{CONNECTIONS, cpulist};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// 1 to 1024; none: one per CPU that `cpus` and the process's affinity allow.
    pub workers: Option<usize>,
    /// Ascending, distinct, at least one, at most 1023; none: every CPU the process may use.
    pub cpus: Option<Vec<usize>>,
    /// Client connections over all listeners; none: as many as the descriptor limit carries.
    pub max_connections: Option<u32>,
    /// TLS handshakes with clients of one worker at the same time, and with the backends of each
    /// pool, 1 to 65536; more wait.
    pub max_handshakes: u32,
    /// Bytes per worker, and at least one buffer within `relay_share`.
    pub relay_memory: usize,
    /// Percent of `relay_memory`, 1 to 100.
    pub relay_share: u8,
    /// Bytes; a power of two from 4 KiB to 256 KiB.
    pub buffer_size: usize,
    /// Per worker; with 0 nothing is spliced.
    pub pipes: usize,
    /// Bytes, 4 KiB to 1 MiB.
    pub pipe_size: usize,
    pub drain_timeout: Duration,
    pub linger_timeout: Duration,
    pub reserved_descriptors: usize,
    /// Where the last good answers of discovery are kept; none: nowhere.
    pub state_directory: Option<PathBuf>,
}

pub(super) fn read(section: &Section<'_>) -> Process {
    let buffer_size = section.value_or("buffer_size", 16 * KIB, buffer_size);
    let relay_share = section.value_or("relay_share", 50, |field| field.integer(1..=100));
    Process {
        workers: section.value_or("workers", None, |field| {
            field.unless("auto", |field| field.integer(1..=1024))
        }),
        cpus: section.value_or("cpus", None, |field| field.unless("all", cpus)),
        max_connections: section.value_or("max_connections", None, |field| {
            field.unless("auto", |field| field.integer(CONNECTIONS))
        }),
        max_handshakes: section.value_or("max_handshakes", 256, |field| field.integer(1..=65_536)),
        relay_memory: section.value_or("relay_memory", 64 * MIB, |field| {
            relay_memory(field, relay_share, buffer_size)
        }),
        relay_share,
        buffer_size,
        pipes: section.value_or("pipes", 64, |field| field.integer(0..=16_384)),
        pipe_size: section.value_or("pipe_size", 256 * KIB, |field| field.size(4 * KIB..=MIB)),
        drain_timeout: section
            .value_or("drain_timeout", 30 * SECOND, |field| field.duration(MILLISECOND..=DAY)),
        linger_timeout: section
            .value_or("linger_timeout", 5 * SECOND, |field| field.duration(MILLISECOND..=DAY)),
        reserved_descriptors: section
            .value_or("reserved_descriptors", 64, |field| field.integer(0..=65_536)),
        state_directory: section.value_or("state_directory", None, |field| {
            field.unless("off", |field| field.absolute_path("an absolute path"))
        }),
    }
}

fn cpus(field: &Field<'_>) -> Read<Vec<usize>> {
    let remedy = "a CPU list such as \"0-3,8\"";
    cpulist::parse(field.text(remedy)?).map_err(|error| field.flaw(error.as_str(), remedy))
}

fn buffer_size(field: &Field<'_>) -> Read<usize> {
    let size = field.size(4 * KIB..=256 * KIB)?;
    if size.is_power_of_two() {
        return Ok(size);
    }
    Err(field.flaw("is not a power of two", "4KiB, 8KiB, 16KiB, 32KiB, 64KiB, 128KiB or 256KiB"))
}

/// With a share of less than one buffer, every session that stalls would be closed at once.
fn relay_memory(field: &Field<'_>, share: u8, buffer_size: usize) -> Read<usize> {
    let size = field.size(256 * KIB..=GIB)?;
    if size * usize::from(share) / 100 >= buffer_size {
        return Ok(size);
    }
    let flaw = format!("leaves relay_share, {share} percent, less than one buffer");
    Err(field.flaw(&flaw, "more of either, or a smaller buffer_size"))
}
