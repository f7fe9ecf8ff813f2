//! Linearizable reads of one group. Reads that arrive while a round of confirmation is under way
//! wait for the next and share it: a round counts only for those that were there before it began.

use super::types::Replica;
use crate::contract::Refused;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Reads of one group that wait.
const QUEUE_MAX: usize = 1_024;
/// Reads that share a round.
const ROUND_MAX: usize = 1_024;
/// How long a quorum may take to confirm.
const CONFIRM_WITHIN: Duration = Duration::from_millis(1_000);

type Waiting = oneshot::Sender<Result<(), Refused>>;

/// The queue of reads of one group.
#[derive(Clone)]
pub(crate) struct Reader(mpsc::Sender<Waiting>);

impl Reader {
    /// Serves until the last clone is gone.
    pub(crate) fn start(replica: Replica) -> Self {
        let (queue, mut reads) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(async move {
            let mut round: Vec<Waiting> = Vec::new();
            while reads.recv_many(&mut round, ROUND_MAX).await > 0 {
                let confirmed = tokio::time::timeout(CONFIRM_WITHIN, replica.barrier()).await;
                let confirmed = confirmed.unwrap_or(Err(Refused::NotLeader { hint: None }));
                for waiting in round.drain(..) {
                    let _ = waiting.send(confirmed.clone()); // gone: fine
                }
            }
        });
        Self(queue)
    }

    /// Returns once a round that began after this call has confirmed that the replica leads and
    /// has applied all that was acknowledged before.
    pub(crate) async fn confirm(&self) -> Result<(), Refused> {
        let (told, confirmed) = oneshot::channel();
        self.0.try_send(told).map_err(|_| Refused::Overloaded)?;
        confirmed.await.unwrap_or(Err(Refused::NotLeader { hint: None }))
    }
}
