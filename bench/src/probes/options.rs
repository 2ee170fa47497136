//! Owns the arguments of `probes`.

use clap::{Args, ValueEnum};

#[derive(Args)]
pub struct Options {
    /// Backends, each with an address of its own
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub backends: u32,
    /// Seconds that are measured, after as many intervals as it takes for the probes to spread
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// The checks that are measured, in turn; each probes every backend once in two seconds
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = all())]
    pub checks: Vec<Check>,
}

fn all() -> Vec<Check> {
    Check::value_variants().to_vec()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    Tcp,
    SendExpect,
    TlsHello,
    Http,
    Vector,
}

impl Check {
    /// The lines of a pool's section that ask for it.
    pub fn lines(self) -> &'static str {
        match self {
            Check::Tcp => "check = \"tcp\"",
            Check::SendExpect => "check = \"send-expect\"\nsend = \"PING\"\nexpect = \"PONG\"",
            Check::TlsHello => "check = \"tls-hello\"",
            Check::Http => "check = \"http\"",
            Check::Vector => "check = \"vector\"",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Check::Tcp => "tcp",
            Check::SendExpect => "send-expect",
            Check::TlsHello => "tls-hello",
            Check::Http => "http",
            Check::Vector => "vector",
        }
    }
}
