//! Owns the moving of long frames on a connection, at the cost of few copies; when they leave and
//! what becomes of them is decided elsewhere.

use super::cause::Cause;
use super::channel::Channel;
use super::stage::Stage;
use super::wire::{Decoded, Inflow, Mark, Outflow, Wanted};

/// Memory that the connections of one thread use in turn, each within one poll.
#[derive(Default)]
pub struct Scratch {
    outflow: Outflow,
    /// What was read, and what it says where it was sealed.
    read: Vec<u8>,
    opened: Vec<u8>,
}

/// A frame that has come.
pub struct Frame {
    pub mark: Mark,
    pub is_intact: bool,
    pub length: usize,
}

/// Sends one frame of so many bytes.
pub async fn send(stage: &Stage, channel: &Channel, mark: &Mark, size: usize) -> Result<(), Cause> {
    let mut sent = 0;
    while sent < size {
        if channel.is_sealed() {
            let (block, count) = {
                let mut scratch = stage.scratch.borrow_mut();
                channel.seal(&scratch.outflow.frame(mark, size)[sent..])?
            };
            channel.send_block(block).await?;
            sent += count;
        } else {
            let written = {
                let mut scratch = stage.scratch.borrow_mut();
                channel.write(&scratch.outflow.frame(mark, size)[sent..])?
            };
            sent += written.unwrap_or(0);
            if sent < size {
                channel.writable().await?;
            }
        }
    }
    // The others have their turn before the next one.
    stage.engine.pause().await;
    Ok(())
}

/// Receives frames until the stream ends. Before each read it waits for `rest`.
pub async fn receive(
    stage: &Stage,
    channel: &Channel,
    rest: impl AsyncFn(),
    take: impl FnMut(Frame),
) -> Result<(), Cause> {
    if channel.is_sealed() {
        receive_sealed(stage, channel, rest, take).await
    } else {
        receive_plain(stage, channel, rest, take).await
    }
}

async fn receive_plain(
    stage: &Stage,
    channel: &Channel,
    rest: impl AsyncFn(),
    mut take: impl FnMut(Frame),
) -> Result<(), Cause> {
    let mut inflow = Inflow::default();
    loop {
        rest().await;
        let (most, read) = match inflow.wanted() {
            Wanted::Any(most) => {
                let skipped = channel.skip(most)?;
                hand_over(inflow.skip(skipped.unwrap_or(0)), &mut take)?;
                (most, skipped)
            }
            Wanted::Bytes(most) => {
                let most = most.min(AT_ONCE);
                let room = &mut stage.scratch.borrow_mut().read;
                room.resize(AT_ONCE, 0);
                let read = channel.read(&mut room[..most])?;
                consume(&mut inflow, &room[..read.unwrap_or(0)], &mut take)?;
                (most, read)
            }
        };
        match read {
            Some(0) => return Ok(()),
            Some(length) if length == most => {}
            // There was no more.
            _ => channel.readable().await?,
        }
    }
}

async fn receive_sealed(
    stage: &Stage,
    channel: &Channel,
    rest: impl AsyncFn(),
    mut take: impl FnMut(Frame),
) -> Result<(), Cause> {
    let mut inflow = Inflow::default();
    let early = channel.settle().await?;
    consume(&mut inflow, &early, &mut take)?;
    loop {
        rest().await;
        let (read, ended) = {
            let Scratch { read: room, opened, .. } = &mut *stage.scratch.borrow_mut();
            room.resize(AT_ONCE, 0);
            opened.resize(AT_ONCE + MORE, 0);
            let read = channel.read(room)?;
            let (length, ended) = channel.open(&mut room[..read.unwrap_or(0)], opened)?;
            consume(&mut inflow, &opened[..length], &mut take)?;
            (read, ended)
        };
        match read {
            _ if ended => return Ok(()),
            // Records can not tell that all of them have come.
            Some(0) => return Err(Cause::Closed),
            Some(AT_ONCE) => stage.engine.pause().await,
            _ => channel.readable().await?,
        }
    }
}

fn consume(
    inflow: &mut Inflow,
    mut bytes: &[u8],
    take: &mut impl FnMut(Frame),
) -> Result<(), Cause> {
    while !bytes.is_empty() {
        let (used, unit) = inflow.take(bytes);
        bytes = &bytes[used..];
        hand_over(unit, take)?;
    }
    Ok(())
}

fn hand_over(unit: Option<Decoded>, take: &mut impl FnMut(Frame)) -> Result<(), Cause> {
    match unit {
        Some(Decoded::Unit { mark, intact, length }) => {
            take(Frame { mark, is_intact: intact, length });
            Ok(())
        }
        Some(Decoded::Malformed) => Err(Cause::Malformed),
        Some(Decoded::Incomplete) | None => Ok(()),
    }
}

/// Bytes that are read at a time: sealed ones are opened while they are in the cache.
const AT_ONCE: usize = 256 << 10;
/// What is opened beside: the part of a record that had come before.
const MORE: usize = 32 << 10;
