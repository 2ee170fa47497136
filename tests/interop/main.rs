//! Owns the tests in which real programs speak through the proxy, over loopback; does not test
//! what a socket of our own can show (`tests/integration` does).
//!
//! They need the Debian packages that `.ci/run` installs, and therefore run on request alone:
//! `cargo test --locked --test interop -- --ignored`.

mod address;
mod aggregators;
mod checks;
mod curl;
mod edge;
mod file_server;
mod gnutls;
mod grpc;
mod half_close;
mod hash;
mod health;
mod http;
mod knot;
mod load;
mod nginx;
mod openssl;
mod preset;
mod process;
mod proxy;
mod python_ssl;
mod receivers;
mod reencryption;
mod refusals;
mod reverser;
mod routes;
mod rsyslog;
mod services;
mod syslog;
mod termination;
mod tls;
