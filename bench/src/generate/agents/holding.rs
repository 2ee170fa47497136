//! Owns agents that use their connections a little and then hold them, for whoever reads the
//! proxy's memory meanwhile.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::cause::Cause;
use super::super::channel::Channel;
use super::super::stage::Stage;
use super::super::tls::{Audit, Terms};
use super::super::wire::{Decoded, Format, Inbound, Mark};
use super::run::{Fault, Signals, Site};

/// Connections to hold, and those that are open.
pub struct Holding {
    site: Site,
    signals: Signals,
    audit: Audit,
    channels: Vec<Channel>,
}

impl Holding {
    pub fn new(site: Site, terms: Terms, signals: Signals) -> Holding {
        Holding { site, signals, audit: Audit::new(terms), channels: Vec::new() }
    }

    /// Opens connections, one after the other, until there are so many; then all are quiet for a
    /// while.
    pub async fn grow(
        &mut self,
        stage: &Rc<Stage>,
        count: usize,
        quiet: Duration,
    ) -> Result<(), Fault> {
        while self.channels.len() < count {
            if self.signals.interrupted.load(Ordering::Relaxed) {
                return Err(Fault::Interrupted);
            }
            // Far fewer than 2^32.
            let connected = self.channels.len() as u32;
            let fault = |cause| Fault::NotConnected { group: 0, connected, cause: Some(cause) };
            let channel = self.open(stage, connected).await.map_err(fault)?;
            channel.inspect(|agreed| self.audit.inspect(agreed));
            self.channels.push(channel);
        }
        stage.pause(quiet).await;
        self.audit.verdict().map_or(Ok(()), |disagreed| Err(Fault::Disagreed(disagreed)))
    }

    async fn open(&self, stage: &Rc<Stage>, stream: u32) -> Result<Channel, Cause> {
        let Site { target, tls, .. } = &self.site;
        let channel = Channel::connect(&stage.engine, *target, None, tls.as_ref()).await?;
        use_a_little(&channel, stream).await?;
        Ok(channel)
    }
}

async fn use_a_little(channel: &Channel, stream: u32) -> Result<(), Cause> {
    let mut inbound = Inbound::default();
    for (sequence, size) in (0..).zip(EXCHANGES) {
        let (mark, mut bytes) = (Mark { stream, sequence, due: 0 }, Vec::new());
        Format::Frame.encode(&mark, size, &mut bytes);
        channel.send(&bytes).await?;
        while Format::Frame.decode(inbound.rest()) == Decoded::Incomplete {
            if channel.receive(inbound.room()).await? == 0 {
                return Err(Cause::Closed);
            }
        }
        if Format::Frame.decode(inbound.rest())
            != (Decoded::Unit { mark, intact: true, length: size })
        {
            return Err(Cause::Malformed);
        }
        inbound.consume(size);
    }
    Ok(())
}

/// The messages of a connection before it is quiet: one is as long as a full record of TLS, and as
/// what many agents send at a time.
const EXCHANGES: [usize; 5] = [128, 128, 16 << 10, 128, 128];
