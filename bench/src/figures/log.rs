//! Owns the form of a `.hlog` file: HdrHistogram's log of intervals, which its own tools read and
//! plot. It opens no file.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};
use hdrhistogram::serialization::{V2DeflateSerializeError, V2DeflateSerializer};

use super::run::Run;

/// One interval per run, one after the other from `begun` on; the tag says what was run.
/// Maxima are in milliseconds, as these logs have them; the histograms are in nanoseconds.
pub fn write_log(runs: &[Run], begun: SystemTime, output: &mut impl Write) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("ringmain-bench, latencies in nanoseconds from the intended time");
    builder.with_start_time(begun).with_base_time(begun).with_max_value_divisor(1e6);
    let mut log = builder.begin_log_with(output, &mut serializer)?;
    let mut at = Duration::ZERO;
    for run in runs {
        let window = Duration::try_from_secs_f64(run.window).unwrap_or(Duration::ZERO);
        let name = tag(run);
        log.write_histogram(run.latency.histogram(), at, window, Tag::new(&name))
            .map_err(reason)?;
        at += window;
    }
    Ok(())
}

/// Tags have no comma, space or line end in them.
fn tag(run: &Run) -> String {
    let rate = run.offered.map_or("closed".to_owned(), |rate| format!("{rate:.0}"));
    let name = format!("{}/{}/{}/{rate}", run.candidate, run.protocol, run.connections);
    name.replace([',', ' ', '\r', '\n'], "_")
}

fn reason(error: IntervalLogWriterError<V2DeflateSerializeError>) -> io::Error {
    match error {
        IntervalLogWriterError::IoError(error) => error,
        IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::super::run::sample;
    use super::*;

    #[test]
    fn a_reader_of_such_logs_finds_every_run_whole() {
        let mut first = sample("ringmain", 1000.0);
        first.latency.record_n(2_000_000, 7);
        let runs = [first, sample("a name, with a comma", 2000.0)];
        let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut text = Vec::new();
        write_log(&runs, begun, &mut text).unwrap();

        let entries: Vec<_> = IntervalLogIterator::new(&text).map(Result::unwrap).collect();
        assert!(matches!(entries[0], LogEntry::StartTime(at) if at.as_secs() == 1_800_000_000));
        let mut found = entries.iter().filter_map(|entry| match entry {
            LogEntry::Interval(interval) => Some(interval),
            _ => None,
        });
        for (run, at) in runs.iter().zip([0, 10]) {
            let interval = found.next().unwrap();
            assert_eq!(interval.start_timestamp().as_secs(), at);
            assert_eq!(interval.tag().unwrap().as_str(), tag(run));
            let bytes = base64::Engine::decode(
                &base64::engine::general_purpose::STANDARD,
                interval.encoded_histogram(),
            );
            let histogram =
                Deserializer::new().deserialize::<u64, _>(&mut bytes.unwrap().as_slice());
            assert_eq!(&histogram.unwrap(), run.latency.histogram());
        }
        assert!(found.next().is_none());
    }
}
