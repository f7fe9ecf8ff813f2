//! What a node does for its groups, in turn and for ever: heartbeats for those it leads, all at
//! once so that they share frames; snapshots and purges; members brought to where the plan wants
//! them, one step at a time; leadership given back to the preferred node; the dead replaced.

use super::Replicated;
use super::cluster::{CLUSTER_KEY, Change, Cluster, META, Standing};
use super::core::{Here, Known};
use super::types::Membership;
use crate::contract::{Ledger, Refused};
use proto::slot::frozen_hash;
use proto::{GroupId, MonoMs, NodeId, codec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// A look at each group's log and members every so many heartbeats.
const LOOK_EVERY: u64 = 4;
/// Segments of history in memory before the next snapshot, at most: 8 MiB of a group.
const UNSAVED_MAX: usize = 32;
/// Values written again for each entry since the last snapshot, at most: writing a large state
/// again costs no more than the entries did.
const VALUES_PER_ENTRY: u64 = 4;
/// A learner that lacks no more than this may vote.
const LAG_MAX: u64 = 128;
/// A preferred leader must have been fit for so many looks before it is given its group back.
const STABLE_LOOKS: u32 = 10;
/// Whoever begins to lead group 0 may have been cut off until just now, and hears within so long who
/// lives: twice what detection takes.
const HEARS_WITHIN_MS: u64 = 2_000;
/// Groups whose members are being changed by this node at once.
const MOVES_MAX: usize = 2;
/// How long a step is waited for, several commits over slow disks. One that takes longer may be taken all
/// the same; meanwhile it is another group's turn.
const STEP_WITHIN: Duration = Duration::from_secs(5);

/// What is remembered between looks.
#[derive(Default)]
struct Memory {
    /// For how many looks each group's preferred leader has been fit to lead.
    fit: BTreeMap<GroupId, u32>,
    /// Since when a node seems dead.
    silent: BTreeMap<NodeId, MonoMs>,
    /// Since when this node leads each group.
    leads_since: BTreeMap<GroupId, MonoMs>,
    /// Since when it has been published as the leader of group 0.
    tends_since: Option<MonoMs>,
    /// At which index a group's snapshot was last asked for.
    asked: BTreeMap<GroupId, u64>,
    /// How often this node asked to lead each group.
    elections: BTreeMap<GroupId, u64>,
    /// Up to which index a group's log was last purged.
    purged: BTreeMap<GroupId, u64>,
}

impl Memory {
    /// Forgets of logs that are here no more.
    fn keep(&mut self, all: &[Here]) {
        let here: BTreeSet<GroupId> = all.iter().map(|here| here.replica.group).collect();
        self.asked.retain(|group, _| here.contains(group));
        self.purged.retain(|group, _| here.contains(group));
    }
}

impl Replicated {
    pub(super) async fn tend(self) {
        let mut memory = Memory::default();
        let period = Duration::from_millis(self.0.settings.timers.heartbeat_ms);
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let moves = Arc::new(tokio::sync::Semaphore::new(MOVES_MAX));
        let leaving = Arc::default();
        for beat in 0u64.. {
            ticks.tick().await;
            let all = self.all_here();
            let leading: Vec<&Here> = all.iter().filter(|here| here.replica.role().leads).collect();
            let mut doubtful = BTreeSet::new();
            for here in &leading {
                let in_doubt = self.in_doubt(here, &mut memory);
                if in_doubt {
                    doubtful.insert(here.replica.group);
                }
                here.leads_at(self.0.clock.mono(), in_doubt);
                if !in_doubt || beat % self.0.settings.timers.doubtful_beats() == 0 {
                    here.replica.heartbeat().await;
                }
            }
            memory
                .leads_since
                .retain(|group, _| leading.iter().any(|here| here.replica.group == *group));
            for here in all.iter().filter(|here| !here.replica.role().leads) {
                self.stand_if_unled(here, &mut memory).await;
            }
            if beat % LOOK_EVERY != 0 {
                continue;
            }
            self.0.read_cluster();
            for here in &all {
                self.keep_short(here, &mut memory).await;
            }
            for here in &leading {
                self.publish(here, doubtful.contains(&here.replica.group));
            }
            let mut leading = leading;
            leading.retain(|here| !doubtful.contains(&here.replica.group));
            memory.fit.retain(|group, _| !doubtful.contains(group));
            // Each look begins with another group, so that none waits behind steps that fail.
            let first = beat / LOOK_EVERY % leading.len().max(1) as u64;
            for here in leading.iter().cycle().skip(first as usize).take(leading.len()) {
                if let Ok(turn) = Arc::clone(&moves).try_acquire_owned()
                    && let Some(step) = self.next_step(here)
                {
                    tokio::spawn(take(step, (*here).clone(), turn));
                }
            }
            let living = (self.0.living)();
            self.give_back(&leading, &living, &mut memory).await;
            self.tend_cluster(&living, &mut memory).await;
            self.let_go(&all, &leaving);
            memory.keep(&all);
        }
    }

    /// Asks to be elected if no leader was heard for too long. How long that is depends on the
    /// node's place in the plan, so that two rarely ask at once, and on chance, so that it does
    /// not depend on the plan.
    async fn stand_if_unled(&self, here: &Here, memory: &mut Memory) {
        let group = here.replica.group;
        let known = self.0.known();
        let nodes = known.plan.get(&group).map_or(&[][..], Vec::as_slice);
        let places = nodes.len().max(1) as u64;
        let place = nodes.iter().position(|node| *node == self.0.me());
        let place = place.map_or(places - 1, |place| place as u64);
        let asked = memory.elections.entry(group).or_default();
        let chance = frozen_hash(&codec::encode(&(self.0.settings.seed, group, *asked))) % 1_000;
        let (least, most) = self.0.settings.timers.election_ms;
        let patience = least + (most - least) * (place * 1_000 + chance) / (places * 1_000);
        let now = self.0.clock.mono();
        let heard = MonoMs(here.heard_at.load(Ordering::Relaxed));
        if now.since(heard) >= patience && here.may_stand(self.0.me()) {
            *asked += 1;
            here.heard_at.store(now.0, Ordering::Relaxed);
            here.replica.stand_for_election().await;
        }
    }

    /// Snapshots and purges, so that neither log nor memory grows for ever.
    async fn keep_short(&self, here: &Here, memory: &mut Memory) {
        let group = here.replica.group;
        let (applied, values) = here.replica.keeper().size();
        let covered = self.0.means.snapshots.newest(group).unwrap_or(0);
        let least = self.0.settings.retention.snapshot_entries;
        let enough = least.max(values as u64 / VALUES_PER_ENTRY);
        let asked = memory.asked.entry(group).or_default();
        let full = here.replica.keeper().unsaved() > UNSAVED_MAX && applied > *asked;
        if full || applied >= covered.max(*asked) + enough {
            *asked = applied;
            here.replica.take_snapshot().await;
        }
        // The older snapshot's log stays: the newer one may turn out to be damaged.
        if let Some(needed) = self.0.means.snapshots.needed_from(group)
            && memory.purged.insert(group, needed) != Some(needed)
        {
            here.replica.purge(needed).await;
        }
    }

    /// Whether no quorum has answered a leader for too long.
    fn in_doubt(&self, here: &Here, memory: &mut Memory) -> bool {
        let now = self.0.clock.mono();
        let since = *memory.leads_since.entry(here.replica.group).or_insert(now);
        let alone = here.replica.members().voters.iter().all(|voter| *voter == self.0.me());
        let unconfirmed = here.replica.unconfirmed_ms().unwrap_or_else(|| now.since(since));
        !alone && unconfirmed > self.0.settings.timers.doubt_ms()
    }

    /// Says here whether it leads: a leader whom no quorum answers stops acting as one until it is
    /// confirmed. It may have been replaced long ago by members that do not know it any more, so that
    /// nobody ever tells it: what it began would never end.
    fn publish(&self, here: &Here, doubtful: bool) {
        let group = here.replica.group;
        if doubtful {
            self.0.lead(group, None);
        } else if !self.0.leadership.borrow().contains_key(&group) {
            here.look.notify_one();
        }
    }

    /// What group 0 agreed on, once this node has heard it. The plan of the founders is no ground
    /// to move anything: it may be long out of date.
    pub(super) fn agreed(&self) -> Option<Arc<Known>> {
        Some(self.0.known()).filter(|known| known.agreed)
    }

    /// The next step from the members a group has to those it should have.
    fn next_step(&self, here: &Here) -> Option<Step> {
        // It may have been voted out since this look at all groups began; and who leads without a vote
        // hands over, and changes nothing: openraft counts him no leader.
        let votes = here.replica.members().voters.contains(&self.0.me());
        if !votes || !here.replica.role().leads {
            return None;
        }
        let known = self.agreed()?;
        let wanted: BTreeSet<NodeId> =
            known.plan.get(&here.replica.group)?.iter().copied().collect();
        let listen = match here.replica.group {
            // Everybody hears what group 0 says.
            META => {
                let nodes = known.cluster.nodes.iter();
                nodes.filter(|(_, node)| node.standing != Standing::Dead).map(|n| *n.0).collect()
            }
            _ => BTreeSet::new(),
        };
        let mut lags = here.replica.lags();
        // The dead need not be waited for: they learn of it when they are back.
        let nodes = known.cluster.nodes.iter();
        let dead = nodes.filter(|(_, node)| node.standing == Standing::Dead);
        lags.extend(dead.map(|(id, _)| (*id, Some(0))));
        next_step(&here.replica.members(), &lags, &wanted, &listen)
    }

    /// Hands one group over to its successor, if that one has been fit for a while; and, at once, each that
    /// this node has no vote in, since then nobody can write there. Only where it is not in doubt: a leader
    /// that hands over sends no heartbeats any more, and so would not hear that he was replaced.
    async fn give_back(&self, leading: &[&Here], living: &BTreeSet<NodeId>, memory: &mut Memory) {
        let known = self.agreed();
        let mut handed = false;
        for here in leading {
            let group = here.replica.group;
            let looks = memory.fit.entry(group).or_default();
            let voted_out = !here.replica.members().voters.contains(&self.0.me());
            let enough = if voted_out { 1 } else { STABLE_LOOKS };
            match self.successor(known.as_deref(), here, living, voted_out) {
                None => *looks = 0,
                Some(node) => {
                    *looks += 1;
                    if *looks >= enough && (voted_out || !handed) {
                        *looks = 0;
                        handed |= !voted_out;
                        self.0.hand_overs.begin(group, self.0.clock.mono());
                        here.replica.hand_over(node).await;
                    }
                }
            }
        }
    }

    /// Who should lead a group that this node leads: the node that the plan wants, once it is fit. If
    /// this node has been voted out anybody fit will do, whatever the plan: group 0, which agrees on
    /// it, may be the very group that waits.
    fn successor(
        &self,
        known: Option<&Known>,
        here: &Here,
        living: &BTreeSet<NodeId>,
        voted_out: bool,
    ) -> Option<NodeId> {
        let members = here.replica.members();
        let lags = here.replica.lags();
        let fit = |node: &NodeId| {
            *node != self.0.me()
                && members.voters.contains(node)
                && living.contains(node)
                && matches!(lags.get(node), Some(Some(lag)) if *lag <= LAG_MAX)
        };
        let wanted = known.and_then(|known| known.plan.get(&here.replica.group)?.first().copied());
        let wanted = wanted.filter(|node| !members.joint && fit(node));
        let anybody = || members.voters.iter().copied().find(fit);
        wanted.or_else(|| if voted_out { anybody() } else { None })
    }

    /// What the leader of group 0 does: tells it how the cluster was founded, and replaces nodes
    /// that were away for too long.
    async fn tend_cluster(&self, living: &BTreeSet<NodeId>, memory: &mut Memory) {
        let (now, known) = (self.0.clock.mono(), self.0.known());
        // Counted by everybody: should the leader of group 0 die as well, the next one knows.
        let silent = |node: &NodeId| !living.contains(node) && *node != self.0.me();
        let listed: BTreeSet<NodeId> = known.cluster.nodes.keys().copied().filter(silent).collect();
        memory.silent.retain(|node, _| listed.contains(node));
        for node in listed {
            memory.silent.entry(node).or_insert(now);
        }
        if !self.0.leadership.borrow().contains_key(&META) {
            memory.tends_since = None;
            return;
        }
        let tends_since = *memory.tends_since.get_or_insert(now);
        let founded = self.read_stale(META, CLUSTER_KEY).ok().flatten().is_some();
        let founders = self.0.founders().clone();
        if let (false, Some(founders)) = (founded, founders) {
            self.tell(Change::Found(self.0.as_founded(&founders))).await;
            return;
        }
        for (node, listed) in &known.cluster.nodes {
            let Some(since) = memory.silent.get(node) else {
                if listed.standing == Standing::Dead && *node != self.0.me() {
                    // It is back with the disk it had; strangers never get this far.
                    self.tell(Change::Stand(*node, Standing::Active)).await;
                }
                continue;
            };
            let gone = now.since(*since) >= self.0.settings.grace_ms;
            if gone
                && now.since(tends_since) >= HEARS_WITHIN_MS
                && listed.standing != Standing::Dead
                && self.replaceable(&known.cluster, living)
            {
                tracing::info!(%node, "away for too long, to be replaced");
                self.tell(Change::Stand(*node, Standing::Dead)).await;
            }
        }
    }

    /// Whether enough others are alive to hold every replica.
    fn replaceable(&self, cluster: &Cluster, living: &BTreeSet<NodeId>) -> bool {
        let here = |id: NodeId| living.contains(&id) || id == self.0.me();
        let active = cluster.nodes.iter().filter(|(_, node)| node.standing == Standing::Active);
        active.filter(|(id, _)| here(**id)).count() >= usize::from(cluster.replicas)
    }

    pub(super) async fn tell(&self, change: Change) {
        match self.change(change.clone()).await {
            Ok(Ok(cluster)) => self.0.learn(cluster, true),
            Ok(Err(objection)) => tracing::debug!(?change, %objection, "group 0 objects"),
            Err(Refused::NotLeader { .. } | Refused::Overloaded | Refused::Unknown) => {}
            Err(Refused::TooLarge) => tracing::error!("the cluster's description is too large"),
        }
    }
}

/// Takes a step in its turn.
async fn take(step: Step, here: Here, turn: OwnedSemaphorePermit) {
    let taken = timeout(STEP_WITHIN, step.take(&here)).await;
    if let Err(why) = taken.unwrap_or_else(|_| Err("it takes too long".into())) {
        tracing::debug!(group = %here.replica.group, ?step, why, "not yet");
    }
    drop(turn);
}

/// A step towards the wanted members.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Send the log to a node that has no vote yet.
    Teach(NodeId),
    /// Change who votes, by one node.
    Vote(BTreeSet<NodeId>),
    /// Stop sending the log.
    Dismiss(BTreeSet<NodeId>),
}

impl Step {
    async fn take(&self, here: &Here) -> Result<(), String> {
        match self {
            Self::Teach(node) => here.replica.add_learner(*node).await,
            Self::Vote(voters) => here.replica.change_voters(voters).await,
            Self::Dismiss(nodes) => here.replica.remove_learners(nodes).await,
        }
    }
}

/// First teach who is missing; let vote who has caught up, in the place of one who is to go; only
/// then dismiss. So a group never has fewer voters than before, and never two changes at once. A
/// change whose leader died between its two steps is brought to its end before all else.
fn next_step(
    members: &Membership,
    lags: &BTreeMap<NodeId, Option<u64>>,
    wanted: &BTreeSet<NodeId>,
    listen: &BTreeSet<NodeId>,
) -> Option<Step> {
    let Membership { voters, learners, joint, towards, .. } = members;
    if let Some(next) = towards {
        return Some(Step::Vote(next.clone()));
    }
    if *joint || wanted.is_empty() || voters.is_empty() {
        return None;
    }
    let caught_up = |node: &NodeId| matches!(lags.get(node), Some(Some(lag)) if *lag <= LAG_MAX);
    let missing: BTreeSet<NodeId> = wanted.difference(voters).copied().collect();
    let surplus: BTreeSet<NodeId> = voters.difference(wanted).copied().collect();
    if let Some(node) = missing.iter().find(|node| learners.contains(node) && caught_up(node)) {
        let mut next: BTreeSet<NodeId> = voters.iter().copied().chain([*node]).collect();
        if let Some(leaver) = surplus.first() {
            next.remove(leaver);
        }
        return Some(Step::Vote(next));
    }
    let untaught = missing
        .iter()
        .chain(listen)
        .find(|node| !learners.contains(node) && !voters.contains(node));
    if let Some(node) = untaught {
        return Some(Step::Teach(*node));
    }
    if missing.is_empty() && !surplus.is_empty() {
        return Some(Step::Vote(wanted.clone()));
    }
    let idle: BTreeSet<NodeId> = learners
        .iter()
        .filter(|node| !wanted.contains(node) && !listen.contains(node) && caught_up(node))
        .copied()
        .collect();
    (!idle.is_empty()).then_some(Step::Dismiss(idle))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes<const N: usize>(ids: [u64; N]) -> BTreeSet<NodeId> {
        ids.map(NodeId).into()
    }

    /// Takes steps until none is left; every learner catches up at once.
    fn walk(mut members: Membership, wanted: &BTreeSet<NodeId>) -> Vec<BTreeSet<NodeId>> {
        let mut seen = vec![members.voters.clone()];
        for _ in 0..20 {
            let lags = members.learners.iter().map(|node| (*node, Some(0))).collect();
            match next_step(&members, &lags, wanted, &BTreeSet::new()) {
                None => return seen,
                Some(Step::Teach(node)) => drop(members.learners.insert(node)),
                Some(Step::Vote(voters)) => {
                    let before = std::mem::replace(&mut members.voters, voters.clone());
                    members.learners.extend(before.difference(&voters));
                    members.learners.retain(|node| !voters.contains(node));
                    seen.push(voters);
                }
                Some(Step::Dismiss(gone)) => members.learners.retain(|n| !gone.contains(n)),
            }
        }
        panic!("no end: {seen:?}");
    }

    #[test]
    fn members_change_one_at_a_time_and_are_never_fewer() {
        let members = Membership { voters: nodes([1, 2, 3]), ..Membership::default() };
        let seen = walk(members, &nodes([3, 4, 5]));
        assert_eq!(seen.last(), Some(&nodes([3, 4, 5])));
        for pair in seen.windows(2) {
            assert!(pair[1].len() >= 3, "{seen:?}");
            assert!(pair[0].difference(&pair[1]).count() <= 1, "{seen:?}");
        }
    }

    #[test]
    fn nobody_votes_before_he_has_caught_up() {
        let (voters, learners) = (nodes([1, 2, 3]), nodes([4]));
        let members = Membership { voters, learners, ..Membership::default() };
        for lag in [None, Some(LAG_MAX + 1)] {
            let lags = BTreeMap::from([(NodeId(4), lag)]);
            let none = BTreeSet::new();
            assert_eq!(next_step(&members, &lags, &nodes([2, 3, 4]), &none), None);
        }
    }

    #[test]
    fn a_change_that_its_leader_left_half_done_is_finished() {
        let (voters, joint, towards) = (nodes([1, 2, 3, 4]), true, Some(nodes([1, 3, 4])));
        let members = Membership { voters, joint, towards, ..Membership::default() };
        let (lags, none) = (BTreeMap::new(), BTreeSet::new());
        let next = next_step(&members, &lags, &nodes([1, 3, 4]), &none);
        assert_eq!(next, Some(Step::Vote(nodes([1, 3, 4]))));
        let unsettled = Membership { towards: None, ..members };
        assert_eq!(next_step(&unsettled, &lags, &nodes([1, 3, 4]), &none), None);
    }
}
