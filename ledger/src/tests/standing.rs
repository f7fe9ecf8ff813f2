//! Where a node runs and how it stands, as group 0 has it.

use super::cluster::Cluster;
use crate::replicated::{Listed, Standing};
use proto::NodeId;

const LEAVES: NodeId = NodeId(2);
const ASKED: NodeId = NodeId(1);

fn listed(cluster: &Cluster) -> Listed {
    cluster.up[&ASKED].known().borrow().cluster.nodes[&LEAVES].clone()
}

/// Founders could not say so when they founded, and nobody ever asked them again.
#[tokio::test(start_paused = true)]
async fn a_node_says_in_which_zone_it_runs_whenever_group_0_has_another() {
    let mut cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    assert_eq!(listed(&cluster).zone, "");
    cluster.crash(LEAVES, 0).await;
    cluster.zones.insert(LEAVES, "b".into());
    cluster.start(LEAVES).await.unwrap();
    cluster.until("it is in its zone", |c| listed(c).zone == "b").await;
    assert_eq!(listed(&cluster).standing, Standing::Active);
}

/// Nothing follows for replicas, which it has none of; but it held the feature level down for ever.
#[tokio::test(start_paused = true)]
async fn a_node_that_was_drained_and_stopped_is_dead_like_any_other() {
    let mut cluster = Cluster::of(4).await;
    cluster.until_whole().await;
    cluster.until("group 0 is founded", |c| c.up[&ASKED].known().borrow().agreed).await;
    cluster.up[&ASKED].stand(LEAVES, Standing::Draining).await.unwrap().unwrap();
    cluster.until_whole().await;
    cluster.crash(LEAVES, 0).await;
    cluster.until("it is dead", |c| listed(c).standing == Standing::Dead).await;
    cluster.start(LEAVES).await.unwrap();
    cluster.until("it is back", |c| listed(c).standing == Standing::Active).await;
    cluster.until_whole().await;
}
