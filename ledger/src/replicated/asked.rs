//! What the actors ask of a ledger, as its contract says.

use super::Replicated;
use super::segments::SegmentError;
use crate::contract::{BoxFuture, Committed, Cursor, Leadership, Ledger, LoggedEvent, Refused};
use crate::store::Pair;
use proto::{GroupId, NodeId};
use tokio::sync::watch;

/// Events in one answer, whatever was asked for.
const EVENTS_ANSWER_MAX: usize = 1_024;

/// Nobody is told that something is not there because it can't be read.
fn unreadable(group: GroupId, error: &SegmentError) -> Refused {
    tracing::error!(%group, %error, "history cannot be read");
    Refused::Unknown
}

impl Ledger for Replicated {
    fn propose(
        &self,
        group: GroupId,
        command: Vec<u8>,
    ) -> BoxFuture<'_, Result<Committed, Refused>> {
        Box::pin(self.propose_to(group, command))
    }

    fn read(
        &self,
        group: GroupId,
        key: Vec<u8>,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, Refused>> {
        Box::pin(async move {
            let here = self.led(group)?;
            self.confirm(&here).await?;
            let value = here.replica.keeper().read(&key);
            value.map_err(|error| unreadable(group, &error))
        })
    }

    fn read_stale(&self, group: GroupId, key: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
        let here = self.here(group).ok_or(Refused::NotLeader { hint: self.leader(group) })?;
        here.replica.keeper().read(key).map_err(|error| unreadable(group, &error))
    }

    fn replicas(&self, group: GroupId) -> Vec<NodeId> {
        self.0.known().plan.get(&group).cloned().unwrap_or_default()
    }

    fn page(
        &self,
        group: GroupId,
        prefix: Vec<u8>,
        before: Option<Vec<u8>>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<Pair>, Refused>> {
        Box::pin(async move {
            let here = self.led(group)?;
            self.confirm(&here).await?;
            let page = here.replica.keeper().scan_back(&prefix, before.as_deref(), max);
            page.map_err(|error| unreadable(group, &error))
        })
    }

    fn open_work(&self, group: GroupId) -> BoxFuture<'_, Result<Vec<Vec<u8>>, Refused>> {
        Box::pin(async move {
            let here = self.led(group)?;
            self.confirm(&here).await?;
            Ok(here.replica.keeper().open_work())
        })
    }

    fn events(
        &self,
        group: GroupId,
        after: Cursor,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<LoggedEvent>, Refused>> {
        Box::pin(async move {
            let here = self.here(group).ok_or(Refused::NotLeader { hint: self.leader(group) })?;
            let events = here.replica.keeper().events(after, max.min(EVENTS_ANSWER_MAX)).await;
            events.map_err(|error| unreadable(group, &error))
        })
    }

    fn newest(&self, group: GroupId) -> Result<Cursor, Refused> {
        let here = self.here(group).ok_or(Refused::NotLeader { hint: self.leader(group) })?;
        // Whatever the last command emitted is in.
        Ok(Cursor { index: here.replica.keeper().size().0, n: u32::MAX })
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.subscribe()
    }

    fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.probable_leader(group)
    }

    fn heard(&self, group: GroupId, leader: Option<NodeId>) {
        self.hear_of(group, leader);
    }
}
