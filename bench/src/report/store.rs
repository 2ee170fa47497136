//! Owns the files of results: where they go and how they are read back; not what is in them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::failure::Failure;
use super::html::page;
use super::results::{Loaded, Results};
use crate::figures::{Run, write_log};

/// Writes NAME.json, NAME.hlog with the latencies, and NAME.html, into the directory. Returns the
/// path of the page.
pub fn save(results: &Results, directory: &Path, name: &str) -> Result<PathBuf, Failure> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::Write(path, error)
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let at = |extension: &str| directory.join(format!("{name}.{extension}"));
    let json = serde_json::to_vec_pretty(results).map_err(Failure::Encode)?;
    fs::write(at("json"), json).map_err(failed(&at("json")))?;

    save_log(&results.document.runs, results.document.begun, &at("hlog"))?;
    let html = at("html");
    fs::write(&html, page(name, results)).map_err(failed(&html))?;
    Ok(html)
}

/// Writes the latencies of runs that began so many seconds after 1970.
pub fn save_log(runs: &[Run], begun: u64, path: &Path) -> Result<(), Failure> {
    let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(begun);
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        write_log(runs, begun, &mut file)?;
        // What is left in it is written here, where an error is seen.
        file.flush()
    });
    written.map_err(|error| Failure::Write(path.to_owned(), error))
}

pub fn load(path: &Path) -> Result<Loaded, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::Read(path.to_owned(), error))?;
    Loaded::from_json(&text).map_err(|reason| Failure::Results(path.to_owned(), reason))
}
