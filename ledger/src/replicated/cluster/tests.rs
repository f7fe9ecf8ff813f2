use super::*;
use std::collections::BTreeSet;

fn cluster(nodes: u64) -> Cluster {
    let listed = |id: u64| {
        let zone = String::new();
        let (disk, standing, level) = (DiskId(id.into()), Standing::Active, Level::FIRST);
        (NodeId(id), Listed { disk, zone, standing, level })
    };
    Cluster {
        version: 1,
        partitions: 64,
        replicas: 3,
        nodes: (1..=nodes).map(listed).collect(),
        lossy: 0,
        level: Level::FIRST,
    }
}

#[test]
fn every_group_has_three_replicas_and_leaders_are_spread() {
    for nodes in [3, 5, 9] {
        let plan = cluster(nodes).plan();
        assert_eq!(plan.len(), 65);
        let mut leads = BTreeMap::<NodeId, usize>::new();
        for members in plan.values() {
            assert_eq!(members.iter().collect::<BTreeSet<_>>().len(), 3);
            *leads.entry(members[0]).or_default() += 1;
        }
        let (least, most) = (leads.values().min().unwrap(), leads.values().max().unwrap());
        assert!(most - least <= 4, "{nodes} nodes: {leads:?}");
    }
}

#[test]
fn a_join_and_a_leave_move_only_what_they_must() {
    let replicas = |plan: &Plan| -> BTreeSet<(GroupId, NodeId)> {
        plan.iter().flat_map(|(group, nodes)| nodes.iter().map(|n| (*group, *n))).collect()
    };
    let (four, five) = (replicas(&cluster(4).plan()), replicas(&cluster(5).plan()));
    let moved = four.difference(&five).count();
    let gained = five.iter().filter(|(_, node)| *node == NodeId(5)).count();
    assert_eq!(moved, gained, "only the newcomer's replicas moved");
}

/// They were one zone of their own, next to which the first node of a new one has a replica of everything.
#[test]
fn nodes_that_are_given_zones_one_by_one_are_not_piled_upon() {
    let mut cluster = cluster(6);
    let before = cluster.plan();
    for node in 1..=3 {
        cluster.nodes.get_mut(&NodeId(node)).unwrap().zone = format!("z{node}");
        assert_eq!(cluster.plan(), before, "each is alone in its zone, as it was");
    }
    for node in 4..=6 {
        cluster.nodes.get_mut(&NodeId(node)).unwrap().zone = format!("z{}", node - 3);
        let plan = cluster.plan();
        for node in cluster.nodes.keys() {
            let held = plan.values().filter(|nodes| nodes.contains(node)).count();
            assert!((10..=60).contains(&held), "{node} has {held} of {}", plan.len());
        }
    }
    for nodes in cluster.plan().values() {
        let zones: BTreeSet<_> = nodes.iter().map(|node| &cluster.nodes[node].zone).collect();
        assert_eq!(zones.len(), 3);
    }
}

fn machine_of(nodes: u64) -> ClusterMachine {
    ClusterMachine {
        cluster: cluster(nodes),
        splits: Splits::default(),
        policy: AgreedPolicy::default(),
    }
}

fn tell(machine: &mut ClusterMachine, change: Change) -> Result<Cluster, Objection> {
    let applied = machine.apply(WallMs(0), Level::FIRST, &codec::encode(&change));
    codec::decode(&applied.outcome).unwrap()
}

fn join(node: u64, disk: u128, level: u16) -> Change {
    let (node, disk, level) = (NodeId(node), DiskId(disk), Level(level));
    Change::Join(Join { node, disk, zone: String::new(), level })
}

#[test]
fn the_level_rises_once_everybody_who_is_not_dead_knows_it_and_nobody_older_comes_in() {
    let mut machine = machine_of(4);
    let mut tell = |change| tell(&mut machine, change);
    let know = |node, level| Change::Know(NodeId(node), Level(level));
    let stand = |node, standing| Change::Stand(NodeId(node), standing);
    for (node, level) in [(1, 3), (2, 2), (3, 2)] {
        let cluster = tell(know(node, level)).unwrap();
        assert_eq!((cluster.level, cluster.raisable()), (Level::FIRST, None));
        assert_eq!(tell(Change::Raise(Level(2))), Err(Objection::NotEverybody));
    }
    // Who drains still carries out commands; the dead do not.
    assert_eq!(tell(stand(4, Standing::Draining)).unwrap().raisable(), None);
    assert_eq!(tell(stand(4, Standing::Dead)).unwrap().raisable(), Some(Level(2)));
    assert_eq!(tell(Change::Raise(Level(3))), Err(Objection::NotEverybody));
    let raised = tell(Change::Raise(Level(2))).unwrap();
    assert_eq!(raised.level, Level(2));
    assert_eq!(tell(Change::Raise(Level(2))).unwrap(), raised, "once");

    let too_old = Err(Objection::TooOld { agreed: Level(2) });
    assert_eq!(tell(know(3, 1)), too_old);
    assert_eq!(tell(join(5, 5, 1)), too_old);
    assert_eq!(tell(join(4, 4, 1)), too_old);
    assert_eq!(tell(stand(4, Standing::Active)), too_old);
    tell(know(4, 2)).unwrap();
    tell(stand(4, Standing::Active)).unwrap();
    assert_eq!(tell(join(5, 5, 2)).unwrap().nodes.len(), 5);
    assert_eq!(tell(know(9, 2)), Err(Objection::Unknown));
}

#[test]
fn who_drains_and_starts_again_still_drains() {
    let mut machine = machine_of(5);
    let mut tell = |change| tell(&mut machine, change).unwrap().nodes[&NodeId(4)].standing;
    for standing in [Standing::Draining, Standing::Active, Standing::Dead] {
        tell(Change::Stand(NodeId(4), standing));
        let back = if standing == Standing::Dead { Standing::Active } else { standing };
        assert_eq!(tell(join(4, 4, 1)), back, "{standing:?}");
    }
}

#[test]
fn a_change_that_this_build_does_not_know_changes_nothing() {
    let mut machine = machine_of(3);
    let mut newer = codec::encode(&Change::WentOn(NodeId(1)));
    newer[0] = codec::VERSION + 1;
    for unknown in [newer, vec![codec::VERSION, 250], Vec::new()] {
        let applied = machine.apply(WallMs(0), Level::FIRST, &unknown);
        let outcome = codec::decode::<Result<Cluster, Objection>>(&applied.outcome);
        assert_eq!(outcome, Ok(Err(Objection::Unknown)));
        assert_eq!((applied.changed.len(), &machine.cluster), (0, &cluster(3)));
    }
}

#[test]
fn a_disk_is_who_a_node_is_and_nobody_leaves_who_is_needed() {
    let mut machine = machine_of(3);
    let mut tell = |change| tell(&mut machine, change);
    let join = |node, disk| join(node, disk, 1);
    assert_eq!(tell(join(2, 99)), Err(Objection::OtherDisk));
    assert_eq!(tell(Change::Stand(NodeId(2), Standing::Dead)), Err(Objection::TooFew));
    assert_eq!(tell(join(4, 4)).unwrap().version, 2);
    assert_eq!(tell(join(4, 4)).unwrap().version, 2, "the same again changes nothing");
    let after = tell(Change::Stand(NodeId(2), Standing::Dead)).unwrap();
    assert!(after.plan().values().all(|nodes| !nodes.contains(&NodeId(2))));
    assert_eq!(tell(Change::Stand(NodeId(9), Standing::Dead)), Err(Objection::Unknown));
    assert_eq!(tell(Change::Found(cluster(1))).unwrap().nodes.len(), 4, "founded once");
}

fn split(cell: u64) -> SplitCell {
    SplitCell { cell, load: 12_000, limit: 10_000 }
}

#[test]
fn of_two_who_set_the_split_cells_the_slower_changes_nothing() {
    let mut machine = machine_of(3);
    let before = machine.cluster.clone();
    let set = |expected, cells: &[u64]| {
        Change::SetSplits(expected, cells.iter().copied().map(split).collect())
    };
    assert_eq!(tell(&mut machine, set(0, &[7])), Ok(before.clone()));
    let first = Splits { version: 1, cells: vec![split(7)] };
    assert_eq!(machine.splits, first);
    for (expected, cells) in [(0, vec![8]), (2, vec![8]), (0, vec![])] {
        let slower = machine.apply(WallMs(0), Level::FIRST, &codec::encode(&set(expected, &cells)));
        let outcome = codec::decode::<Result<Cluster, Objection>>(&slower.outcome);
        assert_eq!(outcome, Ok(Err(Objection::Stale { version: 1 })));
        assert!(slower.changed.is_empty());
        assert_eq!(machine.splits, first);
    }
    let many: Vec<u64> = (0..=membership::split::SPLITS_MAX as u64).collect();
    assert_eq!(tell(&mut machine, set(1, &many)), Err(Objection::TooManySplits));
    assert_eq!(tell(&mut machine, set(1, &[])), Ok(before), "who belongs here is as it was");
    assert_eq!(machine.splits, Splits { version: 2, cells: Vec::new() });
    let unfounded = tell(&mut ClusterMachine::default(), set(0, &[7]));
    assert_eq!(unfounded, Err(Objection::NotFounded));
}

#[test]
fn of_two_who_set_the_policy_the_slower_changes_nothing() {
    let mut machine = machine_of(3);
    let set = |expected, bytes: &[u8]| Change::SetPolicy(expected, bytes.to_vec());
    tell(&mut machine, set(0, b"near")).unwrap();
    let slower = machine.apply(WallMs(0), Level::FIRST, &codec::encode(&set(0, b"far")));
    let outcome = codec::decode::<Result<Cluster, Objection>>(&slower.outcome);
    assert_eq!(outcome, Ok(Err(Objection::Stale { version: 1 })));
    assert!(slower.changed.is_empty());
    assert_eq!(machine.policy, AgreedPolicy { version: 1, bytes: b"near".to_vec() });
    let large = vec![0; super::super::policy::POLICY_BYTES_MAX + 1];
    assert_eq!(tell(&mut machine, set(1, &large)), Err(Objection::PolicyTooLarge));
    let faster = machine.apply(WallMs(0), Level::FIRST, &codec::encode(&set(1, b"far")));
    assert_eq!(faster.changed, [POLICY_KEY.to_vec()]);
    assert_eq!(tell(&mut ClusterMachine::default(), set(0, b"")), Err(Objection::NotFounded));
}

#[test]
fn what_is_stored_gives_the_machine_back_with_and_without_what_was_set() {
    let mut machine = machine_of(3);
    for set in 0..=2 {
        match set {
            1 => tell(&mut machine, Change::SetSplits(0, vec![split(7), split(9)])).map(drop),
            2 => tell(&mut machine, Change::SetPolicy(0, b"near".to_vec())).map(drop),
            _ => Ok(()),
        }
        .unwrap();
        let stored = machine.scan(None, 9);
        assert_eq!(stored.len(), 1 + set);
        assert!(stored.is_sorted(), "in the order of keys");
        assert_eq!(machine.scan(Some(CLUSTER_KEY), 9).len(), set);
        let mut again = ClusterMachine::default();
        for (key, value) in &stored {
            assert_eq!(machine.read(key).as_ref(), Some(value));
            again.restore(key, value).unwrap();
        }
        assert_eq!((&again.cluster, &again.splits), (&machine.cluster, &machine.splits));
        assert_eq!(again.policy, machine.policy);
    }
}

/// As it was stored before cells were split by their load, and still is.
#[test]
fn a_snapshot_from_before_the_split_cells_loads() {
    let bytes = codec::encode(&cluster(1));
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "010140030101010000010001");
    let mut machine = ClusterMachine::default();
    machine.restore(CLUSTER_KEY, &bytes).unwrap();
    assert_eq!((machine.cluster, machine.splits), (cluster(1), Splits::default()));
}
