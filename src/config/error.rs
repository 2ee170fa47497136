//! What is wrong with a configuration: a list of errors and how it is printed. Finds none itself.

use std::fmt;

/// One error: where it is, and one sentence with its cause and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Counted from 1; none if the error concerns no line, such as a file that cannot be read.
    pub line: Option<usize>,
    /// The key, such as `listener.vector.idle_timeout`; empty if the error concerns no key.
    pub path: String,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(out, "{line}: ")?;
        }
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        out.write_str(&self.message)
    }
}

/// Every error of one configuration, sorted by line; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    origin: String,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// `origin` is the name the text goes by, its path as a rule.
    pub(super) fn new(origin: &str, mut errors: Vec<ConfigError>) -> Self {
        assert!(!errors.is_empty(), "a refusal gives its reason");
        errors.sort_by_key(|error| error.line);
        Self { origin: origin.to_owned(), errors }
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl fmt::Display for ConfigErrors {
    /// A line each, in the `file:line:` form that editors and terminals turn into links.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.iter().enumerate() {
            let separator = if error.line.is_some() { "" } else { " " };
            let newline = if index > 0 { "\n" } else { "" };
            write!(out, "{newline}{}:{separator}{error}", self.origin)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
