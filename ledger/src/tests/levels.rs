//! A rolling upgrade: builds that know different feature levels share one log.

use super::cluster::{Cluster, groups};
use super::storm::{Dice, simulated};
use super::toy::Toy;
use crate::Replicated;
use crate::replicated::{Broken, META, OpenReplicatedError, TooOld};
use crate::replicated::{Fault, Faults};
use futures_util::FutureExt;
use proto::codec::CodecError;
use proto::machine::{Applied, Level, StateMachine};
use proto::{GroupId, NodeId, WallMs};
use std::time::Duration;

const ONE: Level = Level(1);
const TWO: Level = Level(2);
const TOO_OLD: TooOld = TooOld { agreed: TWO, knows: ONE };

/// The toy of the next build: from level 2 on values are kept in capitals.
struct Next(Toy);

impl Next {
    fn boxed(_: GroupId) -> Box<dyn StateMachine> {
        Box::new(Self(Toy::default()))
    }
}

impl StateMachine for Next {
    fn apply(&mut self, at: WallMs, level: Level, command: &[u8]) -> Applied {
        let shout = level >= TWO;
        let value = command.iter().position(|byte| *byte == b'=').filter(|_| shout);
        let mut command = command.to_vec();
        let from = value.unwrap_or(command.len());
        command[from..].make_ascii_uppercase();
        self.0.apply(at, level, &command)
    }
    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.read(key)
    }
    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), CodecError> {
        self.0.restore(key, value)
    }
    fn scan(&self, after: Option<&[u8]>, max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.scan(after, max)
    }
    fn open_work(&self) -> Vec<Vec<u8>> {
        self.0.open_work()
    }
}

impl Cluster {
    /// Starts a node of the next build, or of this one again.
    async fn start_as(&mut self, node: u64, level: Level) -> Result<(), OpenReplicatedError> {
        let machine = if level == ONE { Toy::boxed } else { Next::boxed };
        self.builds.insert(NodeId(node), (level, machine));
        self.start(NodeId(node)).await
    }

    /// Puts another build in the place of one that runs.
    async fn replace(&mut self, node: u64, level: Level) {
        self.crash(NodeId(node), 0).await;
        self.start_as(node, level).await.expect("starts");
    }

    /// A node that stopped serving.
    fn broken(&self) -> Option<(NodeId, Broken)> {
        let broken = |ledger: &Replicated| ledger.broken().now_or_never();
        self.up.iter().find_map(|(node, ledger)| Some((*node, broken(ledger)?)))
    }

    /// Waits until nothing moves any more, or something is broken.
    async fn whole_or_broken(&self) -> Result<(), Broken> {
        self.until("every group is whole, or a node is broken", |cluster| {
            cluster.broken().is_some() || cluster.is_whole()
        })
        .await;
        self.broken().map_or(Ok(()), |(_, broken)| Err(broken))
    }

    fn agreed(&self) -> Vec<Level> {
        self.up.values().map(|ledger| ledger.known().borrow().cluster.level).collect()
    }

    async fn until_level(&self, level: Level) {
        let all_know = |cluster: &Self| cluster.agreed().iter().all(|agreed| *agreed == level);
        self.until("every node knows the level", all_know).await;
    }
}

/// Replaces three nodes one after another while commands go on; says what broke, and what was
/// stored of each round: with none, one, two and three new builds.
async fn rolling_upgrade(faults: Faults) -> Result<Vec<Option<String>>, Broken> {
    let mut cluster = Cluster::with(3, faults, Toy::boxed).await;
    cluster.until_whole().await;
    for round in 0..=3u64 {
        if round > 0 {
            cluster.replace(round, TWO).await;
            cluster.whole_or_broken().await?;
        }
        // Long enough for leadership to come back to the newcomer.
        for n in 0..40 {
            for group in groups() {
                cluster.set(group, &format!("r{round}=v{n}")).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(cluster.broken().is_some() || cluster.unequal().is_none());
            if let Some((_, broken)) = cluster.broken() {
                return Err(broken);
            }
        }
        let expected = if round < 3 { ONE } else { TWO };
        cluster.until_level(expected).await;
        cluster.whole_or_broken().await?;
        cluster.check_equal();
    }
    let mut stored = Vec::new();
    for round in 0..=3 {
        stored.push(cluster.get(GroupId(1), &format!("r{round}")).await);
    }
    // The level that was reached is known after a restart, from the snapshots alone.
    for node in 1..=3 {
        for group in groups() {
            cluster.up[&NodeId(node)].take_snapshot(group).await.expect("it holds all groups");
        }
        cluster.replace(node, TWO).await;
        let replicas = cluster.up[&NodeId(node)].replicas();
        let mut stored = replicas.iter().filter(|replica| replica.group != META);
        assert!(stored.all(|replica| replica.level == TWO && replica.applied > 0), "{replicas:?}");
        cluster.whole_or_broken().await?;
    }
    cluster.check_equal();
    Ok(stored)
}

#[test]
fn nodes_replaced_one_by_one_never_differ_and_the_last_one_raises_the_level() {
    let stored = simulated(rolling_upgrade(Faults::default()));
    let values = |all: &[&str]| all.iter().map(|value| Some((*value).to_owned())).collect();
    assert_eq!(stored, Ok(values(&["v39", "v39", "v39", "V39"])));
}

#[test]
fn a_leader_that_stamps_its_own_builds_level_is_caught() {
    let caught = simulated(rolling_upgrade(Faults(Some(Fault::StampOwnLevel))));
    assert_eq!(caught, Err(Broken::TooOld(TOO_OLD)));
}

/// Replaces nodes in any order by either build, for as long as the older one is let in; says what
/// was acknowledged and is not there.
async fn builds_come_and_go(seed: u64) -> Result<(), String> {
    let mut dice = Dice { seed, thrown: 0 };
    let mut cluster = Cluster::of(3).await;
    cluster.until_led().await;
    for step in 0..16u64 {
        let node = 1 + dice.below(3);
        let older = dice.below(3) == 0 && cluster.agreed().iter().all(|level| *level == ONE);
        // Of what was not synced, anything may be lost.
        let kept = usize::try_from(dice.below(3)).unwrap();
        cluster.crash(NodeId(node), kept).await;
        if cluster.start_as(node, if older { ONE } else { TWO }).await.is_err() {
            cluster.start_as(node, TWO).await.map_err(|error| error.to_string())?;
        }
        for group in groups() {
            cluster.set(group, &format!("n=v{step}")).await;
        }
        // The level may have risen meanwhile; then there is no way back.
        if let Some((NodeId(node), _)) = cluster.broken() {
            cluster.replace(node, TWO).await;
        }
        cluster.unequal().map_or(Ok(()), Err)?;
        tokio::time::sleep(Duration::from_millis(dice.below(4_000))).await;
        cluster.unequal().map_or(Ok(()), Err)?;
        for group in groups() {
            let read = cluster.get(group, "n").await.unwrap_or_default();
            if read.to_lowercase() != format!("v{step}") {
                return Err(format!("{group}: v{step} was acknowledged, {read} is there"));
            }
        }
    }
    for node in 1..=3 {
        cluster.replace(node, TWO).await;
    }
    cluster.until_level(TWO).await;
    cluster.until_whole().await;
    cluster.unequal().map_or(Ok(()), Err)
}

#[test]
fn builds_that_come_and_go_in_any_order_never_make_replicas_differ() {
    for seed in 1..=8 {
        assert_eq!(simulated(builds_come_and_go(seed)), Ok(()), "seed {seed}");
    }
}

/// Three nodes of the next build, at level 2, that have stored something.
async fn at_level_two() -> Cluster {
    let mut cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    for node in 1..=3 {
        cluster.replace(node, TWO).await;
        cluster.until_whole().await;
    }
    cluster.until_level(TWO).await;
    for group in groups() {
        cluster.set(group, "a=1").await;
    }
    cluster.until_whole().await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn an_older_build_is_refused_by_its_disk_and_by_the_others() {
    let mut cluster = at_level_two().await;
    cluster.crash(NodeId(1), 0).await;
    let refused = cluster.start_as(1, ONE).await;
    assert!(
        matches!(refused, Err(OpenReplicatedError::TooOld(why)) if why == TOO_OLD),
        "{refused:?}"
    );
    cluster.start_as(4, ONE).await.expect("its disk is blank");
    let broken = tokio::time::timeout(Duration::from_secs(5), cluster.up[&NodeId(4)].broken());
    assert_eq!(broken.await, Ok(Broken::TooOld(TOO_OLD)));
    assert_eq!(
        TOO_OLD.to_string(),
        "this cluster runs at feature level 2, this build knows 1: start a newer build"
    );
    cluster.crash(NodeId(4), 0).await;
    cluster.start_as(4, TWO).await.unwrap();
    cluster.start_as(1, TWO).await.unwrap();
    cluster.until_whole().await;
    cluster.check_equal();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_away_while_the_level_rose_comes_back_with_a_newer_build_only() {
    let mut cluster = Cluster::of(4).await;
    cluster.until_whole().await;
    cluster.crash(NodeId(4), 0).await;
    for node in 1..=3 {
        cluster.replace(node, TWO).await;
        cluster.until("it serves", |cluster| groups().all(|g| cluster.leader(g).is_some())).await;
    }
    // The absent one is waited for until it counts as dead.
    cluster.until_level(TWO).await;
    cluster.until_whole().await;
    cluster.start_as(4, ONE).await.expect("its disk knows nothing of it");
    let broken = tokio::time::timeout(Duration::from_secs(5), cluster.up[&NodeId(4)].broken());
    assert_eq!(broken.await, Ok(Broken::TooOld(TOO_OLD)));
    let listed = |cluster: &Cluster| {
        let known = cluster.up[&NodeId(1)].known();
        let known = known.borrow();
        known.cluster.nodes[&NodeId(4)].clone()
    };
    assert_eq!(listed(&cluster).level, ONE);
    cluster.replace(4, TWO).await;
    cluster.until("it is told of", |cluster| listed(cluster).level == TWO).await;
    cluster.until_whole().await;
    cluster.check_equal();
}

#[tokio::test(start_paused = true)]
async fn a_build_may_be_put_back_until_the_level_has_risen() {
    let mut cluster = Cluster::of(3).await;
    cluster.until_whole().await;
    for node in [1, 2] {
        cluster.replace(node, TWO).await;
        cluster.until_whole().await;
    }
    cluster.replace(1, ONE).await;
    cluster.until_whole().await;
    cluster.replace(3, TWO).await;
    cluster.until_whole().await;
    let level = |cluster: &Cluster, node| {
        cluster.up[&NodeId(2)].known().borrow().cluster.nodes[&NodeId(node)].level
    };
    cluster.until("the listing says so", |c| (level(c, 1), level(c, 3)) == (ONE, TWO)).await;
    assert_eq!(cluster.agreed(), [ONE; 3]);
    cluster.replace(1, TWO).await;
    cluster.until_level(TWO).await;
}
