//! Owns the figures that runs are compared by: their names, units and which way is better.

use super::units;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Units per second at full speed, or in a closed loop.
    Rate,
    BytesPerSecond,
    CpuPerUnit,
    CpuPerByte,
    CpuPerUnitFull,
    CpuPerByteFull,
    P50,
    P99,
    P999,
    /// Of each further connection.
    MemoryPerConnection,
    /// All of the proxy, divided by its connections.
    MemoryAtMost,
    SystemCalls,
    Failed,
}

impl Metric {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate at full speed",
            Self::BytesPerSecond => "bytes/s at full speed",
            Self::CpuPerUnit => "CPU per unit",
            Self::CpuPerByte => "CPU per GB",
            Self::CpuPerUnitFull => "CPU per unit at full speed",
            Self::CpuPerByteFull => "CPU per GB at full speed",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::MemoryPerConnection => "memory per connection",
            Self::MemoryAtMost => "memory per connection, at most",
            Self::SystemCalls => "system calls per unit",
            Self::Failed => "failed units, share",
        }
    }

    /// The name that the page's script knows its scale by.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::BytesPerSecond => "bytes_rate",
            Self::CpuPerUnit | Self::CpuPerUnitFull => "ns",
            Self::CpuPerByte | Self::CpuPerByteFull => "ns_per_byte",
            Self::P50 | Self::P99 | Self::P999 => "ns",
            Self::MemoryPerConnection | Self::MemoryAtMost => "bytes",
            Self::SystemCalls => "number",
            Self::Failed => "share",
        }
    }

    pub fn write(self, value: f64) -> String {
        match self.unit() {
            "rate" => format!("{}/s", units::number(value)),
            "bytes_rate" => format!("{} GB/s", units::digits(value / 1e9)),
            "ns" => units::time(value),
            // A nanosecond for each of 1e9 bytes is a second.
            "ns_per_byte" => format!("{} ms", units::digits(value * 1e3)),
            "bytes" => units::bytes(value),
            "share" => units::percent(value),
            _ => units::digits(value),
        }
    }

    pub fn more_is_better(self) -> bool {
        matches!(self, Self::Rate | Self::BytesPerSecond)
    }
}
