//! Owns how results are shown and kept: tables for a terminal, JSON, and one HTML file with plots.
//! It measures nothing.

mod bars;
mod capacities;
mod charts;
mod command;
mod compared;
mod diff;
mod failure;
mod groups;
mod html;
mod limits;
mod metric;
mod output;
mod progress;
mod results;
mod samples;
mod shares;
mod store;
mod survey;
pub mod table;
pub mod units;

pub use capacities::summary;
pub use command::{Options, report, save_page};
pub use diff::{DiffOptions, diff};
pub use failure::Failure;
pub use output::{check_files, check_output, files_of};
pub use progress::{Live, Progress};
pub use results::{Capacity, Loaded, Results};
#[cfg(test)]
pub use results::{capacity_sample, everything};
pub use shares::shares_table;
pub use store::{load, save, save_log};
pub use survey::survey;
