//! Random commands and random crashes: everything acknowledged survives, what survives is in
//! order, and the state is what replaying it gives.

use super::*;
use crate::{Cursor, Identity, SledStore};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use tempfile::TempDir;
use tokio::task::JoinSet;

#[derive(Debug, Clone)]
enum Step {
    /// Proposes without waiting for the answer.
    Propose {
        group: u16,
        key: u8,
    },
    /// Lets this many tenths of a sync pass.
    Pause(u32),
    /// Waits for all answers.
    Settle,
    Clock(u64),
    /// Crashes; so many unsynced writes happen to have reached the disk.
    Crash {
        kept: usize,
    },
    Stop,
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        30 => (1..4u16, 0..3u8).prop_map(|(group, key)| Step::Propose { group, key }),
        8 => (1..25u32).prop_map(Step::Pause),
        3 => Just(Step::Settle),
        2 => (0..2000u64).prop_map(Step::Clock),
        3 => (0..3usize).prop_map(|kept| Step::Crash { kept }),
        1 => Just(Step::Stop),
    ];
    prop::collection::vec(step, 1..most)
}

const GROUPS: [GroupId; 3] = [GroupId(1), GroupId(2), GroupId(3)];

enum Place {
    Memory(MemoryDisk),
    /// Each crash goes on in a copy of the directory, made while the ledger had it open.
    Directory(TempDir),
}

impl Place {
    fn open(&self, clock: &Arc<Hands>) -> Arc<Local> {
        let settings = Settings::new(ME, GROUPS.into());
        match self {
            Self::Memory(disk) => on(disk, clock, settings),
            Self::Directory(directory) => {
                let identity = Identity { cluster: "test".into(), node: ME };
                let store = SledStore::open(directory.path(), &identity).expect("opens");
                let local = Local::open(settings, store, Arc::clone(clock) as _, home, Toy::boxed);
                Arc::new(local.expect("opens"))
            }
        }
    }
}

/// Copies a directory with all that is in it.
pub(super) fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What the callers know.
#[derive(Default)]
struct Known {
    /// Each command proposed, by the order of proposing.
    proposed: Vec<(GroupId, String)>,
    /// Those acknowledged: which, where, when.
    acked: Vec<(usize, Committed)>,
}

/// Compares what the ledger holds with what the callers know.
async fn check(ledger: &Local, known: &Known) -> Result<(), TestCaseError> {
    for group in GROUPS {
        let mut events = Vec::new();
        let mut after = Cursor::default();
        loop {
            let page = ledger.events(group, after, 7).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.cursor;
            events.extend(page);
        }
        // Each command logged its number as its one event.
        let log: Vec<usize> = events
            .iter()
            .map(|event| String::from_utf8_lossy(&event.event).parse().unwrap())
            .collect();
        prop_assert!(log.is_sorted_by(|a, b| a < b), "{group}: in order, none twice: {log:?}");
        prop_assert!(events.is_sorted_by(|a, b| a.at < b.at), "{group}: {events:?}");
        let mut oracle = BTreeMap::new();
        for ((n, event), index) in log.iter().zip(&events).zip(1u64..) {
            prop_assert_eq!(event.cursor, Cursor { index, n: 0 });
            let (of, command) = &known.proposed[*n];
            prop_assert_eq!(*of, group);
            let (key, value) = command.split_once('=').unwrap();
            oracle.insert(key, value);
        }
        for (n, committed) in known.acked.iter().filter(|(n, _)| known.proposed[*n].0 == group) {
            let place = usize::try_from(committed.index).unwrap() - 1;
            let there = log.get(place).is_some_and(|logged| logged == n)
                && events[place].at == committed.at;
            prop_assert!(there, "{group}: {n} was acknowledged at {committed:?}: {log:?}");
        }
        for key in ["0", "1", "2"] {
            let held = get(ledger, group, key).await.unwrap();
            prop_assert_eq!(held.as_deref(), oracle.get(key).copied());
        }
    }
    Ok(())
}

async fn run(mut place: Place, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (clock, mut known) = (Hands::at(1000), Known::default());
    let acked = Arc::new(Mutex::new(Vec::new()));
    let mut ledger = place.open(&clock);
    let mut callers = JoinSet::new();
    for step in steps.into_iter().chain([Step::Crash { kept: 0 }]) {
        match step {
            Step::Propose { group, key } => {
                let (n, group) = (known.proposed.len(), GroupId(group));
                let command = format!("{key}={n}");
                known.proposed.push((group, command.clone()));
                let (ledger, acked) = (Arc::clone(&ledger), Arc::clone(&acked));
                callers.spawn(async move {
                    if let Ok(committed) = set(&ledger, group, &command).await {
                        acked.lock().unwrap().push((n, committed));
                    }
                });
                continue;
            }
            Step::Pause(tenths) => {
                tokio::time::sleep(SYNC / 10 * tenths).await;
                continue;
            }
            Step::Settle => while callers.join_next().await.is_some() {},
            Step::Clock(ms) => {
                clock.set(ms);
                continue;
            }
            Step::Stop => {
                ledger.stop().await;
                while callers.join_next().await.is_some() {}
                ledger = place.open(&clock);
            }
            Step::Crash { kept } => {
                place = match place {
                    Place::Memory(disk) => {
                        disk.crash(kept);
                        while callers.join_next().await.is_some() {}
                        Place::Memory(disk)
                    }
                    Place::Directory(directory) => {
                        while callers.join_next().await.is_some() {}
                        let image = TempDir::new().unwrap();
                        copy(directory.path(), image.path());
                        ledger.stop().await; // before its directory goes away
                        Place::Directory(image)
                    }
                };
                ledger = place.open(&clock);
            }
        }
        known.acked = acked.lock().unwrap().clone();
        check(&ledger, &known).await?;
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_was_acknowledged_survives_crashes_of_a_forgetful_disk(steps in steps(120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(Place::Memory(MemoryDisk::default()), steps))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn what_was_acknowledged_is_in_the_files_of_a_directory(steps in steps(60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(Place::Directory(TempDir::new().unwrap()), steps))?;
    }
}
