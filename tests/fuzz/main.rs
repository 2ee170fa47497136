//! Owns the tests with hostile bytes: what real clients send, changed at random, some hundred
//! thousand times in `cargo test`. Opens no connection.
//!
//! `RINGMAIN_FUZZ` has another number of them tried, and `RINGMAIN_SEED` one alone. `.ci/run` tries
//! two million at the speed of a release; by hand it can be more:
//!
//! ```text
//! RINGMAIN_FUZZ=10000000 cargo test --release --test fuzz -- --nocapture
//! ```

#[path = "../protocol/anatomy.rs"]
mod anatomy;
#[path = "../protocol/corpus.rs"]
mod corpus;
#[path = "../protocol/oracle.rs"]
mod oracle;
#[path = "../protocol/reading.rs"]
mod reading;

mod client_hello;
mod mutation;
mod runs;
