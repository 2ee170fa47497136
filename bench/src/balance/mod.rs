//! Owns `balance`: the policies alone, without a proxy. How even they are, how many keys they move,
//! what a pick costs, and how long their tables take to build; and what it costs to find a route.

mod moves;
mod options;
mod routes;
mod run;
mod shares;
mod speed;
mod stage;
mod table;

pub use options::Options;
pub use run::balance;
