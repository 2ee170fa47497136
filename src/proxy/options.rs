//! Socket options as the engine takes them, which imports nothing of ours.

use crate::balance;
use crate::engine::driver::{Keepalive, SocketOptions};

/// The options of a listener or a pool, for the engine.
pub fn socket_options(options: &balance::SocketOptions) -> SocketOptions {
    let keepalive = options.keepalive.map(|keepalive| Keepalive {
        idle: keepalive.idle,
        interval: keepalive.interval,
        probes: keepalive.probes,
    });
    let balance::SocketOptions { nodelay, user_timeout, receive_buffer, send_buffer, .. } =
        *options;
    SocketOptions { nodelay, keepalive, user_timeout, receive_buffer, send_buffer }
}
