//! A member's life: joining, being counted, crashing, coming back, leaving.

use crate::net::{Net, RuntimeClock, address, cluster, config, ids, initial, start, until};
use membership::{
    Bootstrap, ClusterKey, Foundation, Membership, NotReady, Purpose, SplitTable, View,
};
use proto::NodeId;
use proto::units::Clock;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn five_members_find_each_other_and_agree_on_the_ring() {
    let clock = RuntimeClock::start();
    let members = cluster(&Net::default(), 5).await;
    assert!(clock.mono().0 <= 1_000, "took {:?}", clock.mono());
    let first = members[&1].view();
    for member in members.values() {
        let view = member.view();
        assert_eq!(view.ring_version(), first.ring_version());
        assert_eq!(view.ready(), Ok(()));
        assert_eq!(view.foundation(), first.foundation());
        assert!((0..1_000).all(|key| view.cell_owner(key) == first.cell_owner(key)));
    }
}

/// Virtual milliseconds from the crash of member 5 of 5 until the other four have dropped it.
async fn detection_ms(up_for: Duration) -> u64 {
    let net = Net::default();
    let mut members = cluster(&net, 5).await;
    tokio::time::sleep(up_for).await;
    let clock = RuntimeClock::start();
    net.silence(5);
    members.remove(&5);
    for member in members.values() {
        until(member, |view| ids(view) == [1, 2, 3, 4]).await;
    }
    clock.mono().0
}

#[tokio::test(start_paused = true)]
async fn a_crashed_member_is_gone_for_all_within_a_second() {
    let mut took = Vec::new();
    // Just met, and long met: the prior interval must not slow the news of a young peer's death.
    for up_for in [Duration::from_millis(500), Duration::from_secs(30)] {
        for offset_ms in 0..10u64 {
            took.push(detection_ms(up_for + Duration::from_millis(10 * offset_ms)).await);
        }
    }
    took.sort_unstable();
    println!("all four see it after {took:?} ms");
    assert!(took[took.len() / 2] < 1_000, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_dropped_from_a_healthy_cluster() {
    let members = cluster(&Net::default(), 5).await;
    let mut watches: Vec<_> = members.values().map(Membership::watch).collect();
    for views in &mut watches {
        views.mark_unchanged();
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    for views in &watches {
        assert!(!views.has_changed().unwrap(), "{:?}", views.borrow());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_member_need_not_be_detected() {
    let net = Net::default();
    let members = cluster(&net, 5).await;
    let clock = RuntimeClock::start();
    members[&5].stop().await;
    for id in 1..=4 {
        until(&members[&id], |view| ids(view) == [1, 2, 3, 4]).await;
    }
    assert!(clock.mono().0 <= 400, "took {:?}", clock.mono());
    assert_eq!(members[&5].view().ready(), Err(NotReady::GossipEnded));
    members[&5].stop().await; // a second time changes nothing
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_seen_as_the_next_generation_of_the_same_member() {
    let net = Net::default();
    let mut members = cluster(&net, 3).await;
    net.silence(3);
    members.remove(&3);
    let again = start(config(3, 2, initial(1..=3)), net.plug(3)).await;
    until(&again, |view| ids(view) == [1, 2, 3]).await;
    for member in members.values() {
        let view =
            until(member, |view| view.member(NodeId(3)).is_some_and(|three| three.generation == 2))
                .await;
        assert_eq!(ids(&view), [1, 2, 3]);
    }
    // And the old generation's death takes nothing away.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(members.values().all(|member| ids(&member.view()) == [1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn a_joiner_learns_the_foundation_and_is_counted_by_all() {
    let net = Net::default();
    let members = cluster(&net, 3).await;
    let mut late = config(4, 1, Bootstrap::Seeds(vec![address(2), address(99)]));
    late.me.zone = "b".to_owned();
    late.me.weight = 2;
    let joiner = start(late, net.plug(4)).await;
    let alone = joiner.view();
    assert_eq!((ids(&alone), alone.ready()), (vec![4], Err(NotReady::Unfounded)));
    let view = until(&joiner, |view| view.ready().is_ok() && view.members().len() == 4).await;
    let foundation: Foundation = "64:1,2,3".parse().unwrap();
    assert_eq!(view.foundation(), Some(&foundation));
    for member in members.values() {
        let theirs = until(member, |view| view.members().len() == 4).await;
        assert_eq!(theirs.ring_version(), view.ring_version());
        assert_eq!(theirs.member(NodeId(4)), view.member(NodeId(4)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_minority_of_the_initial_nodes_is_not_ready() {
    let net = Net::default();
    let one = start(config(1, 1, initial(1..=3)), net.plug(1)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(one.view().ready(), Err(NotReady::TooFew { seen: 1, expected: 2 }));
    let two = start(config(2, 1, initial(1..=3)), net.plug(2)).await;
    until(&one, |view| view.ready().is_ok()).await;
    until(&two, |view| view.ready().is_ok()).await;
    net.silence(2);
    until(&one, |view| view.ready() == Err(NotReady::TooFew { seen: 1, expected: 2 })).await;
}

#[tokio::test(start_paused = true)]
async fn a_seed_that_never_answers_makes_no_cluster_of_one() {
    let lonely =
        start(config(4, 1, Bootstrap::Seeds(vec![address(1)])), Net::default().plug(4)).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(lonely.view().ready(), Err(NotReady::Unfounded));
    let single = Bootstrap::Single { partitions: 4 };
    let single = start(config(4, 1, single), Net::default().plug(4)).await;
    assert_eq!(single.view().ready(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn another_key_and_another_cluster_are_not_heard() {
    let net = Net::default();
    let members = cluster(&net, 2).await;
    let mut thief = config(3, 1, Bootstrap::Seeds(vec![address(1), address(2)]));
    thief.key =
        ClusterKey::derive("test", "not the secret of the cluster", Purpose::Gossip).unwrap();
    let mut neighbour = config(4, 1, Bootstrap::Seeds(vec![address(1), address(2)]));
    neighbour.cluster = "next door".to_owned(); // under the same key
    let outsiders = [start(thief, net.plug(3)).await, start(neighbour, net.plug(4)).await];
    tokio::time::sleep(Duration::from_secs(5)).await;
    for outsider in &outsiders {
        assert_eq!(outsider.view().members().len(), 1);
        assert_eq!(outsider.view().ready(), Err(NotReady::Unfounded));
    }
    let unsealed: u64 = members.values().map(|member| member.gossip_counts().unsealed).sum();
    assert!(unsealed > 50, "{unsealed}");
    assert!(members.values().all(|member| ids(&member.view()) == [1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_node_with_another_list_of_initial_nodes_is_no_member() {
    let net = Net::default();
    let members = cluster(&net, 3).await;
    // It was told that it is one of four.
    let confused = start(config(4, 1, initial(1..=4)), net.plug(4)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(confused.view().ready(), Err(NotReady::TooFew { seen: 1, expected: 3 }));
    assert!(members.values().all(|member| ids(&member.view()) == [1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn two_processes_under_one_id_do_not_both_serve() {
    let net = Net::default();
    let members = cluster(&net, 3).await;
    let mut copy = config(3, 2, Bootstrap::Seeds(vec![address(1)]));
    copy.me.peer = address(9);
    let copy = start(copy, net.plug(9)).await;
    until(&copy, |view| view.ready().is_ok()).await;
    until(&members[&3], |view| view.ready() == Err(NotReady::Superseded { generation: 2 })).await;
}

#[tokio::test(start_paused = true)]
async fn a_different_split_table_shows_in_the_members_facts() {
    let net = Net::default();
    let members = cluster(&net, 2).await;
    let cell = h3o::LatLng::new(40.75, -73.98).unwrap().to_cell(h3o::Resolution::Six);
    let mut other = config(3, 1, Bootstrap::Seeds(vec![address(1)]));
    other.splits = SplitTable::new([cell]).unwrap();
    let splits = other.splits.version();
    let other = start(other, net.plug(3)).await;
    assert_eq!(other.view().split_version(), splits);
    let view = until(&members[&2], |view| view.members().len() == 3).await;
    assert_eq!(view.member(NodeId(3)).map(|three| three.split_version), Some(splits));
    assert_eq!(view.split_version(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_split_table_is_set_while_running_and_its_version_is_gossiped() {
    let net = Net::default();
    let members = cluster(&net, 3).await;
    let cell = h3o::LatLng::new(40.75, -73.98).unwrap().to_cell(h3o::Resolution::Eight);
    let coarse = cell.parent(h3o::Resolution::Six).unwrap();
    let table = SplitTable::new([coarse]).unwrap();
    assert_eq!(members[&2].view().ring_key(cell), u64::from(coarse));
    members[&2].set_splits(table.clone());
    let fine = cell.parent(h3o::Resolution::Seven).unwrap();
    assert_eq!(members[&2].view().ring_key(cell), u64::from(fine), "at once");
    until(&members[&1], |view| {
        view.member(NodeId(2)).is_some_and(|two| two.split_version == table.version())
    })
    .await;
    assert_eq!(members[&1].view().split_version(), 0, "gossip tells of tables, it brings none");
    // Set again and again, and back: the last word counts.
    for _ in 0..20 {
        members[&2].set_splits(SplitTable::default());
        members[&2].set_splits(table.clone());
        tokio::time::sleep(Duration::from_millis(70)).await;
        assert_eq!(members[&2].view().split_version(), table.version());
    }
    members[&2].set_splits(SplitTable::default());
    let agrees = |view: &View| view.members().iter().all(|member| member.split_version == 0);
    until(&members[&1], agrees).await;
    until(&members[&2], agrees).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_handle_ends_gossip_without_a_goodbye() {
    let net = Net::default();
    let mut members = cluster(&net, 3).await;
    let clone = members[&3].clone();
    members.remove(&3);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(ids(&members[&1].view()), [1, 2, 3], "a clone keeps it alive");
    drop(clone);
    until(&members[&1], |view| ids(view) == [1, 2]).await;
}

#[tokio::test]
async fn a_configuration_that_contradicts_itself_does_not_start() {
    let wrong = config(4, 1, initial(1..=3));
    let (clock, rng) = (RuntimeClock::start(), ChaCha20Rng::seed_from_u64(1));
    let error = Membership::start(wrong, Net::default().plug(4), clock, rng).await.unwrap_err();
    assert_eq!(error.to_string(), "the initial nodes do not name this node, n4");
}
