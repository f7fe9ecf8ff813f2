//! The ledger's way to the ledgers of other nodes: its frames as calls, each lane on a connection
//! of its own.

use super::addresses::Addresses;
use super::pool::{Lane, Pool};
use crate::metrics::{FrameLabels, Metrics, outcome};
use crate::mint::SeededMint;
use actors::runtime::world::Mint;
use bytes::Bytes;
use ledger::{BoxFuture, FRAME_MAX, Peers, Unreachable};
use proto::code::{Code, Refusal};
use proto::envelope::{Envelope, PAYLOAD_MAX, Subject};
use proto::record::ask::{Ask, Consensus};
use proto::{NodeId, codec};
use std::sync::Arc;

/// How long a vote, heartbeat or entry waits for its answer, in milliseconds. The ledger has
/// shorter deadlines of its own.
const CONSENSUS_MS: u32 = 1_000;
/// How long a chunk of a snapshot waits, in milliseconds: a slow disk's time for a megabyte.
const SNAPSHOTS_MS: u32 = 5_000;

/// A frame is a request's payload with some bytes around it.
const _: () = assert!(FRAME_MAX + 64 <= PAYLOAD_MAX);

/// The ledgers of other nodes.
#[derive(Debug)]
pub struct LedgerPeers {
    me: NodeId,
    addresses: Arc<Addresses>,
    pool: Arc<Pool>,
    mint: Arc<SeededMint>,
    metrics: Arc<Metrics>,
}

impl LedgerPeers {
    /// The way from node `me`.
    pub fn new(
        me: NodeId,
        addresses: Arc<Addresses>,
        pool: Arc<Pool>,
        mint: Arc<SeededMint>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self { me, addresses, pool, mint, metrics })
    }

    async fn ask(&self, to: NodeId, lane: ledger::Lane, frame: Vec<u8>) -> Result<Bytes, Refusal> {
        if frame.len() > FRAME_MAX {
            let detail = format!("a frame of {} bytes, at most {FRAME_MAX}", frame.len());
            return Err(Refusal::new(Code::TooLarge, detail));
        }
        let at = self.addresses.of(to);
        let at = at.ok_or_else(|| Refusal::new(Code::Retry, "nobody knows where it is"))?;
        let deadline_ms = match lane {
            ledger::Lane::Consensus => CONSENSUS_MS,
            ledger::Lane::Snapshots => SNAPSHOTS_MS,
        };
        let ask = Consensus { node: to, frame: frame.into() };
        let trace = u128::from(self.mint.random()) << 64 | u128::from(self.mint.random());
        let (route, payload) = (ask.route(), codec::encode(&ask.wrap()).into());
        let sealed = Envelope::seal(route, Subject::Node(self.me), trace, deadline_ms, payload)?;
        let envelope = Envelope { hops: 1, ..sealed };
        let answer = self.pool.call_on(Lane::from(lane), to, at, envelope).await?.open()?;
        codec::decode(&answer).map_err(|error| Refusal::new(Code::BadPeer, error.to_string()))
    }
}

impl Peers for LedgerPeers {
    fn call(
        &self,
        to: NodeId,
        lane: ledger::Lane,
        frame: Vec<u8>,
    ) -> BoxFuture<'_, Result<Vec<u8>, Unreachable>> {
        Box::pin(async move {
            let labels = FrameLabels { lane: Lane::from(lane).name(), outcome: "GIVEN_UP" };
            let mut count = CountAtEnd { metrics: &self.metrics, labels };
            let result = self.ask(to, lane, frame).await;
            count.labels.outcome = outcome(&result);
            match result {
                Ok(answer) => Ok(answer.into()),
                Err(refusal) => Err(Unreachable { to, why: refusal.to_string() }),
            }
        })
    }
}

/// Counts a frame when its call ends, also when the ledger drops it.
struct CountAtEnd<'a> {
    metrics: &'a Metrics,
    labels: FrameLabels,
}

impl Drop for CountAtEnd<'_> {
    fn drop(&mut self) {
        self.metrics.ledger_frames.get_or_create(&self.labels).inc();
    }
}
