//! What all parts of a replicated ledger share, and how it is kept up to date.

use super::cluster::{
    CLUSTER_KEY, Cluster, DiskId, Listed, META, POLICY_KEY, Plan, SPLITS_KEY, Standing,
};
use super::faults::Fault;
use super::handover::HandOvers;
use super::journal::Journal;
use super::keeper::Means;
use super::log::{GroupLog, Tail};
use super::network::{Arrivals, Lines};
use super::policy::AgreedPolicy;
use super::reads::Reader;
use super::settings::{Broken, Settings};
use super::splits::Splits;
use super::types::Replica;
use super::wire::Founders;
use crate::contract::{Leadership, Term};
use proto::machine::Level;
use proto::units::{Clock, MonoMs};
use proto::{GroupId, NodeId, codec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

/// One replica, and the reads that wait for its next confirmation.
#[derive(Clone)]
pub(super) struct Here {
    pub(super) replica: Replica,
    pub(super) log: GroupLog,
    pub(super) reader: Reader,
    /// The last index in its log when it was started.
    pub(super) began_at: u64,
    /// Has the watcher of its role look again.
    pub(super) look: Arc<Notify>,
    /// When a leader was last heard here, or a vote last given.
    pub(super) heard_at: Arc<AtomicU64>,
    /// When a leader was last heard here, or it was one that a quorum answers.
    pub(super) led_at: Arc<AtomicU64>,
    /// How often it was given something to keep, by whoever believed to lead.
    pub(super) given: Arc<AtomicU64>,
}

impl Here {
    /// A leader is heard.
    pub(super) fn hears(&self, now: MonoMs) {
        self.heard_at.store(now.0, Ordering::Relaxed);
        self.led_at.store(now.0, Ordering::Relaxed);
    }

    /// It leads, and so hears himself: should he lead no more, his patience begins now. In doubt, he may have
    /// been replaced long ago, by members who do not tell him.
    pub(super) fn leads_at(&self, now: MonoMs, in_doubt: bool) {
        self.heard_at.store(now.0, Ordering::Relaxed);
        if !in_doubt {
            self.led_at.store(now.0, Ordering::Relaxed);
        }
    }

    /// Whether this node's replica may ask to be elected.
    pub(super) fn may_stand(&self, me: NodeId) -> bool {
        self.replica.members().may_stand(me) && !self.log.lacks()
    }
}

pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) disk: DiskId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) living: Arc<dyn Fn() -> BTreeSet<NodeId> + Send + Sync>,
    pub(super) journal: Journal,
    pub(super) snapshot_journal: Journal,
    pub(super) lines: Arc<Lines>,
    pub(super) arrivals: Arrivals,
    /// What the keepers of all groups share.
    pub(super) means: Means,
    pub(super) here: RwLock<BTreeMap<GroupId, Here>>,
    /// Held while a replica is started or removed, so that none is started twice.
    pub(super) changing: Arc<tokio::sync::Mutex<()>>,
    pub(super) leadership: Arc<watch::Sender<Leadership>>,
    /// Who leads, as the replicas here have heard.
    pub(super) heard: Mutex<BTreeMap<GroupId, NodeId>>,
    /// What the cluster agrees on, as this node knows it.
    pub(super) cluster: watch::Sender<Arc<Known>>,
    pub(super) founders: Mutex<Option<Founders>>,
    pub(super) broken: watch::Sender<Option<Broken>>,
    pub(super) proposals: Semaphore,
    pub(super) hand_overs: HandOvers,
    /// What is left of replicas that were removed.
    pub(super) left: Mutex<BTreeMap<GroupId, Tail>>,
    pub(super) tasks: Mutex<JoinSet<()>>,
}

/// The cluster and the plan that follows from it.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// As agreed in group 0, or as founded while that is not known yet.
    pub cluster: Cluster,
    /// Where replicas should be.
    pub plan: Plan,
    /// Whether group 0 said so, or a member that asked it.
    pub agreed: bool,
    /// Which cells are split, as far as this node's replica of group 0 has heard.
    pub splits: Arc<Splits>,
    /// The policy in force, as far as this node's replica of group 0 has heard.
    pub policy: Arc<AgreedPolicy>,
}

impl Core {
    pub(super) fn me(&self) -> NodeId {
        self.settings.node
    }

    pub(super) fn founders(&self) -> MutexGuard<'_, Option<Founders>> {
        self.founders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn heard(&self) -> MutexGuard<'_, BTreeMap<GroupId, NodeId>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn left(&self) -> MutexGuard<'_, BTreeMap<GroupId, Tail>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.cluster.borrow())
    }

    /// The cluster as its founders begin it.
    pub(super) fn as_founded(&self, founders: &Founders) -> Cluster {
        let listed = |(node, disk): (&NodeId, &DiskId)| {
            // Each says its own once it has founded: founders that differ in theirs must agree here.
            let zone = String::new();
            // Every build knows the first level; what else each knows it says for itself.
            let (disk, standing, level) = (*disk, Standing::Active, Level::FIRST);
            (*node, Listed { disk, zone, standing, level })
        };
        let nodes: BTreeMap<NodeId, Listed> = founders.iter().map(listed).collect();
        let replicas = self.settings.replicas.min(u8::try_from(nodes.len()).unwrap_or(u8::MAX));
        let (partitions, level) = (self.settings.partitions, Level::FIRST);
        Cluster { version: 1, partitions, replicas, nodes, lossy: 0, level }
    }

    /// Takes news of the cluster, unless they are old.
    pub(super) fn learn(&self, cluster: Cluster, agreed: bool) {
        self.cluster.send_if_modified(|known| {
            let news = (cluster.version, agreed) > (known.cluster.version, known.agreed);
            if news {
                let before = Known::clone(known);
                *known = Arc::new(Known { plan: cluster.plan(), cluster, agreed, ..before });
            }
            news
        });
    }

    fn learn_splits(&self, splits: Splits) {
        self.cluster.send_if_modified(|known| {
            let news = splits.version > known.splits.version;
            if news {
                *known = Arc::new(Known { splits: Arc::new(splits), ..Known::clone(known) });
            }
            news
        });
    }

    fn learn_policy(&self, policy: AgreedPolicy) {
        self.cluster.send_if_modified(|known| {
            let news = policy.version > known.policy.version;
            if news {
                *known = Arc::new(Known { policy: Arc::new(policy), ..Known::clone(known) });
            }
            news
        });
    }

    /// Looks what this node's replica of group 0 says.
    pub(super) fn read_cluster(&self) {
        let here = self.here.read().unwrap_or_else(PoisonError::into_inner).get(&META).cloned();
        // After a start the replica is as old as its snapshot until a leader has told it more.
        let fresh = here.filter(|here| {
            here.replica.role().leader.is_some() && here.replica.keeper().size().0 >= here.began_at
        });
        let Some(here) = fresh else { return };
        let read = |key| here.replica.keeper().read(key).ok().flatten();
        if let Some(Ok(cluster)) = read(CLUSTER_KEY).map(|value| codec::decode(&value)) {
            self.learn(cluster, true);
        }
        if let Some(Ok(splits)) = read(SPLITS_KEY).map(|value| codec::decode(&value)) {
            self.learn_splits(splits);
        }
        if let Some(Ok(policy)) = read(POLICY_KEY).map(|value| codec::decode(&value)) {
            self.learn_policy(policy);
        }
    }

    pub(super) fn lead(&self, group: GroupId, term: Option<Term>) {
        if self.broken.borrow().is_some() {
            return;
        }
        self.leadership.send_if_modified(|leads| match term {
            Some(term) => leads.insert(group, term) != Some(term),
            None => leads.remove(&group).is_some(),
        });
    }

    /// Whether a peer is who it says.
    pub(super) fn knows(&self, node: NodeId, disk: DiskId) -> Option<bool> {
        if self.settings.faults.make(Fault::WipedIsKnown) {
            return Some(true);
        }
        let known = self.known();
        let listed = known.cluster.nodes.get(&node).map(|listed| listed.disk);
        let noted = self.founders().as_ref().and_then(|noted| noted.get(&node).copied());
        listed.or(noted).map(|known| known == disk)
    }
}
