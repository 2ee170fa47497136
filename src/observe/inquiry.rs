//! Owns the way from who shows the pools to who knows them: a question, and one report as its
//! answer. Nothing is gathered while nobody asks.

use super::pools::PoolsReport;
use tokio::sync::{mpsc, oneshot};

/// Asks for reports; any number of them may.
#[derive(Clone, Debug)]
pub struct Inquirer(mpsc::Sender<Inquiry>);

/// What is asked, for the one who answers.
pub type Inquiries = mpsc::Receiver<Inquiry>;

/// One question.
#[derive(Debug)]
pub struct Inquiry(oneshot::Sender<PoolsReport>);

/// Both ends.
pub fn inquiries() -> (Inquirer, Inquiries) {
    let (sender, receiver) = mpsc::channel(INQUIRIES);
    (Inquirer(sender), receiver)
}

impl Inquirer {
    /// The pools as they are now; none if nobody answers any more.
    pub async fn ask(&self) -> Option<PoolsReport> {
        let (asked, answered) = oneshot::channel();
        self.0.send(Inquiry(asked)).await.ok()?;
        answered.await.ok()
    }
}

impl Inquiry {
    /// Who has asked may have given up, which is no concern of who answers.
    pub fn answer(self, report: PoolsReport) {
        self.0.send(report).unwrap_or_default();
    }
}

/// Questions that wait to be seen; who asks beyond that waits as well.
const INQUIRIES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn each_question_gets_the_report_of_its_own_moment() {
        let (inquirer, mut inquiries) = inquiries();
        let answering = tokio::spawn(async move {
            let mut at = Duration::ZERO;
            while let Some(inquiry) = inquiries.recv().await {
                at += Duration::from_secs(1);
                inquiry.answer(PoolsReport { at, pools: Vec::new() });
            }
        });
        for seconds in 1..=3 {
            let report = inquirer.ask().await.expect("answered");
            assert_eq!(report.at, Duration::from_secs(seconds));
        }
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
