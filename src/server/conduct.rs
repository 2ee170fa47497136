//! The control plane's place in the process: what it tells is published to the workers or handed
//! to them as commands. Decides nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use crate::balance::{Pool, PoolId};
use crate::control::{Control, Told};
use crate::engine::Inbox;
use crate::observe::Metrics;
use crate::proxy::Command;
use crate::view::{Publication, View};

/// What the control plane acts upon.
#[derive(Clone)]
pub(super) struct Baton {
    pub(super) publication: Arc<Publication>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) inboxes: Vec<Inbox<Command>>,
}

/// Runs the control plane; the task ends only by a defect, or when it is aborted.
pub(super) fn conduct(control: Control, baton: Baton) -> JoinHandle<()> {
    let (commands, queued) = unbounded_channel();
    tokio::spawn(async move {
        let inboxes = baton.inboxes.clone();
        let mut turn = 0;
        let running = control.run(|told| match told {
            Told::Pools(pools) => baton.publish(pools),
            Told::EndSessions { pool, backend } => {
                for worker in 0..baton.inboxes.len() {
                    let (pool, backend) = (Arc::clone(&pool), Arc::clone(&backend));
                    // The other end lives as long as this task.
                    commands.send((worker, Command::EndSessions { pool, backend })).ok();
                }
            }
            Told::Move { pool, backend, count } => {
                turn += 1;
                for (worker, count) in divide(count, baton.inboxes.len(), turn) {
                    let (pool, backend) = (Arc::clone(&pool), Arc::clone(&backend));
                    let command = Command::Rebalance { pool, backend, count };
                    commands.send((worker, command)).ok();
                }
            }
            Told::LeadHome { pool, count } => {
                turn += 1;
                for (worker, count) in divide(count, baton.inboxes.len(), turn) {
                    commands.send((worker, Command::LeadHome { pool, count })).ok();
                }
            }
        });
        tokio::join!(running, deliver(queued, &inboxes));
    })
}

impl Baton {
    fn publish(&self, pools: Vec<(PoolId, Arc<Pool>)>) {
        self.publish_with(|current| {
            let snapshot = Arc::new(current.snapshot.with_pools(pools));
            View { snapshot, ..current.clone() }
        });
    }

    /// Publishes what is made of the current View. Whoever publishes is on the control thread, and
    /// none comes between.
    pub(super) fn publish_with(&self, change: impl FnOnce(&View) -> View) {
        self.publication.publish(change(&self.publication.current()));
        self.metrics.set_view_version(self.publication.version());
        self.inboxes.iter().for_each(Inbox::wake);
    }
}

/// Puts every command into its worker's inbox, in order, and waits where one is full.
async fn deliver(mut queued: UnboundedReceiver<(usize, Command)>, inboxes: &[Inbox<Command>]) {
    while let Some((worker, mut command)) = queued.recv().await {
        while let Err(refused) = inboxes[worker].push(command) {
            command = refused;
            tokio::time::sleep(FULL_INBOX).await;
        }
    }
}

/// Shares a number out among the workers as evenly as it goes; `turn` says who gets one more.
fn divide(count: u32, workers: usize, turn: usize) -> impl Iterator<Item = (usize, u32)> {
    let (each, more) = (count / workers as u32, count as usize % workers);
    let part = move |worker: usize| each + u32::from((worker + turn) % workers < more);
    (0..workers).map(move |worker| (worker, part(worker))).filter(|(_, count)| *count > 0)
}

/// How soon a full inbox is tried again. Its worker takes commands at every turn.
const FULL_INBOX: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_given_out_once_and_in_turn() {
        for (count, workers) in [(0, 3), (1, 3), (5, 3), (6, 3), (7, 1)] {
            for turn in 0..4 {
                let parts: Vec<(usize, u32)> = divide(count, workers, turn).collect();
                assert_eq!(parts.iter().map(|(_, part)| part).sum::<u32>(), count);
                let most = count.div_ceil(workers as u32);
                assert!(parts.iter().all(|(_, part)| (1..=most).contains(part)));
            }
        }
        let firsts: Vec<_> = (0..3).map(|turn| divide(1, 3, turn).next().unwrap().0).collect();
        assert_eq!(firsts, [0, 2, 1]);
    }
}
