//! The proxy on a thread of its own, served as by `ringmain run`; decides nothing.

use std::io;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::observe::AccessRecord;
use crate::server::{self, Ended, Serving, StartError};

use super::error::DemoError;

/// The running proxy.
pub(super) struct Proxy {
    /// Dropping it drains the server.
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<Result<Ended, StartError>>,
}

/// What the proxy tells: that it serves, and each session that ended. The records are closed once
/// it has ended.
pub(super) type News = (Serving, mpsc::Receiver<AccessRecord>);

impl Proxy {
    /// Starts the proxy and waits until it serves.
    pub(super) async fn start(config: Config) -> Result<(Proxy, News), DemoError> {
        let (started, starting) = oneshot::channel();
        let (ends, ended) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (sender, records) = mpsc::channel(RECORDS);
        // Nobody takes what is sent here only once the demo has failed and ends.
        let subscriber = Box::new(move |record| sender.blocking_send(record).unwrap_or_default());
        let serve = move || {
            let started = |serving| started.send(serving).unwrap_or_default();
            let outcome =
                server::serve_with_subscriber(&config, subscriber, Some(stopped), started);
            ends.send(outcome).unwrap_or_default();
        };
        let thread = thread::Builder::new().name("server".to_owned()).spawn(serve);
        thread.map_err(|error| DemoError::System("a thread could not be started", error))?;
        let proxy = Proxy { stop: Some(stop), ended };
        match starting.await {
            Ok(serving) => Ok((proxy, (serving, records))),
            // It ended before it served: for an error, or a signal that came very early.
            Err(_) => Err(proxy.ended().await.err().unwrap_or(DemoError::Interrupted)),
        }
    }

    /// Has it drain and end, as a signal does.
    pub(super) fn stop(&mut self) {
        self.stop = None;
    }

    /// How it ended, once it has.
    pub(super) async fn ended(self) -> Result<Ended, DemoError> {
        match self.ended.await {
            Ok(outcome) => outcome.map_err(DemoError::Proxy),
            Err(_) => Err(DemoError::System("the server", io::Error::other("its thread panicked"))),
        }
    }
}

/// Records that may wait for the demo; more wait in the access log's own queue.
const RECORDS: usize = 1024;
