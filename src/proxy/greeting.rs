//! How a session begins where its listener reads the ClientHello: the hello is read, it decides
//! the way, and TLS ends here if that is the way.

use std::cell::RefCell;
use std::future::Future;
use std::net::IpAddr;

use crate::balance::PoolId;
use crate::engine::{Either, Socket, Time, race};
use crate::observe::{CloseReason, TlsFailure};
use crate::protocol::client_hello::{ClientHello, HelloReader, Malformed, Progress, fatal_alert};
use crate::tls::{ClientTls, Connection, Failure, ServerTls, alert_name};
use crate::view::{Lacks, Outcome, PlainText, Preface};

use super::handshakes::{Slowness, begin};
use super::hellos::Share;
use super::session::Session;
use super::tls::{Refusal, Tls, count, part, send_alert, shake_hands};
use super::worker::NEVER;

/// What a session's beginning has shown.
pub(super) struct Greeting {
    /// `None`: it leads nowhere.
    pub(super) pool: Option<PoolId>,
    /// `None`: what does not begin with a hello.
    pub(super) hello: Option<ClientHello>,
    /// What was read so far, where it is for the backend.
    prelude: RefCell<Vec<u8>>,
    /// Where TLS ends here.
    pub(super) tls: Option<Tls>,
}

impl Greeting {
    /// What the backend is to be sent first, once.
    pub(super) fn take_prelude(&self) -> Vec<u8> {
        std::mem::take(&mut *self.prelude.borrow_mut())
    }

    pub(super) fn has_prelude(&self) -> bool {
        !self.prelude.borrow().is_empty()
    }
}

/// Why a session goes no further.
pub(super) struct Refused {
    pub(super) reason: CloseReason,
    /// The client was told by an alert.
    pub(super) told: bool,
    /// What was read nevertheless, for the log.
    pub(super) greeting: Option<Box<Greeting>>,
}

impl Refused {
    fn told(reason: CloseReason) -> Refused {
        Refused { told: true, ..Refused::from(reason) }
    }

    fn after(self, greeting: Greeting) -> Refused {
        Refused { greeting: Some(Box::new(greeting)), ..self }
    }
}

impl From<CloseReason> for Refused {
    fn from(reason: CloseReason) -> Refused {
        Refused { reason, told: false, greeting: None }
    }
}

/// Reads the hello and goes the way that is its route's.
pub(super) async fn greet(session: &Session, preface: &Preface) -> Result<Greeting, Refused> {
    let deadline = session.worker.engine.now() + preface.timeout;
    let mut reader = HelloReader::new(preface.size);
    // Until the way is known, and where TLS ends here, until hands are shaken.
    let mut share = session.worker.hellos.share();
    let hello = match or_asked(session, read(session, &mut reader, &mut share), deadline).await {
        Ok(outcome) => outcome?,
        Err(None) => return Err(CloseReason::HelloTimeout.into()),
        Err(Some(reason)) => return Err(reason.into()),
    };
    let passed = |hello, pool| {
        let prelude = RefCell::new(Vec::new());
        Greeting { pool, hello, prelude, tls: None }
    };
    let hello = match hello {
        Ok(hello) => hello,
        Err(Malformed::PlainText) if preface.plain_text == PlainText::Pass => {
            let greeting = passed(None, Some(session.pool_id()?));
            greeting.prelude.replace(reader.into_bytes());
            return Ok(greeting);
        }
        Err(malformed) => return Err(reject(session, malformed).await),
    };
    let found = preface.routes.find(hello.server_name.as_deref(), &hello.alpn);
    match found.outcome {
        Outcome::Reject => {
            let (word, text, alert) = match found.lacks {
                Lacks::Name => NO_NAME,
                Lacks::Protocol => NO_PROTOCOL,
            };
            tell(session, word, text, alert).await;
            Err(Refused::told(CloseReason::NoRoute).after(passed(Some(hello), None)))
        }
        Outcome::Relay { pool, tls: None } => {
            let greeting = passed(Some(hello), Some(*pool));
            greeting.prelude.replace(reader.into_bytes());
            Ok(greeting)
        }
        Outcome::Relay { pool, tls: Some(settings) } => {
            let way = (&**settings, found.protocol);
            let accepted = accept(session, way, &hello, reader.into_bytes()).await;
            let greeting = passed(Some(hello), Some(*pool));
            match accepted {
                Ok(tls) => Ok(Greeting { tls: Some(tls), ..greeting }),
                Err(refused) => Err(refused.after(greeting)),
            }
        }
    }
}

/// Reads until it is clear what the client says.
async fn read(
    session: &Session,
    reader: &mut HelloReader,
    share: &mut Share<'_>,
) -> Result<Result<ClientHello, Malformed>, CloseReason> {
    loop {
        // Its memory is held only while something is there.
        let received = match race(session.client.receive(), share.gives_way()).await {
            Either::First(received) => received,
            Either::Second(()) => return Err(CloseReason::RelayMemory),
        };
        let Ok(Some(buffer)) = received else { return Err(CloseReason::ClientAborted) };
        let progress = reader.read(&buffer);
        share.grow(buffer.len(), progress == Progress::Incomplete);
        match progress {
            Progress::Incomplete => {}
            Progress::Complete(hello) => return Ok(Ok(hello)),
            Progress::Malformed(malformed) => return Ok(Err(malformed)),
        }
    }
}

/// Ends the client's TLS here, by the protocol that its route goes by if there is one.
async fn accept(
    session: &Session,
    (settings, protocol): (&ServerTls, Option<&[u8]>),
    hello: &ClientHello,
    bytes: Vec<u8>,
) -> Result<Tls, Refused> {
    let worker = &session.worker;
    let deadline = worker.engine.now() + settings.handshake_timeout();
    let shaken = async {
        let _place = begin(worker.handshakes.with_clients(), worker.tally()).await;
        let connection = Connection::server(settings.config_for(protocol).clone());
        let connection = connection.map_err(Refusal::Failed)?;
        let slowness = Slowness::of_server(settings, hello);
        // Its deadline is for all of it, the wait for a place and for our turns included.
        shake_hands(session, &session.client, connection, bytes, slowness, NEVER).await
    };
    let outcome = match or_asked(session, shaken, deadline).await {
        Ok(outcome) => outcome,
        Err(None) => Err(Refusal::TimedOut),
        Err(Some(reason)) => return Err(reason.into()),
    };
    count(&worker.accounts.of_listener(&session.listener).handshakes, &outcome);
    match outcome {
        Ok(tls) => Ok(tls),
        Err(Refusal::Left) => Err(CloseReason::ClientAborted.into()),
        Err(Refusal::TimedOut) => Err(CloseReason::HandshakeTimeout.into()),
        Err(Refusal::Failed(failure)) => {
            session.failed(&failure);
            part(session, &session.client).await;
            Err(Refused::told(CloseReason::ClientTls))
        }
    }
}

/// Shakes hands with a backend, which has its time-out for it.
pub(super) async fn connect(
    session: &Session,
    socket: &Socket,
    settings: &ClientTls,
    backend: (&str, IpAddr),
) -> Result<Tls, Refusal> {
    let agreed = session.client_tls().and_then(Tls::protocol);
    let name = settings.name_for(backend.0, backend.1, session.server_name());
    let name = name.map_err(|_| Refusal::Failed(Failure::NoName))?;
    let config = settings.config_for(agreed.as_deref());
    let connection = Connection::client(config, name).map_err(Refusal::Failed)?;
    let deadline = session.worker.engine.now() + settings.handshake_timeout();
    let slowness = Slowness::of_client(settings);
    shake_hands(session, socket, connection, Vec::new(), slowness, deadline).await
}

/// Rejects what is no hello.
async fn reject(session: &Session, malformed: Malformed) -> Refused {
    let (word, text) = (malformed.as_str(), malformed.sentence());
    session.worker.accounts.of_listener(&session.listener).hellos_refused.add(malformed);
    match malformed.alert() {
        Some(alert) => {
            tell(session, word, text, alert).await;
            Refused::told(CloseReason::BadHello)
        }
        None => {
            session.refused(TlsFailure::new(word, text));
            CloseReason::BadHello.into()
        }
    }
}

/// Tells the log, and the client by an alert, why it goes no further.
async fn tell(session: &Session, word: &'static str, text: &str, alert: u8) {
    let name = alert_name(alert.into());
    session.refused(TlsFailure::new(word, format_args!("the alert {name} was sent: {text}")));
    send_alert(session, &session.client, &fatal_alert(alert, LEGACY_VERSION)).await;
}

/// Until the deadline, which gives `None`, or until the session is asked to end.
async fn or_asked<T>(
    session: &Session,
    work: impl Future<Output = T>,
    deadline: Time,
) -> Result<T, Option<CloseReason>> {
    let limited = race(work, session.worker.engine.sleep_until(deadline));
    match race(limited, session.asked()).await {
        Either::First(Either::First(outcome)) => Ok(outcome),
        Either::First(Either::Second(())) => Err(None),
        Either::Second(reason) => Err(Some(reason)),
    }
}

/// What a record says before a version is agreed on (RFC 8446, 5.1).
const LEGACY_VERSION: u16 = 0x0303;
/// Word, sentence and alert (RFC 6066, section 3) where no route goes by the name.
const NO_NAME: (&str, &str, u8) =
    ("unrecognized-name", "no route leads anywhere for the server name", 112);
/// The same where one would, with another protocol (RFC 7301, section 3.2).
const NO_PROTOCOL: (&str, &str, u8) =
    ("no-application-protocol", "no route leads anywhere for the protocols offered", 120);
