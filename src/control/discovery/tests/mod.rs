//! The machine on virtual time: tables of answers and failures, and seeds of random ones.

mod answers;
mod doubt;
mod failing;
mod reports;
mod scene;
mod simulation;
mod timing;
