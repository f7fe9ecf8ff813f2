//! What ledgers say to each other. One frame goes there, one answer comes back; the words of the
//! consensus library travel inside as bytes, many groups' in one frame.

use super::archive::SegmentId;
use super::cluster::{Cluster, DiskId, Join, Objection, Standing};
use super::image::{Header, Piece};
use bytes::Bytes;
use proto::machine::Level;
use proto::{GroupId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A frame on its way to a peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Frame {
    /// Who speaks, and with which disk: a node whose disk was replaced is not who it was.
    pub(crate) from: NodeId,
    pub(crate) disk: DiskId,
    pub(crate) body: Body,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Body {
    /// Words of several groups. Answered by `Answers`, one each, in order.
    Words(Vec<Words>),
    /// A part of a snapshot of a group. Answered by `Snapshot`.
    Snapshot(GroupId, Part),
    /// Founders ask each other before anything is founded. Answered by `Census`.
    Census,
    /// A node asks to be let in. Answered by `Joined`.
    Join(Join),
    /// An operator's word on a node, for the leader of group 0. Answered by `Stood`.
    Stand(NodeId, Standing),
    /// The highest feature level that the speaker's build knows, for the leader of group 0.
    /// Answered by `Stood`.
    Know(Level),
    /// An operator's policy, if this version still counts, for the leader of group 0. Answered by
    /// `Stood`.
    SetPolicy(u64, Vec<u8>),
    /// A replica that seems to have moved away asks whether the group's leader counts on it. Answered by
    /// `Counted`, and by nobody but a leader that a quorum confirms.
    Counted(GroupId),
}

/// One call between replicas of a group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Words {
    pub(crate) group: GroupId,
    pub(crate) kind: Kind,
    pub(crate) bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Append,
    Vote,
    PreVote,
    HandOver,
}

/// A part of a snapshot. Parts of one transfer come in order, one at a time. The answer to the first
/// is which segments are missing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Part {
    Begin { transfer: u64, vote: Bytes, meta: Bytes, header: Header },
    Segment { transfer: u64, id: SegmentId, bytes: Bytes },
    Pieces { transfer: u64, number: u32, pieces: Vec<Piece> },
    End { transfer: u64 },
}

/// Who was there when the cluster was founded, and with which disks.
pub(crate) type Founders = BTreeMap<NodeId, DiskId>;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Reply {
    Answers(Vec<Result<Bytes, String>>),
    /// What is missing, at the beginning of a transfer; the library's answer at its end.
    Snapshot(Result<Bytes, String>),
    /// The speaker's own disk, and the founders if it knows them.
    Census {
        disk: DiskId,
        founders: Option<Founders>,
    },
    Joined(Result<Cluster, NotJoined>),
    Stood(Result<Cluster, Objection>),
    /// Not here, not now.
    Busy,
    /// The node is known with another disk, or not at all.
    Stranger,
    Garbage,
    /// Whether the one who asked is among the group's members.
    Counted(bool),
}

/// Why a node was not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotJoined {
    /// Ask again, perhaps there.
    Elsewhere(Option<NodeId>),
    /// This id had another disk: its votes and entries are gone, so it is nobody.
    OtherDisk,
    /// The cluster runs at a feature level that the node's build does not know.
    TooOld { agreed: Level },
}
