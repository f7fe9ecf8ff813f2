//! The feature level: how two builds share one log while nodes are replaced one after another.
//!
//! Group 0 holds the level that was agreed on, and of each node the highest that its build knows.
//! The leader of group 0 raises the agreed level once every node that is not dead knows more. The
//! leader of a group stamps the agreed level, as far as it has heard, into each command; a group's
//! level is the highest stamped so far, so replicas agree on it from their log alone.
//!
//! A build that meets a level it does not know applies nothing, and its node stops serving: it was
//! away while the level rose, or was put back to an older build too late.

use super::Replicated;
use super::begin::ASK_AGAIN;
use super::cluster::{Change, Cluster, Join, META, Objection, Standing};
use super::core::Core;
use super::faults::Fault;
use super::log::Tail;
use super::settings::{Broken, Settings};
use super::snapshots::Kept;
use super::types::PROPOSE_WITHIN;
use super::wire::{Body, Reply};
use crate::contract::{Ledger, Refused};
use crate::peers::Lane;
use proto::machine::Level;
use proto::{GroupId, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// The cluster runs at a level that this build does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this cluster runs at feature level {agreed}, this build knows {knows}: start a newer build"
)]
pub struct TooOld {
    /// What the cluster runs at.
    pub agreed: Level,
    /// What this build knows.
    pub knows: Level,
}

/// Whether a build that knows `knows` may carry out what was stamped with `level`.
pub(crate) fn known(level: Level, knows: Level) -> Result<(), TooOld> {
    if level <= knows { Ok(()) } else { Err(TooOld { agreed: level, knows }) }
}

/// Whether it may carry out all that is on a disk.
pub(crate) fn all_known(
    tails: &BTreeMap<GroupId, Tail>,
    kept: &BTreeMap<GroupId, Kept>,
    knows: Level,
) -> Result<(), TooOld> {
    let logged = tails.values().filter_map(Tail::level);
    let highest = logged.chain(kept.values().map(|kept| kept.image.level())).max();
    known(highest.unwrap_or_default(), knows)
}

impl Cluster {
    /// The level that it can be raised to: every node that is not dead knows it.
    pub(super) fn raisable(&self) -> Option<Level> {
        let there = self.nodes.values().filter(|node| node.standing != Standing::Dead);
        there.map(|node| node.level).min().filter(|level| *level > self.level)
    }
}

impl Core {
    /// The level to stamp into a command.
    pub(super) fn level(&self) -> Level {
        if self.settings.faults.make(Fault::StampOwnLevel) {
            return self.settings.level;
        }
        self.cluster.borrow().cluster.level
    }
}

impl Replicated {
    /// Says what this build knows until group 0 has noted it, raises the level when it can be and
    /// this node leads group 0, and stops serving if the level is beyond this build.
    pub(super) async fn keep_level(self) {
        let (me, knows) = (self.0.me(), self.0.settings.level);
        let mut news = self.known();
        loop {
            let now = news.borrow_and_update().clone();
            let told = now.agreed && now.cluster.nodes.get(&me).is_some_and(|n| n.level == knows);
            let kept = match known(now.cluster.level, knows) {
                Ok(()) if !told => self.say_level(knows).await,
                kept => kept,
            };
            if let Err(too_old) = kept {
                self.break_down(Broken::TooOld(too_old));
                return;
            }
            let raise = now.cluster.raisable().filter(|_| told);
            if let Some(level) = raise
                && self.0.leadership.borrow().contains_key(&META)
            {
                tracing::info!(%level, "every node knows it: the feature level is raised");
                self.tell(Change::Raise(level)).await;
            }
            let placed = self.is_placed(&now.cluster);
            if told && !placed {
                self.say_zone().await;
            }
            match told && placed && raise.is_none() {
                true => drop(news.changed().await),
                false => drop(tokio::time::timeout(ASK_AGAIN, news.changed()).await),
            }
        }
    }

    /// Whether group 0 has this node in the zone in which it runs. Founders are listed before they can say
    /// so, and a node may be started in another. One that is to leave is not let in again by it.
    fn is_placed(&self, cluster: &Cluster) -> bool {
        let listed = cluster.nodes.get(&self.0.me());
        let listed = listed.filter(|listed| listed.standing == Standing::Active);
        listed.is_none_or(|listed| listed.zone == self.0.settings.zone)
    }

    /// Says once in which zone this node runs.
    async fn say_zone(&self) {
        let Settings { node, zone, level, .. } = &self.0.settings;
        let join = Join { node: *node, disk: self.0.disk, zone: zone.clone(), level: *level };
        // Whatever comes of it is seen in what group 0 says; until then it is said again.
        let _seen = self.have_changed(Change::Join(join.clone()), Body::Join(join)).await;
    }

    /// Says once what this build knows, to whoever leads group 0.
    async fn say_level(&self, knows: Level) -> Result<(), TooOld> {
        let me = self.0.me();
        let leader = match self.change(Change::Know(me, knows)).await {
            Ok(answer) => return self.heard_of_level(answer, knows).map(drop),
            Err(Refused::NotLeader { hint }) => hint,
            Err(Refused::Overloaded | Refused::TooLarge | Refused::Unknown) => None,
        };
        let others: BTreeSet<NodeId> =
            (self.0.living)().into_iter().filter(|node| *node != me).collect();
        let asked = leader.or_else(|| self.leader(META)).into_iter().chain(others);
        for node in asked {
            let body = Body::Know(knows);
            let reply = self.0.lines.call(node, Lane::Consensus, PROPOSE_WITHIN, body).await;
            if let Ok(Reply::Stood(answer)) = reply
                && self.heard_of_level(answer, knows)?
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the answer was group 0's last word.
    fn heard_of_level(
        &self,
        answer: Result<Cluster, Objection>,
        knows: Level,
    ) -> Result<bool, TooOld> {
        match answer {
            Ok(cluster) => {
                self.0.learn(cluster, true);
                Ok(true)
            }
            Err(Objection::TooOld { agreed }) => Err(TooOld { agreed, knows }),
            // Not founded, or not let in yet.
            Err(
                Objection::NotFounded
                | Objection::OtherDisk
                | Objection::Unknown
                | Objection::TooFew
                | Objection::NotEverybody
                | Objection::Stale { .. }
                | Objection::TooManySplits
                | Objection::PolicyTooLarge,
            ) => Ok(false),
        }
    }
}
