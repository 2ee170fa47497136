//! The socket options that listeners and pools have in common. Sets none.

use std::time::Duration;

use super::field::{Field, Read};
use super::reader::Section;
use super::units::{KIB, MIB, MILLISECOND, SECOND};
use crate::balance::{Keepalive, SocketOptions};

pub(super) fn read(section: &Section<'_>) -> SocketOptions {
    let idle = section
        .value_or("keepalive_idle", Some(60 * SECOND), |field| field.unless("off", whole_seconds));
    let interval = section.value_or("keepalive_interval", 10 * SECOND, whole_seconds);
    let probes = section.value_or("keepalive_probes", 6, |field| field.integer(1..=PROBES_MAX));
    SocketOptions {
        nodelay: section.value_or("nodelay", true, Field::boolean),
        keepalive: idle.map(|idle| Keepalive { idle, interval, probes }),
        user_timeout: section.value_or("user_timeout", None, |field| {
            field.unless("off", |field| field.duration(MILLISECOND..=USER_TIMEOUT_MAX))
        }),
        receive_buffer: section.value_or("receive_buffer", None, buffer),
        send_buffer: section.value_or("send_buffer", None, buffer),
    }
}

fn buffer(field: &Field<'_>) -> Read<Option<u32>> {
    let size = field.unless("off", |field| field.size(4 * KIB..=64 * MIB))?;
    // It fits: the greatest is far below.
    Ok(size.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX)))
}

fn whole_seconds(field: &Field<'_>) -> Read<Duration> {
    let duration = field.duration(SECOND..=KEEPALIVE_MAX)?;
    if duration.subsec_nanos() == 0 {
        return Ok(duration);
    }
    Err(field.flaw("is not of whole seconds, which the kernel counts", "whole seconds"))
}

/// The kernel's MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL.
const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);
/// The kernel's MAX_TCP_KEEPCNT.
const PROBES_MAX: u32 = 127;
/// The kernel takes up to 2147483647 ms, which is a little over 24 days.
const USER_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 86_400);
