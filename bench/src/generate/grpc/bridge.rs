//! Owns the way between h2, which reads and writes at an end of its own, and a connection of our
//! engine. It knows nothing of HTTP/2.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringmain::engine::{Either, Notify, race};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::cause::Cause;
use super::super::channel::Channel;
use super::super::wire::Inbound;

/// What has come and what is to go. Each way holds so much that it is worth a move, and no more:
/// whoever is too fast waits.
#[derive(Default)]
pub struct Bridge {
    ways: RefCell<Ways>,
    /// Rings when something is to be sent, or has been read.
    changed: Notify,
}

#[derive(Default)]
struct Ways {
    inbound: Inbound,
    /// The other side will say nothing more.
    ended: bool,
    outbound: Vec<u8>,
    /// Nothing more will be written.
    closing: bool,
    /// All that was written has been sent, and the end as well.
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Where h2 reads and writes.
pub struct End(Rc<Bridge>);

impl Bridge {
    pub fn end(self: &Rc<Self>) -> End {
        End(Rc::clone(self))
    }

    /// Moves bytes in both ways until the connection fails; why it did. Each time that something
    /// has come, `hold` may keep what follows it waiting; `piece` is the most that is sent at once,
    /// and `hold` follows that as well.
    pub async fn carry(
        &self,
        channel: &Channel,
        piece: usize,
        hold: impl AsyncFn(),
    ) -> Result<(), Cause> {
        let fetching = self.fetch(channel, &hold);
        let delivering = self.deliver(channel, piece, &hold);
        match race(fetching, delivering).await {
            Either::First(ended) | Either::Second(ended) => ended,
        }
    }

    async fn fetch(&self, channel: &Channel, hold: &impl AsyncFn()) -> Result<(), Cause> {
        let mut bytes = Vec::new();
        loop {
            let changed = self.changed.notified();
            if self.ways.borrow().inbound.rest().len() >= HELD {
                changed.await;
                continue;
            }
            let ended = channel.receive(&mut bytes).await? == 0;
            hold().await;
            self.ways.borrow_mut().bring(&mut bytes, ended);
            if ended {
                // What is still to be said goes its way.
                return pending().await;
            }
        }
    }

    async fn deliver(
        &self,
        channel: &Channel,
        piece: usize,
        hold: &impl AsyncFn(),
    ) -> Result<(), Cause> {
        let mut bytes = Vec::new();
        loop {
            let changed = self.changed.notified();
            let closing = self.ways.borrow_mut().collect(&mut bytes);
            if !bytes.is_empty() {
                for part in bytes.chunks(piece) {
                    channel.send(part).await?;
                    if piece < bytes.len() {
                        hold().await;
                    }
                }
                bytes.clear();
            } else if closing {
                channel.end().await?;
                self.ways.borrow_mut().close();
                return pending().await;
            } else {
                changed.await;
            }
        }
    }
}

impl Ways {
    /// Something has come, or the end.
    fn bring(&mut self, bytes: &mut Vec<u8>, ended: bool) {
        self.inbound.room().append(bytes);
        self.ended = ended;
        wake(&mut self.reader);
    }

    /// Takes all that is to be sent, in exchange for room; whether nothing will follow it.
    fn collect(&mut self, room: &mut Vec<u8>) -> bool {
        std::mem::swap(room, &mut self.outbound);
        wake(&mut self.writer);
        self.closing
    }

    /// The end has been sent.
    fn close(&mut self) {
        self.closed = true;
        wake(&mut self.writer);
    }
}

/// Wakers here are the engine's, which only note whom to poll.
fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ways = self.0.ways.borrow_mut();
        let held = ways.inbound.rest().len();
        if held > 0 {
            let count = held.min(buffer.remaining());
            buffer.put_slice(&ways.inbound.rest()[..count]);
            ways.inbound.consume(count);
            drop(ways);
            if held >= HELD {
                self.0.changed.notify_all();
            }
            return Poll::Ready(Ok(()));
        }
        if ways.ended {
            // Nothing was put into the buffer: the end of the stream.
            return Poll::Ready(Ok(()));
        }
        ways.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut ways = self.0.ways.borrow_mut();
        let room = HELD.saturating_sub(ways.outbound.len());
        if room == 0 {
            ways.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = bytes.len().min(room);
        ways.outbound.extend_from_slice(&bytes[..count]);
        drop(ways);
        self.0.changed.notify_all();
        Poll::Ready(Ok(count))
    }

    /// What was written is on its way already.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Completes when everything has been sent.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ways = self.0.ways.borrow_mut();
        if ways.closed {
            return Poll::Ready(Ok(()));
        }
        ways.closing = true;
        ways.writer = Some(context.waker().clone());
        drop(ways);
        self.0.changed.notify_all();
        Poll::Pending
    }
}

/// Bytes that one way holds: what fills a few receives.
const HELD: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicU32);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_writes_waits_for_room_and_is_woken_when_there_is_some() {
        let bridge = Rc::<Bridge>::default();
        let mut end = bridge.end();
        let woken = Arc::<Counting>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut write = |bytes: &[u8]| {
            Pin::new(&mut end)
                .poll_write(&mut Context::from_waker(&waker), bytes)
                .map(Result::unwrap)
        };
        assert_eq!(write(&[1; HELD - 10]), Poll::Ready(HELD - 10));
        assert_eq!(write(&[2; 30]), Poll::Ready(10));
        assert_eq!(write(&[3]), Poll::Pending);
        let mut taken = Vec::new();
        assert!(!bridge.ways.borrow_mut().collect(&mut taken));
        assert_eq!((taken.len(), taken[HELD - 1]), (HELD, 2));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(write(&[3]), Poll::Ready(1));
    }

    #[test]
    fn whoever_reads_has_all_that_came_before_the_end() {
        let bridge = Rc::<Bridge>::default();
        let mut end = bridge.end();
        let woken = Arc::<Counting>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut read = || {
            let mut room = [0; 3];
            let mut buffer = ReadBuf::new(&mut room);
            let context = &mut Context::from_waker(&waker);
            let ended = Pin::new(&mut end).poll_read(context, &mut buffer).map(Result::unwrap);
            ended.map(|()| buffer.filled().to_vec())
        };
        assert_eq!(read(), Poll::Pending);
        bridge.ways.borrow_mut().bring(&mut b"abcd".to_vec(), true);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(read(), Poll::Ready(b"abc".to_vec()));
        assert_eq!(read(), Poll::Ready(b"d".to_vec()));
        assert_eq!(read(), Poll::Ready(Vec::new()));
    }
}
