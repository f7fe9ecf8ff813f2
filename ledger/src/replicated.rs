//! A ledger that keeps each group on several nodes: a command is on a majority of their disks
//! before it is acknowledged, and when a node dies a follower that has every acknowledged command
//! goes on.
//!
//! | file | holds |
//! |---|---|
//! | `types`, `log`, `apply`, `network` | all that knows the consensus library: its types and the handle on a replica; its storage; what it applies; its calls |
//! | `keeper`, `state`, `image` | a replica's state behind its lock; the machine with its values; those as a picture |
//! | `snapshots` | pictures on disk |
//! | `archive`, `segments` | what has left the state for good; that on disk |
//! | `journal` | the one write-ahead log of all groups |
//! | `cluster` | group 0: what the cluster agrees on about itself, and where replicas should be |
//! | `founding`, `wire` | how a cluster comes to be; what ledgers say to each other |
//! | `settings`, `core` | what it is told; what its parts share |
//! | `open`, `begin` | from what is on the disks to replicas that run; how a node comes to belong to a cluster |
//! | `asked`, `serve` | what the actors ask of it; what other ledgers do |
//! | `roles` | what replicas lead, as others are told |
//! | `level` | how two builds share one log during a rolling upgrade |
//! | `splits` | which cells are split, as group 0 has agreed |
//! | `policy` | the numbers in force, as group 0 has agreed |
//! | `reads` | linearizable reads, many to a round of confirmation |
//! | `offline` | what an operator asks of a directory that nobody has open |
//! | `handover` | how long a group has no leader while its leadership goes back |
//! | `hints` | who leads a group, as far as this node can know |
//! | `leave` | how a replica whose group has moved away comes to be removed |
//! | `tend` | what a node does for its groups in turn: heartbeats, snapshots, members, leaders |

mod apply;
pub(crate) mod archive;
mod asked;
mod begin;
pub(crate) mod cluster;
mod core;
mod faults;
mod founding;
#[cfg(test)]
mod fuzz;
mod handover;
mod hints;
mod image;
mod journal;
mod keeper;
mod leave;
mod level;
mod log;
mod network;
pub mod offline;
mod open;
mod policy;
mod reads;
mod roles;
mod segments;
mod serve;
mod settings;
mod snapshots;
mod splits;
mod state;
mod tend;
mod types;
pub(crate) mod wire;

pub use cluster::{Cluster, DiskId, Listed, META, Objection, Plan, Standing};
pub use core::Known;
pub use faults::{Fault, Faults};
pub use founding::remembered;
pub use level::TooOld;
pub use policy::{AgreedPolicy, POLICY_BYTES_MAX};
pub use settings::{
    Broken, OpenReplicatedError, Parts, ReplicaStatus, ReplicatedCounts, Retention, Settings,
};
pub use splits::{SplitCell, Splits};
pub use types::Timers;

use self::core::{Core, Here};
use crate::contract::{Committed, Leadership, Ledger, Refused};
use crate::peers::Lane;
use cluster::Change;
use network::COMMAND_MAX;
use proto::{GroupId, NodeId, codec};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use types::{PROPOSE_WITHIN, Stamped};
use wire::{Body, Reply};

/// A ledger that keeps each group on several nodes. Cheap to clone.
#[derive(Clone)]
pub struct Replicated(Arc<Core>);

impl Replicated {
    fn here(&self, group: GroupId) -> Option<Here> {
        self.0.here.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned()
    }

    fn all_here(&self) -> Vec<Here> {
        self.0.here.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What the cluster agrees on, as far as this node knows, and as that changes. Before it is
    /// founded, nothing.
    pub fn known(&self) -> watch::Receiver<Arc<Known>> {
        self.0.cluster.subscribe()
    }

    /// Changes what a node is to the cluster, whoever leads group 0.
    pub async fn stand(
        &self,
        node: NodeId,
        standing: Standing,
    ) -> Result<Result<Cluster, Objection>, Refused> {
        self.have_changed(Change::Stand(node, standing), Body::Stand(node, standing)).await
    }

    /// Has group 0 changed by its leader: this node, or the one that is told `body`.
    async fn have_changed(
        &self,
        change: Change,
        body: Body,
    ) -> Result<Result<Cluster, Objection>, Refused> {
        let hint = match self.change(change).await {
            Err(Refused::NotLeader { hint: Some(hint) }) => hint,
            other => return other,
        };
        match self.0.lines.call(hint, Lane::Consensus, PROPOSE_WITHIN, body).await {
            Ok(Reply::Stood(stood)) => Ok(stood),
            Ok(_) => Err(Refused::NotLeader { hint: None }),
            Err(_) => Err(Refused::Unknown),
        }
    }

    async fn change(&self, change: Change) -> Result<Result<Cluster, Objection>, Refused> {
        let committed = self.propose_to(META, codec::encode(&change)).await?;
        codec::decode(&committed.outcome).map_err(|_| Refused::Unknown)
    }

    async fn propose_to(&self, group: GroupId, command: Vec<u8>) -> Result<Committed, Refused> {
        if command.len() > COMMAND_MAX {
            return Err(Refused::TooLarge);
        }
        let here = self.led(group)?;
        let Ok(_room) = self.0.proposals.try_acquire() else { return Err(Refused::Overloaded) };
        let (at, level) = (self.0.clock.wall(), self.0.level());
        let stamped = Stamped { at, level, command: command.into() };
        let proposed = tokio::time::timeout(PROPOSE_WITHIN, here.replica.propose(stamped)).await;
        proposed.unwrap_or(Err(Refused::Unknown))
    }

    /// Returns once a quorum has confirmed that this replica leads.
    async fn confirm(&self, here: &Here) -> Result<(), Refused> {
        if self.0.settings.faults.make(Fault::ReadWithoutBarrier) {
            return Ok(());
        }
        here.reader.confirm().await
    }

    /// The replica of a group that this node leads.
    fn led(&self, group: GroupId) -> Result<Here, Refused> {
        let not_leader = || Refused::NotLeader { hint: self.leader(group) };
        if !self.0.leadership.borrow().contains_key(&group) {
            return Err(not_leader());
        }
        self.here(group).ok_or_else(not_leader)
    }

    /// Takes a snapshot of a group at once; returns when it is durable, with the index it covers.
    pub async fn take_snapshot(&self, group: GroupId) -> Result<u64, Refused> {
        let here = self.here(group).ok_or(Refused::NotLeader { hint: self.leader(group) })?;
        let (applied, _) = here.replica.keeper().size();
        here.replica.take_snapshot().await;
        loop {
            match self.0.means.snapshots.newest(group) {
                Some(covered) if covered >= applied => return Ok(covered),
                Some(_) | None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// How each replica here stands.
    pub fn replicas(&self) -> Vec<ReplicaStatus> {
        let status = |here: Here| {
            // Both of one moment, so that who compares them compares the same.
            let (applied, fingerprint) = here.replica.keeper().fingerprint();
            let members = here.replica.members();
            let group = here.replica.group;
            ReplicaStatus {
                group,
                leads: self.0.leadership.borrow().contains_key(&group),
                term: here.replica.role().term,
                may_stand: here.may_stand(self.0.me()),
                last: here.log.last_of_term(),
                quorums: members.quorums,
                voters: members.voters,
                learners: members.learners,
                applied,
                values: here.replica.keeper().size().1,
                entries: here.log.len(),
                segments: here.replica.keeper().archived(),
                snapshot: self.0.means.snapshots.newest(group),
                fingerprint,
                level: here.replica.keeper().level(),
            }
        };
        self.all_here().into_iter().map(status).collect()
    }

    /// Writes and syncs of the write-ahead log, and frames sent, so far.
    pub fn counts(&self) -> ReplicatedCounts {
        let counts = self.0.journal.counts();
        ReplicatedCounts {
            writes: counts.writes.load(std::sync::atomic::Ordering::Relaxed),
            syncs: counts.syncs.load(std::sync::atomic::Ordering::Relaxed),
            frames: self.0.lines.frames(),
        }
    }

    /// Stops the replicas and closes the stores.
    pub async fn stop(&self) {
        self.0.tasks().abort_all();
        self.0.leadership.send_replace(Leadership::new());
        for here in self.all_here() {
            here.replica.stop().await;
        }
        self.0.journal.stop().await;
        self.0.snapshot_journal.stop().await;
        self.0.means.segments.close();
    }
}
