//! What replicas lead, as others are told, and that a ledger that is broken serves nothing.

use super::begin::ASK_AGAIN;
use super::core::Here;
use super::{Broken, Replicated, level};
use crate::contract::Leadership;
use std::time::Duration;

impl Replicated {
    /// Publishes what a replica leads, once a quorum has confirmed it, until it does no more.
    pub(super) async fn watch_role(self, here: Here) {
        let group = here.replica.group;
        let mut changes = here.replica.changes();
        loop {
            let role = here.replica.role();
            {
                let mut heard = self.0.heard();
                match role.leader {
                    Some(leader) => heard.insert(group, leader),
                    None => heard.remove(&group),
                };
            }
            if let Some(leader) = role.leader {
                self.led_by(group, leader);
            }
            let published = self.0.leadership.borrow().get(&group).copied();
            match (role.leads, published) {
                (true, Some(term)) if term == role.term => {}
                (true, _) => {
                    let within = Duration::from_millis(self.0.settings.timers.doubt_ms());
                    let confirmed = tokio::time::timeout(within, here.replica.barrier()).await;
                    if !matches!(confirmed, Ok(Ok(()))) {
                        // Not confirmed yet: look again soon, whether or not anything changed;
                        // unless it never will be, because the replica has ended while it led.
                        match tokio::time::timeout(ASK_AGAIN, changes.next()).await {
                            Ok(false) => break,
                            Ok(true) | Err(_) => continue,
                        }
                    }
                    if here.replica.role() == role {
                        self.0.lead(group, Some(role.term));
                    }
                    continue;
                }
                (false, Some(_)) => self.0.lead(group, None),
                (false, None) => {}
            }
            let goes_on = tokio::select! {
                goes_on = changes.next() => goes_on,
                () = here.look.notified() => true,
            };
            if !goes_on {
                break;
            }
        }
        if let Some(level) = here.replica.keeper().unknown()
            && let Err(too_old) = level::known(level, self.0.settings.level)
        {
            self.break_down(Broken::TooOld(too_old));
        }
        // What it heard last would be believed for ever.
        self.0.heard().remove(&group);
        self.0.lead(group, None);
    }

    pub(super) async fn watch_journal(self) {
        tokio::select! {
            () = self.0.journal.failed() => {}
            () = self.0.snapshot_journal.failed() => {}
        }
        self.break_down(Broken::Journal);
    }

    pub(super) fn break_down(&self, broken: Broken) {
        tracing::error!(member = %self.0.me(), %broken, "the ledger stops serving");
        self.0.broken.send_replace(Some(broken));
        self.0.leadership.send_replace(Leadership::new());
    }

    /// Waits until the ledger can serve no more, and says why.
    pub async fn broken(&self) -> Broken {
        let mut broken = self.0.broken.subscribe();
        loop {
            if let Some(why) = broken.borrow_and_update().clone() {
                return why;
            }
            if broken.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
