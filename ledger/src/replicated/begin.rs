//! How this node comes to belong to a cluster: it founds one with the other initial nodes, or asks
//! to be let in.

use super::Replicated;
use super::cluster::Join;
use super::faults::Fault;
use super::founding::{self, Finding};
use super::level::TooOld;
use super::log::Tail;
use super::settings::Broken;
use super::wire::{Body, Founders, NotJoined, Reply};
use crate::peers::Lane;
use proto::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Between two rounds of questions.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(200);
/// A group whose preferred leader has not begun it by then is begun by the others.
const BEGIN_FOR_OTHERS: Duration = Duration::from_millis(2_000);
/// How long an answer is waited for.
const ASK_WITHIN: Duration = Duration::from_millis(1_000);

impl Replicated {
    /// Founds the cluster, or asks to be let in.
    pub(super) async fn begin(self, begun: bool) {
        let result = match (self.0.settings.initial.is_empty(), begun) {
            (true, _) => self.join().await,
            (false, true) => Ok(()),
            (false, false) => self.found_and_begin().await,
        };
        if let Err(broken) = result {
            self.break_down(broken);
        }
    }

    async fn found_and_begin(&self) -> Result<(), Broken> {
        let noted = self.0.founders().clone();
        let founders = match noted {
            Some(founders) => founders,
            None => self.found().await?,
        };
        // Each group by whom it should lead it: who begins it is elected at once.
        self.begin_groups(&founders, |members| members.first() == Some(&self.0.me())).await;
        tokio::time::sleep(BEGIN_FOR_OTHERS).await;
        self.begin_groups(&founders, |_| true).await;
        founding::note_begun(&self.0.journal).await.map_err(|_| Broken::Journal)
    }

    /// Asks the other initial nodes until it is known who founds.
    async fn found(&self) -> Result<Founders, Broken> {
        let core = &self.0;
        let me = (core.settings.node, core.disk);
        let mut answers = BTreeMap::new();
        loop {
            let silent = |node: &&NodeId| **node != me.0 && !answers.contains_key(*node);
            let asks = core.settings.initial.iter().filter(silent).map(|node| async {
                let reply = core.lines.call(*node, Lane::Consensus, ASK_WITHIN, Body::Census).await;
                (*node, reply)
            });
            for (node, reply) in futures_util::future::join_all(asks).await {
                match reply {
                    Ok(Reply::Census { disk, founders }) => {
                        answers.insert(node, (disk, founders));
                    }
                    Ok(Reply::Stranger) => {
                        return Err(Broken::OtherDisk { node: me.0, says: node });
                    }
                    Ok(_) | Err(_) => {} // not up yet
                }
            }
            let finding = match founding::conclude(me, &core.settings.initial, &answers) {
                Finding::OtherDisk { says } if core.settings.faults.make(Fault::WipedIsKnown) => {
                    let founders = answers.get(&says).and_then(|(_, founders)| founders.clone());
                    Finding::Founded(founders.unwrap_or_default())
                }
                finding @ (Finding::Founded(_) | Finding::OtherDisk { .. } | Finding::Wait(_)) => {
                    finding
                }
            };
            match finding {
                Finding::Founded(founders) => {
                    let noted = founding::note(&core.journal, &founders).await;
                    noted.map_err(|_| Broken::Journal)?;
                    tracing::info!(member = %me.0, founders = founders.len(), "cluster founded");
                    core.learn(core.as_founded(&founders), false);
                    *core.founders() = Some(founders.clone());
                    return Ok(founders);
                }
                Finding::OtherDisk { says } => {
                    return Err(Broken::OtherDisk { node: me.0, says });
                }
                Finding::Wait(missing) => {
                    tracing::debug!(?missing, "waiting for the other initial nodes");
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        }
    }

    /// Begins the groups that the founders hold; harmless for those that have begun.
    async fn begin_groups(&self, founders: &Founders, mine: impl Fn(&[NodeId]) -> bool) {
        let core = &self.0;
        let founded = core.as_founded(founders);
        let plan = founded.plan();
        let here = plan.iter().filter(|(_, members)| members.contains(&core.me()));
        for (group, members) in here.filter(|(_, members)| mine(members)) {
            // One that was removed from here has begun long ago, and is others' now.
            let blank = match self.here(*group) {
                Some(here) => here.replica.members().voters.is_empty() && !here.log.was_removed(),
                None => !core.left().get(group).is_some_and(Tail::was_removed),
            };
            if !blank {
                continue;
            }
            let begun = match self.ensure_replica(*group).await {
                Ok(here) => here.replica.found(&members.iter().copied().collect()).await,
                Err(why) => Err(why),
            };
            if let Err(why) = begun {
                tracing::error!(%group, why, "a group could not begin");
            }
        }
    }

    /// Asks whoever seems alive to be let in, until somebody does.
    async fn join(&self) -> Result<(), Broken> {
        let core = &self.0;
        let me = core.me();
        let (zone, level) = (core.settings.zone.clone(), core.settings.level);
        let join = Join { node: me, disk: core.disk, zone, level };
        let mut hint = None;
        loop {
            let known: Vec<NodeId> = core.known().cluster.nodes.keys().copied().collect();
            let asked: BTreeSet<NodeId> =
                known.into_iter().chain((core.living)()).filter(|node| *node != me).collect();
            for node in hint.take().into_iter().chain(asked) {
                let body = Body::Join(join.clone());
                match core.lines.call(node, Lane::Consensus, ASK_WITHIN, body).await {
                    Ok(Reply::Joined(Ok(cluster))) => {
                        tracing::info!(member = %me, by = %node, "let in");
                        let disks: Founders =
                            cluster.nodes.iter().map(|(id, node)| (*id, node.disk)).collect();
                        let noted = founding::note(&core.journal, &disks).await;
                        noted.map_err(|_| Broken::Journal)?;
                        *core.founders() = Some(disks);
                        core.learn(cluster, true);
                        return Ok(());
                    }
                    Ok(Reply::Joined(Err(NotJoined::OtherDisk)) | Reply::Stranger) => {
                        return Err(Broken::OtherDisk { node: me, says: node });
                    }
                    Ok(Reply::Joined(Err(NotJoined::TooOld { agreed }))) => {
                        return Err(TooOld { agreed, knows: level }.into());
                    }
                    Ok(Reply::Joined(Err(NotJoined::Elsewhere(Some(there))))) => hint = Some(there),
                    Ok(_) | Err(_) => {}
                }
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}
