//! Storage as the consensus library wants it: a group's log and vote over the node's one journal,
//! and a group's state machine with its snapshots.
//!
//! All entries since the last purge are also in memory: followers are sent what was just written,
//! and a restart reads everything anyway.
//!
//! | key in the journal's store | value |
//! |---|---|
//! | `l` group u16, index u64 | an entry |
//! | `v` group u16 | the vote |
//! | `p` group u16 | the last purged entry's id |

use super::faults::{Fault, Faults};
use super::journal::Journal;
use super::snapshots::{Kept, Snapshots};
use super::state::{Image, State};
use super::types::{Answer, Entry, LogId, Members, Snapshot, SnapshotMeta, Stamped, Types, Vote};
use crate::contract::{Cursor, LoggedEvent};
use crate::local::Retention;
use crate::store::{Batch, Store, StoreError};
use futures_util::{Stream, StreamExt};
use openraft::alias::EntryOf;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, IOFlushed, LogState, RaftLogStorage, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftLogReader, RaftSnapshotBuilder};
use proto::machine::StateMachine;
use proto::{GroupId, NodeId, codec};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const ENTRY: &[u8] = b"l";
const VOTE: &[u8] = b"v";
const PURGED: &[u8] = b"p";

fn key(kind: &[u8], group: GroupId) -> Vec<u8> {
    [kind, &group.0.to_be_bytes()].concat()
}

fn entry_key(group: GroupId, index: u64) -> Vec<u8> {
    [&key(ENTRY, group)[..], &index.to_be_bytes()].concat()
}

/// A group's log as it was found.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    entries: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
}

impl Tail {
    /// The last entry that this log knows of.
    fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, entry)| entry.log_id()).or(self.purged)
    }
}

/// Reads every group's log back. A gap is damage, and refused.
pub(crate) fn load<S: Store>(store: &S) -> Result<BTreeMap<GroupId, Tail>, StoreError> {
    let mut tails: BTreeMap<GroupId, Tail> = BTreeMap::new();
    for kind in [ENTRY, VOTE, PURGED] {
        let mut after = kind.to_vec();
        loop {
            let page = store.scan(kind, &after, 1_024)?;
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            for (key, value) in page {
                let corrupt = || StoreError::Corrupt { what: "a log record", key: key.clone() };
                let (group, rest) = key[1..].split_first_chunk().ok_or_else(corrupt)?;
                let tail = tails.entry(GroupId(u16::from_be_bytes(*group))).or_default();
                match kind {
                    ENTRY => {
                        let entry: Entry = codec::decode(&value).map_err(|_| corrupt())?;
                        let index = entry.log_id().index;
                        if rest != index.to_be_bytes() {
                            return Err(corrupt());
                        }
                        tail.entries.insert(index, entry);
                    }
                    VOTE => tail.vote = Some(codec::decode(&value).map_err(|_| corrupt())?),
                    _ => tail.purged = Some(codec::decode(&value).map_err(|_| corrupt())?),
                }
            }
        }
    }
    for (group, tail) in &mut tails {
        // A purge deletes lazily: what it had not reached is below the mark.
        let first = tail.purged.as_ref().map_or(0, |purged| purged.index + 1);
        tail.entries = tail.entries.split_off(&first);
        for (expected, index) in (first..).zip(tail.entries.keys()) {
            if expected != *index {
                let key = entry_key(*group, expected);
                return Err(StoreError::Corrupt { what: "the entry after the one before it", key });
            }
        }
    }
    Ok(tails)
}

/// What a log holds, in plain words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) vote: Option<String>,
    pub(crate) purged: Option<u64>,
    pub(crate) entries: usize,
    /// Index and term of the last entry.
    pub(crate) last: Option<(u64, u64)>,
    /// Who votes, by the last word on it in the log.
    pub(crate) voters: Option<Vec<NodeId>>,
}

impl Tail {
    pub(crate) fn facts(&self) -> Facts {
        let members = |entry: &Entry| match &entry.payload {
            EntryPayload::Membership(members) => {
                Some(members.voter_ids().map(NodeId).collect::<Vec<_>>())
            }
            EntryPayload::Blank | EntryPayload::Normal(_) => None,
        };
        Facts {
            vote: self.vote.map(|vote| vote.to_string()),
            purged: self.purged.map(|id| id.index),
            entries: self.entries.len(),
            last: self.last().map(|id| (id.index, id.committed_leader_id().term)),
            voters: self.entries.values().rev().find_map(members),
        }
    }

    /// Applies all entries to a state that a snapshot left; which of them are committed nobody
    /// here knows.
    pub(crate) fn replay(&self, kept: Option<&Kept>, state: &mut State) -> Result<(), String> {
        let meta = kept.map(|kept| codec::decode::<SnapshotMeta>(&kept.meta)).transpose();
        let meta = meta.map_err(|error| error.to_string())?;
        let from = meta.and_then(|meta| meta.last_log_id).map_or(0, |id| id.index + 1);
        for (index, entry) in self.entries.range(from..) {
            if let EntryPayload::Normal(stamped) = &entry.payload {
                state.apply(*index, stamped.at, &stamped.command);
            }
        }
        Ok(())
    }

    /// Makes `me` the only voter of the group, in a term after all it knows of, and has it say
    /// `word` first. What others had beyond this log is lost.
    pub(crate) fn take_alone(&self, group: GroupId, me: NodeId, word: Option<Stamped>) -> Batch {
        let term = self.last().map_or(0, |id| id.committed_leader_id().term);
        let term = 1 + term.max(self.vote.map_or(0, |vote| vote.leader_id.term));
        let index = self.last().map_or(0, |id| id.index + 1);
        let id = |index| LogId::new_term_index(term, index);
        let alone = openraft::Membership::new_with_defaults(vec![[me.0].into()], []);
        let mut entries = vec![Entry::new_membership(id(index), alone)];
        entries.extend(word.map(|word| Entry::new_normal(id(index + 1), word)));
        let mut batch = Batch::default();
        for entry in entries {
            batch.put(entry_key(group, entry.log_id().index), codec::encode(&entry));
        }
        batch.put(key(VOTE, group), codec::encode(&Vote::new(term, me.0)));
        batch
    }
}

/// A group's log. Clones are the same log.
#[derive(Clone)]
pub(crate) struct GroupLog {
    group: GroupId,
    journal: Journal,
    tail: Arc<Mutex<Tail>>,
    faults: Faults,
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

impl GroupLog {
    pub(crate) fn new(group: GroupId, journal: Journal, tail: Tail, faults: Faults) -> Self {
        Self { group, journal, tail: Arc::new(Mutex::new(tail)), faults }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of its last entry.
    pub(crate) fn last(&self) -> u64 {
        self.tail().last().map_or(0, |id| id.index)
    }

    /// The index up to which it was purged.
    pub(crate) fn purged(&self) -> u64 {
        self.tail().purged.map_or(0, |id| id.index)
    }

    /// How many entries are in memory and on disk.
    pub(crate) fn len(&self) -> usize {
        self.tail().entries.len()
    }

    /// Removes the group from the disk.
    pub(crate) async fn forget(&self) -> io::Result<()> {
        let mut batch = Batch::default();
        for index in std::mem::take(&mut self.tail().entries).into_keys() {
            batch.delete(entry_key(self.group, index));
        }
        batch.delete(key(VOTE, self.group));
        batch.delete(key(PURGED, self.group));
        self.journal.write_lazily(batch).await.map_err(failed)
    }
}

impl RaftLogReader<Types> for GroupLog {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<EntryOf<Types>>, io::Error> {
        Ok(self.tail().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.tail().vote)
    }
}

impl RaftLogStorage<Types> for GroupLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let tail = self.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.tail().vote = Some(*vote);
        if self.faults.make(Fault::VoteNotWritten) {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.put(key(VOTE, self.group), codec::encode(vote));
        self.journal.write_through(batch).await.map_err(failed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut batch = Batch::default();
        {
            let mut tail = self.tail();
            for entry in entries {
                let index = entry.log_id().index;
                batch.put(entry_key(self.group, index), codec::encode(&entry));
                tail.entries.insert(index, entry);
            }
        }
        let done = |result: Result<(), _>| callback.io_completed(result.map_err(failed));
        self.journal.write(batch, Box::new(done)).await;
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |last| last.index + 1);
        let mut batch = Batch::default();
        for index in self.tail().entries.split_off(&from).into_keys() {
            batch.delete(entry_key(self.group, index));
        }
        // Whatever is appended next is durable only together with this: the journal keeps order.
        self.journal.write_lazily(batch).await.map_err(failed)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut batch = Batch::default();
        {
            let mut tail = self.tail();
            let kept = tail.entries.split_off(&(upto.index + 1));
            for index in std::mem::replace(&mut tail.entries, kept).into_keys() {
                batch.delete(entry_key(self.group, index));
            }
            let purged = tail.purged.map_or(upto, |known| known.max(upto));
            tail.purged = Some(purged);
            batch.put(key(PURGED, self.group), codec::encode(&purged));
        }
        self.journal.write_lazily(batch).await.map_err(failed)
    }
}

/// Makes a group's empty machine.
pub(crate) type NewMachine = Arc<dyn Fn(GroupId) -> Box<dyn StateMachine> + Send + Sync>;

struct Held {
    state: State,
    applied: Option<LogId>,
    members: Members,
    /// The newest snapshot: its meta as stored, and the picture, which shares the state's memory.
    snapshot: Option<(SnapshotMeta, Image)>,
}

/// A group's state machine. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Keeper {
    group: GroupId,
    held: Arc<Mutex<Held>>,
    snapshots: Snapshots,
    new_machine: NewMachine,
    retention: Retention,
    faults: Faults,
}

impl Keeper {
    /// A state machine as its newest snapshot shows it; an empty one if there is none.
    pub(crate) fn new(
        group: GroupId,
        snapshots: Snapshots,
        kept: Option<Kept>,
        new_machine: NewMachine,
        retention: Retention,
        faults: Faults,
    ) -> Result<Self, String> {
        let mut state = State::new(new_machine(group), retention);
        let mut held = Held {
            applied: None,
            members: Members::default(),
            snapshot: None,
            state: State::new(new_machine(group), retention),
        };
        if let Some(Kept { meta, image }) = kept {
            let meta: SnapshotMeta = codec::decode(&meta).map_err(|error| error.to_string())?;
            state.install(new_machine(group), &image).map_err(|error| error.to_string())?;
            held.applied = meta.last_log_id;
            held.members = meta.last_membership.clone();
            held.snapshot = Some((meta, image));
            held.state = state;
        }
        let held = Arc::new(Mutex::new(held));
        Ok(Self { group, held, snapshots, new_machine, retention, faults })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.held().state.read(key)
    }

    pub(crate) fn open_work(&self) -> Vec<Vec<u8>> {
        self.held().state.open_work()
    }

    pub(crate) fn events(&self, after: Cursor, max: usize) -> Vec<LoggedEvent> {
        self.held().state.events(after, max)
    }

    /// The index of the last entry applied, and the state's fingerprint there: equal on replicas
    /// that are equal.
    pub(crate) fn fingerprint(&self) -> (u64, (u64, u64)) {
        let held = self.held();
        (held.applied.map_or(0, |id| id.index), held.state.image().fingerprint())
    }

    /// The index of the last entry applied, and how many values the state has.
    pub(crate) fn size(&self) -> (u64, usize) {
        let held = self.held();
        (held.applied.map_or(0, |id| id.index), held.state.image().len())
    }

    fn apply(&self, entry: &Entry) -> Answer {
        let mut held = self.held();
        let id = entry.log_id();
        held.applied = Some(id);
        match &entry.payload {
            EntryPayload::Blank => Answer(None),
            EntryPayload::Normal(stamped) => {
                Answer(Some(held.state.apply(id.index, stamped.at, &stamped.command)))
            }
            EntryPayload::Membership(members) => {
                held.members = Members::new(Some(id), members.clone());
                Answer(None)
            }
        }
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
            let answer = Self::apply(self, &entry);
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
        {
            let mut state = State::new((self.new_machine)(self.group), self.retention);
            state.install((self.new_machine)(self.group), &image).map_err(failed)?;
            let mut held = self.held();
            held.applied = meta.last_log_id;
            held.members = meta.last_membership.clone();
            held.state = state;
        }
        self.hang(meta.clone(), image).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let held = self.held();
        let snapshot = held.snapshot.clone();
        Ok(snapshot.map(|(meta, image)| Snapshot { meta, snapshot: image }))
    }
}

impl Keeper {
    /// Makes a snapshot durable and the current one.
    async fn hang(&self, meta: SnapshotMeta, image: Image) -> Result<(), io::Error> {
        let index = meta.last_log_id.map_or(0, |id| id.index);
        if self.faults.make(Fault::PurgeAboveSnapshot) {
            self.snapshots.pretend(self.group, index);
            self.held().snapshot = Some((meta, image));
            return Ok(());
        }
        let saved = self.snapshots.save(self.group, index, codec::encode(&meta), &image).await;
        saved.map_err(failed)?;
        self.held().snapshot = Some((meta, image));
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryDisk;
    use crate::tests::toy::Toy;
    use openraft::StorageError;
    use openraft::testing::log::{StoreBuilder, Suite};
    use std::time::Duration;

    struct OnMemory;

    impl StoreBuilder<Types, GroupLog, Keeper> for OnMemory {
        async fn build(&self) -> Result<((), GroupLog, Keeper), StorageError<Types>> {
            let journal =
                Journal::on_task(MemoryDisk::default().open(), Duration::ZERO, Faults::default());
            let shelf =
                Journal::on_task(MemoryDisk::default().open(), Duration::ZERO, Faults::default());
            let group = GroupId(1);
            let snapshots = Snapshots::new(shelf, BTreeMap::new());
            let new_machine = Arc::new(Toy::boxed);
            let (kept, none) = (Retention::default(), Faults::default());
            let keeper = Keeper::new(group, snapshots, None, new_machine, kept, none);
            Ok((
                (),
                GroupLog::new(group, journal, Tail::default(), Faults::default()),
                keeper.expect("blank"),
            ))
        }
    }

    #[tokio::test]
    async fn the_librarys_own_suite_passes_on_this_storage() {
        Suite::test_all(OnMemory).await.expect("conforms");
    }

    #[tokio::test]
    async fn a_log_is_read_back_as_it_was_left() {
        let disk = MemoryDisk::default();
        let journal = Journal::on_task(disk.open(), Duration::ZERO, Faults::default());
        let group = GroupId(7);
        let mut log = GroupLog::new(group, journal.clone(), Tail::default(), Faults::default());
        let id = |index| openraft::alias::LogIdOf::<Types>::new_term_index(3, index);
        let entries = |range: std::ops::Range<u64>| range.map(|index| Entry::new_blank(id(index)));
        log.append(entries(0..20), IOFlushed::noop()).await.unwrap();
        log.save_vote(&Vote::new(4, 2)).await.unwrap();
        log.purge(id(4)).await.unwrap();
        log.truncate_after(Some(id(15))).await.unwrap();
        log.append(entries(16..18), IOFlushed::noop()).await.unwrap();
        journal.stop().await;

        let found = load(&disk.open()).unwrap();
        let tail = found.into_values().next().unwrap();
        let mut again = GroupLog::new(group, journal, tail, Faults::default());
        let state = again.get_log_state().await.unwrap();
        assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(4)), Some(id(17))));
        assert_eq!(again.read_vote().await.unwrap(), Some(Vote::new(4, 2)));
        let all = again.try_get_log_entries(0..).await.unwrap();
        assert_eq!(all, entries(5..18).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_log_with_a_gap_is_refused() {
        let disk = MemoryDisk::default();
        let journal = Journal::on_task(disk.open(), Duration::ZERO, Faults::default());
        let mut log =
            GroupLog::new(GroupId(7), journal.clone(), Tail::default(), Faults::default());
        let id = |index| openraft::alias::LogIdOf::<Types>::new_term_index(3, index);
        let entries = (0..20).filter(|index| *index != 9).map(|index| Entry::new_blank(id(index)));
        log.append(entries, IOFlushed::noop()).await.unwrap();
        journal.stop().await;
        assert!(matches!(load(&disk.open()), Err(StoreError::Corrupt { .. })));
    }
}
