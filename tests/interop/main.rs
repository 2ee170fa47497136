//! Owns the tests in which real programs speak through the proxy, over loopback; does not test
//! what a socket of our own can show (`tests/integration` does).
//!
//! They need the Debian packages that `.ci/run` installs, and therefore run on request alone:
//! `cargo test --locked --test interop -- --ignored --test-threads=1`.

mod curl;
mod half_close;
mod http;
mod nginx;
mod openssl;
mod preset;
mod process;
mod proxy;
mod receivers;
mod refusals;
mod rsyslog;
mod syslog;
mod tls;
