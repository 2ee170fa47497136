//! Owns the check that results find room where they are to go, for whoever measures for hours
//! before there are any; it writes none.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// The files of which `save` makes one directory's results.
pub fn files_of(name: &str) -> [String; 3] {
    ["json", "hlog", "html"].map(|extension| format!("{name}.{extension}"))
}

/// Tries the files of a directory, which is made.
pub fn check_output<F: AsRef<Path>>(
    directory: &Path,
    files: impl IntoIterator<Item = F>,
) -> Result<(), Failure> {
    let files = files.into_iter().map(|file| directory.join(file));
    check_files(files).map_err(|(path, error)| Failure::Write(path, error))
}

/// Tries each of the files, whose directories are made. What is there stays as it is. What can not
/// be written is told with the reason.
pub fn check_files(files: impl IntoIterator<Item = PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    for path in files {
        let directory = path.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(directory).map_err(|error| (directory.to_owned(), error))?;
        try_file(&path).map_err(|error| (path, error))?;
    }
    Ok(())
}

fn try_file(path: &Path) -> io::Result<()> {
    match File::create_new(path) {
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            File::options().append(true).open(path).map(drop)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Directory;

    #[test]
    fn what_can_not_be_written_is_named_with_the_remedy_and_nothing_is_left_behind() {
        let root = Directory::create().unwrap();
        let there = root.path().join("results/of/today");
        check_output(&there, files_of("soak")).unwrap();
        assert_eq!(fs::read_dir(&there).unwrap().count(), 0);

        fs::write(there.join("soak.json"), "kept").unwrap();
        check_output(&there, files_of("soak")).unwrap();
        assert_eq!(fs::read(there.join("soak.json")).unwrap(), b"kept");

        fs::create_dir(there.join("soak.html")).unwrap();
        let said = check_output(&there, files_of("soak")).unwrap_err().to_string();
        assert!(
            said.contains("soak.html can not be written") && said.contains("--output"),
            "{said}"
        );
        for wrong in [there.join("soak.json"), "/proc/results".into()] {
            let said = check_output(&wrong, files_of("soak")).unwrap_err().to_string();
            assert!(said.contains(wrong.to_str().unwrap()), "{said}");
        }
    }
}
