//! Positions on their way to the owners of their cells, in batches.
//!
//! Pings of all sockets of this node gather here for some milliseconds, the newest of each driver,
//! and leave in one request per owner. A batch that came by HTTP is a batch already and leaves at
//! once, so that its sender gets the owners' real counts. Nothing is retried: the next ping is a
//! better answer to a lost one.

mod gather;

use crate::metrics::Metrics;
use crate::router::NodeRouter;
use actors::runtime::world::Context;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gather::Gather;
use h3o::{LatLng, Resolution};
use membership::{Membership, View};
use proto::envelope::Subject;
use proto::record::ask::Pings;
use proto::record::cell::{Ping, PingCounts};
use proto::{NodeId, Point};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// So many gathered pings leave at once.
pub const FLUSH_AT: usize = 256;
/// The longest a ping is gathered. Pings come once a second; this adds a fortieth of that.
const FLUSH_EVERY: Duration = Duration::from_millis(25);
/// The most pings in one request: 40 bytes each, far below a frame.
const REQUEST_MAX: usize = 1_024;
/// Drivers whose pings may wait here: a quarter of the fleet of a large city on one node, and
/// 4 MB. Those beyond are dropped and counted.
const GATHERED_MAX: usize = 65_536;
/// Requests of gathered pings under way at once; while all are, pings go on gathering.
const FLUSHES_MAX: usize = 16;
/// How long an owner may take; after that the pings are old news.
const WITHIN_MS: u32 = 1_000;
/// Owners asked at once for one HTTP batch: all of them, in a cluster of this size.
const OWNERS_MAX: usize = 64;

/// The gatherer of a node.
#[derive(Debug)]
pub struct Gatherer {
    gathered: Mutex<Gather>,
    full: Notify,
    router: Arc<NodeRouter>,
    membership: Membership,
    metrics: Arc<Metrics>,
}

impl Gatherer {
    /// An empty gatherer; nothing leaves until [`run`](Self::run) does.
    pub fn new(
        router: Arc<NodeRouter>,
        membership: Membership,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let gathered = Mutex::new(Gather::new(GATHERED_MAX));
        Arc::new(Self { gathered, full: Notify::new(), router, membership, metrics })
    }

    /// Takes a ping from a socket.
    pub fn take(&self, ping: Ping) {
        let (lost, waiting) = {
            let mut gathered = self.gathered();
            let lost = gathered.add(ping);
            (lost, gathered.len())
        };
        if let Some(fate) = lost {
            self.metrics.ping(fate.as_str(), 1);
        }
        if waiting == FLUSH_AT {
            self.full.notify_one();
        }
    }

    /// Applies a batch at the owners of its cells and adds their counts up. Pings whose owner did
    /// not answer count as refused.
    pub async fn apply(&self, pings: Vec<Ping>, context: Context) -> PingCounts {
        let batches = by_owner(&self.membership.view(), pings);
        let mut answers: FuturesUnordered<_> = batches
            .into_iter()
            .take(OWNERS_MAX)
            .map(|(owner, pings)| self.send(owner, pings, context))
            .collect();
        let mut sum = PingCounts::default();
        while let Some(counts) = answers.next().await {
            sum.applied += counts.applied;
            sum.stale += counts.stale;
            sum.refused += counts.refused;
        }
        sum
    }

    /// Sends what gathers, until dropped.
    pub async fn run(self: Arc<Self>) {
        let permits = Arc::new(Semaphore::new(FLUSHES_MAX));
        loop {
            // Either way out is fine: enough has gathered, or time has.
            let _ = tokio::time::timeout(FLUSH_EVERY, self.full.notified()).await;
            let Ok(free) = Arc::clone(&permits).acquire_owned().await else { return };
            drop(free);
            let pings = self.gathered().drain();
            for (owner, pings) in by_owner(&self.membership.view(), pings) {
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
                let gatherer = Arc::clone(&self);
                tokio::spawn(async move {
                    let subject = Subject::Anonymous;
                    let context = Context { trace: 0, subject, deadline_ms: WITHIN_MS };
                    gatherer.send(owner, pings, context).await;
                    drop(permit);
                });
            }
        }
    }

    async fn send(&self, node: NodeId, pings: Vec<Ping>, context: Context) -> PingCounts {
        let count = u32::try_from(pings.len()).unwrap_or(u32::MAX);
        let context = context.within_ms(context.deadline_ms.min(WITHIN_MS));
        match self.router.served(Pings { node, pings }, context).await.result {
            Ok(counts) => {
                self.metrics.count_pings(counts);
                counts
            }
            Err(refusal) => {
                tracing::debug!(owner = %node, code = %refusal.code, count, "pings lost");
                self.metrics.ping("lost", count.into());
                PingCounts { refused: count, ..PingCounts::default() }
            }
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Gather> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits pings by the owners of their cells, in requests of a bounded size. Where nobody owns a
/// cell, this node takes the ping, and its runtime refuses it.
fn by_owner(view: &View, pings: Vec<Ping>) -> Vec<(NodeId, Vec<Ping>)> {
    let mut owners: BTreeMap<NodeId, Vec<Ping>> = BTreeMap::new();
    for ping in pings {
        let owner = ring_key(view, ping.point).and_then(|key| view.cell_owner(key));
        owners.entry(owner.unwrap_or(view.me())).or_default().push(ping);
    }
    let mut batches = Vec::new();
    for (owner, pings) in owners {
        batches.extend(pings.chunks(REQUEST_MAX).map(|chunk| (owner, chunk.to_vec())));
    }
    batches
}

/// The ring key of the cell a point lies in.
pub(crate) fn ring_key(view: &View, point: Point) -> Option<u64> {
    let at = LatLng::new(point.lat(), point.lng()).ok()?;
    Some(view.ring_key(at.to_cell(Resolution::Eight)))
}
