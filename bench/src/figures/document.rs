//! Owns the file that results are kept in, with the version of its schema; it opens no file.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::host::Host;
use super::run::Run;

/// Raised when a field changes its meaning or goes; a new field that may be missing raises nothing.
pub const SCHEMA: u32 = 1;

/// Who writes such files.
pub const TOOL: &str = concat!("ringmain-bench ", env!("CARGO_PKG_VERSION"));

/// What one command of the bench measured, whole: whatever is said of it can be worked out again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub schema: u32,
    /// Name and version of the program that wrote it.
    pub tool: String,
    /// The command line, program first.
    pub command: Vec<String>,
    /// Seconds since 1970 when the measurement began.
    pub begun: u64,
    pub host: Host,
    /// In the order they were made.
    pub runs: Vec<Run>,
}

/// Why a text is no document of results.
#[derive(Debug)]
pub enum Unreadable {
    Malformed(serde_json::Error),
    /// Written by another version of this program.
    Schema(u64),
}

impl Document {
    pub fn new(command: Vec<String>, begun: u64, host: Host, runs: Vec<Run>) -> Self {
        Self { schema: SCHEMA, tool: TOOL.to_owned(), command, begun, host, runs }
    }

    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    pub fn from_json(text: &str) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Version {
            schema: u64,
        }
        let Version { schema } = serde_json::from_str(text).map_err(Unreadable::Malformed)?;
        if schema != u64::from(SCHEMA) {
            return Err(Unreadable::Schema(schema));
        }
        serde_json::from_str(text).map_err(Unreadable::Malformed)
    }
}

impl Unreadable {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_results",
            Self::Schema(_) => "unknown_schema",
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "these are no results of the bench: {error}"),
            Self::Schema(found) => write!(
                f,
                "the results have schema {found}, and this program reads schema {SCHEMA}; \
                 use the version of ringmain-bench that wrote them"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::sample;
    use super::*;

    fn document() -> Document {
        let runs = vec![sample("ringmain", 1000.0), sample("haproxy", 2000.0)];
        Document::new(vec!["ringmain-bench".to_owned()], 1_800_000_000, Host::default(), runs)
    }

    #[test]
    fn a_document_survives_json() {
        let text = document().to_json().unwrap();
        assert_eq!(Document::from_json(&text).unwrap(), document());
    }

    #[test]
    fn another_schema_is_named_before_its_fields_are_missed() {
        let error = Document::from_json(r#"{"schema": 7, "unknown": 1}"#).unwrap_err();
        assert!(matches!(error, Unreadable::Schema(7)), "{error}");
        assert!(error.to_string().contains("schema 7"));
    }

    #[test]
    fn what_is_no_document_says_where() {
        let text = document().to_json().unwrap().replace("\"window\"", "\"windows\"");
        let error = Document::from_json(&text).unwrap_err();
        assert!(error.to_string().contains("`window`"), "{error}");
        assert!(Document::from_json("[]").is_err());
    }
}
