//! Owns agents that use their connections a little and then hold them, for whoever reads the
//! proxy's memory meanwhile.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::super::cause::Cause;
use super::super::channel::{AgentTls, Channel};
use super::super::stage::Stage;
use super::super::wire::{Decoded, Format, Inbound, Mark};

/// Connections to hold.
#[derive(Clone)]
pub struct Holding {
    pub target: SocketAddr,
    pub tls: Option<AgentTls>,
    /// How long connections are quiet before they count as held.
    pub quiet: Duration,
}

/// Those that are open.
pub struct Held<'h> {
    holding: &'h Holding,
    channels: Vec<Channel>,
}

impl Holding {
    pub fn begin(&self) -> Held<'_> {
        Held { holding: self, channels: Vec::new() }
    }
}

impl Held<'_> {
    /// Opens connections, one after the other, until there are so many; then all are quiet.
    pub async fn grow(&mut self, stage: &Rc<Stage>, count: usize) -> Result<(), Cause> {
        while self.channels.len() < count {
            let Holding { target, tls, .. } = self.holding;
            let channel = Channel::connect(&stage.engine, *target, None, tls.as_ref()).await?;
            // Far fewer than 2^32.
            use_a_little(&channel, self.channels.len() as u32).await?;
            self.channels.push(channel);
        }
        stage.pause(self.holding.quiet).await;
        Ok(())
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
