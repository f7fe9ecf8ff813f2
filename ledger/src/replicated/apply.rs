//! The consensus library's side of a [`Keeper`]: it applies entries, and takes and installs snapshots.

use super::image::Image;
use super::keeper::Keeper;
use super::level::TooOld;
use super::log::failed;
use super::types::{Answer, Entry, LogId, Members, Snapshot, SnapshotMeta, Types};
use futures_util::{Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use std::io;

impl Keeper {
    /// Applies an entry; says so if it is of a build newer than this.
    pub(super) fn apply(&self, entry: &Entry) -> Result<Answer, TooOld> {
        if let EntryPayload::Normal(stamped) = &entry.payload {
            self.know(stamped.level)?;
        }
        let mut held = self.held();
        let id = entry.log_id();
        held.applied = Some(id);
        Ok(match &entry.payload {
            EntryPayload::Blank => Answer(None),
            EntryPayload::Normal(stamped) => Answer(Some(held.state.apply(id.index, stamped))),
            EntryPayload::Membership(members) => {
                held.members = Members::new(Some(id), members.clone());
                Answer(None)
            }
        })
    }
}

impl RaftStateMachine<Types> for Keeper {
    type SnapshotData = Image;
    type SnapshotBuilder = Painter;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Members), io::Error> {
        let held = self.held();
        Ok((held.applied, held.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let answer = Self::apply(self, &entry).map_err(failed)?;
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Painter {
        let held = self.held();
        let meta =
            SnapshotMeta { last_log_id: held.applied, last_membership: held.members.clone() };
        Painter { keeper: self.clone(), meta, image: held.state.image() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        image: Image,
    ) -> Result<(), io::Error> {
        self.install(meta, image).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let held = self.held();
        let snapshot = held.snapshot.clone();
        Ok(snapshot.map(|(meta, image)| Snapshot { meta, snapshot: image }))
    }
}

/// Takes a snapshot of what it was given; the state goes on meanwhile.
pub(crate) struct Painter {
    keeper: Keeper,
    meta: SnapshotMeta,
    image: Image,
}

impl RaftSnapshotBuilder<Types> for Painter {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        self.keeper.hang(self.meta.clone(), self.image.clone()).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: self.image.clone() })
    }
}
