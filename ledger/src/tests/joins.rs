//! Who is heard by a node that has not heard yet who has joined.

use super::cluster::Cluster;
use crate::peers::Receive;
use crate::replicated::wire::{Body, Frame, Kind, Reply, Words};
use crate::replicated::{DiskId, META};
use bytes::Bytes;
use proto::{GroupId, NodeId, codec};

/// Who joined while a node was cut off may lead group 0 by then, and be the only one to tell it so:
/// refused there as well, it stayed a stranger for ever, and groups that needed both had no leader.
#[tokio::test(start_paused = true)]
async fn who_is_not_known_yet_is_heard_in_group_0_and_nowhere_else() {
    let cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    let asked = async |from: NodeId| {
        let words = |group| Words { group, kind: Kind::Append, bytes: Bytes::new() };
        let body = Body::Words(vec![words(META), words(GroupId(1))]);
        let frame = Frame { from, disk: DiskId(u128::MAX), body };
        let reply = cluster.up[&NodeId(1)].receive(codec::encode(&frame)).await;
        codec::decode::<Reply>(&reply).unwrap()
    };
    let Reply::Answers(answers) = asked(NodeId(9)).await else { panic!("one answer each") };
    let refused = |answer: &Result<Bytes, String>| {
        answer.as_ref().is_err_and(|why| why.contains("n9 is not known here yet"))
    };
    assert_eq!(answers.iter().map(refused).collect::<Vec<_>>(), [false, true]);
    // An id that is known with another disk is nobody, in any group.
    assert!(matches!(asked(NodeId(2)).await, Reply::Stranger));
}
