//! Owns `report`: an HTML page made of results that were kept.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::groups::runs_table;
use super::html::{comparison_page, page};
use super::results::Loaded;
use super::store::load;

#[derive(Args)]
pub struct Options {
    /// Results: JSON of run, capacity, soak or compare
    results: PathBuf,
    /// Where the page goes (default: beside the results, as .html)
    #[arg(long)]
    output: Option<PathBuf>,
}

pub fn report(options: &Options) -> Result<(), Failure> {
    let name = options.results.file_stem().unwrap_or_default().to_string_lossy();
    let html = match load(&options.results)? {
        Loaded::Results(results) => {
            print!("{}", runs_table(&results.document.runs));
            results.capacity.iter().for_each(|of| print!("\n{}", super::summary(of, &results)));
            page(&name, &results)
        }
        Loaded::Comparison(comparison) => comparison_page(&name, &comparison),
    };
    let output = options.output.clone().unwrap_or(options.results.with_extension("html"));
    write(&output, &html)?;
    eprintln!("saved {}", output.display());
    Ok(())
}

/// The page of results that were just written.
pub fn save_page(results: &Path, output: &Path) -> Result<(), Failure> {
    let name = results.file_stem().unwrap_or_default().to_string_lossy();
    let html = match load(results)? {
        Loaded::Results(results) => page(&name, &results),
        Loaded::Comparison(comparison) => comparison_page(&name, &comparison),
    };
    write(output, &html)
}

fn write(output: &Path, html: &str) -> Result<(), Failure> {
    fs::write(output, html).map_err(|error| Failure::Write(output.to_owned(), error))
}
