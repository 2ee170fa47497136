//! Owns one agent that calls: a connection that is kept up, the calls that are to leave on it, many
//! at once, and what is answered. When calls are due is decided elsewhere.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Ping, PingPong};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{Method, Request, Uri, Version};
use ringmain::engine::{Either, Notify, race};

use super::super::agents::{Lasting, Manner, SLOW_PAUSE, SLOW_PIECE, Site, Team};
use super::super::cause::Cause;
use super::super::channel::Channel;
use super::super::ledger::Outstanding;
use super::super::one_way::OneWay;
use super::super::order::Pace;
use super::super::wire::Mark;
use super::bridge::{Bridge, End};
use super::reply::Reply;
use super::status::{self, Broken};
use super::{ALPN, Service, batch, service};

pub struct Caller {
    team: Rc<Team>,
    service: Service,
    manner: Manner,
    /// Its number among all of the run.
    stream: u32,
    /// When each call that has not left was to leave.
    due: RefCell<VecDeque<u64>>,
    /// Rings when there is something to send, or nothing is under way any more.
    work: Notify,
    outstanding: RefCell<Outstanding>,
    /// The number of the next event.
    event: Cell<u64>,
}

impl Caller {
    pub fn new(team: Rc<Team>, service: Service, stream: u32, manner: Manner) -> Rc<Caller> {
        Rc::new(Caller {
            team,
            service,
            manner,
            stream,
            due: RefCell::default(),
            work: Notify::default(),
            outstanding: RefCell::default(),
            event: Cell::new(0),
        })
    }

    async fn live(self: Rc<Self>) {
        let lose = || self.outstanding.borrow_mut().give_up().for_each(drop);
        self.team.keep_up(async |channel| self.talk(channel).await, lose).await;
    }

    async fn talk(self: &Rc<Self>, channel: &Channel) -> Result<(), Cause> {
        if channel.agreed_protocol().is_some_and(|agreed| agreed.as_deref() != Some(ALPN)) {
            return Err(Cause::Tls("tls_alpn"));
        }
        let (piece, rest) = match self.manner {
            Manner::Slow => (SLOW_PIECE, SLOW_PAUSE),
            _ => (usize::MAX, Duration::ZERO),
        };
        let hold = async || {
            if !rest.is_zero() {
                self.team.stage.pause(rest).await;
            }
        };
        let bridge = Rc::<Bridge>::default();
        let carrying = bridge.carry(channel, piece, hold);
        match race(self.speak(channel, bridge.end()), carrying).await {
            Either::First(ended) | Either::Second(ended) => ended,
        }
    }

    /// Speaks HTTP/2 until the time of the connection is over, or it fails.
    async fn speak(self: &Rc<Self>, channel: &Channel, end: End) -> Result<(), Cause> {
        let handshake = Builder::new().enable_push(false).handshake::<_, Bytes>(end);
        let (requests, mut connection) = handshake.await.map_err(cause)?;
        let ping = connection.ping_pong();
        let mut last = requests.clone();
        match race(self.ask(channel, requests, ping), &mut connection).await {
            Either::First(asked) => {
                asked?;
                // With the last of those who can ask, h2 says goodbye and ends the connection.
                drop(last);
                race(connection, self.team.stage.pause(LAST_WORDS)).await;
                // What has not been answered by now is lost, as after any other end.
                self.outstanding.borrow_mut().give_up().for_each(drop);
                Ok(())
            }
            Either::Second(ended) => {
                ended.map_err(cause)?;
                match poll_fn(|context| last.poll_ready(context)).await.map_err(Broken::from) {
                    // It said that it would go, and answered all that was under way.
                    Err(Broken::Untouched) if self.outstanding.borrow().is_empty() => Ok(()),
                    Err(Broken::Untouched) => Err(Cause::GoAway),
                    _ => Err(Cause::Closed),
                }
            }
        }
    }

    /// Calls what is due until the time of the connection is over, and all is answered.
    async fn ask(
        self: &Rc<Self>,
        channel: &Channel,
        mut requests: SendRequest<Bytes>,
        ping: Option<PingPong>,
    ) -> Result<(), Cause> {
        self.greet(&mut requests, ping).await?;
        let _standing = self.team.stand();
        if let Pace::Closed { depth } = self.team.group.pace
            && self.team.is_open()
        {
            // Those that the connection before this one has left are among them.
            let left = self.due.borrow().len() as u32;
            (left..depth).for_each(|_| self.push(self.team.stage.now()));
        }
        let (stage, end, mut breaks) = (&self.team.stage, self.team.draw_end(), false);
        while !breaks && stage.engine.now() < end {
            let work = self.work.notified();
            if self.due.borrow().is_empty() {
                race(work, stage.engine.sleep_until(end)).await;
                continue;
            }
            // There may be as many streams as the other side wants to have.
            match poll_fn(|context| requests.poll_ready(context)).await.map_err(Broken::from) {
                Ok(()) => {
                    self.call_next(&mut requests)?;
                    breaks = self.team.breaks_off(self.manner);
                }
                Err(Broken::Untouched) => break,
                Err(broken) => return Err(broken.cause()),
            }
        }
        // What is due now waits for the next connection.
        let answered = async {
            while !self.outstanding.borrow().is_empty() {
                self.work.notified().await;
            }
        };
        match race(answered, stage.pause(self.team.patience())).await {
            Either::First(()) if breaks => self.break_off(channel, &mut requests).await,
            Either::First(()) | Either::Second(()) => Ok(()),
        }
    }

    /// Makes sure that somebody is there who speaks HTTP/2 and serves.
    async fn greet(
        &self,
        requests: &mut SendRequest<Bytes>,
        ping: Option<PingPong>,
    ) -> Result<(), Cause> {
        if let Some(mut ping) = ping {
            ping.ping(Ping::opaque()).await.map_err(cause)?;
        }
        let Some(path) = self.service.health() else { return Ok(()) };
        let nothing = Bytes::from_static(&batch::NOTHING);
        let response = self.request(requests, path, nothing)?;
        let reply = Reply::hear(response).await.map_err(Broken::cause)?;
        if let Some(cause) = status::cause(reply.status) {
            return Err(cause);
        }
        let content = reply.content()?.ok_or(Cause::Malformed)?;
        match service::serves(content) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Cause::Rejected),
            Err(_) => Err(Cause::Malformed),
        }
    }

    fn call_next(self: &Rc<Self>, requests: &mut SendRequest<Bytes>) -> Result<(), Cause> {
        let Some(due) = self.due.borrow_mut().pop_front() else { return Ok(()) };
        let number = self.outstanding.borrow_mut().leave(due);
        let (asked, message) = self.encode(due);
        let stage = &self.team.stage;
        stage.recorder.borrow_mut().departed(stage.instant());
        stage.recorder.borrow_mut().moved(message.len(), stage.now());
        let response = self.request(requests, self.service.path(), message.into())?;
        stage.engine.spawn(Rc::clone(self).hear(response, number, asked));
        Ok(())
    }

    /// A call with its events, which take the next numbers; the mark of the last one.
    fn encode(&self, due: u64) -> (Mark, Vec<u8>) {
        let first = Mark { stream: self.stream, sequence: self.event.get(), due };
        let size = self.team.draw_size();
        let mut message = Vec::with_capacity(size + SPARE);
        let batch = batch::encode(self.service, &first, size, &mut message);
        self.event.set(first.sequence + batch.events);
        (batch.last(), message)
    }

    fn request(
        &self,
        requests: &mut SendRequest<Bytes>,
        path: &'static str,
        message: Bytes,
    ) -> Result<ResponseFuture, Cause> {
        let head = self.head(path)?;
        let (response, mut body) = requests.send_request(head, false).map_err(cause)?;
        // h2 keeps what the other side has no room for yet.
        body.send_data(message, true).map_err(cause)?;
        Ok(response)
    }

    fn head(&self, path: &'static str) -> Result<Request<()>, Cause> {
        let Site { target, tls, host, .. } = &self.team.site;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let host = host.clone().unwrap_or_else(|| target.to_string());
        let uri = Uri::builder().scheme(scheme).authority(host);
        Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            // A name or an address is an authority, so nothing is wrong with it.
            .uri(uri.path_and_query(path).build().map_err(|_| Cause::Malformed)?)
            .header(TE, "trailers")
            .header(CONTENT_TYPE, "application/grpc")
            .header(USER_AGENT, self.service.user_agent())
            .body(())
            .map_err(|_| Cause::Malformed)
    }

    /// Waits for what becomes of one call.
    async fn hear(self: Rc<Self>, response: ResponseFuture, number: u64, asked: Mark) {
        let stage = &self.team.stage;
        let Some(heard) = stage.unless_over(Reply::hear(response)).await else { return };
        match heard {
            Ok(reply) => {
                self.check(&reply, &asked);
                if let Some(due) = self.settle(number) {
                    stage.recorder.borrow_mut().ended(due, stage.now());
                    self.push_next();
                }
            }
            // Its time runs on.
            Err(Broken::Untouched) => {
                let due = self.settle(number);
                due.into_iter().for_each(|due| self.due.borrow_mut().push_front(due));
            }
            Err(Broken::Stream(cause)) => {
                self.team.failed(cause);
                if self.settle(number).is_some() {
                    self.push_next();
                }
            }
            // The connection counts that, and what was under way on it.
            Err(Broken::Connection(_)) => return,
        }
        if self.outstanding.borrow().is_empty() || !self.due.borrow().is_empty() {
            self.work.notify_all();
        }
    }

    /// A call is no longer under way; when it was due, unless it was given up before.
    fn settle(&self, number: u64) -> Option<u64> {
        self.outstanding.borrow_mut().arrive(number).and_then(|(_, due)| due)
    }

    fn push_next(&self) {
        if matches!(self.team.group.pace, Pace::Closed { .. }) && self.team.is_open() {
            self.push(self.team.stage.now());
        }
    }

    /// Whether the answer is to what was asked, and a good one.
    fn check(&self, reply: &Reply, asked: &Mark) {
        let now = self.team.stage.now();
        let mut recorder = self.team.stage.recorder.borrow_mut();
        recorder.moved(reply.body.len(), now);
        // Somebody else's backends do not say what they have heard.
        if reply.mark.is_some_and(|(mark, intact)| !intact || mark != *asked) {
            recorder.corrupted(now);
        }
        let wrong = status::cause(reply.status).or_else(|| match reply.content() {
            Ok(Some(content)) => match self.service.takes_all(content) {
                Ok(true) => None,
                Ok(false) => Some(Cause::Rejected),
                Err(_) => Some(Cause::Malformed),
            },
            Ok(None) | Err(_) => Some(Cause::Malformed),
        });
        if let Some(cause) = wrong {
            recorder.error(cause, now);
        }
    }

    /// Begins a call, and leaves within it by a reset.
    async fn break_off(
        &self,
        channel: &Channel,
        requests: &mut SendRequest<Bytes>,
    ) -> Result<(), Cause> {
        let head = self.head(self.service.path())?;
        let first = Mark { stream: self.stream, sequence: u64::MAX, due: self.team.stage.now() };
        let mut message = Vec::new();
        batch::encode(self.service, &first, 0, &mut message);
        message.truncate(message.len() / 2);
        let (_response, mut body) = requests.send_request(head, false).map_err(cause)?;
        body.send_data(message.into(), false).map_err(cause)?;
        // It has left by then.
        self.team.stage.pause(BEFORE_RESET).await;
        channel.reset();
        Err(Cause::OnPurpose)
    }
}

impl Lasting for Caller {
    fn begin(self: Rc<Self>) {
        let engine = self.team.stage.engine.clone();
        engine.spawn(self.live());
    }

    fn push(&self, due: u64) {
        self.team.stage.recorder.borrow_mut().sent(due, self.team.stage.now());
        self.due.borrow_mut().push_back(due);
        self.work.notify_all();
    }

    fn is_idle(&self) -> bool {
        self.due.borrow().is_empty() && self.outstanding.borrow().is_empty()
    }

    /// All calls are answered.
    fn one_way(&self) -> OneWay {
        OneWay::default()
    }

    fn close_books(&self) {
        let mut recorder = self.team.stage.recorder.borrow_mut();
        let now = self.team.stage.now();
        self.outstanding.borrow_mut().give_up().for_each(|due| recorder.unanswered(due, now));
        self.due.borrow_mut().drain(..).for_each(|due| recorder.unanswered(due, now));
    }
}

fn cause(error: h2::Error) -> Cause {
    Broken::from(error).cause()
}

/// What a message takes beside the size that was asked for, as a rule.
const SPARE: usize = 512;
/// How long the other side is listened to after the end.
const LAST_WORDS: Duration = Duration::from_secs(2);
const BEFORE_RESET: Duration = Duration::from_millis(5);
