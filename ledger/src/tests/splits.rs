//! The split cells and the policy that group 0 agrees on: the faster sets them, everybody hears of
//! it, and they are there again after snapshots and restarts.

use super::cluster::Cluster;
use crate::Refused;
use crate::replicated::{META, Objection, SplitCell, Splits};
use proto::NodeId;
use std::sync::Arc;

fn cells(cells: &[u64]) -> Vec<SplitCell> {
    cells.iter().map(|cell| SplitCell { cell: *cell, load: 12_000, limit: 10_000 }).collect()
}

impl Cluster {
    fn splits(&self) -> Vec<Arc<Splits>> {
        self.up.values().map(|ledger| Arc::clone(&ledger.known().borrow().splits)).collect()
    }

    async fn until_split(&self, version: u64, expected: &[u64]) {
        let expected = Splits { version, cells: cells(expected) };
        self.until("every node knows the split cells", |cluster| {
            cluster.splits().iter().all(|splits| **splits == expected)
        })
        .await;
    }

    async fn until_policy(&self, version: u64, bytes: u64) {
        self.until("every node knows the policy", |cluster| {
            cluster.up.values().all(|ledger| {
                let known = ledger.known();
                let policy = Arc::clone(&known.borrow().policy);
                (policy.version, policy.bytes.len() as u64) == (version, bytes)
            })
        })
        .await;
    }

    /// Has the leader of group 0 set them.
    async fn split(&self, expected: u64, these: &[u64]) -> Result<Result<(), Objection>, Refused> {
        let leader = self.leader(META).expect("group 0 has a leader");
        self.up[&leader].set_splits(expected, cells(these)).await
    }
}

#[tokio::test(start_paused = true)]
async fn split_cells_are_known_everywhere_and_survive_snapshots_and_restarts() {
    // One more than there are replicas: it only listens to group 0.
    let mut cluster = Cluster::of(4).await;
    cluster.until_whole().await;
    cluster.until_split(0, &[]).await;
    assert_eq!(cluster.split(0, &[1, 2]).await, Ok(Ok(())));
    cluster.until_split(1, &[1, 2]).await;

    let slower = cluster.split(0, &[3]).await;
    assert_eq!(slower, Ok(Err(Objection::Stale { version: 1 })));
    let leader = cluster.leader(META).unwrap();
    let other = cluster.up.keys().copied().find(|node| *node != leader).unwrap();
    let elsewhere = cluster.up[&other].set_splits(1, cells(&[3])).await;
    assert!(matches!(elsewhere, Err(Refused::NotLeader { .. })), "{elsewhere:?}");
    cluster.until_whole().await;
    cluster.until_split(1, &[1, 2]).await;

    // Version 1 from snapshots, version 2 from the log.
    for ledger in cluster.up.values() {
        ledger.take_snapshot(META).await.unwrap();
    }
    for (version, these) in [(1, &[1, 2][..]), (2, &[2, 5])] {
        if version > 1 {
            assert_eq!(cluster.split(version - 1, these).await, Ok(Ok(())));
            cluster.until_split(version, these).await;
        }
        for node in (1..=4).map(NodeId) {
            cluster.crash(node, 0).await;
        }
        for node in (1..=4).map(NodeId) {
            cluster.start(node).await.expect("starts");
        }
        cluster.until_whole().await;
        cluster.until_split(version, these).await;
        cluster.check_equal();
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_set_through_any_node_is_known_everywhere_and_survives_snapshots_and_restarts() {
    // One more than there are replicas: it only listens to group 0.
    let mut cluster = Cluster::of(4).await;
    cluster.until_whole().await;
    for (version, node) in (1..=4).map(|id| (id - 1, NodeId(id))) {
        let bytes = vec![7; usize::try_from(node.0).unwrap()];
        let slower = cluster.up[&node].set_policy(version + 9, bytes.clone()).await;
        assert_eq!(slower, Ok(Err(Objection::Stale { version })));
        assert_eq!(cluster.up[&node].set_policy(version, bytes).await, Ok(Ok(())));
        cluster.until_policy(version + 1, node.0).await;
        // Of the last one the log alone knows.
        for ledger in cluster.up.values().filter(|_| version < 3) {
            ledger.take_snapshot(META).await.unwrap();
        }
    }
    for node in (1..=4).map(NodeId) {
        cluster.crash(node, 0).await;
    }
    for node in (1..=4).map(NodeId) {
        cluster.start(node).await.expect("starts");
    }
    cluster.until_policy(4, 4).await;
    cluster.check_equal();
}
