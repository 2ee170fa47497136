//! Owns the arguments of `balance`.

use clap::Args;

#[derive(Args)]
pub struct Options {
    /// Keys looked up where the moved ones are counted
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(KEYS))]
    keys: u32,
    /// Milliseconds for each figure of what a pick costs
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    milliseconds: u32,
    /// Few keys and little time, to see that everything works
    #[arg(long, conflicts_with_all = ["keys", "milliseconds"])]
    quick: bool,
}

impl Options {
    pub fn keys(&self) -> u32 {
        if self.quick { 20_000 } else { self.keys }
    }

    pub fn nanoseconds(&self) -> u64 {
        u64::from(if self.quick { 2 } else { self.milliseconds }) * 1_000_000
    }
}

/// With fewer, chance is all that is seen; the most are the addresses of a network of 8 bits.
const KEYS: std::ops::RangeInclusive<i64> = 1000..=1 << 24;
