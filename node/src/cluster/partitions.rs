//! Where the replicas of partitions are and should be, and an operator's word on a node.

use super::Facts;
use ledger::replicated::{Cluster, Objection, Standing};
use ledger::{Ledger, Refused};
use proto::NodeId;
use proto::code::{Code, Refusal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A partition as `/v1/cluster/partitions` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartitionView {
    /// Its number; 0 is what the cluster agrees on about itself.
    pub group: u16,
    /// Who leads it, as this node has heard.
    pub leader: Option<String>,
    /// Where its replicas should be, the preferred leader first.
    pub wanted: Vec<String>,
    /// In which term; nothing from a node without a replica of it, here and below.
    pub term: Option<u64>,
    /// Who votes.
    pub voters: Option<Vec<String>>,
    /// Who only listens.
    pub learners: Option<Vec<String>>,
    /// The index of the last command applied here.
    pub applied: Option<u64>,
    /// A digest of the state here, in hex: equal on replicas that have applied the same.
    pub digest: Option<String>,
    /// Values in its state here.
    pub values: Option<usize>,
    /// Entries in its log here.
    pub entries: Option<usize>,
}

/// A node as the cluster has agreed on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its id.
    pub node: String,
    /// `active`, `draining` or `dead`.
    pub standing: String,
    /// Whether gossip sees it.
    pub alive: bool,
    /// In how many partitions it votes, as this node's replicas know.
    pub votes_in: usize,
    /// The highest feature level that its build knows, as it last said.
    pub level: u16,
}

/// All partitions, as one node sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartitionsView {
    /// Who answers.
    pub node: String,
    /// Rises with every change of what the cluster agrees on.
    pub version: u64,
    /// The feature level that commands are carried out at.
    pub level: u16,
    /// The nodes.
    pub nodes: Vec<NodeView>,
    /// The partitions.
    pub partitions: Vec<PartitionView>,
}

fn names(nodes: impl IntoIterator<Item = NodeId>) -> Vec<String> {
    nodes.into_iter().map(|node| node.to_string()).collect()
}

const fn standing_text(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Draining => "draining",
        Standing::Dead => "dead",
    }
}

impl Facts {
    /// Where replicas are and should be.
    pub fn partitions(&self) -> PartitionsView {
        let known = self.ledger.known().borrow().clone();
        let here: BTreeMap<_, _> =
            self.ledger.replicas().into_iter().map(|replica| (replica.group, replica)).collect();
        let partition = |(group, wanted): (&proto::GroupId, &Vec<NodeId>)| {
            let replica = here.get(group);
            PartitionView {
                group: group.0,
                leader: self.ledger.leader(*group).map(|node| node.to_string()),
                wanted: names(wanted.iter().copied()),
                term: replica.map(|replica| replica.term.0),
                voters: replica.map(|replica| names(replica.voters.iter().copied())),
                learners: replica.map(|replica| names(replica.learners.iter().copied())),
                applied: replica.map(|replica| replica.applied),
                digest: replica.map(|replica| format!("{:016x}", replica.fingerprint.1)),
                values: replica.map(|replica| replica.values),
                entries: replica.map(|replica| replica.entries),
            }
        };
        let view = self.membership.view();
        let node = |(id, listed): (&NodeId, &ledger::replicated::Listed)| NodeView {
            node: id.to_string(),
            standing: standing_text(listed.standing).to_owned(),
            alive: view.member(*id).is_some(),
            votes_in: here.values().filter(|replica| replica.voters.contains(id)).count(),
            level: listed.level.0,
        };
        PartitionsView {
            node: view.me().to_string(),
            version: known.cluster.version,
            level: known.cluster.level.0,
            nodes: known.cluster.nodes.iter().map(node).collect(),
            partitions: known.plan.iter().map(partition).collect(),
        }
    }

    /// Has a node hand its replicas over, or take replicas again.
    pub async fn stand(&self, node: NodeId, drain: bool) -> Result<Cluster, Refusal> {
        let standing = if drain { Standing::Draining } else { Standing::Active };
        match self.ledger.stand(node, standing).await {
            Ok(Ok(cluster)) => Ok(cluster),
            Ok(Err(Objection::Unknown)) => Err(Code::NodeNotFound.into()),
            Ok(Err(Objection::TooFew)) => Err(Code::TooFewNodes.into()),
            Ok(Err(
                objection @ (Objection::NotFounded
                | Objection::OtherDisk
                | Objection::TooOld { .. }
                | Objection::NotEverybody
                | Objection::Stale { .. }
                | Objection::TooManySplits
                | Objection::PolicyTooLarge),
            )) => Err(Refusal::new(Code::NotReady, objection.to_string())),
            Err(refused @ (Refused::NotLeader { .. } | Refused::Unknown | Refused::TooLarge)) => {
                Err(Refusal::new(Code::Retry, refused.to_string()))
            }
            Err(Refused::Overloaded) => Err(Code::Overloaded.into()),
        }
    }
}
