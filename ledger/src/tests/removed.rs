//! What is left of a replica that was removed, when power fails.

use super::cluster::{Cluster, groups};
use proto::{GroupId, NodeId};
use std::time::Duration;

/// The removed replica's log is gone for certain; its snapshots came back with the power, and with them a
/// replica that lacked what it had acknowledged, knew members of long ago, and was elected by another such.
#[tokio::test(start_paused = true)]
async fn a_replica_that_was_removed_does_not_come_back_with_the_power() {
    let mut cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    for group in groups() {
        for n in 0..1_500 {
            cluster.set(group, &format!("n={n}")).await;
        }
    }
    cluster.start(NodeId(4)).await.unwrap();
    cluster.until_whole().await;
    let holds = |c: &Cluster, node: NodeId, group: GroupId| {
        c.up[&node].replicas().iter().any(|replica| replica.group == group)
    };
    let old = || (1..=3).map(NodeId).flat_map(|node| groups().map(move |group| (node, group)));
    cluster
        .until("a replica has moved away", |c| old().any(|(node, of)| !holds(c, node, of)))
        .await;
    let (node, group) = old().find(|(node, of)| !holds(&cluster, *node, *of)).unwrap();
    // It is removed in the background; nobody writes, so nobody else's sync helps.
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.crash(node, 0).await;
    cluster.start(node).await.unwrap();
    assert!(!holds(&cluster, node, group), "{group} is at {node} again");
    cluster.until_whole().await;
}
