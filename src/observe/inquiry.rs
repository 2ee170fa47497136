//! Owns the way from who shows the pools to who knows them: a question, and one report as its
//! answer; an order to drain a backend, and what has come of it. Nothing is gathered while nobody
//! asks, and nothing is decided here.

use super::pools::{BackendRow, PoolsReport};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Asks for reports and gives orders; any number of them may.
#[derive(Clone, Debug)]
pub struct Inquirer(mpsc::Sender<Inquiry>);

/// What is asked, for the one who answers.
pub type Inquiries = mpsc::Receiver<Inquiry>;

/// One question or order, and the way back.
#[derive(Debug)]
pub enum Inquiry {
    Report(Reply<PoolsReport>),
    Drain(DrainOrder, Reply<Drained>),
}

/// The way back to who has asked.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Sender<T>);

/// The operator takes a backend out, or lets it in again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainOrder {
    pub pool: Arc<str>,
    pub backend: Arc<str>,
    /// False lets it in.
    pub drain: bool,
}

/// What has come of such an order.
#[derive(Clone, Debug)]
pub enum Drained {
    /// It holds, and the workers have been told: the backend as it is now, and the time on the
    /// clock that the row's times are of.
    Now {
        at: Duration,
        backend: Box<BackendRow>,
    },
    /// It holds for the time when the backend, which the pool has lost, comes again.
    WhenItReturns,
    NoSuchPool,
    NoSuchBackend,
}

/// Both ends.
pub fn inquiries() -> (Inquirer, Inquiries) {
    let (sender, receiver) = mpsc::channel(INQUIRIES);
    (Inquirer(sender), receiver)
}

impl Inquirer {
    /// The pools as they are now; none if nobody answers any more.
    pub async fn ask(&self) -> Option<PoolsReport> {
        self.put(Inquiry::Report).await
    }

    /// What has come of the order; none if nobody takes any more.
    pub async fn order(&self, order: DrainOrder) -> Option<Drained> {
        self.put(|reply| Inquiry::Drain(order, reply)).await
    }

    async fn put<T>(&self, inquiry: impl FnOnce(Reply<T>) -> Inquiry) -> Option<T> {
        let (asked, answered) = oneshot::channel();
        self.0.send(inquiry(Reply(asked))).await.ok()?;
        answered.await.ok()
    }
}

impl<T> Reply<T> {
    /// Who has asked may have given up, which is no concern of who answers.
    pub fn answer(self, answer: T) {
        self.0.send(answer).map_err(drop).unwrap_or_default();
    }
}

/// Questions that wait to be seen; who asks beyond that waits as well.
const INQUIRIES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_question_gets_the_report_of_its_own_moment() {
        let (inquirer, mut inquiries) = inquiries();
        let answering = tokio::spawn(async move {
            let mut at = Duration::ZERO;
            while let Some(inquiry) = inquiries.recv().await {
                at += Duration::from_secs(1);
                match inquiry {
                    Inquiry::Report(reply) => reply.answer(PoolsReport { at, pools: Vec::new() }),
                    Inquiry::Drain(_, reply) => reply.answer(Drained::NoSuchPool),
                }
            }
        });
        for seconds in 1..=3 {
            let report = inquirer.ask().await.expect("answered");
            assert_eq!(report.at, Duration::from_secs(seconds));
        }
        let order = DrainOrder { pool: "p".into(), backend: "b".into(), drain: true };
        assert!(matches!(inquirer.order(order).await, Some(Drained::NoSuchPool)));
        drop(inquirer);
        answering.await.expect("it ends with who asks");
    }

    #[tokio::test]
    async fn a_question_to_nobody_has_no_answer() {
        let (inquirer, inquiries) = inquiries();
        drop(inquiries);
        assert!(inquirer.ask().await.is_none());
    }
}
