//! Owns log records of OTLP as a collector's exporter writes them: `collector/logs/v1`, `logs/v1`,
//! `common/v1` and `resource/v1` of opentelemetry-proto 1.x. How many there are is not its concern.

use super::super::wire::{Mark, message};
use super::batch::{moment, say};
use super::protobuf::{Fields, Malformed, Value, bytes, fixed, nested, number};

/// Appends an ExportLogsServiceRequest: one resource with one scope, whose records `records`
/// appends.
pub fn request(stream: u32, out: &mut Vec<u8>, records: impl FnOnce(&mut Vec<u8>)) {
    nested(out, RESOURCE_LOGS, |out| {
        nested(out, RESOURCE, |out| {
            attribute(out, RESOURCE_ATTRIBUTES, b"service.name", message::program(stream));
            attribute(out, RESOURCE_ATTRIBUTES, b"service.version", "4.2.0");
            attribute(out, RESOURCE_ATTRIBUTES, b"host.name", &message::host(stream));
            attribute(out, RESOURCE_ATTRIBUTES, b"deployment.environment.name", "bench");
        });
        nested(out, SCOPE_LOGS, |out| {
            nested(out, SCOPE, |out| {
                bytes(out, SCOPE_NAME, b"otelcol/filelogreceiver");
                bytes(out, SCOPE_VERSION, b"0.139.0");
            });
            records(out);
        });
    });
}

/// Appends one record to a scope. `room`: bytes of its body, without its tag.
pub fn record(mark: &Mark, room: usize, out: &mut Vec<u8>) {
    let (seconds, nanos) = moment(mark.due);
    let time = seconds * 1_000_000_000 + nanos;
    nested(out, RECORDS, |out| {
        fixed(out, TIME, time);
        number(out, SEVERITY, INFO);
        bytes(out, SEVERITY_TEXT, b"INFO");
        nested(out, BODY, |out| say(mark, room, STRING, out));
        attribute(out, ATTRIBUTES, b"log.file.name", "access.log");
        nested(out, ATTRIBUTES, |out| {
            bytes(out, KEY, b"log.record.number");
            nested(out, VALUE, |out| number(out, INTEGER, mark.sequence));
        });
        fixed(out, OBSERVED_TIME, time + 250_000);
    });
}

fn attribute(out: &mut Vec<u8>, field: u32, key: &[u8], value: &str) {
    nested(out, field, |out| {
        bytes(out, KEY, key);
        nested(out, VALUE, |out| bytes(out, STRING, value.as_bytes()));
    });
}

/// What each record of an ExportLogsServiceRequest says.
pub fn said(request: &[u8], mut hear: impl FnMut(&[u8])) -> Result<(), Malformed> {
    for resource in Fields::of(request) {
        let (1, Value::Bytes(resource)) = resource? else { continue };
        for scope in Fields::of(resource) {
            let (2, Value::Bytes(scope)) = scope? else { continue };
            for record in Fields::of(scope) {
                let (2, Value::Bytes(record)) = record? else { continue };
                let body = Fields::of(record).last(u64::from(BODY))?.ok_or(Malformed)?;
                hear(Fields::of(body).last(u64::from(STRING))?.ok_or(Malformed)?);
            }
        }
    }
    Ok(())
}

/// ExportLogsServiceRequest
const RESOURCE_LOGS: u32 = 1;
/// ResourceLogs
const RESOURCE: u32 = 1;
const SCOPE_LOGS: u32 = 2;
/// Resource
const RESOURCE_ATTRIBUTES: u32 = 1;
/// ScopeLogs
const SCOPE: u32 = 1;
const RECORDS: u32 = 2;
/// InstrumentationScope
const SCOPE_NAME: u32 = 1;
const SCOPE_VERSION: u32 = 2;
/// LogRecord
const TIME: u32 = 1;
const SEVERITY: u32 = 2;
const SEVERITY_TEXT: u32 = 3;
const BODY: u32 = 5;
const ATTRIBUTES: u32 = 6;
const OBSERVED_TIME: u32 = 11;
/// SeverityNumber
const INFO: u64 = 9;
/// KeyValue
const KEY: u32 = 1;
const VALUE: u32 = 2;
/// AnyValue
const STRING: u32 = 1;
const INTEGER: u32 = 3;
