//! Why there can be no resolver. What becomes of a question is a `Failure`, not this.

use std::fmt;
use std::io;
use std::path::PathBuf;

#[derive(Debug)]
pub enum ResolverError {
    /// The file that names the nameservers cannot be read.
    Unreadable { path: PathBuf, error: io::Error },
    /// It can be read, and names none.
    NoNameserver { path: PathBuf },
    /// A search domain of the configuration is no domain name.
    SearchDomain { domain: String },
}

impl ResolverError {
    /// What of the configuration puts it right.
    pub fn key(&self) -> &'static str {
        match self {
            ResolverError::Unreadable { .. } | ResolverError::NoNameserver { .. } => {
                "resolver.nameservers"
            }
            ResolverError::SearchDomain { .. } => "resolver.search",
        }
    }

    /// The word for logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            ResolverError::Unreadable { .. } => "unreadable",
            ResolverError::NoNameserver { .. } => "no-nameserver",
            ResolverError::SearchDomain { .. } => "search-domain",
        }
    }
}

impl fmt::Display for ResolverError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolverError::Unreadable { path, error } => write!(
                out,
                "cannot read {}, which says whom to ask for names: {error}; \
                 make it readable, or give addresses here",
                path.display()
            ),
            ResolverError::NoNameserver { path } => write!(
                out,
                "{} names no nameserver; add one to it, or give addresses here",
                path.display()
            ),
            ResolverError::SearchDomain { domain } => {
                write!(out, "{domain:?} is no domain to search; take it out")
            }
        }
    }
}

impl std::error::Error for ResolverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ResolverError::Unreadable { error, .. } => Some(error),
            ResolverError::NoNameserver { .. } | ResolverError::SearchDomain { .. } => None,
        }
    }
}
