//! The policies as a whole, tested through pools and choosers.

mod agreement;
mod disruption;
mod homes;
mod imbalance;
mod nginx;
mod passing_over;
mod stage;
mod tiers;
