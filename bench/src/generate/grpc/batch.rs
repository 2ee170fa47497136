//! Owns the events of one call: as many as fit into its size, each with a number and a tag of its
//! own, and what is found of them on the other side. It calls nobody.

use super::super::wire::{Mark, TAG, message, tag};
use super::protobuf::{Malformed, head};
use super::{Service, otlp, vector};

/// The events that one call brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The mark of the first; the others have the numbers after it.
    pub first: Mark,
    /// At least one.
    pub events: u64,
    /// All are there, none was changed, and each follows the one before it.
    pub intact: bool,
}

impl Batch {
    /// The mark of the last event: whoever says it has heard all of them.
    pub fn last(&self) -> Mark {
        let sequence = self.first.sequence.saturating_add(self.events - 1);
        Mark { sequence, ..self.first }
    }
}

/// Appends a message of gRPC, with its length before it, whose content has about `size` bytes; the
/// events that are in it. `first` is the mark of the first one.
pub fn encode(service: Service, first: &Mark, size: usize, out: &mut Vec<u8>) -> Batch {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    let events = (size / EVENT).max(1);
    let end = start + PREFIX + size;
    let append = |out: &mut Vec<u8>| {
        for number in 0..events {
            let mark = Mark { sequence: first.sequence + number as u64, ..*first };
            // Each takes its part of what the ones before it have left.
            let part = end.saturating_sub(out.len()) / (events - number);
            let room = part.saturating_sub(around(service));
            match service {
                Service::Vector => vector::event(&mark, room, out),
                Service::OtlpLogs => otlp::record(&mark, room, out),
            }
        }
    };
    match service {
        Service::Vector => append(out),
        Service::OtlpLogs => otlp::request(first.stream, out, append),
    }
    // Not compressed, and at most a little more than a MiB long.
    let length = (out.len() - start - PREFIX) as u32;
    out[start + 1..start + PREFIX].copy_from_slice(&length.to_be_bytes());
    Batch { first: *first, events: events as u64, intact: true }
}

/// Appends what an event says as this field: so many bytes of log lines, and the tag.
pub fn say(mark: &Mark, room: usize, field: u32, out: &mut Vec<u8>) {
    head(out, field, room + 1 + TAG);
    let start = out.len();
    message::say(mark.sequence, room, out);
    out.push(b' ');
    tag::append(mark, start, out);
}

/// A time of the run as seconds since 1970, and nanoseconds. Every run begins at the same time, so
/// that the same unit always says the same.
pub fn moment(due: u64) -> (u64, u64) {
    (BEGINNING + due / 1_000_000_000, due % 1_000_000_000)
}

/// The events of a call, from all that its body was.
pub fn decode(service: Service, body: &[u8]) -> Result<Batch, Malformed> {
    let request = content(body)?;
    let mut batch: Option<Batch> = None;
    let mut untold = false;
    let hear = |text: &[u8]| match (tag::find(text, 0), &mut batch) {
        (None, _) => untold = true,
        (Some((first, intact)), None) => batch = Some(Batch { first, events: 1, intact }),
        (Some((mark, intact)), Some(batch)) => {
            let wanted = batch.first.sequence.checked_add(batch.events);
            let follows = mark.stream == batch.first.stream && Some(mark.sequence) == wanted;
            batch.intact &= intact && follows;
            batch.events += 1;
        }
    };
    match service {
        Service::Vector => vector::said(request, hear)?,
        Service::OtlpLogs => otlp::said(request, hear)?,
    }
    let batch = batch.ok_or(Malformed)?;
    Ok(Batch { intact: batch.intact && !untold, ..batch })
}

/// The content of the one message that a body consists of.
pub fn content(body: &[u8]) -> Result<&[u8], Malformed> {
    let (prefix, content) = body.split_first_chunk::<PREFIX>().ok_or(Malformed)?;
    let [compressed, length @ ..] = *prefix;
    let whole = usize::try_from(u32::from_be_bytes(length)) == Ok(content.len());
    if compressed == 0 && whole { Ok(content) } else { Err(Malformed) }
}

/// What an event takes beside what it says, about.
fn around(service: Service) -> usize {
    match service {
        Service::Vector => 164 + TAG,
        Service::OtlpLogs => 96 + TAG,
    }
}

/// In November 2026.
const BEGINNING: u64 = 1_795_000_000;
/// A message without content.
pub const NOTHING: [u8; PREFIX] = [0; PREFIX];
/// Whether it is compressed, and its length in four bytes (big-endian).
const PREFIX: usize = 5;
/// Bytes of a usual event: a size has as many events as it is a multiple of this.
const EVENT: usize = 400;

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use prost::Message;

    use super::super::tests::definitions::{self, PushEventsRequest};
    use super::*;

    const SERVICES: [Service; 2] = [Service::Vector, Service::OtlpLogs];
    const FIRST: Mark = Mark { stream: 7, sequence: 1_000, due: 2_500_000_000 };

    fn encoded(service: Service, size: usize) -> (u64, Vec<u8>) {
        let mut out = Vec::new();
        let batch = encode(service, &FIRST, size, &mut out);
        (batch.events, out)
    }

    #[test]
    fn a_call_has_the_size_asked_for_and_as_many_events_as_fit() {
        for service in SERVICES {
            for (size, wanted) in [(1, 1), (400, 1), (2_000, 5), (20_000, 50), (1 << 20, 2_621)] {
                let (events, out) = encoded(service, size);
                assert_eq!(events, wanted, "{service:?} of {size}");
                let length = out.len() - PREFIX;
                if size >= 2_000 {
                    let off = (length as f64 / size as f64 - 1.0).abs();
                    assert!(off < 0.02, "{service:?}: {length} for {size}");
                }
                let batch = Batch { first: FIRST, events, intact: true };
                assert_eq!(decode(service, &out), Ok(batch), "{service:?} of {size}");
            }
        }
    }

    #[test]
    fn a_cut_anywhere_is_noticed_and_so_is_every_change_of_what_is_said() {
        for service in SERVICES {
            let (_, whole) = encoded(service, 900);
            for cut in 0..whole.len() {
                assert_eq!(decode(service, &whole[..cut]), Err(Malformed), "{service:?} {cut}");
                // Inside of the message as well, where its length says that it is whole.
                if let Some(length) = cut.checked_sub(PREFIX) {
                    let mut cut = whole[..cut].to_vec();
                    cut[1..PREFIX].copy_from_slice(&(length as u32).to_be_bytes());
                    // Between two events it is a shorter message.
                    let shorter = decode(service, &cut).map(|batch| batch.events);
                    assert!(matches!(shorter, Err(Malformed) | Ok(1)), "{service:?} {length}");
                }
            }
            let said = whole.windows(3).position(|bytes| bytes == b"rm=").unwrap();
            let mut changed = whole.clone();
            changed[said - 9] ^= 1;
            assert!(!decode(service, &changed).unwrap().intact);
        }
    }

    #[test]
    fn events_that_are_missing_or_out_of_their_order_are_noticed() {
        for service in SERVICES {
            let mut out = Vec::new();
            encode(service, &FIRST, 400, &mut out);
            let gap = Mark { sequence: FIRST.sequence + 2, ..FIRST };
            let mut next = Vec::new();
            encode(service, &gap, 400, &mut next);
            // Repeated fields of two messages follow each other in both together.
            out.extend_from_slice(&next[PREFIX..]);
            let length = (out.len() - PREFIX) as u32;
            out[1..PREFIX].copy_from_slice(&length.to_be_bytes());
            let batch = Batch { first: FIRST, events: 2, intact: false };
            assert_eq!(decode(service, &out), Ok(batch));
        }
    }

    /// Both messages in one: repeated fields of two follow each other in both together.
    fn joined(service: Service, first: &Mark, second: &Mark, spoil: Option<(&[u8], u8)>) -> Batch {
        let (mut out, mut next) = (Vec::new(), Vec::new());
        encode(service, first, 400, &mut out);
        encode(service, second, 400, &mut next);
        if let Some((before, byte)) = spoil {
            let place = next.windows(before.len()).position(|bytes| bytes == before).unwrap();
            next[place] ^= byte;
        }
        out.extend_from_slice(&next[PREFIX..]);
        let length = (out.len() - PREFIX) as u32;
        out[1..PREFIX].copy_from_slice(&length.to_be_bytes());
        decode(service, &out).unwrap()
    }

    #[test]
    fn every_event_of_a_call_is_to_follow_the_one_before_it_unchanged() {
        let second = Mark { sequence: FIRST.sequence + 1, ..FIRST };
        for service in SERVICES {
            let whole = Batch { first: FIRST, events: 2, intact: true };
            assert_eq!(joined(service, &FIRST, &second, None), whole);
            let other = Mark { stream: FIRST.stream + 1, ..second };
            let spoiled = [
                joined(service, &FIRST, &other, None),
                // A space before the tag, and the name of the tag itself.
                joined(service, &FIRST, &second, Some((b" rm=", 1))),
            ];
            assert_eq!(spoiled, [Batch { intact: false, ..whole }; 2], "{service:?}");
            let untold = joined(service, &FIRST, &second, Some((b"rm=", 1)));
            assert_eq!(untold, Batch { events: 1, intact: false, ..whole }, "{service:?}");
        }
    }

    #[test]
    fn vector_reads_what_its_sink_would_have_written() {
        let (events, out) = encoded(Service::Vector, 2_000);
        let request = PushEventsRequest::decode(&out[PREFIX..]).unwrap();
        assert_eq!(request.events.len() as u64, events);
        for (number, event) in request.events.iter().enumerate() {
            let Some(definitions::Event::Log(log)) = &event.event else { panic!("a log") };
            let text = |name| match &log.fields[name].kind {
                Some(definitions::Kind::RawBytes(bytes)) => String::from_utf8_lossy(bytes),
                other => panic!("{name} is {other:?}"),
            };
            assert_eq!((text("host"), text("source_type")), ("web-007".into(), "file".into()));
            let (mark, intact) = tag::find(text("message").as_bytes(), 0).unwrap();
            assert_eq!((mark.sequence, intact), (1_000 + number as u64, true));
            let timestamp = Some(definitions::Kind::Timestamp(definitions::Timestamp {
                seconds: 1_795_000_002,
                nanos: 500_000_000,
            }));
            assert_eq!(log.fields["timestamp"].kind, timestamp);
            let metadata = log.metadata_full.as_ref().unwrap();
            assert_eq!(metadata.source_type.as_deref(), Some("file"));
            assert_eq!(metadata.source_event_id.len(), 16);
            // Written and read again by those definitions it is the same: nothing was left out.
            assert!(log.encoded_len() > 250);
        }
        assert_eq!(request.encoded_len(), out.len() - PREFIX);
    }

    #[test]
    fn a_collector_reads_records_of_one_resource_and_scope() {
        let (events, out) = encoded(Service::OtlpLogs, 2_000);
        let request = ExportLogsServiceRequest::decode(&out[PREFIX..]).unwrap();
        let [resource] = &request.resource_logs[..] else { panic!("one resource") };
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        let text = |text: &str| Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
        let named = |key| attributes.iter().find(|pair| pair.key == key).unwrap().value.clone();
        assert_eq!(named("host.name"), text("web-007"));
        let [scope] = &resource.scope_logs[..] else { panic!("one scope") };
        assert_eq!(scope.scope.as_ref().unwrap().name, "otelcol/filelogreceiver");
        assert_eq!(scope.log_records.len() as u64, events);
        for (number, record) in scope.log_records.iter().enumerate() {
            assert_eq!(record.time_unix_nano, 1_795_000_002_500_000_000);
            assert_eq!((record.severity_number, &*record.severity_text), (9, "INFO"));
            let Some(Value::StringValue(body)) = record.body.clone().unwrap().value else {
                panic!("a text")
            };
            let (mark, intact) = tag::find(body.as_bytes(), 0).unwrap();
            assert_eq!((mark.sequence, intact), (1_000 + number as u64, true));
            assert_eq!(record.attributes.len(), 2);
        }
        assert_eq!(request.encoded_len(), out.len() - PREFIX);
    }
}
