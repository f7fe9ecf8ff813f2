//! Whom a node hears that has not heard yet who has joined.

use super::cluster::Cluster;
use crate::peers::Receive;
use crate::replicated::wire::{Body, Frame, Kind, Reply, Words};
use crate::replicated::{DiskId, META};
use bytes::Bytes;
use proto::{GroupId, NodeId, codec};

/// Who joined while a node was cut off may lead by then, and be the only one to tell it so: refused, it
/// stayed a stranger for ever, and groups that needed both had no leader.
#[tokio::test(start_paused = true)]
async fn a_member_hears_who_has_joined_without_its_knowing_and_a_blank_disk_hears_nobody() {
    let mut cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    let all: Vec<NodeId> = (1..=4).map(NodeId).collect();
    cluster.board.isolate(&[NodeId(4)], &all);
    cluster.start(NodeId(4)).await.expect("starts, and asks to be let in");

    let asked = async |who: NodeId, from: NodeId| {
        let words = |group| Words { group, kind: Kind::Vote, bytes: Bytes::new() };
        let body = Body::Words(vec![words(META), words(GroupId(1))]);
        let frame = Frame { from, disk: DiskId(u128::MAX), body };
        let reply = cluster.up[&who].receive(codec::encode(&frame)).await;
        codec::decode::<Reply>(&reply).unwrap()
    };
    let heard = asked(NodeId(1), NodeId(9)).await;
    assert!(matches!(&heard, Reply::Answers(answers) if answers.len() == 2), "{heard:?}");
    // An id that is known with another disk is nobody.
    assert!(matches!(asked(NodeId(1), NodeId(2)).await, Reply::Stranger));
    // Its disk may have been lost, and what it promised with it: it gives nobody a vote.
    assert!(matches!(asked(NodeId(4), NodeId(9)).await, Reply::Stranger));
}
