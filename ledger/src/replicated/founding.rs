//! How a cluster comes to be, once. The initial nodes ask each other until every one of them has
//! answered; then each notes durably who was there and with which disk, and the groups begin. From
//! then on a majority is enough. A node whose disk is not the one that was noted has lost votes
//! and entries that others count on, so it is told to come as somebody else.
//!
//! "Nobody answered, so I am a cluster of one" does not exist.

use super::Replicated;
use super::cluster::DiskId;
use super::journal::{Journal, JournalFailed};
use super::wire::Founders;
use crate::store::{Batch, Store, StoreError};
use membership::Foundation;
use proto::{NodeId, codec};
use std::collections::{BTreeMap, BTreeSet};

/// In the journal's store: which disk this is.
const DISK_KEY: &[u8] = b"idisk";
/// In the journal's store: the founders, once known; for a joiner, who let it in.
const FOUNDERS_KEY: &[u8] = b"ifounders";
/// There once this founder has begun its groups: from then on they may have moved elsewhere, and
/// a blank one here must never begin again.
const BEGUN_KEY: &[u8] = b"ibegun";

/// What the cluster was founded with, as this node learned it when it joined.
const FOUNDATION_KEY: &[u8] = b"ifoundation";

/// What the disk says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) disk: Option<DiskId>,
    pub(crate) founders: Option<Founders>,
    pub(crate) begun: bool,
}

pub(crate) fn load<S: Store>(store: &S) -> Result<Origin, StoreError> {
    let read = |key: &'static [u8]| store.get(key);
    let undecoded = |error| StoreError::undecoded("the disk's origin", b"i", error);
    let disk = read(DISK_KEY)?.map(|bytes| codec::decode(&bytes)).transpose();
    let founders = read(FOUNDERS_KEY)?.map(|bytes| codec::decode(&bytes)).transpose();
    Ok(Origin {
        disk: disk.map_err(undecoded)?,
        founders: founders.map_err(undecoded)?,
        begun: read(BEGUN_KEY)?.is_some(),
    })
}

/// Names a blank disk. It has to be durable before anybody hears of it.
pub(crate) async fn name_disk(journal: &Journal, disk: DiskId) -> Result<(), JournalFailed> {
    let mut batch = Batch::default();
    batch.put(DISK_KEY.to_vec(), codec::encode(&disk));
    journal.write_through(batch).await
}

/// Notes who founded the cluster.
pub(crate) async fn note(journal: &Journal, founders: &Founders) -> Result<(), JournalFailed> {
    let mut batch = Batch::default();
    batch.put(FOUNDERS_KEY.to_vec(), codec::encode(founders));
    journal.write_through(batch).await
}

/// Notes that the groups have begun.
pub(crate) async fn note_begun(journal: &Journal) -> Result<(), JournalFailed> {
    let mut batch = Batch::default();
    batch.put(BEGUN_KEY.to_vec(), codec::encode(&()));
    journal.write_through(batch).await
}

/// What the cluster was founded with, if this disk remembers it.
pub fn remembered<S: Store>(store: &S) -> Result<Option<Foundation>, StoreError> {
    let Some(bytes) = store.get(FOUNDATION_KEY)? else { return Ok(None) };
    let undecoded = |error| StoreError::undecoded("the foundation", FOUNDATION_KEY, error);
    let text: String = codec::decode(&bytes).map_err(undecoded)?;
    Ok(text.parse().ok())
}

impl Replicated {
    /// Keeps what the cluster was founded with on this disk; [`remembered`] reads it at the next
    /// start. False if the disk has failed.
    pub async fn remember(&self, foundation: &Foundation) -> bool {
        let mut batch = Batch::default();
        batch.put(FOUNDATION_KEY.to_vec(), codec::encode(&foundation.to_string()));
        self.0.journal.write_through(batch).await.is_ok()
    }
}

/// What a round of questions found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// These have not answered yet.
    Wait(BTreeSet<NodeId>),
    /// The founders: everyone was asked, or somebody knew.
    Founded(Founders),
    /// The cluster exists, and knows this node with another disk.
    OtherDisk {
        /// Who says so.
        says: NodeId,
    },
}

/// Draws the conclusion from what the initial nodes answered: their own disk, and the founders if
/// they know them already.
pub(crate) fn conclude(
    me: (NodeId, DiskId),
    initial: &BTreeSet<NodeId>,
    answers: &BTreeMap<NodeId, (DiskId, Option<Founders>)>,
) -> Finding {
    for (says, (_, founders)) in answers {
        if let Some(founders) = founders {
            return match founders.get(&me.0) == Some(&me.1) {
                true => Finding::Founded(founders.clone()),
                false => Finding::OtherDisk { says: *says },
            };
        }
    }
    let missing: BTreeSet<NodeId> = initial
        .iter()
        .filter(|node| **node != me.0 && !answers.contains_key(node))
        .copied()
        .collect();
    if !missing.is_empty() {
        return Finding::Wait(missing);
    }
    let others = answers.iter().map(|(node, (disk, _))| (*node, *disk));
    Finding::Founded(others.chain([me]).filter(|(node, _)| initial.contains(node)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn disk(n: u128) -> DiskId {
        DiskId(n)
    }

    fn initial() -> BTreeSet<NodeId> {
        [A, B, C].into()
    }

    #[test]
    fn nothing_is_founded_before_everyone_was_asked() {
        let some = BTreeMap::from([(B, (disk(2), None))]);
        let waits = conclude((A, disk(1)), &initial(), &some);
        assert_eq!(waits, Finding::Wait([C].into()));
        let all = BTreeMap::from([(B, (disk(2), None)), (C, (disk(3), None))]);
        let founders: Founders = [(A, disk(1)), (B, disk(2)), (C, disk(3))].into();
        assert_eq!(conclude((A, disk(1)), &initial(), &all), Finding::Founded(founders.clone()));
        let others = BTreeMap::from([(A, (disk(1), None)), (C, (disk(3), Some(founders.clone())))]);
        let same = conclude((B, disk(2)), &initial(), &others);
        assert_eq!(same, Finding::Founded(founders), "all founders note the same");
    }

    #[test]
    fn a_node_without_its_disk_is_nobody() {
        let founders: Founders = [(A, disk(1)), (B, disk(2)), (C, disk(3))].into();
        let answers = BTreeMap::from([(B, (disk(2), Some(founders)))]);
        let wiped = conclude((A, disk(9)), &initial(), &answers);
        assert_eq!(wiped, Finding::OtherDisk { says: B });
    }
}
