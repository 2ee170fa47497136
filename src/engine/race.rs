//! Two futures at once: the first to complete wins.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Which of two futures completed.
#[derive(Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    First(A),
    Second(B),
}

/// Polls both, the first one first. The loser is dropped with the race.
pub fn race<A: Future, B: Future>(first: A, second: B) -> Race<A, B> {
    Race { first, second }
}

/// See [`race`]. A type of its own, since an `async fn` would hold its arguments twice, and every
/// session pays for the size of its futures.
pub struct Race<A, B> {
    first: A,
    second: B,
}

impl<A: Future, B: Future> Future for Race<A, B> {
    type Output = Either<A::Output, B::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the fields are never moved out of a pinned `Race`; it has no `Drop` of its own
        // and is `Unpin` only if both are.
        let (first, second) = unsafe {
            let race = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut race.first), Pin::new_unchecked(&mut race.second))
        };
        if let Poll::Ready(output) = first.poll(context) {
            return Poll::Ready(Either::First(output));
        }
        second.poll(context).map(Either::Second)
    }
}
