//! Loading, choosing and resuming, with material made on the spot and a clock set by hand.

mod handshakes;
mod workshop;
