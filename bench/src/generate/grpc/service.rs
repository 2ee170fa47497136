//! Owns which services are called, by which names, and what an answer of each says; the events that
//! they take are made in `batch`.

use super::protobuf::{Fields, Malformed, Value};

/// Who takes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Vector's own protocol, between its `vector` sink and its `vector` source.
    Vector,
    /// The logs of OpenTelemetry's OTLP.
    OtlpLogs,
}

impl Service {
    /// The method that takes events.
    pub fn path(self) -> &'static str {
        match self {
            Service::Vector => "/vector.Vector/PushEvents",
            Service::OtlpLogs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }

    /// The method that says whether the backend serves, which a sink calls before it begins.
    pub fn health(self) -> Option<&'static str> {
        match self {
            Service::Vector => Some("/vector.Vector/HealthCheck"),
            Service::OtlpLogs => None,
        }
    }

    /// How real senders name themselves.
    pub fn user_agent(self) -> &'static str {
        match self {
            Service::Vector => "tonic/0.12.3",
            Service::OtlpLogs => "OpenTelemetry Collector bench grpc-go/1.75.0",
        }
    }

    /// Whether an answer, whose status is good, says that all events were taken.
    pub fn takes_all(self, answer: &[u8]) -> Result<bool, Malformed> {
        match self {
            // It has no fields.
            Service::Vector => Fields::of(answer).try_fold(true, |all, field| field.map(|_| all)),
            Service::OtlpLogs => {
                let partial = Fields::of(answer).last(PARTIAL_SUCCESS)?.unwrap_or_default();
                Ok(first_number(partial)? == 0)
            }
        }
    }
}

/// Whether the answer to a health check says that the backend serves.
pub fn serves(answer: &[u8]) -> Result<bool, Malformed> {
    Ok(first_number(answer)? == SERVING)
}

/// The number in the first field, which is 0 where it is left out.
fn first_number(message: &[u8]) -> Result<u64, Malformed> {
    Fields::of(message).try_fold(0, |found, field| match field? {
        (1, Value::Number(number)) => Ok(number),
        _ => Ok(found),
    })
}

/// ExportLogsServiceResponse. Its own first field counts the records that were rejected.
const PARTIAL_SUCCESS: u64 = 1;
/// ServingStatus of Vector
const SERVING: u64 = 0;

#[cfg(test)]
mod tests {
    use super::super::protobuf::{nested, number};
    use super::*;

    #[test]
    fn an_answer_may_say_that_something_was_not_taken() {
        for service in [Service::Vector, Service::OtlpLogs] {
            assert_eq!(service.takes_all(&[]), Ok(true));
            assert_eq!(service.takes_all(&[0x0a]), Err(Malformed));
        }
        let mut partial = Vec::new();
        nested(&mut partial, 1, |out| number(out, 1, 3));
        assert_eq!(Service::OtlpLogs.takes_all(&partial), Ok(false));
        assert_eq!((serves(&[]), serves(&[0x08, 1])), (Ok(true), Ok(false)));
    }
}
