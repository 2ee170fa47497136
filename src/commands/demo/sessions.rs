//! What the proxy says of the sessions that ended: whose they were, and their sum.

use std::collections::HashSet;
use std::io;

use tokio::sync::mpsc;

use crate::observe::{AccessRecord, CloseReason};

use super::client::Exchange;
use super::screen::Screen;

/// The records, in the order in which the sessions ended.
pub(super) struct Sessions {
    records: mpsc::Receiver<AccessRecord>,
    /// Sessions that were taken from `records`, and the bytes they moved, both ways.
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Sessions {
    pub(super) fn new(records: mpsc::Receiver<AccessRecord>) -> Sessions {
        Sessions { records, count: 0, bytes: 0 }
    }

    /// The next session that ended; none once the proxy has.
    pub(super) async fn next(&mut self) -> Option<AccessRecord> {
        let record = self.records.recv().await?;
        self.count += 1;
        self.bytes += record.bytes_to_backend + record.bytes_to_client;
        Some(record)
    }

    /// The sessions of these exchanges, each of which has to end in order. Those of others, who
    /// try the proxy meanwhile, are shown.
    pub(super) async fn of(
        &mut self,
        exchanges: &[Exchange],
        screen: &mut Screen<'_>,
    ) -> io::Result<Vec<AccessRecord>> {
        let mut awaited: HashSet<_> = exchanges.iter().map(|exchange| exchange.client).collect();
        let mut found = Vec::new();
        while !awaited.is_empty() {
            let record = self.next().await.ok_or(io::ErrorKind::UnexpectedEof)?;
            if !record.client.is_some_and(|client| awaited.remove(&client)) {
                screen.visitor(&record);
            } else if record.reason == CloseReason::Finished {
                found.push(record);
            } else {
                let reason = record.reason.as_str();
                return Err(io::Error::other(format!("the proxy ended a session as {reason}")));
            }
        }
        Ok(found)
    }
}
