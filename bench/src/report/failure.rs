//! Owns the reasons for which results can not be read, shown or kept.

use std::path::PathBuf;
use std::{fmt, io};

use crate::figures::Unreadable;

#[derive(Debug)]
pub enum Failure {
    Read(PathBuf, io::Error),
    Write(PathBuf, io::Error),
    Results(PathBuf, Unreadable),
    /// Both files were read, and nothing in one is in the other.
    NothingInCommon,
    Encode(serde_json::Error),
}

impl Failure {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Read(..) => "unreadable_file",
            Self::Write(..) => "unwritable_file",
            Self::Results(_, reason) => reason.as_str(),
            Self::NothingInCommon => "nothing_in_common",
            Self::Encode(_) => "unwritable_results",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.as_str())?;
        match self {
            Self::Read(path, error) => write!(
                f,
                "{} can not be read: {error}; give the path of a JSON that this program has \
                 written",
                path.display()
            ),
            Self::Write(path, error) => write!(
                f,
                "{} can not be written: {error}; name another place by --output",
                path.display()
            ),
            Self::Results(path, reason) => write!(f, "{}: {reason}", path.display()),
            Self::NothingInCommon => f.write_str(
                "the files have no load in common: the same candidate, protocol, connections, \
                 workers and offered rate, or objective; repeat one with the other's command line",
            ),
            Self::Encode(error) => write!(f, "{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_can_not_be_read_or_written_is_named_with_the_remedy() {
        let error = || io::Error::from(io::ErrorKind::NotFound);
        let said = Failure::Read("/none.json".into(), error()).to_string();
        assert!(said.contains("/none.json can not be read") && said.contains("; give"), "{said}");
        let said = Failure::Write("/none".into(), error()).to_string();
        assert!(said.contains("--output"), "{said}");
    }
}
