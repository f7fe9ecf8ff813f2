//! What is looked at while a storm blows: whether replicas are equal, who could serve, who is on which
//! side of a cut, and whether a node has noticed that its disk fails.

use super::{Active, Storm, World};
use crate::city::Split;
use crate::cluster::{Replicas, name};
use crate::fault::{Fault, Shape};
use crate::laws::{Broken, able};
use crate::links;
use crate::schedule::PARTITIONS;
use proto::GroupId;
use std::time::Duration;

/// A node must stop itself when its disk has failed for so long.
pub(super) const STOPS_WITHIN: Duration = Duration::from_secs(2);

impl Storm {
    /// A node that had votes to write, while nothing else had happened for as long as it may take, must have
    /// noticed its disk. One whose peers are down or behind a slow link writes nothing.
    pub(super) fn judge_failing(
        &self,
        world: &World<'_, '_>,
        victim: usize,
        stopped: bool,
        began: Duration,
    ) {
        let (cluster, lasted) = (world.cluster, world.now.saturating_sub(began));
        let since = u64::try_from(began.as_millis()).unwrap_or(u64::MAX);
        let later = self.happened.values().any(|other| other.at_ms.is_some_and(|at| at > since));
        let alone = self.active.is_empty() && !later && cluster.on().contains(&victim);
        let calm = world.now.saturating_sub(self.unchanged.max(began));
        if stopped || !alone || calm < STOPS_WITHIN {
            return;
        }
        let replicas = cluster.replicas();
        if (1..=PARTITIONS).map(GroupId).any(|group| replicas.voters(group).contains(&victim)) {
            let what = format!("{} went on for {lasted:?} with a disk that fails", name(victim));
            world.city.accuse([Broken::new("a node whose disk fails stops", what)]);
        }
    }

    /// The two sides of a cut that is clean, if nothing else disturbs the links.
    pub(super) fn split(&self, world: &World<'_, '_>) -> Option<Split> {
        let disturbs = |active: &&Active| {
            !matches!(active.what, Fault::Crash(..) | Fault::ClockJump(..) | Fault::Drain(_))
        };
        let mut disturbing = self.active.iter().filter(disturbs);
        let (cut, None) = (disturbing.next()?, disturbing.next()) else { return None };
        let Fault::Cut(shape) = cut.what else { return None };
        if !links::is_clean(shape) {
            return None;
        }
        let middle = cut.victims[0];
        let (few, many): (Vec<usize>, Vec<usize>) = world
            .cluster
            .kept()
            .into_iter()
            .partition(|node| *node == middle || self.links.hears(middle, *node));
        // Who joined in the cut hears both sides, and each hears of the other by way of him: a bridge.
        let hears = |a: usize, b: usize| self.links.hears(a, b) || self.links.hears(b, a);
        if few.iter().any(|a| many.iter().any(|b| hears(*a, *b))) {
            return None;
        }
        Some(Split { since: world.now, sides: [few, many] })
    }

    /// Compares replicas, and looks which partitions could serve.
    pub(super) fn look(&mut self, world: &World<'_, '_>) {
        let replicas = world.cluster.replicas();
        self.equality.look(&replicas);
        if !world.city.opened.get() || world.city.is_closed() {
            return;
        }
        let quiet = self.active.iter().all(|active| {
            !matches!(
                active.what,
                Fault::Cut(Shape::Flap(_))
                    | Fault::SlowLink(..)
                    | Fault::LossyLink(..)
                    | Fault::SlowDisk(..)
                    | Fault::FailingDisk(_)
            )
        });
        let mut service = world.city.service.borrow_mut();
        for group in 1..=PARTITIONS {
            let able = self.somebody_could_lead(world, &replicas, GroupId(group));
            if !able {
                world.city.takeovers.borrow_mut().unable(group);
            }
            let why = || {
                let leader = replicas.leader(GroupId(group)).map(|(index, _)| name(index));
                let active: Vec<&Fault> = self.active.iter().map(|active| &active.what).collect();
                let standing = replicas.standing(GroupId(group));
                format!("led by {leader:?}, during {active:?}, {standing:?}")
            };
            service.sample(world.now, group, quiet && able, why);
        }
    }

    /// Whether some replica of a group that is awake could be elected by those who are and with whom it
    /// can talk.
    fn somebody_could_lead(
        &self,
        world: &World<'_, '_>,
        replicas: &Replicas,
        group: GroupId,
    ) -> bool {
        let running = world.cluster.running();
        let mut standing = replicas.standing(group);
        standing.retain(|node, _| running.contains(node) && !self.links.stands_still(*node));
        let talk = |a, b| self.links.hears(a, b) && self.links.hears(b, a);
        able::somebody_could_lead(&standing, talk)
    }
}
