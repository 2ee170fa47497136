//! Owns what is wrong with a profile: a list of errors and how it is printed. It finds none.

use std::fmt;

/// One error: where it is, and one sentence with its cause and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError {
    /// Counted from 1.
    pub line: usize,
    /// The key, such as `agents.web.rate`; empty if the error concerns no key.
    pub path: String,
    pub message: String,
}

/// Every error of one profile, by line; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileErrors {
    /// The name the text goes by.
    pub origin: String,
    pub errors: Vec<ProfileError>,
}

impl fmt::Display for ProfileErrors {
    /// A line each, in the `file:line:` form that editors and terminals turn into links.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ProfileError { line, path, message }) in self.errors.iter().enumerate() {
            let newline = if index > 0 { "\n" } else { "" };
            write!(f, "{newline}{}:{line}: ", self.origin)?;
            if !path.is_empty() {
                write!(f, "{path}: ")?;
            }
            f.write_str(message)?;
        }
        Ok(())
    }
}
