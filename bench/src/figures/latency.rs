//! Owns latencies as a histogram, and its form in JSON; it reads no clock.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::de::Error as _;
use serde::ser::{Error as _, SerializeStruct};
use serde::{Deserialize, Serialize};

/// Nanoseconds, to three digits, up to an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    histogram: Histogram<u64>,
}

/// What is printed of a distribution: a quantile and its name. The maximum comes after them.
pub const PERCENTILES: [(f64, &str); 5] =
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];

impl Latency {
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, HOUR, 3)
            // Both bounds and the digits are constants within what the crate allows.
            .expect("the bounds of the histogram are valid");
        Self { histogram }
    }

    /// What is longer than an hour counts as an hour.
    pub fn record(&mut self, nanoseconds: u64) {
        self.histogram.saturating_record(nanoseconds);
    }

    pub fn record_n(&mut self, nanoseconds: u64, count: u64) {
        self.histogram.saturating_record_n(nanoseconds, count);
    }

    /// Adds what another thread, or another run, has seen.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, unless one was read from a file that was made with others.
        if self.histogram.add(&other.histogram).is_err() {
            for step in other.histogram.iter_recorded() {
                self.record_n(step.value_iterated_to(), step.count_at_value());
            }
        }
    }

    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// Nanoseconds within which this share ended, from 0 to 1; 0 where nothing was recorded.
    pub fn quantile(&self, share: f64) -> u64 {
        self.histogram.value_at_quantile(share)
    }

    pub fn max(&self) -> u64 {
        self.histogram.max()
    }

    /// The share that took longer than so many nanoseconds.
    pub fn share_above(&self, nanoseconds: u64) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        1.0 - self.histogram.percentile_below(nanoseconds) / 100.0
    }

    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    fn encode(&self) -> Option<String> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.histogram, &mut bytes).ok()?;
        Some(STANDARD.encode(bytes))
    }

    fn decode(text: &str) -> Result<Self, &'static str> {
        let bytes = STANDARD.decode(text).map_err(|_| "the histogram is not base64")?;
        let histogram = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|_| "the histogram is not one of HdrHistogram's V2 form")?;
        Ok(Self { histogram })
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Serialize for Latency {
    /// The histogram whole, and for readers without a library its usual percentiles.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.encode().ok_or_else(|| S::Error::custom("the histogram is too large"))?;
        let mut fields = serializer.serialize_struct("Latency", 8)?;
        fields.serialize_field("v2", &text)?;
        fields.serialize_field("count", &self.count())?;
        for (share, name) in PERCENTILES {
            fields.serialize_field(name, &self.quantile(share))?;
        }
        fields.serialize_field("max", &self.max())?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Form {
            v2: String,
        }
        Self::decode(&Form::deserialize(deserializer)?.v2).map_err(D::Error::custom)
    }
}

const HOUR: u64 = 3_600_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_survives_json_whole() {
        let mut latency = Latency::new();
        (1..=100_000).for_each(|step| latency.record(step * 100));
        let text = serde_json::to_string(&latency).unwrap();
        assert_eq!(serde_json::from_str::<Latency>(&text).unwrap(), latency);
    }

    #[test]
    fn json_names_the_usual_percentiles() {
        let mut latency = Latency::new();
        latency.record_n(1_000, 99_990);
        latency.record_n(5_000_000, 10);
        let json = serde_json::to_value(&latency).unwrap();
        assert_eq!(json["count"], 100_000);
        assert_eq!(json["p99"], 1_000);
        assert!(json["max"].as_u64().unwrap() >= 5_000_000);
        assert!(json["p99.99"].as_u64().unwrap() < 2_000);
    }

    #[test]
    fn percentiles_are_right_to_a_thousandth() {
        let mut latency = Latency::new();
        (1..=1_000_000).for_each(|step| latency.record(step * 1_000));
        for (share, name) in PERCENTILES {
            let (got, wanted) = (latency.quantile(share) as f64, share * 1e9);
            assert!((got / wanted - 1.0).abs() < 1e-3, "{name}: {got}");
        }
    }

    #[test]
    fn merging_loses_nothing_even_from_other_bounds() {
        let mut other = Histogram::<u64>::new(2).unwrap();
        other.record_n(7_000_000_000_000, 3).unwrap();
        let mut latency = Latency::new();
        latency.record_n(500, 2);
        latency.merge(&Latency { histogram: other });
        assert_eq!(latency.count(), 5);
        assert_eq!(latency.quantile(0.4), 500);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        for text in [r#"{"v2":"?"}"#, r#"{"v2":"AAAA"}"#, "{}"] {
            assert!(serde_json::from_str::<Latency>(text).is_err(), "{text}");
        }
    }
}
