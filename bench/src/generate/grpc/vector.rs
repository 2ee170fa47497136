//! Owns the events of Vector's protocol as its `vector` sink writes them: `vector.proto` in
//! `proto/vector`, and `event.proto` in `lib/vector-core/proto`. How many there are is not its
//! concern.

use super::super::wire::{Mark, message};
use super::batch::{moment, say};
use super::protobuf::{Fields, Malformed, Value, bytes, head, nested, number};

/// Appends one event to a PushEventsRequest. `room`: bytes of what it says, without its tag.
pub fn event(mark: &Mark, room: usize, out: &mut Vec<u8>) {
    let (host, program) = (message::host(mark.stream), message::program(mark.stream));
    nested(out, EVENTS, |out| {
        nested(out, WRAPPED_LOG, |out| {
            // By name, as the sink writes them.
            field(out, b"host", |out| bytes(out, RAW_BYTES, host.as_bytes()));
            field(out, b"message", |out| say(mark, room, RAW_BYTES, out));
            field(out, b"service", |out| bytes(out, RAW_BYTES, program.as_bytes()));
            field(out, b"source_type", |out| bytes(out, RAW_BYTES, b"file"));
            field(out, b"timestamp", |out| {
                nested(out, TIMESTAMP, |out| {
                    let (seconds, nanos) = moment(mark.due);
                    number(out, SECONDS, seconds);
                    number(out, NANOS, nanos);
                });
            });
            nested(out, METADATA, |out| {
                // An object without fields.
                nested(out, METADATA_VALUE, |out| head(out, MAP, 0));
                bytes(out, SOURCE_TYPE, b"file");
                let id = u128::from(mark.stream) << 64 | u128::from(mark.sequence);
                bytes(out, EVENT_ID, &id.to_be_bytes());
            });
        });
    });
}

/// An entry of the map of fields.
fn field(out: &mut Vec<u8>, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
    nested(out, FIELDS, |out| {
        bytes(out, KEY, name);
        nested(out, VALUE, value);
    });
}

/// What each event of a PushEventsRequest says.
pub fn said(request: &[u8], mut hear: impl FnMut(&[u8])) -> Result<(), Malformed> {
    for event in Fields::of(request) {
        let (1, Value::Bytes(event)) = event? else { continue };
        let log = Fields::of(event).last(u64::from(WRAPPED_LOG))?.ok_or(Malformed)?;
        for entry in Fields::of(log) {
            let (1, Value::Bytes(entry)) = entry? else { continue };
            if Fields::of(entry).last(u64::from(KEY))? == Some(b"message") {
                let value = Fields::of(entry).last(u64::from(VALUE))?.ok_or(Malformed)?;
                hear(Fields::of(value).last(u64::from(RAW_BYTES))?.ok_or(Malformed)?);
            }
        }
    }
    Ok(())
}

/// PushEventsRequest
const EVENTS: u32 = 1;
/// EventWrapper
const WRAPPED_LOG: u32 = 1;
/// Log: the sink writes objects as `fields`, not as `value`.
const FIELDS: u32 = 1;
const METADATA: u32 = 4;
/// The entry of a map
const KEY: u32 = 1;
const VALUE: u32 = 2;
/// Value
const RAW_BYTES: u32 = 1;
const TIMESTAMP: u32 = 2;
const MAP: u32 = 7;
/// google.protobuf.Timestamp
const SECONDS: u32 = 1;
const NANOS: u32 = 2;
/// Metadata
const METADATA_VALUE: u32 = 1;
const SOURCE_TYPE: u32 = 4;
const EVENT_ID: u32 = 7;
