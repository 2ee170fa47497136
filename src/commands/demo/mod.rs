//! `ringmain demo`: the proxy with backends and clients of its own; needs no configuration.
//!
//! Reading order: `play` (the order of events), `stage` (what the proxy is set up with),
//! `backends`, `certificate` and `memory` (what TLS needs, without a file on a disk), `proxy` (the
//! server on a thread of its own), `tour` (what is shown), `client` (what the tour sends),
//! `sessions` (what the proxy says of it), `screen` (how it looks).

mod backends;
mod certificate;
mod client;
mod error;
mod memory;
mod play;
mod proxy;
mod screen;
mod sessions;
mod stage;
mod tour;

pub(super) use play::demo;
