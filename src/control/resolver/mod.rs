//! Asks nameservers: from a Question to its Outcome, without remembering anything.
//!
//! `ask` is the way of one question, and reads like it: the names it may stand for, the
//! nameservers in turn, the aliases that lead on. What it is made of: `settings` says whom to ask,
//! `search` which names a name stands for, `servers` in which order, `exchange` moves one query
//! and its response over UDP or TCP, `query` says whether a response is one, and `answer` what it
//! means. The messages themselves are read and written by hickory-proto.
//!
//! There is no cache: how long an answer is good for goes with it, and whoever asks keeps the
//! schedule.

mod answer;
mod ask;
mod error;
mod exchange;
mod query;
mod search;
mod servers;
mod settings;

pub use ask::Resolver;
pub use error::ResolverError;
