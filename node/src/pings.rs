//! Positions on their way to the owners of their cells.
//!
//! Those of this node's own cells are applied at once, by whoever brought them. The others wait in
//! one queue a peer (`outbox`), the newest of each driver, and leave in batches. Nothing is sent
//! twice: the next ping is a better answer to a lost one. Who brings many is held back by waiting
//! for their fates.

mod outbox;

use crate::metrics::Metrics;
use crate::router::NodeRouter;
use actors::runtime::{Groups, Runtime};
use membership::Membership;
use outbox::{Awaited, Outbox};
use proto::NodeId;
pub use proto::record::cell::PingFate;
use proto::record::cell::{Ping, PingCounts};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long an owner's answer is waited for; after that the pings are old news.
const WITHIN: Duration = Duration::from_millis(1_500);

/// The way in for positions, whoever brings them.
pub struct Ingest {
    me: NodeId,
    router: Arc<NodeRouter>,
    membership: Membership,
    runtime: Arc<OnceLock<Runtime>>,
    metrics: Arc<Metrics>,
    outboxes: Mutex<Outboxes>,
}

#[derive(Debug, Default)]
struct Outboxes {
    /// One for each node that cells were ever owned by.
    of: BTreeMap<NodeId, Arc<Outbox>>,
    /// What sends from them.
    senders: JoinSet<()>,
}

impl Ingest {
    /// A way in. Until `runtime` is set, pings for this node's own cells are refused.
    pub fn new(
        router: Arc<NodeRouter>,
        membership: Membership,
        runtime: Arc<OnceLock<Runtime>>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let me = membership.view().me();
        let outboxes = Mutex::default();
        Arc::new(Self { me, router, membership, runtime, metrics, outboxes })
    }

    /// A lane for one who brings many.
    pub fn lane(self: &Arc<Self>) -> Lane {
        Lane { ingest: Arc::clone(self), groups: Groups::default(), fates: Vec::new() }
    }

    /// Applies a batch at the owners of its cells and adds up how it fared.
    pub async fn apply(self: &Arc<Self>, pings: &[Ping]) -> PingCounts {
        self.lane().apply(pings).await.iter().copied().collect()
    }

    /// Takes a ping whose sender does not wait for its fate.
    pub fn take(&self, ping: Ping) {
        let Some(runtime) = self.runtime.get() else { return self.metrics.ping("refused", 1) };
        let view = self.membership.view();
        let ring_key = runtime.ring_key(&view, ping.point);
        match view.cell_owner(ring_key) {
            Some(owner) if owner != self.me => self.outbox(owner).add(ping),
            Some(_) | None => {
                self.metrics.count_pings([runtime.ping(ring_key, &ping)].into_iter().collect());
            }
        }
    }

    fn outbox(&self, node: NodeId) -> Arc<Outbox> {
        let mut outboxes = self.outboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let Outboxes { of, senders } = &mut *outboxes;
        let outbox = of.entry(node).or_insert_with(|| {
            let outbox = Outbox::new(node, Arc::clone(&self.metrics));
            senders.spawn(Arc::clone(&outbox).send_all(Arc::clone(&self.router)));
            outbox
        });
        Arc::clone(outbox)
    }
}

/// One sender's way in, with what it keeps from batch to batch.
pub struct Lane {
    ingest: Arc<Ingest>,
    groups: Groups,
    fates: Vec<PingFate>,
}

impl Lane {
    /// Applies a batch; says how each ping fared, in order, once a search would see it. Where an
    /// owner does not answer within a second and a half, its pings are lost.
    pub async fn apply(&mut self, pings: &[Ping]) -> &[PingFate] {
        let Self { ingest, groups, fates } = self;
        fates.clear();
        fates.resize(pings.len(), PingFate::Refused);
        let Some(runtime) = ingest.runtime.get() else { return fates };
        groups.sort(runtime, pings);
        let mut forwarded: Option<Arc<Awaited>> = None;
        for group in groups.touched() {
            match group.owner() {
                Some(owner) if owner != ingest.me => {
                    let awaited = forwarded.get_or_insert_with(|| Awaited::new(pings.len()));
                    ingest.outbox(owner).add_all(pings, group.items(), awaited);
                }
                Some(_) | None => {
                    group.apply(runtime, pings, fates);
                    let fates = group.items().iter().map(|item| fates[*item as usize]);
                    ingest.metrics.count_pings(fates.collect());
                }
            }
        }
        if let Some(awaited) = forwarded {
            // What was not answered by then says so itself.
            let _ = tokio::time::timeout(WITHIN, awaited.settled()).await;
            for group in groups.touched() {
                if group.owner().is_some_and(|owner| owner != ingest.me) {
                    for item in group.items() {
                        fates[*item as usize] = awaited.fate(*item);
                    }
                }
            }
        }
        fates
    }
}
