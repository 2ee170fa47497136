//! One query, and whether what comes back is its response. Says nothing of what a response means,
//! and moves no byte.

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query as Asked, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// A query to be sent once, to one nameserver.
pub(super) struct Query {
    pub bytes: Vec<u8>,
    id: u16,
    asked: Asked,
}

/// What bytes from a nameserver are to a query.
#[derive(Debug)]
pub(super) enum Heard {
    Response(Message),
    /// A response that does not fit in a datagram: to be asked for over TCP.
    Truncated,
    /// A response to this query that cannot be read.
    Garbled,
    /// No response to this query. Anybody could have sent it, so that it proves nothing.
    Stray,
}

impl Query {
    /// `payload` is the largest datagram to be sent back (RFC 6891); without one, which is said
    /// without EDNS, that is 512 bytes.
    ///
    /// The id comes from hickory's generator, which the system seeds: together with the port that
    /// the kernel draws, it is what somebody who forges responses has to guess. That is why the
    /// replayable generators of the other parts are not used here.
    pub fn new(name: &Name, kind: RecordType, payload: Option<u16>) -> Result<Query, ProtoError> {
        let asked = Asked::query(name.clone(), kind);
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(asked.clone());
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            message.set_edns(edns);
        }
        Ok(Query { bytes: message.to_vec()?, id: message.metadata.id, asked })
    }

    /// The id and the question are read by themselves, so that nothing else is looked at unless
    /// they are right, and the rest of a truncated response does not matter.
    pub fn hear(&self, bytes: &[u8]) -> Heard {
        let mut decoder = BinDecoder::new(bytes);
        let Ok(header) = Header::read(&mut decoder) else { return Heard::Stray };
        let about = header.metadata;
        if about.id != self.id
            || about.message_type != MessageType::Response
            || about.op_code != OpCode::Query
        {
            return Heard::Stray;
        }
        match header.counts.queries {
            1 if Asked::read(&mut decoder).is_ok_and(|asked| asked == self.asked) => {}
            // Who cannot make sense of a query need not repeat its question (RFC 9619), and is
            // believed that it failed, but never that a name is or is not there.
            0 if !tells(about.response_code) => {}
            _ => return Heard::Stray,
        }
        if about.truncation {
            return Heard::Truncated;
        }
        match Message::from_vec(bytes) {
            Ok(message) => Heard::Response(message),
            Err(_unreadable) => Heard::Garbled,
        }
    }
}

/// Says something of the name, rather than of the nameserver.
fn tells(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{RData, Record, rdata::A};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn query() -> Query {
        Query::new(&name("agg.test."), RecordType::A, Some(1232)).unwrap()
    }

    /// A right response, but for what `change` does to it.
    fn response(query: &Query, change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::response(query.id, OpCode::Query);
        message.add_query(query.asked.clone());
        let address = RData::A(A::new(10, 0, 0, 1));
        message.add_answer(Record::from_rdata(name("agg.test."), 30, address));
        change(&mut message);
        message.to_vec().unwrap()
    }

    #[test]
    fn a_query_asks_for_recursion_and_says_how_much_it_takes() {
        let query = Query::new(&name("agg.test."), RecordType::SRV, Some(1400)).unwrap();
        let message = Message::from_vec(&query.bytes).unwrap();
        assert!(message.metadata.recursion_desired);
        assert_eq!(message.queries, [Asked::query(name("agg.test."), RecordType::SRV)]);
        assert_eq!(message.edns.unwrap().max_payload(), 1400);
        let plain = Query::new(&name("agg.test."), RecordType::SRV, None).unwrap();
        assert!(Message::from_vec(&plain.bytes).unwrap().edns.is_none());
    }

    #[test]
    fn no_two_queries_in_a_row_have_ids_in_a_row() {
        let ids: Vec<u16> = (0..32).map(|_| query().id).collect();
        let steps: std::collections::BTreeSet<u16> =
            ids.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert!(steps.len() > 20, "{ids:?}");
    }

    #[test]
    fn the_response_may_repeat_the_question_in_capitals() {
        let query = query();
        let bytes = response(&query, |message| {
            message.queries = vec![Asked::query(name("AGG.Test."), RecordType::A)];
        });
        assert!(matches!(query.hear(&bytes), Heard::Response(_)));
    }

    #[test]
    fn what_is_no_response_to_the_query_is_a_stray() {
        let query = query();
        let changes: [&dyn Fn(&mut Message); 6] = [
            &|message| message.metadata.id ^= 1,
            &|message| message.metadata.message_type = MessageType::Query,
            &|message| message.metadata.op_code = OpCode::Update,
            &|message| message.queries = vec![Asked::query(name("x.test."), RecordType::A)],
            &|message| message.queries = vec![Asked::query(name("agg.test."), RecordType::AAAA)],
            &|message| message.queries.clear(),
        ];
        for (index, change) in changes.iter().enumerate() {
            let heard = query.hear(&response(&query, change));
            assert!(matches!(heard, Heard::Stray), "{index}: {heard:?}");
        }
        assert!(matches!(query.hear(&query.bytes), Heard::Stray));
        assert!(matches!(query.hear(&[]), Heard::Stray));
    }

    #[test]
    fn a_refusal_may_leave_the_question_out() {
        let query = query();
        let bytes = response(&query, |message| {
            message.queries.clear();
            message.answers.clear();
            message.metadata.response_code = ResponseCode::FormErr;
        });
        assert!(matches!(query.hear(&bytes), Heard::Response(_)));
    }

    #[test]
    fn a_response_cut_at_any_byte_is_a_stray_or_garbled() {
        let query = query();
        let bytes = response(&query, |_| {});
        let question_ends = 12 + "agg.test.".len() + 1 + 4;
        for length in 0..bytes.len() {
            match query.hear(&bytes[..length]) {
                Heard::Stray => assert!(length < question_ends, "{length}"),
                Heard::Garbled => assert!(length >= question_ends, "{length}"),
                heard => panic!("{length}: {heard:?}"),
            }
        }
    }

    #[test]
    fn nothing_after_the_question_of_a_truncated_response_matters() {
        let query = query();
        let bytes = response(&query, |message| message.metadata.truncation = true);
        assert!(matches!(query.hear(&bytes), Heard::Truncated));
        assert!(matches!(query.hear(&bytes[..bytes.len() - 3]), Heard::Truncated));
    }

    #[test]
    fn any_byte_may_change_without_a_panic() {
        let query = query();
        let bytes = response(&query, |_| {});
        for index in 0..bytes.len() {
            for value in 0..=u8::MAX {
                let mut bytes = bytes.clone();
                bytes[index] = value;
                query.hear(&bytes);
            }
        }
    }
}
