//! Several replicated ledgers in one process, over disks that forget and lines that can be cut.

use super::toy::Toy;
use crate::peers::{Lane, Peers, Receive, Unreachable};
use crate::replicated::Faults;
use crate::replicated::{DiskId, META, OpenReplicatedError, Parts, Retention, Settings, offline};
use crate::store::{Pair, Store};
use crate::{BoxFuture, Committed, Ledger, MemoryDisk, MemoryPages, Refused, Replicated};
use proto::machine::{Level, StateMachine};
use proto::units::{Clock, MonoMs};
use proto::{GroupId, NodeId, WallMs};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub(super) const GROUPS: u16 = 4;

/// Time as the paused runtime has it.
#[derive(Debug)]
struct Virtual(tokio::time::Instant);

impl Virtual {
    #[expect(clippy::disallowed_methods, reason = "the clock of these tests")]
    fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for Virtual {
    #[expect(clippy::disallowed_methods, reason = "the clock of these tests")]
    fn mono(&self) -> MonoMs {
        MonoMs(u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
    fn wall(&self) -> WallMs {
        WallMs(1_000_000 + self.mono().0)
    }
}

#[derive(Default)]
struct Board {
    up: BTreeMap<NodeId, Replicated>,
    /// From whom to whom nothing gets through.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Who seems dead to all others.
    unseen: BTreeSet<NodeId>,
}

/// Connects everybody.
#[derive(Clone, Default)]
pub(super) struct Switchboard(Arc<Mutex<Board>>);

struct Line {
    me: NodeId,
    board: Switchboard,
}

impl Switchboard {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap()
    }
    /// Separates some nodes from all others, both ways.
    pub(super) fn isolate(&self, some: &[NodeId], of: &[NodeId]) {
        let mut board = self.board();
        for a in of {
            for b in of {
                if some.contains(a) != some.contains(b) {
                    board.cut.insert((*a, *b));
                }
            }
        }
    }
    pub(super) fn heal(&self) {
        self.board().cut.clear();
    }
    pub(super) fn lose_sight_of(&self, node: NodeId) {
        self.board().unseen.insert(node);
    }
    /// Who lives, as one of them sees it.
    fn living(&self, me: NodeId) -> BTreeSet<NodeId> {
        let board = self.board();
        board
            .up
            .keys()
            .copied()
            .filter(|node| *node == me || !board.unseen.contains(node))
            .collect()
    }
    /// Who is up, cut off or not.
    pub(super) fn up(&self) -> Vec<Replicated> {
        self.board().up.values().cloned().collect()
    }
}

impl Peers for Line {
    fn call(
        &self,
        to: NodeId,
        _: Lane,
        frame: Vec<u8>,
    ) -> BoxFuture<'_, Result<Vec<u8>, Unreachable>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_micros(300)).await;
            let there = {
                let board = self.board.board();
                let cut = board.cut.contains(&(self.me, to));
                board.up.get(&to).filter(|_| !cut).cloned()
            };
            let unreachable = || Unreachable { to, why: "cut off".into() };
            let there = there.ok_or_else(unreachable)?;
            let answer = there.receive(frame).await;
            tokio::time::sleep(Duration::from_micros(300)).await;
            // The way back may be cut by now.
            let back = !self.board.board().cut.contains(&(to, self.me));
            back.then_some(answer).ok_or_else(unreachable)
        })
    }
}

/// A node's two disks.
#[derive(Clone, Default)]
pub(super) struct Disks {
    pub(super) log: MemoryDisk,
    pub(super) snapshots: MemoryDisk,
}

/// Nodes, up and down.
pub(super) struct Cluster {
    pub(super) board: Switchboard,
    pub(super) disks: BTreeMap<NodeId, Disks>,
    pub(super) up: BTreeMap<NodeId, Replicated>,
    initial: BTreeSet<NodeId>,
    clock: Arc<Virtual>,
    starts: u128,
    faults: Faults,
    retention: Retention,
    machine: fn(GroupId) -> Box<dyn StateMachine>,
    /// What nodes run that run another build: the level that it knows and its machine.
    pub(super) builds: BTreeMap<NodeId, Build>,
    /// Where nodes run that run somewhere in particular.
    pub(super) zones: BTreeMap<NodeId, String>,
}

type Build = (Level, fn(GroupId) -> Box<dyn StateMachine>);

impl Cluster {
    pub(super) async fn of(nodes: u64) -> Self {
        Self::with(nodes, Faults::default(), Toy::boxed).await
    }

    /// A cluster that makes a mistake, or whose machine is another.
    pub(super) async fn with(
        nodes: u64,
        faults: Faults,
        machine: fn(GroupId) -> Box<dyn StateMachine>,
    ) -> Self {
        let initial: BTreeSet<NodeId> = (1..=nodes).map(NodeId).collect();
        let mut cluster = Self {
            board: Switchboard::default(),
            disks: BTreeMap::new(),
            up: BTreeMap::new(),
            clock: Arc::new(Virtual::new()),
            starts: 0,
            faults,
            retention: Retention::default(),
            machine,
            builds: BTreeMap::new(),
            zones: BTreeMap::new(),
            initial: initial.clone(),
        };
        for node in initial {
            cluster.start(node).await.expect("starts");
        }
        cluster
    }

    /// Starts anew, on blank disks, with another retention.
    pub(super) async fn retention(&mut self, retention: Retention) {
        self.retention = retention;
        for node in self.initial.clone() {
            self.crash(node, 0).await;
            self.wipe(node);
        }
        for node in self.initial.clone() {
            self.start(node).await.expect("starts");
        }
    }

    /// Starts a node on the disks it has, or on blank ones.
    pub(super) async fn start(&mut self, node: NodeId) -> Result<(), OpenReplicatedError> {
        self.starts += 1;
        let disks = self.disks.entry(node).or_default().clone();
        let founder = self.initial.contains(&node);
        let initial = if founder { self.initial.clone() } else { BTreeSet::new() };
        let mut settings = Settings::founder(node, initial, GROUPS);
        settings.grace_ms = 3_000;
        settings.zone = self.zones.get(&node).cloned().unwrap_or_default();
        settings.faults = self.faults;
        settings.retention = self.retention;
        let build = self.builds.get(&node).copied();
        let (level, machine) = build.unwrap_or((Level::KNOWN, self.machine));
        settings.level = level;
        settings.seed = u64::try_from(self.starts).unwrap();
        let board = self.board.clone();
        let parts = Parts {
            log: disks.log.open(),
            snapshots: disks.snapshots.open(),
            pages: Arc::new(MemoryPages::default()),
            simulated: Some(Duration::from_millis(1)),
            clock: Arc::clone(&self.clock) as _,
            disk: DiskId(self.starts),
            peers: Arc::new(Line { me: node, board: board.clone() }),
            living: Arc::new(move || board.living(node)),
            new_machine: Arc::new(machine),
        };
        let ledger = Replicated::open(settings, parts).await?;
        self.board.board().up.insert(node, ledger.clone());
        self.up.insert(node, ledger);
        Ok(())
    }

    /// The machine dies: of what was not synced the first `kept` writes survive.
    pub(super) async fn crash(&mut self, node: NodeId, kept: usize) {
        self.disks[&node].log.crash(kept);
        self.disks[&node].snapshots.crash(kept);
        self.board.board().up.remove(&node);
        self.up.remove(&node).expect("it was up").stop().await;
    }

    /// The disk is gone.
    pub(super) fn wipe(&mut self, node: NodeId) {
        self.disks.remove(&node);
    }

    pub(super) fn leader(&self, group: GroupId) -> Option<NodeId> {
        let leads = |ledger: &Replicated| ledger.leadership().borrow().contains_key(&group);
        self.up.iter().find(|(_, ledger)| leads(ledger)).map(|(node, _)| *node)
    }

    /// Waits until a condition holds; says how long that took, in milliseconds.
    pub(super) async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> u64 {
        let begun = self.clock.mono();
        for _ in 0..3_000 {
            if holds(self) {
                return self.clock.mono().since(begun);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let all: Vec<_> = self.up.values().map(Replicated::replicas).collect();
        panic!("not within 30 s: {what}; {all:#?}");
    }

    pub(super) async fn until_led(&self) -> u64 {
        self.until("every group has a leader", |cluster| {
            (0..=GROUPS).all(|group| cluster.leader(GroupId(group)).is_some())
        })
        .await
    }

    /// Asks every node until one says yes or no.
    pub(super) async fn set(&self, group: GroupId, command: &str) -> Committed {
        for _ in 0..200 {
            for ledger in self.up.values() {
                if let Ok(committed) = ledger.propose(group, command.into()).await {
                    return committed;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody takes {command}");
    }

    /// Reads from whoever leads.
    pub(super) async fn get(&self, group: GroupId, key: &str) -> Option<String> {
        for _ in 0..200 {
            for ledger in self.up.values() {
                if let Ok(value) = ledger.read(group, key.into()).await {
                    return value.map(|bytes| String::from_utf8(bytes).unwrap());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody reads {key}");
    }

    /// A page from whoever leads.
    pub(super) async fn page(
        &self,
        group: GroupId,
        prefix: &[u8],
        before: Option<Vec<u8>>,
        max: usize,
    ) -> Vec<Pair> {
        for _ in 0..200 {
            for ledger in self.up.values() {
                if let Ok(page) = ledger.page(group, prefix.into(), before.clone(), max).await {
                    return page;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody reads a page");
    }

    /// Every group has its full number of voters, all applied the same, and all are equal.
    pub(super) fn is_whole(&self) -> bool {
        let known = self.up.values().map(|ledger| ledger.known().borrow().cluster.version).max();
        let all: Vec<_> = self.up.iter().map(|(node, l)| (*node, l.replicas())).collect();
        (0..=GROUPS).map(GroupId).all(|group| {
            let replicas: BTreeMap<NodeId, _> = all
                .iter()
                .filter_map(|(node, all)| Some((*node, all.iter().find(|r| r.group == group)?)))
                .collect();
            let Some(leader) = self.leader(group) else { return false };
            let plan = self.up[&leader].known().borrow().plan[&group].clone();
            let voters = &replicas[&leader].voters;
            self.up[&leader].known().borrow().cluster.version == known.unwrap()
                && *voters == plan.iter().copied().collect::<BTreeSet<_>>()
                && plan.iter().all(|node| {
                    replicas
                        .get(node)
                        .is_some_and(|replica| replica.applied == replicas[&leader].applied)
                })
        })
    }

    pub(super) async fn until_whole(&self) -> u64 {
        self.until("every group is whole", Self::is_whole).await
    }

    /// Replicas with equal applied index have equal state.
    pub(super) fn check_equal(&self) {
        assert_eq!(self.unequal(), None);
    }

    /// Two replicas that applied the same and are not equal.
    pub(super) fn unequal(&self) -> Option<String> {
        let mut seen: BTreeMap<(GroupId, u64), ((u64, u64), NodeId)> = BTreeMap::new();
        for (node, ledger) in &self.up {
            for replica in ledger.replicas() {
                let at = (replica.group, replica.applied);
                let first = seen.entry(at).or_insert((replica.fingerprint, *node));
                if first.0 != replica.fingerprint {
                    return Some(format!("{at:?} differs on {} and {node}", first.1));
                }
            }
        }
        None
    }
}

pub(super) fn groups() -> impl Iterator<Item = GroupId> {
    (1..=GROUPS).map(GroupId)
}

#[tokio::test(start_paused = true)]
async fn three_nodes_found_a_cluster_and_agree() {
    let cluster = Cluster::of(3).await;
    cluster.until_led().await;
    for group in groups() {
        cluster.set(group, "a=1").await;
        assert_eq!(cluster.get(group, "a").await.as_deref(), Some("1"));
    }
    cluster.until_whole().await;
    cluster.check_equal();
    let known = cluster.up[&NodeId(1)].known();
    assert_eq!(known.borrow().cluster.nodes.len(), 3);
    assert_eq!(known.borrow().plan[&META].len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_leader_dies_and_another_goes_on_with_everything_acknowledged() {
    let mut cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    for round in 0..6u64 {
        let group = GroupId(1 + u16::try_from(round).unwrap() % GROUPS);
        cluster.set(group, &format!("r{round}=yes")).await;
        let dead = cluster.leader(group).unwrap();
        cluster.crash(dead, usize::try_from(round).unwrap()).await;
        let took = cluster.until("another leads", |c| c.leader(group).is_some()).await;
        assert!(took < 2_000, "{took} ms");
        assert_eq!(cluster.get(group, &format!("r{round}")).await.as_deref(), Some("yes"));
        cluster.set(group, &format!("s{round}=yes")).await;
        cluster.start(dead).await.unwrap();
        cluster.until_whole().await;
        cluster.check_equal();
    }
    // What it should lead went back to each of them, and it was measured how long that took.
    let gaps = |c: &Cluster| c.up.values().flat_map(Replicated::take_gaps).collect::<Vec<_>>();
    let mut seen = Vec::new();
    cluster
        .until("leadership has gone back", |cluster| {
            seen.extend(gaps(cluster));
            !seen.is_empty()
        })
        .await;
    assert!(seen.iter().all(|gap_ms| *gap_ms < 300), "{seen:?}");
    for round in 0..6u64 {
        let group = GroupId(1 + u16::try_from(round).unwrap() % GROUPS);
        assert_eq!(cluster.get(group, &format!("s{round}")).await.as_deref(), Some("yes"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_minority_refuses_in_time_and_acknowledges_nothing() {
    let cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    let group = GroupId(1);
    let all: Vec<NodeId> = cluster.up.keys().copied().collect();
    let alone = cluster.leader(group).unwrap();
    cluster.board.isolate(&[alone], &all);
    let begun = cluster.clock.mono();
    let refused = cluster.up[&alone].propose(group, b"lost=1".to_vec()).await;
    assert!(matches!(refused, Err(Refused::Unknown | Refused::NotLeader { .. })), "{refused:?}");
    assert!(cluster.clock.mono().since(begun) <= 1_500);
    let read = cluster.up[&alone].read(group, b"lost".to_vec()).await;
    assert!(read.is_err(), "a read without a quorum: {read:?}");
    cluster
        .until("it knows that it does not lead", |c| {
            !c.up[&alone].leadership().borrow().contains_key(&group)
        })
        .await;
    cluster.set(group, "kept=1").await;
    cluster.board.heal();
    cluster.until_whole().await;
    cluster.check_equal();
    assert_eq!(cluster.get(group, "kept").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_its_disk_is_refused_and_replaced_by_a_new_one() {
    let mut cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    for group in groups() {
        for n in 0..20 {
            cluster.set(group, &format!("k{n}={n}")).await;
        }
    }
    let wiped = NodeId(2);
    cluster.crash(wiped, 0).await;
    cluster.wipe(wiped);
    cluster.start(wiped).await.unwrap();
    let broken = tokio::time::timeout(Duration::from_secs(5), cluster.up[&wiped].broken()).await;
    assert!(broken.expect("in time").to_string().contains("another disk"));
    cluster.crash(wiped, 0).await;
    cluster.wipe(wiped);

    cluster.start(NodeId(4)).await.unwrap();
    cluster.until_whole().await;
    let known = cluster.up[&NodeId(1)].known();
    assert!(known.borrow().plan.values().all(|nodes| !nodes.contains(&wiped)));
    cluster.check_equal();
    // And now the first, so that only copies made since are left beside one original.
    cluster.crash(NodeId(1), 0).await;
    cluster.start(NodeId(5)).await.unwrap();
    cluster.until_whole().await;
    for group in groups() {
        for n in 0..20 {
            assert_eq!(cluster.get(group, &format!("k{n}")).await, Some(n.to_string()));
        }
    }
    cluster.check_equal();
}

#[tokio::test(start_paused = true)]
async fn a_survivor_of_a_lost_majority_goes_on_alone_and_says_so() {
    let mut cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    for group in groups() {
        cluster.set(group, "a=1").await;
    }
    cluster.until_whole().await;
    for node in [1, 2, 3] {
        cluster.crash(NodeId(node), 0).await;
    }
    cluster.wipe(NodeId(1));
    cluster.wipe(NodeId(2));
    let survivor = NodeId(3);
    let mut disk = cluster.disks[&survivor].log.open();
    let (batch, count) = offline::alone(&disk, survivor).unwrap();
    assert_eq!(count, usize::from(GROUPS) + 1);
    disk.write(batch).unwrap();
    disk.sync().unwrap();

    cluster.start(survivor).await.unwrap();
    cluster.until_led().await;
    for group in groups() {
        assert_eq!(cluster.get(group, "a").await.as_deref(), Some("1"));
    }
    // It says what was done, and is whole again once others have joined.
    for node in [4, 5] {
        cluster.start(NodeId(node)).await.unwrap();
    }
    cluster.until_whole().await;
    cluster.check_equal();
    let lossy = |cluster: &Cluster| cluster.up[&NodeId(5)].known().borrow().cluster.lossy == 1;
    cluster.until("who has just joined says so as well", lossy).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_lost_its_quorum_for_a_while_serves_again() {
    let cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    let group = GroupId(1);
    let leader = cluster.leader(group).unwrap();
    let all: Vec<NodeId> = cluster.up.keys().copied().collect();
    // Everybody apart from everybody: nobody can be elected in the leader's place.
    for node in &all {
        cluster.board.isolate(&[*node], &all);
    }
    cluster.until("it doubts itself", |c| c.leader(group).is_none()).await;
    cluster.board.heal();
    cluster.until_led().await;
    cluster.set(group, "a=1").await;
    assert!(cluster.up[&leader].replicas().iter().any(|replica| replica.group == group));
}

#[tokio::test(start_paused = true)]
async fn a_founder_that_comes_back_late_does_not_begin_again_what_has_moved() {
    let mut cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    for group in groups() {
        cluster.set(group, "a=1").await;
    }
    // Two new nodes take over from two founders that are away; then the founders come back alone.
    for (old, new) in [(1, 4), (2, 5)] {
        cluster.crash(NodeId(old), 0).await;
        cluster.start(NodeId(new)).await.unwrap();
        cluster.until_whole().await;
    }
    for node in [3, 4, 5] {
        cluster.crash(NodeId(node), 0).await;
    }
    cluster.start(NodeId(1)).await.unwrap();
    cluster.start(NodeId(2)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(groups().all(|group| cluster.leader(group).is_none()), "two are no majority of five");
    for node in [3, 4, 5] {
        cluster.start(NodeId(node)).await.unwrap();
    }
    cluster.until_whole().await;
    for group in groups() {
        assert_eq!(cluster.get(group, "a").await.as_deref(), Some("1"));
    }
    cluster.check_equal();
}
