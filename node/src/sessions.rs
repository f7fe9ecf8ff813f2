//! Keeps the drivers' partitions told of the sockets that this node holds. A session is soft: the
//! process that knew it may have died. So all of them are said again every few seconds, one
//! message a node, and at once to a node that has just come to lead; the answer is what is before
//! each driver, so that an offer whose push was lost still reaches his phone.

use crate::router::NodeRouter;
use crate::sockets::SocketRegistry;
use actors::runtime::world::{Context, Mint, Sockets};
use membership::Membership;
use proto::envelope::Subject;
use proto::record::ask::{Session, Sessions};
use proto::{DriverId, GroupId, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked for leaders that must be told at once.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Every so many looks, everybody is told.
const LOOKS_BETWEEN: u32 = 25;
/// Sessions in one message: some 40 bytes each, far below a frame.
const BATCH_MAX: usize = 2_048;
/// How long a node may take to answer, in milliseconds.
const WITHIN_MS: u32 = 2_000;

/// What the keeper works with.
pub(crate) struct Keeper {
    pub(crate) node: NodeId,
    pub(crate) sockets: Arc<SocketRegistry>,
    pub(crate) router: Arc<NodeRouter>,
    pub(crate) membership: Membership,
    pub(crate) mint: Arc<dyn Mint>,
}

impl Keeper {
    /// Tells, until dropped.
    pub(crate) async fn run(self) {
        let mut every = interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // For each partition, which start of which node was told of its drivers' sessions.
        let mut told: BTreeMap<GroupId, (NodeId, u64)> = BTreeMap::new();
        for look in (0..LOOKS_BETWEEN).cycle() {
            every.tick().await;
            let view = self.membership.view();
            for (node, mut groups) in self.by_leader() {
                let Some(member) = view.member(node) else { continue };
                let now = (node, member.generation);
                groups.retain(|group, _| look == 0 || told.get(group) != Some(&now));
                let sessions: Vec<_> = groups.values().flatten().copied().collect();
                if !sessions.is_empty() && self.tell(node, &sessions).await {
                    told.extend(groups.into_keys().map(|group| (group, now)));
                }
            }
        }
    }

    /// The sessions by the leader of their drivers' partitions. Those of a partition without one
    /// are told when it has one.
    fn by_leader(&self) -> BTreeMap<NodeId, BTreeMap<GroupId, Vec<(DriverId, Session)>>> {
        let mut by_leader: BTreeMap<NodeId, BTreeMap<GroupId, Vec<_>>> = BTreeMap::new();
        if let Some(partitions) = self.router.partitions() {
            for (driver, session) in self.sockets.sessions() {
                if let Some(leader) = partitions.leader(driver.slot()) {
                    let groups = by_leader.entry(leader).or_default();
                    groups
                        .entry(partitions.group(driver.slot()))
                        .or_default()
                        .push((driver, session));
                }
            }
        }
        by_leader
    }

    /// Tells one node, and passes on what is before the drivers. False if it did not hear all.
    async fn tell(&self, node: NodeId, sessions: &[(DriverId, Session)]) -> bool {
        for batch in sessions.chunks(BATCH_MAX) {
            let trace = u128::from(self.mint.random()) << 64 | u128::from(self.mint.random());
            let subject = Subject::Node(self.node);
            let context = Context { trace, subject, deadline_ms: WITHIN_MS };
            let ask = Sessions { node, sessions: batch.to_vec() };
            let Ok(before) = self.router.served(ask, context).await.result else { return false };
            let sockets: BTreeMap<DriverId, Session> = batch.iter().copied().collect();
            for (driver, push) in before {
                if let Some(session) = sockets.get(&driver).copied() {
                    // What the socket has shown already it does not show again.
                    self.sockets.push(session, push);
                }
            }
        }
        true
    }
}
