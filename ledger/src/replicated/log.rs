//! Storage as the consensus library wants it: a group's log and vote over the node's one journal,
//! and its side of the [`Keeper`] of a group's state.
//!
//! All entries since the last purge are also in memory: followers are sent what was just written,
//! and a restart reads everything anyway.
//!
//! | key in the journal's store | value |
//! |---|---|
//! | `l` group u16, index u64 | an entry |
//! | `v` group u16 | the vote |
//! | `p` group u16 | the last purged entry's id |
//! | `g` group u16 | the last entry's id when the replica was removed |

use super::faults::{Fault, Faults};
use super::image::Image;
use super::journal::Journal;
use super::keeper::Keeper;
use super::level::TooOld;
use super::snapshots::Kept;
use super::state::State;
use super::types::{Answer, Entry, LogId, Members, Snapshot, SnapshotMeta, Stamped, Types, Vote};
use crate::contract::Term;
use crate::store::{Batch, Store, StoreError};
use futures_util::{Stream, StreamExt};
use openraft::alias::EntryOf;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, IOFlushed, LogState, RaftLogStorage, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftLogReader, RaftSnapshotBuilder};
use proto::machine::Level;
use proto::{GroupId, NodeId, codec};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const ENTRY: &[u8] = b"l";
const VOTE: &[u8] = b"v";
const PURGED: &[u8] = b"p";
const GONE: &[u8] = b"g";

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
    /// The last entry that a replica knew of that was removed from here, since when it may have
    /// been taught again, from the beginning.
    gone: Option<LogId>,
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
    for kind in [ENTRY, VOTE, PURGED, GONE] {
        let mut after = kind.to_vec();
        loop {
            let page = store.scan(kind, &after, 1_024)?;
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            for (key, value) in page {
                let corrupt = || StoreError::Corrupt { what: "a log record", key: key.clone() };
                let undecoded = |error| StoreError::undecoded("a log record", &key, error);
                let (group, rest) = key[1..].split_first_chunk().ok_or_else(corrupt)?;
                let tail = tails.entry(GroupId(u16::from_be_bytes(*group))).or_default();
                match kind {
                    ENTRY => {
                        let entry: Entry = codec::decode(&value).map_err(undecoded)?;
                        let index = entry.log_id().index;
                        if rest != index.to_be_bytes() {
                            return Err(corrupt());
                        }
                        tail.entries.insert(index, entry);
                    }
                    VOTE => tail.vote = Some(codec::decode(&value).map_err(undecoded)?),
                    GONE => tail.gone = Some(codec::decode(&value).map_err(undecoded)?),
                    _ => tail.purged = Some(codec::decode(&value).map_err(undecoded)?),
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

    /// Whether this is what a replica that was removed leaves behind, or one that was never
    /// taught: its vote, and how far it knew.
    pub(crate) fn is_left(&self) -> bool {
        self.entries.is_empty() && self.purged.is_none()
    }

    /// Whether a replica was removed from here.
    pub(crate) fn was_removed(&self) -> bool {
        self.gone.is_some()
    }

    /// Whether a snapshot that goes so far is what the removed replica left, which died before it had
    /// taken it down. Nothing may begin from there: it lacks what the replica had acknowledged.
    pub(crate) fn outlived(&self, snapshot: u64) -> bool {
        self.is_left() && self.gone.as_ref().is_some_and(|gone| gone.index >= snapshot)
    }

    /// The highest level stamped into an entry.
    pub(crate) fn level(&self) -> Option<Level> {
        let stamped = |entry: &Entry| match &entry.payload {
            EntryPayload::Normal(stamped) => Some(stamped.level),
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
        };
        self.entries.values().filter_map(stamped).max()
    }

    /// Applies all entries to a state that a snapshot left; which of them are committed nobody
    /// here knows.
    pub(crate) fn replay(&self, kept: Option<&Kept>, state: &mut State) -> Result<(), String> {
        let meta = kept.map(|kept| codec::decode::<SnapshotMeta>(&kept.meta)).transpose();
        let meta = meta.map_err(|error| error.to_string())?;
        let from = meta.and_then(|meta| meta.last_log_id).map_or(0, |id| id.index + 1);
        for (index, entry) in self.entries.range(from..) {
            if let EntryPayload::Normal(stamped) = &entry.payload {
                state.apply(*index, stamped);
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

    /// Term and index of its last entry.
    pub(crate) fn last_of_term(&self) -> (Term, u64) {
        let last = self.tail().last();
        last.map_or((Term(0), 0), |id| (Term(id.committed_leader_id().term), id.index))
    }

    /// The index up to which it was purged.
    pub(crate) fn purged(&self) -> u64 {
        self.tail().purged.map_or(0, |id| id.index)
    }

    /// How many entries are in memory and on disk.
    pub(crate) fn len(&self) -> usize {
        self.tail().entries.len()
    }

    /// Whether a replica that was removed from here knew more than a log that ends with `last`.
    /// Some voter may not have heard of the removal, and ask; were it given a vote by a replica
    /// that has forgotten everything, it could lead without what a majority had acknowledged.
    pub(crate) fn knew_more_than(&self, last: Option<&LogId>) -> bool {
        self.tail().gone.as_ref() > last
    }

    /// Whether a replica was removed from here.
    pub(crate) fn was_removed(&self) -> bool {
        self.tail().was_removed()
    }

    /// Removes the group from the disk, but for its vote, since a replica that comes back in the
    /// same term must not vote again, and for how far it knew. Durable before the snapshots go,
    /// which the log ends at.
    pub(crate) async fn forget(&self) -> io::Result<Tail> {
        let mut batch = Batch::default();
        let left = {
            let mut tail = self.tail();
            let gone = tail.gone.max(tail.last());
            for index in std::mem::take(&mut tail.entries).into_keys() {
                batch.delete(entry_key(self.group, index));
            }
            Tail { vote: tail.vote, gone, ..Tail::default() }
        };
        batch.delete(key(PURGED, self.group));
        if let Some(gone) = &left.gone {
            batch.put(key(GONE, self.group), codec::encode(gone));
        }
        self.journal.write_through(batch).await.map_err(failed)?;
        Ok(left)
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

impl Keeper {
    fn apply(&self, entry: &Entry) -> Result<Answer, TooOld> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicated::keeper::Means;
    use crate::replicated::segments::Segments;
    use crate::replicated::settings::Retention;
    use crate::replicated::snapshots::Snapshots;
    use crate::replicated::state::State;
    use crate::store::MemoryDisk;
    use crate::tests::toy::Toy;
    use openraft::StorageError;
    use openraft::testing::log::{StoreBuilder, Suite};
    use proto::WallMs;
    use std::time::Duration;

    struct OnMemory;

    impl StoreBuilder<Types, GroupLog, Keeper> for OnMemory {
        async fn build(&self) -> Result<((), GroupLog, Keeper), StorageError<Types>> {
            let journal =
                Journal::on_task(MemoryDisk::default().open(), Duration::ZERO, Faults::default());
            let shelf =
                Journal::on_task(MemoryDisk::default().open(), Duration::ZERO, Faults::default());
            let group = GroupId(1);
            let pages = Arc::new(crate::MemoryPages::default());
            let means = Means {
                segments: Segments::new(shelf.clone(), pages, BTreeMap::new()),
                snapshots: Snapshots::new(shelf, BTreeMap::new()),
                new_machine: Arc::new(Toy::boxed),
                retention: Retention::default(),
                knows: Level::KNOWN,
                faults: Faults::default(),
            };
            let keeper = Keeper::new(group, None, means);
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
    async fn what_a_newer_build_stamped_is_neither_applied_nor_installed() {
        let stamped = |level| {
            let (at, command) = (WallMs(1), b"a=1".as_slice().into());
            Stamped { at, level: Level(level), command }
        };
        let id = LogId::new_term_index(1, 1);
        let ((), _, keeper) = OnMemory.build().await.unwrap();
        Keeper::apply(&keeper, &Entry::new_normal(id, stamped(1))).unwrap();
        let before = keeper.fingerprint();
        let next = LogId::new_term_index(1, 2);
        let refused = Keeper::apply(&keeper, &Entry::new_normal(next, stamped(2)));
        assert_eq!(refused, Err(TooOld { agreed: Level(2), knows: Level(1) }));
        assert_eq!((keeper.unknown(), keeper.fingerprint()), (Some(Level(2)), before));

        let ((), _, mut keeper) = OnMemory.build().await.unwrap();
        let mut state = State::new(Toy::boxed(GroupId(1)), Retention::default());
        state.apply(1, &stamped(2));
        let last_log_id = Some(next);
        let meta = SnapshotMeta { last_log_id, ..SnapshotMeta::default() };
        keeper.install_snapshot(&meta, state.image()).await.expect_err("it knows too little");
        assert_eq!((keeper.unknown(), keeper.fingerprint().0), (Some(Level(2)), 0));
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
    async fn a_replica_that_was_removed_and_comes_back_in_the_same_term_has_its_vote() {
        let disk = MemoryDisk::default();
        let journal = Journal::on_task(disk.open(), Duration::ZERO, Faults::default());
        let group = GroupId(7);
        let mut log = GroupLog::new(group, journal.clone(), Tail::default(), Faults::default());
        let id = |index| openraft::alias::LogIdOf::<Types>::new_term_index(4, index);
        log.append((0..9).map(|index| Entry::new_blank(id(index))), IOFlushed::noop())
            .await
            .unwrap();
        log.save_vote(&Vote::new(4, 2)).await.unwrap();
        log.purge(id(4)).await.unwrap();
        let left = log.forget().await.unwrap();
        journal.stop().await;

        // At once, and after a restart.
        let found = load(&disk.open()).unwrap().remove(&group).unwrap();
        for tail in [left, found] {
            assert!(tail.is_left());
            let mut again = GroupLog::new(group, journal.clone(), tail, Faults::default());
            assert_eq!(again.read_vote().await.unwrap(), Some(Vote::new(4, 2)));
            assert_eq!((again.last(), again.purged(), again.len()), (0, 0, 0));
            // It is no help for one who knows less than it did.
            assert!(again.was_removed() && again.knew_more_than(None));
            assert!(again.knew_more_than(Some(&id(7))) && !again.knew_more_than(Some(&id(8))));
            again.append([Entry::new_blank(id(0))], IOFlushed::noop()).await.unwrap();
            assert!(again.knew_more_than(Some(&id(7))), "nor when it has been taught a little");
        }
    }

    #[test]
    fn a_log_in_another_builds_format_is_refused_as_that() {
        let mut entry = codec::encode(&Entry::new_blank(LogId::new_term_index(1, 0)));
        for (version, text) in [(codec::VERSION + 1, "newer build"), (codec::VERSION, "")] {
            entry[0] = version;
            let mut store = MemoryDisk::default().open();
            let mut batch = Batch::default();
            batch.put(entry_key(GroupId(7), 0), entry.clone());
            store.write(batch).unwrap();
            let said = load(&store).map_or_else(|error| error.to_string(), |_| String::new());
            assert!(said.contains(text) && said.is_empty() == text.is_empty(), "{said}");
        }
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
