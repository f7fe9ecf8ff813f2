//! The library's own suite on this storage, and what is read back from it.

use super::*;
use crate::replicated::keeper::{Keeper, Means};
use crate::replicated::level::TooOld;
use crate::replicated::segments::Segments;
use crate::replicated::settings::Retention;
use crate::replicated::snapshots::Snapshots;
use crate::replicated::state::State;
use crate::store::MemoryDisk;
use crate::tests::toy::Toy;
use openraft::StorageError;
use openraft::storage::RaftStateMachine;
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
    log.append((0..9).map(|index| Entry::new_blank(id(index))), IOFlushed::noop()).await.unwrap();
    log.save_vote(&Vote::new(4, 2)).await.unwrap();
    log.purge(id(4)).await.unwrap();
    log.forget().await.unwrap();
    // Forgotten twice, it knows no less how far it went.
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
        assert!(again.lacks(), "nor may it stand then");
        again.append((1..9).map(|n| Entry::new_blank(id(n))), IOFlushed::noop()).await.unwrap();
        assert!(!again.lacks(), "it knows all that it knew");
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
    let mut log = GroupLog::new(GroupId(7), journal.clone(), Tail::default(), Faults::default());
    let id = |index| openraft::alias::LogIdOf::<Types>::new_term_index(3, index);
    let entries = (0..20).filter(|index| *index != 9).map(|index| Entry::new_blank(id(index)));
    log.append(entries, IOFlushed::noop()).await.unwrap();
    journal.stop().await;
    assert!(matches!(load(&disk.open()), Err(StoreError::Corrupt { .. })));
}
