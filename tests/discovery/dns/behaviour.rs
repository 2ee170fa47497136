//! Owns the ways in which the server may answer, and what they make of an honest answer.

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

/// How queries are answered; those that lie say so of UDP and TCP alike unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Honest,
    Silent,
    /// Answers nothing but this code: SERVFAIL, REFUSED, ...
    Says(ResponseCode),
    /// The code in 12 bytes, without the question.
    SaysBriefly(ResponseCode),
    /// Answers nothing but this code, and without EDNS, to queries with EDNS; honest without it.
    RefusesEdns(ResponseCode),
    /// The same in 12 bytes, without the question.
    RefusesEdnsBriefly(ResponseCode),
    /// Knows nothing of the zone, says so by neither an answer nor a code.
    Lame,
    /// The right answer under a wrong id, and nothing else.
    WrongId,
    /// A false answer under a wrong id, then the right one.
    WrongIdFirst,
    /// The right answer to another question, and nothing else.
    WrongQuestion,
    /// A false answer to another question, then the right one.
    WrongQuestionFirst,
    /// A false answer from another port, then the right one.
    WrongSourceFirst,
    /// Hundreds of answers under wrong ids, without pause, and the right one last.
    Flood,
    /// The name of the answer is a pointer to itself.
    Loop,
    /// The name of the question is a pointer to itself.
    LoopInQuestion,
    /// The second half is missing, and nothing says so.
    Cut,
    /// The id and the question are right, the rest is noise.
    Noise,
    /// Never fits in a datagram; honest over TCP.
    Truncated,
    /// Never fits in a datagram, and neither in a stream.
    TruncatedForEver,
    /// Never fits in a datagram; over TCP each byte goes by itself.
    Pieces,
    /// Never fits in a datagram; over TCP half of it comes, and no more.
    Stalls,
    /// Never fits in a datagram; over TCP half of it comes, then the end.
    Closes,
}

/// What goes out for one query.
pub enum Reply {
    /// A datagram, or a framed message.
    Message(Vec<u8>),
    /// The same from a socket that was not asked.
    Elsewhere(Vec<u8>),
    /// A framed message, byte by byte.
    Pieces(Vec<u8>),
    /// Half of a framed message; the stream stays open.
    Half(Vec<u8>),
    /// The end of the stream.
    Close,
}

impl Behaviour {
    pub(super) fn replies(self, right: &Right) -> Vec<Reply> {
        let truth = Reply::Message(right.fitted());
        match self {
            Behaviour::Honest => vec![truth],
            Behaviour::Silent => Vec::new(),
            Behaviour::Says(code) => vec![right.but(|it| says(it, code))],
            Behaviour::SaysBriefly(code) => {
                vec![Reply::Message(header_alone(right.bytes_but(|it| says(it, code))))]
            }
            Behaviour::RefusesEdns(_) | Behaviour::RefusesEdnsBriefly(_)
                if right.message.edns.is_none() =>
            {
                vec![truth]
            }
            Behaviour::RefusesEdns(code) => vec![right.but(|it| says_plainly(it, code))],
            Behaviour::RefusesEdnsBriefly(code) => {
                vec![Reply::Message(header_alone(right.bytes_but(|it| says_plainly(it, code))))]
            }
            Behaviour::Lame => vec![right.but(lame)],
            Behaviour::WrongId => vec![right.but(|it| it.metadata.id ^= 0x5555)],
            Behaviour::WrongIdFirst => vec![right.denied(|it| it.metadata.id ^= 0x5555), truth],
            Behaviour::WrongQuestion => vec![right.but(wrong_question)],
            Behaviour::WrongQuestionFirst => vec![right.denied(wrong_question), truth],
            Behaviour::WrongSourceFirst => {
                vec![Reply::Elsewhere(right.bytes_but(|it| says(it, DENIAL))), truth]
            }
            Behaviour::Flood => {
                let guesses = 1..=400;
                let false_words = guesses.map(|guess| right.denied(|it| it.metadata.id ^= guess));
                false_words.chain([truth]).collect()
            }
            Behaviour::Loop => vec![Reply::Message(looped_answer(right.message))],
            Behaviour::LoopInQuestion => vec![Reply::Message(looped_question(right.message))],
            Behaviour::Cut => vec![Reply::Message(half(right.bytes_but(|_| {})))],
            Behaviour::Noise => vec![Reply::Message(noise(right.message))],
            Behaviour::TruncatedForEver => vec![Reply::Message(right.truncated())],
            _ if !right.tcp => vec![Reply::Message(right.truncated())],
            Behaviour::Truncated => vec![truth],
            Behaviour::Pieces => vec![Reply::Pieces(right.fitted())],
            Behaviour::Stalls => vec![Reply::Half(right.fitted())],
            Behaviour::Closes => vec![Reply::Half(right.fitted()), Reply::Close],
        }
    }
}

/// The honest answer, and how it goes out.
pub(super) struct Right<'a> {
    pub message: &'a Message,
    /// Of a datagram, in bytes.
    pub limit: usize,
    pub tcp: bool,
}

impl Right<'_> {
    /// Says that it is truncated if it does not fit.
    fn fitted(&self) -> Vec<u8> {
        let bytes = self.message.to_vec().unwrap();
        if self.tcp || bytes.len() <= self.limit { bytes } else { self.truncated() }
    }

    fn truncated(&self) -> Vec<u8> {
        self.message.truncate().to_vec().unwrap()
    }

    fn bytes_but(&self, change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = self.message.clone();
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn but(&self, change: impl FnOnce(&mut Message)) -> Reply {
        Reply::Message(self.bytes_but(change))
    }

    /// A lie with a consequence: whoever believes it loses its backends.
    fn denied(&self, change: impl FnOnce(&mut Message)) -> Reply {
        self.but(|message| {
            says(message, DENIAL);
            change(message);
        })
    }
}

fn says(message: &mut Message, code: ResponseCode) {
    message.answers.clear();
    message.authorities.clear();
    message.additionals.clear();
    message.metadata.response_code = code;
}

fn says_plainly(message: &mut Message, code: ResponseCode) {
    says(message, code);
    message.edns = None;
}

fn lame(message: &mut Message) {
    says(message, ResponseCode::NoError);
    message.metadata.authoritative = false;
    message.metadata.recursion_available = false;
}

fn wrong_question(message: &mut Message) {
    let kind = message.queries[0].query_type();
    message.queries = vec![Query::query(Name::from_ascii("other.test.").unwrap(), kind)];
}

fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// The header, with no section after it.
fn header_alone(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(HEADER);
    bytes[4..].fill(0);
    bytes
}

/// The header and the question; as many answers are announced, and not there.
fn opening(right: &Message, answers: u16) -> Vec<u8> {
    let mut bytes = header_alone(right.to_vec().unwrap());
    bytes[5] = 1;
    bytes[6..8].copy_from_slice(&answers.to_be_bytes());
    let mut question = Vec::new();
    right.queries[0].emit(&mut BinEncoder::new(&mut question)).unwrap();
    bytes.extend(question);
    bytes
}

fn looped_answer(right: &Message) -> Vec<u8> {
    let mut bytes = opening(right, 1);
    let pointer = 0xc000 | u16::try_from(bytes.len()).unwrap();
    bytes.extend(pointer.to_be_bytes());
    // An A record of 10.6.6.6.
    bytes.extend([0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 6, 6, 6]);
    bytes
}

fn looped_question(right: &Message) -> Vec<u8> {
    let mut bytes = header_alone(right.to_vec().unwrap());
    bytes[5] = 1;
    bytes.extend([0xc0, HEADER as u8, 0, 1, 0, 1]);
    bytes
}

fn noise(right: &Message) -> Vec<u8> {
    let mut bytes = opening(right, 7);
    let mut random = fastrand::Rng::with_seed(7);
    bytes.extend((0..200).map(|_| random.u8(..)));
    bytes
}

const DENIAL: ResponseCode = ResponseCode::NXDomain;

const HEADER: usize = 12;
