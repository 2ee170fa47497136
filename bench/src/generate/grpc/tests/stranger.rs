//! Owns a backend that is not one of ours: it answers as it is told, and remembers what it has
//! seen.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use ringmain::engine::{Either, Listener, Notify, Socket, race};
use rustls::ServerConfig;

use super::super::super::cause::Cause;
use super::super::super::channel::Channel;
use super::super::super::stage::Stage;
use super::super::bridge::Bridge;
use super::super::reply;

pub struct Stranger {
    react: Box<dyn Fn(&Called) -> Reaction>,
    /// It leaves out what both sides are to agree on in TLS.
    pub agrees_on_nothing: bool,
    pub called: RefCell<Vec<Called>>,
    /// How each connection ended.
    pub ended: RefCell<Vec<Result<(), Cause>>>,
    connections: Cell<usize>,
    /// Bytes of messages, both ways.
    pub moved: Cell<usize>,
    kept: RefCell<Vec<SendResponse<Bytes>>>,
}

/// A call that came.
#[derive(Clone)]
pub struct Called {
    /// Both from 0 on.
    pub number: usize,
    pub connection: usize,
    pub head: Rc<http::request::Parts>,
    /// None: it broke off.
    pub body: Option<Vec<u8>>,
}

/// What becomes of it.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Reaction {
    Answer(Response<()>, Option<Vec<u8>>, Option<HeaderMap>),
    Reset(Reason),
    Never,
    /// The connection ends, with this goodbye or with none.
    Leave(Option<Reason>),
}

impl Stranger {
    pub fn new(react: impl Fn(&Called) -> Reaction + 'static) -> Stranger {
        Stranger {
            react: Box::new(react),
            agrees_on_nothing: false,
            called: RefCell::default(),
            ended: RefCell::default(),
            connections: Cell::new(0),
            moved: Cell::new(0),
            kept: RefCell::default(),
        }
    }

    pub async fn open(
        self: Rc<Self>,
        stage: Rc<Stage>,
        listener: Listener,
        tls: Option<Arc<ServerConfig>>,
    ) {
        let mut tls = tls.map(|tls| ServerConfig::clone(&tls));
        if let Some(config) = tls.as_mut().filter(|_| self.agrees_on_nothing) {
            config.alpn_protocols.clear();
        }
        let tls = tls.map(Arc::new);
        let mut incoming = listener.incoming();
        while let Some(Ok(Some(socket))) = stage.unless_over(incoming.next()).await {
            let visit = Rc::clone(&self).visit(Rc::clone(&stage), socket, tls.clone());
            stage.engine.spawn(visit);
        }
    }

    async fn visit(
        self: Rc<Self>,
        stage: Rc<Stage>,
        socket: Socket,
        tls: Option<Arc<ServerConfig>>,
    ) {
        let accepting = Channel::accept(&stage, socket, tls.as_ref());
        let Some(Ok(channel)) = stage.unless_over(accepting).await else { return };
        let connection = self.connections.replace(self.connections.get() + 1);
        let bridge = Rc::<Bridge>::default();
        let speaking = self.speak(&stage, &bridge, connection);
        let carrying = bridge.carry(&channel, usize::MAX, async || ());
        match stage.unless_over(race(speaking, carrying)).await {
            Some(Either::First(())) => self.ended.borrow_mut().push(Ok(())),
            Some(Either::Second(ended)) => self.ended.borrow_mut().push(ended),
            None => {}
        }
    }

    async fn speak(self: &Rc<Self>, stage: &Rc<Stage>, bridge: &Rc<Bridge>, connection: usize) {
        let Ok(mut speaking) = Builder::new().handshake::<_, Bytes>(bridge.end()).await else {
            return;
        };
        let leaving = Rc::new((Notify::default(), Cell::new(None)));
        loop {
            let told = leaving.0.notified();
            match race(speaking.accept(), told).await {
                Either::First(Some(Ok((request, respond)))) => {
                    let this = Rc::clone(self);
                    let leaving = Rc::clone(&leaving);
                    stage.engine.spawn(async move {
                        let reaction = this.hear(request, respond, connection).await;
                        if let Some(goodbye) = reaction {
                            leaving.1.set(goodbye);
                            leaving.0.notify_all();
                        }
                    });
                }
                Either::First(_) => return,
                Either::Second(()) => match leaving.1.get() {
                    Some(reason) => speaking.abrupt_shutdown(reason),
                    None => return,
                },
            }
        }
    }

    /// The goodbye with which the connection is to end, if it is to.
    async fn hear(
        &self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        connection: usize,
    ) -> Option<Option<Reason>> {
        let (head, mut stream) = request.into_parts();
        let number = self.called.borrow().len();
        let called = Called { number, connection, head: Rc::new(head), body: None };
        self.called.borrow_mut().push(called.clone());
        let body = reply::read(&mut stream).await.ok();
        self.moved.set(self.moved.get() + body.as_ref().map_or(0, Vec::len));
        self.called.borrow_mut()[number].body.clone_from(&body);
        body.as_ref()?;
        match (self.react)(&Called { body, ..called }) {
            Reaction::Answer(head, body, trailers) => {
                let ends = body.is_none() && trailers.is_none();
                let mut stream = respond.send_response(head, ends).unwrap();
                if let Some(body) = body {
                    self.moved.set(self.moved.get() + body.len());
                    stream.send_data(body.into(), trailers.is_none()).unwrap();
                }
                if let Some(trailers) = trailers {
                    stream.send_trailers(trailers).unwrap();
                }
            }
            Reaction::Reset(reason) => respond.send_reset(reason),
            Reaction::Never => self.kept.borrow_mut().push(respond),
            Reaction::Leave(goodbye) => {
                self.kept.borrow_mut().push(respond);
                return Some(goodbye);
            }
        }
        None
    }
}
