//! When a replica is removed, and what is left of it when power fails.

use super::cluster::{Cluster, groups};
use crate::peers::Receive;
use crate::replicated::wire::{Body, Frame, Reply};
use crate::replicated::{DiskId, Standing};
use proto::{GroupId, NodeId, codec};
use std::time::Duration;

fn holds(cluster: &Cluster, node: NodeId, group: GroupId) -> bool {
    cluster.up[&node].replicas().iter().any(|replica| replica.group == group)
}

/// The replicas that the founders had.
fn old() -> impl Iterator<Item = (NodeId, GroupId)> {
    (1..=3).map(NodeId).flat_map(|node| groups().map(move |group| (node, group)))
}

/// A replica that is still there, and has no vote any more.
fn left(cluster: &Cluster) -> Option<(NodeId, GroupId)> {
    old().find(|(node, group)| {
        let all = cluster.leader(*group).map(|leader| cluster.up[&leader].replicas());
        let led = all.into_iter().flatten().find(|replica| replica.group == *group);
        led.is_some_and(|led| !led.voters.contains(node)) && holds(cluster, *node, *group)
    })
}

/// Whether a node says that a group that it leads counts on another; nothing if it leads it not.
async fn counts(cluster: &Cluster, on: NodeId, group: GroupId, asked: NodeId) -> Option<bool> {
    // Each was started once, in this order.
    let (disk, body) = (DiskId(on.0.into()), Body::Counted(group));
    let frame = codec::encode(&Frame { from: on, disk, body });
    let reply = cluster.up[&asked].receive(frame).await;
    let reply = codec::decode::<Reply>(&reply).unwrap();
    assert!(matches!(reply, Reply::Counted(_) | Reply::Busy), "{reply:?}");
    if let Reply::Counted(counted) = reply { Some(counted) } else { None }
}

/// Cut off for a while, it may have been let in again by a leader that it can't hear, and that counts on
/// all it ever had: removed, it answered for ever that it lacks what he knew it had.
#[tokio::test(start_paused = true)]
async fn a_replica_is_removed_once_its_leader_says_that_it_does_not_count_on_it() {
    let mut cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    cluster.start(NodeId(4)).await.unwrap();
    cluster.until("a replica has moved away", |c| left(c).is_some()).await;
    let (node, group) = left(&cluster).unwrap();
    let all: Vec<NodeId> = (1..=4).map(NodeId).collect();
    cluster.board.isolate(&[node], &all);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(holds(&cluster, node, group), "nobody said that it may go");

    cluster.board.heal();
    cluster.until("it is removed", |c| !holds(c, node, group)).await;
    cluster.until_whole().await;
    let leader = cluster.leader(group).unwrap();
    for other in &all {
        let member = *other != node;
        assert_eq!(counts(&cluster, *other, group, leader).await, Some(member), "{other}");
        let leads = *other == leader;
        assert_eq!(counts(&cluster, node, group, *other).await, leads.then_some(false), "{other}");
    }
}

/// Its own log says that it votes, so it went on to ask for votes, and to name voters that had long gone.
#[tokio::test(start_paused = true)]
async fn a_replica_that_never_heard_that_it_votes_no_more_is_removed_all_the_same() {
    let cluster = Cluster::of(4).await;
    cluster.until_whole().await;
    let (all, group) = ((1..=4).map(NodeId).collect::<Vec<_>>(), GroupId(1));
    let voter = |c: &Cluster| c.up[&NodeId(1)].known().borrow().plan[&group][1];
    let node = voter(&cluster);
    cluster.board.isolate(&[node], &all);
    let asked = *all.iter().find(|other| **other != node).unwrap();
    let mut tries = 0..100;
    while !matches!(cluster.up[&asked].stand(node, Standing::Draining).await, Ok(Ok(_))) {
        tries.next().expect("group 0 takes it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let votes = |c: &Cluster, at: NodeId| {
        let all = c.up[&at].replicas();
        all.into_iter().find(|own| own.group == group).map(|own| own.voters.contains(&node))
    };
    for tries in 0.. {
        let leader = cluster.leader(group).filter(|leader| *leader != node).unwrap_or(asked);
        if counts(&cluster, node, group, leader).await == Some(false) {
            break;
        }
        assert!(tries < 600, "the others do not go on without it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(votes(&cluster, node), Some(true), "it has not heard");

    cluster.board.heal();
    cluster.until("it is removed", |c| !holds(c, node, group)).await;
    cluster.check_equal();
}

/// It hands a group over to somebody who does not hear, and sends no heartbeats since. Dead to the others for
/// a while, it is no member of the group any more when it could be heard again; nobody told it, and it stayed.
#[tokio::test(start_paused = true)]
async fn a_leader_that_was_replaced_while_it_handed_over_is_removed() {
    let cluster = Cluster::of(4).await;
    cluster.until_whole().await;
    cluster.until("group 0 is founded", |c| c.up[&NodeId(1)].known().borrow().agreed).await;
    let (group, all) = (GroupId(1), (1..=4).map(NodeId).collect::<Vec<_>>());
    let node = cluster.leader(group).unwrap();
    let led = |c: &Cluster, at: NodeId| {
        c.up[&at].replicas().into_iter().find(|own| own.group == group && own.leads)
    };
    cluster.up[&node].stand(node, Standing::Draining).await.unwrap().unwrap();
    let voted_out = |c: &Cluster| led(c, node).is_some_and(|own| !own.voters.contains(&node));
    cluster.until("it leads without a vote", voted_out).await;
    // Nothing is on its way to anybody any more.
    tokio::time::sleep(Duration::from_millis(20)).await;
    cluster.board.isolate(&[node], &all);
    cluster.board.lose_sight_of(node);
    let mut others = all.into_iter().filter(|other| *other != node);
    let other = others.next().unwrap();
    cluster
        .until("it is dead and replaced", |c| {
            let dead =
                c.up[&other].known().borrow().cluster.nodes[&node].standing == Standing::Dead;
            let now = [other].into_iter().chain(others.clone()).find_map(|at| led(c, at));
            dead && now.is_some_and(|now| !now.learners.contains(&node))
        })
        .await;

    cluster.board.heal();
    cluster.until("it is removed", |c| !holds(c, node, group)).await;
    cluster.check_equal();
}

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
