//! Storage as the consensus library wants it: a group's log and vote over the node's one journal.
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
use super::journal::Journal;
use super::snapshots::Kept;
use super::state::State;
use super::types::{Entry, LogId, SnapshotMeta, Stamped, Types, Vote};
use crate::contract::Term;
use crate::store::{Batch, Store, StoreError};
use openraft::alias::EntryOf;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader};
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

pub(super) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
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

    /// Whether this log lacks what a replica knew that was removed from here. Taught anew, it may stop at
    /// members of long ago; were it elected by another such, both would lead what is others' now.
    pub(crate) fn lacks(&self) -> bool {
        let tail = self.tail();
        tail.gone > tail.last()
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
            tail.gone = gone;
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

#[cfg(test)]
mod tests;
