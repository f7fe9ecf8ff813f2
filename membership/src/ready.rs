//! When a node is ready. A node that sees fewer members than it must expect is NOT READY and
//! keeps trying; "no seed answered, so I am a cluster of one" does not exist, except `--single`.

use crate::foundation::Foundation;
use proto::NodeId;

/// What a node must see, by the way it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// `--single`: itself.
    Itself,
    /// `--initial-nodes`: a majority of the initial nodes, itself included. Not all of them: the
    /// death of one must not stop the others. Not fewer: two halves of a split network must not
    /// both serve the same cells as if whole.
    MajorityOfInitial,
    /// `--seeds`: one other member, from which it has learned the foundation.
    Another,
}

/// Why a node may not serve yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Too few of those it must see are alive.
    #[error("sees {seen} of the {expected} members it must see")]
    TooFew {
        /// How many it sees, itself included.
        seen: usize,
        /// How many it must see.
        expected: usize,
    },
    /// No member has told it the initial nodes and the number of partitions, or two told
    /// different ones.
    #[error("has not learned the initial nodes and partitions of the cluster")]
    Unfounded,
    /// Another process runs under its id with a higher generation.
    #[error("another process runs under its id as generation {generation}")]
    Superseded {
        /// The other's generation.
        generation: u64,
    },
    /// Gossip has ended, by a stop or a fault, so the view grows old.
    #[error("gossip has ended")]
    GossipEnded,
}

impl Expect {
    /// Checks the live members against what must be seen.
    pub(crate) fn check(
        self,
        live: &[NodeId],
        foundation: Option<&Foundation>,
    ) -> Result<(), NotReady> {
        let foundation = foundation.ok_or(NotReady::Unfounded)?;
        let (seen, expected) = match self {
            Self::Itself => (live.len(), 1),
            Self::MajorityOfInitial => (
                live.iter().filter(|id| foundation.initial.contains(id)).count(),
                foundation.initial.len() / 2 + 1,
            ),
            Self::Another => (live.len(), 2),
        };
        if seen < expected { Err(NotReady::TooFew { seen, expected }) } else { Ok(()) }
    }
}
