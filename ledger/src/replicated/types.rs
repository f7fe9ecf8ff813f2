//! The consensus library's types, chosen once, and the one handle through which the rest of the
//! ledger talks to it. Beside `log` and `network` this is the only file that names them.

use super::keeper::Keeper;
use super::log::GroupLog;
use super::network::Dialler;
use crate::contract::{Committed, Refused, Term};
use openraft::Instant;
use openraft::async_runtime::WatchReceiver;
#[cfg(test)]
pub(crate) use openraft::entry::RaftEntry;
use openraft::errors::{ClientWriteError, InitializeError, LinearizableReadError, RaftError};
use openraft::impls::leader_id_std;
use openraft::{ChangeMembers, Config, EmptyNode, Raft, ReadPolicy, ServerState, SnapshotPolicy};
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use proto::machine::Level;
use proto::{GroupId, NodeId, WallMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A command as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamped {
    /// The proposer's clock; `apply` makes it rise.
    pub(crate) at: WallMs,
    /// What group 0 had agreed on, as far as the proposer knew; `apply` makes it rise.
    pub(crate) level: Level,
    pub(crate) command: bytes::Bytes,
}

impl fmt::Display for Stamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {}, level {}", self.command.len(), self.at.0, self.level)
    }
}

/// What applying an entry gave; nothing for entries that are not commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer(pub(crate) Option<Committed>);

openraft::declare_raft_types!(
    /// The chosen types. One leader a term; chance comes from a seed, so that a simulation can
    /// replay an election.
    pub(crate) Types:
        D = Stamped,
        R = Answer,
        NodeId = u64,
        Node = EmptyNode,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = DeterministicRng<TokioRuntime>,
);

pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::alias::EntryOf<Types>;
pub(crate) type Members = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
#[cfg(test)]
pub(crate) type Append = openraft::raft::AppendEntriesRequest<Types>;
#[cfg(test)]
pub(crate) type Ballot = openraft::raft::VoteRequest<Types>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<Types, super::image::Image>;

/// How patient the groups are, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Between heartbeats of a leader.
    pub heartbeat_ms: u64,
    /// A follower that heard nothing for a random time between these asks to be elected.
    pub election_ms: (u64, u64),
}

impl Default for Timers {
    /// A killed leader is replaced in under a second; a stall of a third of one is survived.
    fn default() -> Self {
        Self { heartbeat_ms: 75, election_ms: (300, 500) }
    }
}

impl Timers {
    /// A leader that no quorum answered for so long knows that it may be none.
    pub(crate) const fn doubt_ms(self) -> u64 {
        2 * self.election_ms.1
    }

    /// A leader in doubt lets so many beats pass without a heartbeat: a follower that hears it, but could
    /// be elected by nodes that don't, has time to ask. It does not fall silent: a log that is longer
    /// than all others must be led on once its leader is heard again.
    pub(crate) const fn doubtful_beats(self) -> u64 {
        self.doubt_ms().div_ceil(self.heartbeat_ms)
    }
}

/// Entries in one append. At the usual few hundred bytes far below a frame; larger ones are cut.
const APPEND_ENTRIES: u64 = 256;

fn config(group: GroupId, timers: Timers) -> Config {
    Config {
        cluster_name: group.to_string(),
        // Its own clock wakes each group on its own, some 5 times a heartbeat: a quarter of a core
        // for 64 idle groups on 3 nodes. Heartbeats and elections are started in `tend`, all
        // groups at one beat, so that they share wake-ups and frames.
        enable_tick: false,
        // Nothing is started by it: to the library it is how long an append or a heartbeat may
        // take. Over a slow link that may be longer than the time between two; three quarters of
        // it are waited for, and it must stay below the shortest election by a good fifth.
        heartbeat_interval: timers.election_ms.0 * 4 / 5,
        election_timeout_min: timers.election_ms.0,
        election_timeout_max: timers.election_ms.1,
        max_payload_entries: APPEND_ENTRIES,
        enable_pre_vote: Some(true),
        // A leader that restarts must be elected: restored without a vote, it would call reads
        // linearizable that know less than it had acknowledged.
        enable_leader_restore: Some(false),
        // When to take snapshots and to purge is decided in `tend`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        install_snapshot_timeout: 5_000,
        backoff: "50ms 100ms 200ms ..200ms".into(),
        ..Config::default()
    }
}

/// Who is in a group, as this replica's log says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) voters: BTreeSet<NodeId>,
    pub(crate) learners: BTreeSet<NodeId>,
    /// The sets of voters of each of which a majority must agree: two, amid a change.
    pub(crate) quorums: Vec<BTreeSet<NodeId>>,
    /// Who votes by the last word that is known to be agreed on.
    pub(crate) agreed: BTreeSet<NodeId>,
    /// A change of members is half done.
    pub(crate) joint: bool,
    /// It is agreed that two sets of voters count, and this is the one that should remain.
    pub(crate) towards: Option<BTreeSet<NodeId>>,
}

impl Membership {
    /// Whether a node may ask to be elected. Who is to vote no more may while that is not agreed on: he
    /// may be the only one who has the word that says so, and nobody else could be elected.
    pub(crate) fn may_stand(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.agreed.contains(&node)
    }
}

/// What a replica is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) term: Term,
    /// It believes to lead. Only a quorum can confirm it.
    pub(crate) leads: bool,
    /// Whom it believes to lead.
    pub(crate) leader: Option<NodeId>,
}

/// One replica of one group. Clones are the same replica.
#[derive(Clone)]
pub(crate) struct Replica {
    pub(crate) group: GroupId,
    pub(super) raft: Raft<Types, Keeper>,
    keeper: Keeper,
}

fn refused(error: RaftError<Types, ClientWriteError<Types>>) -> Refused {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
            Refused::NotLeader { hint: to.leader_id.map(NodeId) }
        }
        // It may have been appended, and what was appended may yet be committed.
        RaftError::APIError(_) | RaftError::Fatal(_) => Refused::Unknown,
    }
}

impl Replica {
    /// Starts a replica on what its log and snapshot hold.
    pub(crate) async fn start(
        me: NodeId,
        group: GroupId,
        timers: Timers,
        log: GroupLog,
        keeper: Keeper,
        dialler: Dialler,
        seed: u64,
    ) -> Result<Self, String> {
        let config = config(group, timers).validate().map_err(|error| error.to_string())?;
        let raft = Raft::new(me.0, Arc::new(config), dialler, log, keeper.clone());
        let raft = DeterministicRng::<TokioRuntime>::scope(seed, raft).await;
        let raft = raft.map_err(|error| error.to_string())?;
        Ok(Self { group, raft, keeper })
    }

    pub(crate) const fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Founds the group. Safe on every founder and any number of times, with the same founders.
    pub(crate) async fn found(&self, founders: &BTreeSet<NodeId>) -> Result<(), String> {
        let members: BTreeSet<u64> = founders.iter().map(|node| node.0).collect();
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Proposes; returns once committed and applied here. Dropping the future takes nothing back.
    pub(crate) async fn propose(&self, command: Stamped) -> Result<Committed, Refused> {
        let written = self.raft.client_write(command).await.map_err(refused)?;
        written.data.0.ok_or(Refused::Unknown)
    }

    /// Returns once a quorum, asked after this call, has confirmed that this replica leads, and
    /// everything committed before is applied here.
    pub(crate) async fn barrier(&self) -> Result<(), Refused> {
        match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                Err(Refused::NotLeader { hint: to.leader_id.map(NodeId) })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(Refused::NotLeader { hint: None })
            }
            Err(RaftError::Fatal(_)) => Err(Refused::NotLeader { hint: None }),
        }
    }

    pub(crate) fn role(&self) -> Role {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        Role {
            term: Term(metrics.vote.leader_id.term),
            leads: metrics.state == ServerState::Leader,
            leader: metrics.current_leader.map(NodeId),
        }
    }

    /// Returns when the role or the members may have changed since the last return; an error if
    /// the replica has stopped.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.raft.server_metrics())
    }

    /// For how long no quorum has answered this leader; nothing if it is none.
    pub(crate) fn unconfirmed_ms(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let acked = metrics.borrow_watched().last_quorum_acked?;
        u64::try_from(acked.elapsed().as_millis()).ok()
    }

    pub(crate) async fn heartbeat(&self) {
        // A replica that has stopped needs no heartbeat; the same holds for the calls below.
        let _ = self.raft.trigger().heartbeat().await;
    }

    /// Asks to be elected: first whether it would be, unless it is alone.
    pub(crate) async fn stand_for_election(&self) {
        let pre_vote = self.members().voters.len() > 1;
        let _ = self.raft.trigger().elect(pre_vote).await;
    }

    pub(crate) async fn take_snapshot(&self) {
        let _ = self.raft.trigger().snapshot().await;
    }

    pub(crate) async fn purge(&self, upto: u64) {
        let _ = self.raft.trigger().purge_log(upto).await;
    }

    pub(crate) async fn hand_over(&self, to: NodeId) {
        let _ = self.raft.trigger().transfer_leader(to.0).await;
    }

    pub(crate) fn members(&self) -> Membership {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let stored = metrics.membership_config.membership();
        let agreed = metrics.committed_membership_config.membership();
        let of = |voters: &BTreeSet<u64>| voters.iter().copied().map(NodeId).collect();
        let quorums: Vec<BTreeSet<NodeId>> = stored.get_joint_config().iter().map(of).collect();
        let joint = quorums.len() > 1;
        let settled =
            metrics.membership_config.log_id() == metrics.committed_membership_config.log_id();
        Membership {
            voters: stored.voter_ids().map(NodeId).collect(),
            learners: stored.learner_ids().map(NodeId).collect(),
            agreed: agreed.voter_ids().map(NodeId).collect(),
            joint: joint || !settled,
            towards: quorums.last().filter(|_| joint && settled).cloned(),
            quorums,
        }
    }

    /// How many entries each follower lacks, as this leader knows; nothing for one not heard of.
    pub(crate) fn lags(&self) -> BTreeMap<NodeId, Option<u64>> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let last = metrics.last_log_index.unwrap_or(0);
        let Some(replication) = &metrics.replication else { return BTreeMap::new() };
        let lag = |matched: &LogId| last.saturating_sub(matched.index);
        replication.iter().map(|(node, at)| (NodeId(*node), at.as_ref().map(lag))).collect()
    }

    /// Starts to send the log to a node that has no vote yet.
    pub(crate) async fn add_learner(&self, node: NodeId) -> Result<(), String> {
        let added = self.raft.add_learner(node.0, EmptyNode {}, false).await;
        added.map(drop).map_err(|error| error.to_string())
    }

    /// Changes who votes; returns once that is committed, in both of its steps.
    pub(crate) async fn change_voters(&self, voters: &BTreeSet<NodeId>) -> Result<(), String> {
        let voters: BTreeSet<u64> = voters.iter().map(|node| node.0).collect();
        // Who leaves listens on, so that it hears of it.
        let changed = self.raft.change_membership(voters, true).await;
        changed.map(drop).map_err(|error| error.to_string())
    }

    pub(crate) async fn remove_learners(&self, nodes: &BTreeSet<NodeId>) -> Result<(), String> {
        let change = ChangeMembers::RemoveNodes(nodes.iter().map(|node| node.0).collect());
        let changed = self.raft.change_membership(change, true).await;
        changed.map(drop).map_err(|error| error.to_string())
    }

    pub(crate) async fn stop(&self) {
        let _ = self.raft.shutdown().await; // an error: it has ended otherwise
    }
}

/// Tells of changes of a replica's role.
pub(crate) struct Changes(
    openraft::alias::WatchReceiverOf<Types, openraft::metrics::RaftServerMetrics<Types>>,
);

impl Changes {
    /// Returns at the next change; false once the replica has stopped.
    pub(crate) async fn next(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// For commands that are expected to be answered, how long that is waited for.
pub(crate) const PROPOSE_WITHIN: Duration = Duration::from_millis(1_000);
