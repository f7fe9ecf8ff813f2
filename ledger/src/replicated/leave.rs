//! How a replica whose group has moved away comes to be removed: nobody wants it here, it has heard nothing
//! for a while, and the group's leader, confirmed by a quorum after it was asked, does not count on it.
//!
//! The question is what makes it safe. A leader remembers how much each member has; one that is cut off from
//! a replica that it has just let in again would wait for ever for what the replica has forgotten.

use super::Replicated;
use super::cluster::META;
use super::core::Here;
use super::wire::{Body, Reply};
use crate::contract::Refused;
use crate::peers::Lane;
use proto::{GroupId, MonoMs, NodeId};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;

/// A replica that nobody wants, and that has heard nothing for so long, may have been dismissed.
const DISMISSED_MS: u64 = 5_000;
/// How long a leader may take to say whether it counts on a replica: a quorum must confirm him first.
const SAYS_WITHIN: Duration = Duration::from_millis(1_500);

impl Replicated {
    /// Removes replicas of groups that have moved away for good, one after the other and beside the
    /// heartbeats: the question takes a while, and so does the removal of a long history.
    pub(super) fn let_go(&self, all: &[Here], leaving: &Arc<Mutex<()>>) {
        let unwanted: Vec<Here> = all.iter().filter(|here| self.is_left(here)).cloned().collect();
        if unwanted.is_empty() {
            return;
        }
        let Ok(turn) = Arc::clone(leaving).try_lock_owned() else { return };
        let ledger = self.clone();
        tokio::spawn(async move {
            for here in unwanted {
                let given = here.given.load(Ordering::Relaxed);
                if ledger.is_dismissed(here.replica.group).await && ledger.is_left(&here) {
                    ledger.remove(here, given).await;
                }
            }
            drop(turn);
        });
    }

    /// Whether a replica seems to have been left behind, as far as it can know itself.
    fn is_left(&self, here: &Here) -> bool {
        let Some(known) = self.agreed() else { return false };
        let (group, me) = (here.replica.group, self.0.me());
        let wanted = known.plan.get(&group).is_none_or(|nodes| nodes.contains(&me));
        let led = MonoMs(here.led_at.load(Ordering::Relaxed));
        let listens = self.0.clock.mono().since(led) < DISMISSED_MS;
        // Whether its log says that it votes is no matter: it may not have heard the word that ended that. Nor
        // whether it leads, if no quorum answers: it may have handed over, and says nothing until it hears.
        let begun = !here.replica.members().voters.is_empty() || here.log.was_removed();
        begun && !wanted && !listens && group != META
    }

    /// Whether the group's leader says that it does not count on this node. Whoever may lead is asked, the
    /// likeliest first.
    async fn is_dismissed(&self, group: GroupId) -> bool {
        let planned = self.0.known().plan.get(&group).cloned().unwrap_or_default();
        let mut unasked = (self.0.living)();
        unasked.remove(&self.0.me());
        for node in self.probable_leader(group).into_iter().chain(planned) {
            if !unasked.remove(&node) {
                continue;
            }
            let body = Body::Counted(group);
            let said = self.0.lines.call(node, Lane::Consensus, SAYS_WITHIN, body).await;
            if let Ok(Reply::Counted(counted)) = said {
                return !counted;
            }
        }
        false
    }

    /// Whether a node is among the members of a group that this one leads, as a quorum confirms now. Who is to
    /// vote no more listens first, until that is agreed on: whoever does not even listen is out for good.
    pub(super) async fn counts_on(&self, group: GroupId, node: NodeId) -> Result<bool, Refused> {
        let here = self.led(group)?;
        self.confirm(&here).await?;
        let members = here.replica.members();
        Ok(members.voters.contains(&node) || members.learners.contains(&node))
    }

    /// Removes a replica, unless it was given something since it had been given so much.
    async fn remove(&self, here: Here, given: u64) {
        let group = here.replica.group;
        let core = &self.0;
        let _turn = core.changing.lock().await;
        {
            let mut all = core.here.write().unwrap_or_else(PoisonError::into_inner);
            // Another look may have removed it since, and another replica may be there.
            let same = all.get(&group).is_some_and(|now| Arc::ptr_eq(&now.given, &here.given));
            if !same || here.given.load(Ordering::Relaxed) != given {
                return;
            }
            all.remove(&group);
        }
        here.replica.stop().await;
        here.replica.keeper().retire().await;
        core.arrivals.forget(group);
        let left = here.log.forget().await.map(|left| core.left().insert(group, left));
        let forgotten = left.is_ok();
        let forgotten = forgotten && core.means.snapshots.forget(group).await.is_ok();
        let forgotten = forgotten && core.means.segments.forget(group).await.is_ok();
        tracing::info!(%group, forgotten, "a replica that has moved away is removed");
    }
}
