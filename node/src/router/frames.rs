//! Frames from other nodes' ledgers. They go straight to this node's ledger, past placement,
//! actors and their admission: a cluster that is overloaded, or has no actors yet, must still
//! agree on who leads.

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use ledger::{FRAME_MAX, Receive};
use proto::code::{Code, Refusal};
use proto::record::ask::Consensus;
use proto::{NodeId, codec};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Frames under way at once. Peers bound what they send on each lane; this is a thousand urgent
/// ones from each of three peers while each of eight sends all the chunks that it may.
const RECEIVING_MAX: usize = 4_096;

/// The way to this node's ledger.
#[derive(Debug)]
pub(super) struct Frames {
    me: NodeId,
    ledger: ArcSwapOption<Attached>,
    admission: Arc<Semaphore>,
}

struct Attached(Arc<dyn Receive>);

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attached")
    }
}

impl Frames {
    pub(super) fn new(me: NodeId) -> Self {
        let admission = Arc::new(Semaphore::new(RECEIVING_MAX));
        Self { me, ledger: ArcSwapOption::empty(), admission }
    }
    pub(super) fn attach(&self, ledger: Arc<dyn Receive>) {
        self.ledger.store(Some(Arc::new(Attached(ledger))));
    }
    pub(super) fn detach(&self) {
        self.ledger.store(None);
    }

    /// The ledger's answer to a frame.
    pub(super) async fn take(&self, ask: Consensus) -> Result<Vec<u8>, Refusal> {
        let Consensus { node, frame } = ask;
        if node != self.me {
            let detail = format!("a frame for {node}, this is {}", self.me);
            return Err(Refusal::new(Code::BadPeer, detail));
        }
        let Some(ledger) = self.ledger.load_full() else {
            return Err(Refusal::new(Code::NotReady, "this node has no ledger yet, or no more"));
        };
        let Ok(permit) = Arc::clone(&self.admission).try_acquire_owned() else {
            let detail = format!("{RECEIVING_MAX} frames are under way");
            return Err(Refusal::new(Code::Overloaded, detail));
        };
        // The ledger's deadlines are short, and a caller that gives up must not cut what it began.
        let received = tokio::spawn(async move {
            let answer = ledger.0.receive(frame.into()).await;
            drop(permit);
            answer
        });
        let answer =
            received.await.map_err(|_| Refusal::new(Code::Retry, "the task of the frame died"))?;
        if answer.len() > FRAME_MAX {
            let detail = format!("an answer of {} bytes, a frame has {FRAME_MAX}", answer.len());
            return Err(Refusal::new(Code::TooLarge, detail));
        }
        Ok(codec::encode(&Bytes::from(answer)))
    }
}
