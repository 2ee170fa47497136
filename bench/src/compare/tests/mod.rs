//! Owns the tests of whole runs: against plain proxies, which may break what they carry.

mod plain;
mod stage;
mod tls;
