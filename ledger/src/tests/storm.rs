//! Power cuts at random points, wiped disks, and the mistakes that a checker must catch. Clients
//! count upwards under one key a group, and leave a record of each number, so an acknowledged number
//! that is no longer there, a smaller one in its place, or a page of the history without it, is a
//! loss.

use super::cluster::{Cluster, Switchboard, groups};
use super::history::{LITTLE, all, expected};
use super::toy::Toy;
use crate::Ledger;
use crate::replicated::{Fault, Faults};
use proto::machine::{Applied, Level, StateMachine};
use proto::slot::frozen_hash;
use proto::{GroupId, NodeId, WallMs};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What clients know to be done: the highest number acknowledged of each group.
type Acked = Arc<Mutex<BTreeMap<GroupId, u64>>>;

/// Counts upwards in a group, whoever leads it, for ever.
async fn count_up(board: Switchboard, group: GroupId, acked: Acked) {
    for n in 1u64.. {
        'this: loop {
            for ledger in board.up() {
                if ledger.propose(group, format!("+n={n}").into()).await.is_ok() {
                    acked.lock().unwrap().insert(group, n);
                    break 'this;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Chance from a seed.
pub(super) struct Dice {
    pub(super) seed: u64,
    pub(super) thrown: u64,
}

impl Dice {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.thrown += 1;
        frozen_hash(&[self.seed.to_le_bytes(), self.thrown.to_le_bytes()].concat()) % n
    }
}

/// The highest number read back of a group.
async fn counted(cluster: &Cluster, group: GroupId) -> u64 {
    cluster.get(group, "n").await.map_or(0, |n| n.parse().unwrap())
}

/// Cuts the power of everything `cuts` times, then wipes one disk after another; says what was
/// lost or differs.
async fn power_cuts(seed: u64, cuts: u64, faults: Faults) -> Result<(), String> {
    let mut dice = Dice { seed, thrown: 0 };
    let mut cluster = Cluster::with(3, faults, Toy::boxed).await;
    cluster.retention(LITTLE).await;
    cluster.until_led().await;
    let acked = Acked::default();
    let counters: Vec<_> = groups()
        .map(|group| tokio::spawn(count_up(cluster.board.clone(), group, Arc::clone(&acked))))
        .collect();
    for _ in 0..cuts {
        tokio::time::sleep(Duration::from_millis(dice.below(900))).await;
        let all: Vec<NodeId> = cluster.up.keys().copied().collect();
        // All at one moment: each disk keeps what it had synced, and a random bit more.
        for node in &all {
            let kept = usize::try_from(dice.below(3)).unwrap();
            cluster.disks[node].log.crash(kept);
            cluster.disks[node].snapshots.crash(kept);
        }
        for node in &all {
            cluster.crash(*node, 0).await;
        }
        for node in all {
            cluster.start(node).await.map_err(|error| format!("{node} does not open: {error}"))?;
        }
        cluster.until_led().await;
        // What a leader shows first after its restart is no older than what was acknowledged.
        for group in groups() {
            let known = acked.lock().unwrap().get(&group).copied().unwrap_or(0);
            let read = counted(&cluster, group).await;
            if read < known {
                return Err(format!(
                    "{group}: {known} was acknowledged, {read} is read after a cut"
                ));
            }
        }
    }
    counters.into_iter().for_each(|counter| counter.abort());
    // One disk after another is replaced, each by a node with a new name.
    for (old, new) in [(1, 4), (2, 5), (3, 6)] {
        cluster.crash(NodeId(old), 0).await;
        cluster.wipe(NodeId(old));
        cluster.start(NodeId(new)).await.unwrap();
        cluster.until_whole().await;
    }
    let acked = acked.lock().unwrap().clone();
    for (group, n) in acked {
        let read = counted(&cluster, group).await;
        if read < n {
            return Err(format!("{group}: {n} was acknowledged, {read} is there"));
        }
        let pages = all(&cluster, group, 100).await;
        if !pages.ends_with(&expected(n)) {
            return Err(format!("{group}: of {n} records {} are there", pages.len()));
        }
    }
    cluster.unequal().map_or(Ok(()), Err)
}

pub(super) fn simulated<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run)
}

#[test]
fn no_power_cut_loses_anything_acknowledged() {
    // `POWER_CUTS=1000` for the long search.
    let cuts: u64 = std::env::var("POWER_CUTS").map_or(60, |text| text.parse().unwrap());
    for seed in 1..=cuts / 20 {
        assert_eq!(simulated(power_cuts(seed, 20, Faults::default())), Ok(()), "seed {seed}");
    }
}

#[test]
fn an_answer_before_the_sync_is_caught() {
    let faults = Faults(Some(Fault::AckBeforeSync));
    // A loss, or a cluster that can't agree with what it finds on its disks, which panics.
    let goes_well = |seed| {
        let run = move || simulated(power_cuts(seed, 20, faults));
        matches!(std::panic::catch_unwind(run), Ok(Ok(())))
    };
    assert!((1..=5).any(|seed| !goes_well(seed)));
}

#[test]
fn a_log_purged_above_its_snapshots_is_caught() {
    let faults = Faults(Some(Fault::PurgeAboveSnapshot));
    let caught = simulated(async {
        let mut cluster = Cluster::with(3, faults, Toy::boxed).await;
        cluster.until_led().await;
        for n in 0..5_000u64 {
            cluster.set(GroupId(1), &format!("n={n}")).await;
        }
        let purged = |c: &Cluster| c.up[&NodeId(1)].replicas()[1].entries < 4_000;
        cluster.until("the log was purged", purged).await;
        cluster.crash(NodeId(1), 0).await;
        cluster.start(NodeId(1)).await
    });
    let why = caught.expect_err("a node without its state opened").to_string();
    assert!(why.contains("snapshot"), "{why}");
}

#[test]
fn an_answer_before_the_quorum_is_caught() {
    let faults = Faults(Some(Fault::AckBeforeQuorum));
    let (acked, read) = simulated(async {
        let cluster = Cluster::with(3, faults, Toy::boxed).await;
        cluster.until_led().await;
        let group = GroupId(1);
        let all: Vec<NodeId> = cluster.up.keys().copied().collect();
        let alone = cluster.leader(group).unwrap();
        cluster.board.isolate(&[alone], &all);
        let acked = cluster.up[&alone].propose(group, b"n=7".to_vec()).await.is_ok();
        let others = |c: &Cluster| {
            c.up.iter()
                .any(|(node, l)| *node != alone && l.leadership().borrow().contains_key(&group))
        };
        cluster.until("another leads", others).await;
        cluster.board.heal();
        cluster.until_led().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        (acked, counted(&cluster, group).await)
    });
    assert_eq!((acked, read), (true, 0), "acknowledged, and lost");
}

#[test]
fn a_vote_that_is_not_written_is_caught() {
    let kept = |faults| {
        simulated(async move {
            let mut cluster = Cluster::with(3, faults, Toy::boxed).await;
            cluster.until_whole().await;
            let term = |c: &Cluster| c.up[&NodeId(1)].replicas()[1].term;
            let before = term(&cluster);
            // Nobody can tell it anew: it is alone when it comes back.
            for node in [2, 3, 1] {
                cluster.crash(NodeId(node), 0).await;
            }
            cluster.start(NodeId(1)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            before <= term(&cluster)
        })
    };
    assert!(kept(Faults::default()), "a vote survives the power");
    assert!(!kept(Faults(Some(Fault::VoteNotWritten))), "and the test would notice if not");
}

#[test]
fn an_id_used_again_after_a_wipe_is_caught() {
    // A write on two of three nodes; one of the two loses its disk and comes back under its old
    // name; the other dies. If the first two are believed, they outvote the only copy.
    let left = |faults| {
        simulated(async move {
            let mut cluster = Cluster::with(3, faults, Toy::boxed).await;
            cluster.until_whole().await;
            let group = GroupId(1);
            let leader = cluster.leader(group).unwrap();
            let all: Vec<NodeId> = cluster.up.keys().copied().collect();
            let late = *all.iter().find(|node| **node != leader).unwrap();
            let wiped = *all.iter().find(|node| ![leader, late].contains(node)).unwrap();
            cluster.board.isolate(&[late], &all);
            cluster.set(group, "n=7").await;
            cluster.crash(leader, 0).await;
            cluster.crash(wiped, 0).await;
            cluster.wipe(wiped);
            cluster.board.heal();
            cluster.start(wiped).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
            let led = cluster.leader(group).is_some();
            let lost = led && counted(&cluster, group).await < 7;
            (led, lost)
        })
    };
    assert_eq!(left(Faults::default()), (false, false), "a blank disk votes for nobody");
    assert_eq!(left(Faults(Some(Fault::WipedIsKnown))), (true, true), "or it would be lost");
}

/// A machine that answers in the order of a hash map, which is another on every replica.
#[derive(Default)]
struct Hashed {
    #[expect(clippy::disallowed_types, reason = "the mistake that this test is about")]
    map: std::collections::HashMap<Vec<u8>, u64>,
    order: Vec<u8>,
}

impl StateMachine for Hashed {
    fn apply(&mut self, _: WallMs, _: Level, command: &[u8]) -> Applied {
        *self.map.entry(command.to_vec()).or_default() += 1;
        self.order = self.map.keys().flatten().copied().collect();
        Applied {
            outcome: Vec::new(),
            changed: vec![b"order".to_vec()],
            events: Vec::new(),
            archived: Vec::new(),
        }
    }
    fn read(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(self.order.clone())
    }
    fn restore(&mut self, _: &[u8], value: &[u8]) -> Result<(), proto::codec::CodecError> {
        self.order = value.to_vec();
        Ok(())
    }
    fn scan(&self, _: Option<&[u8]>, _: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        Vec::new()
    }
    fn open_work(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

#[test]
fn a_machine_in_hash_order_is_caught() {
    let unequal = simulated(async {
        let boxed = |_| Box::new(Hashed::default()) as Box<dyn StateMachine>;
        let cluster = Cluster::with(3, Faults::default(), boxed).await;
        cluster.until_led().await;
        for n in 0..20 {
            cluster.set(GroupId(1), &n.to_string()).await;
        }
        cluster.until_whole().await;
        cluster.unequal()
    });
    assert!(unequal.is_some(), "replicas that differ look equal");
}
