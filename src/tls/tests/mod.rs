//! Loading, choosing, resuming and the records that follow, with material made on the spot and a
//! clock set by hand.

mod backends;
mod choosing;
mod clients;
mod early;
mod loading;
mod naming;
mod records;
mod renewing;
mod resuming;
mod stapling;
mod ticket_keys;
mod workshop;
