//! Owns who is measured; how each is found, configured and started is described beside it.

use clap::ValueEnum;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Candidate {
    Ringmain,
    Haproxy,
    HaproxyBufsize,
    HaproxySplice,
    Nginx,
    TokioUring,
    Tokio,
}

impl Candidate {
    pub const ALL: [Self; 7] = [
        Self::Ringmain,
        Self::Haproxy,
        Self::HaproxyBufsize,
        Self::HaproxySplice,
        Self::Nginx,
        Self::TokioUring,
        Self::Tokio,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ringmain => "ringmain",
            Self::Haproxy => "haproxy",
            Self::HaproxyBufsize => "haproxy-bufsize",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
            Self::TokioUring => "tokio-uring",
            Self::Tokio => "tokio",
        }
    }

    /// The others are compared with the best of these.
    pub fn is_reference(self) -> bool {
        matches!(self, Self::Haproxy | Self::HaproxyBufsize | Self::HaproxySplice | Self::Nginx)
    }

    /// Splicing has no part in TLS, and tokio-uring comes without it.
    pub fn ends_tls(self) -> bool {
        !matches!(self, Self::HaproxySplice | Self::TokioUring)
    }
}
