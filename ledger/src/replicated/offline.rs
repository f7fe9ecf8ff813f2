//! What an operator asks of a data directory that no node has open: what is in it, whether it is
//! whole, and, when a majority of disks is gone for good, that this one go on alone.

use super::cluster::{Change, ClusterMachine, DiskId, META};
use super::level::{self, TooOld};
use super::log::{self, Facts};
use super::settings::Retention;
use super::state::State;
use super::types::Stamped;
use super::{founding, segments, snapshots};
use crate::store::{Batch, DirectoryError, Identity, LogStore, Store, StoreError};
use proto::machine::{Level, StateMachine};
use proto::{GroupId, NodeId, WallMs, codec};
use std::path::Path;

/// Why a directory can't be read.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// Nothing of ours is there.
    #[error("{0} holds no ledger; give the data directory of a node (hansom-data/nN)")]
    Empty(String),
    /// It is in use, or damaged.
    #[error("cannot open it: {0}")]
    Directory(#[from] DirectoryError),
    /// What it holds can't be read.
    #[error("damaged: {0}")]
    Store(#[from] StoreError),
    /// No snapshot of some group can be read.
    #[error("damaged: {0}")]
    Snapshot(String),
    /// A segment of history is gone or changed.
    #[error("damaged: {0}")]
    History(String),
    /// An entry can't be applied.
    #[error("damaged: {0}: {1}")]
    Replay(GroupId, String),
    /// A newer build wrote it.
    #[error(transparent)]
    TooOld(#[from] TooOld),
}

/// A group's replica in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOnDisk {
    /// Which group.
    pub group: GroupId,
    /// For whom it last voted, and in which term.
    pub vote: Option<String>,
    /// Up to where the log was purged.
    pub purged: Option<u64>,
    /// Entries in the log.
    pub entries: usize,
    /// Index and term of the last entry.
    pub last: Option<(u64, u64)>,
    /// Who votes, by the last word on it in the log; nothing if that is older than the log.
    pub voters: Option<Vec<NodeId>>,
    /// Up to which index the newest snapshot goes.
    pub snapshot: Option<u64>,
    /// Segments of history that it names, each read and checked.
    pub segments: usize,
    /// Index and digest of the state that snapshot and log give, if all of the log is committed.
    pub fingerprint: (u64, u64),
    /// The keys of that state's values.
    pub keys: Vec<Vec<u8>>,
}

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDisk {
    /// Whose it is.
    pub identity: Identity,
    /// The disk's name.
    pub disk: Option<DiskId>,
    /// Who was there when the cluster was founded, or when this node was let in.
    pub founders: Vec<NodeId>,
    /// The groups.
    pub groups: Vec<GroupOnDisk>,
}

struct Open {
    identity: Identity,
    log: LogStore,
    snapshots: LogStore,
}

fn open(data_dir: &Path) -> Result<Open, OfflineError> {
    let empty = || OfflineError::Empty(data_dir.display().to_string());
    let dir = data_dir.join("log");
    let identity = Identity::of(&dir)?.ok_or_else(empty)?;
    Ok(Open {
        log: LogStore::open(&dir, &identity)?,
        snapshots: LogStore::open(&data_dir.join("snapshots"), &identity)?,
        identity,
    })
}

/// Reads a directory, checking every checksum, number and digest on the way, and replays its logs.
pub fn inspect(
    data_dir: &Path,
    new_machine: impl Fn(GroupId) -> Box<dyn StateMachine>,
) -> Result<OnDisk, OfflineError> {
    let machine = |group: GroupId| -> Box<dyn StateMachine> {
        if group == META { Box::new(ClusterMachine::default()) } else { new_machine(group) }
    };
    let Open { identity, log, snapshots: shelf } = open(data_dir)?;
    let origin = founding::load(&log)?;
    let unreadable = |error: snapshots::UnreadableError| OfflineError::Snapshot(error.to_string());
    let (mut kept, on_shelf) = snapshots::load(&shelf).map_err(unreadable)?;
    let mut tails = log::load(&log)?;
    level::all_known(&tails, &kept, Level::KNOWN)?;
    for group in kept.keys() {
        tails.entry(*group).or_default();
    }
    let mut groups = Vec::new();
    for (group, tail) in tails {
        let kept = kept.remove(&group);
        let replay = |error: String| OfflineError::Replay(group, error);
        let mut state = State::new(machine(group), Retention::default());
        if let Some(kept) = &kept {
            for (id, segment) in kept.image.archive().manifest().segments {
                let read = segments::read(&shelf, group, id, &segment);
                read.map_err(|error| OfflineError::History(error.to_string()))?;
            }
            let installed = state.install(machine(group), &kept.image);
            installed.map_err(|error| replay(error.to_string()))?;
        }
        tail.replay(kept.as_ref(), &mut state).map_err(replay)?;
        let Facts { vote, purged, entries, last, voters } = tail.facts();
        let snapshot = on_shelf.get(&group).and_then(|all| all.last()).map(|one| one.index());
        if purged > snapshot {
            return Err(replay("the log begins after the newest snapshot ends".to_owned()));
        }
        let image = state.image();
        let segments = kept.as_ref().map_or(0, |kept| kept.image.archive().len());
        let (fingerprint, keys) = (image.fingerprint(), image.keys().cloned().collect());
        groups.push(GroupOnDisk {
            group,
            vote,
            purged,
            entries,
            last,
            voters,
            snapshot,
            segments,
            fingerprint,
            keys,
        });
    }
    let founders = origin.founders.unwrap_or_default().into_keys().collect();
    Ok(OnDisk { identity, disk: origin.disk, founders, groups })
}

/// Makes the node of this directory the only voter of each of its groups, and says so in group 0.
/// What a majority had agreed on and this node had not heard of is lost. Says how many groups it
/// now has the only word in.
pub fn go_on_alone(data_dir: &Path) -> Result<usize, OfflineError> {
    let Open { identity, mut log, snapshots: _held } = open(data_dir)?;
    let (batch, groups) = alone(&log, identity.node)?;
    log.write(batch)?;
    log.sync()?;
    Ok(groups)
}

/// What has to be written for that, and in how many groups.
pub(crate) fn alone<S: Store>(log: &S, me: NodeId) -> Result<(Batch, usize), StoreError> {
    let mut tails = log::load(log)?;
    let mut batch = Batch::default();
    // Of a replica that was removed only the vote is left: others have the group.
    tails.retain(|_, tail| !tail.is_left());
    for (group, tail) in &tails {
        let command = codec::encode(&Change::WentOn(me)).into();
        let word =
            (*group == META).then_some(Stamped { at: WallMs(0), level: Level::FIRST, command });
        batch.append(tail.take_alone(*group, me, word));
    }
    Ok((batch, tails.len()))
}
