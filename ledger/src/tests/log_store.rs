//! The log's store in a directory, against a map that cannot err, against damage and against the
//! sudden end of its process.

use crate::store::{Batch, DirectoryError, LogStore, MemoryStore, Pair, Store, StoreError};
use crate::{Identity, MemoryDisk};
use proptest::prelude::*;
use proto::NodeId;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// So small that tests have several tables on disk.
const MEMTABLE_BYTES: u64 = 16 << 10;

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn identity(cluster: &str, node: NodeId) -> Identity {
    Identity { cluster: cluster.into(), node }
}

fn open(directory: &Path) -> Result<LogStore, DirectoryError> {
    LogStore::open_sized(directory, &identity("city", ME), MEMTABLE_BYTES)
}

fn put(store: &mut impl Store, key: &[u8], value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(key.into(), value.into());
    store.write(batch).unwrap();
}

/// Everything, in small steps.
fn all(store: &impl Store) -> Result<Vec<Pair>, StoreError> {
    let (mut pairs, mut after) = (Vec::new(), Vec::new());
    pairs.extend(store.get(b"")?.map(|value| (Vec::new(), value))); // greater than no key
    loop {
        let page = store.scan(b"", &after, 50)?;
        let Some((last, _)) = page.last() else { return Ok(pairs) };
        after.clone_from(last);
        pairs.extend(page);
    }
}

fn entry_key(group: u16, index: u64) -> Vec<u8> {
    [&b"l"[..], &group.to_be_bytes(), &index.to_be_bytes()].concat()
}

/// As much as a log entry or, now and then, a piece of a snapshot; no two alike.
fn entry(index: u64) -> Vec<u8> {
    let length = if index.is_multiple_of(40) { 30_000 } else { 50 + index % 300 };
    (0..length).map(|n| u8::try_from((((index + n) * 0x9E37_79B9) >> 13) % 256).unwrap()).collect()
}

/// Three groups of a log in which old entries are purged and votes change.
fn log(store: &mut impl Store, rounds: u64) {
    for index in 1..=rounds {
        let mut batch = Batch::default();
        for group in 0..3 {
            batch.put(entry_key(group, index), entry(index + u64::from(group)));
            if let Some(old) = index.checked_sub(100) {
                batch.delete(entry_key(group, old));
            }
        }
        batch.put(b"v".to_vec(), index.to_be_bytes().into());
        store.write(batch).unwrap();
        if index.is_multiple_of(5) {
            store.sync().unwrap();
        }
    }
    store.sync().unwrap();
}

#[test]
fn a_log_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut oracle = MemoryDisk::default().open();
    log(&mut oracle, 500);
    let mut store = open(directory.path()).unwrap();
    log(&mut store, 500);
    assert_eq!(all(&store).unwrap(), all(&oracle).unwrap());
    for _ in 0..2 {
        drop(store);
        store = open(directory.path()).unwrap();
        assert_eq!(all(&store).unwrap(), all(&oracle).unwrap());
    }
    assert!(files(directory.path()).iter().any(|file| file.to_string_lossy().contains("tables")));
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Sync,
    Get(Vec<u8>),
    Scan(Vec<u8>, Vec<u8>, usize),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(255)], 0..4);
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        (any::<u8>(), 10_000..40_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    let change = (key(), prop::option::weighted(0.7, value));
    let step = prop_oneof![
        6 => prop::collection::vec(change, 0..12).prop_map(Step::Write),
        2 => Just(Step::Sync),
        4 => key().prop_map(Step::Get),
        8 => (key(), key(), 0..20_usize).prop_map(|(prefix, after, max)| Step::Scan(prefix, after, max)),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn a_log_store_is_an_ordered_map(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let mut oracle: MemoryStore = MemoryDisk::default().open();
        let mut store = open(directory.path()).unwrap();
        for step in steps {
            match step {
                Step::Write(changes) => {
                    let mut batch = Batch::default();
                    for (key, value) in changes {
                        match value {
                            Some(value) => batch.put(key, value),
                            None => batch.delete(key),
                        }
                    }
                    store.write(batch.clone()).unwrap();
                    oracle.write(batch).unwrap();
                }
                Step::Sync => store.sync().unwrap(),
                Step::Get(key) => prop_assert_eq!(store.get(&key).unwrap(), oracle.get(&key).unwrap()),
                Step::Scan(prefix, after, max) => prop_assert_eq!(
                    store.scan(&prefix, &after, max).unwrap(),
                    oracle.scan(&prefix, &after, max).unwrap()
                ),
                Step::Reopen => {
                    drop(store);
                    store = open(directory.path()).unwrap();
                }
            }
        }
        drop(store);
        prop_assert_eq!(all(&open(directory.path()).unwrap()).unwrap(), all(&oracle).unwrap());
    }
}

#[test]
fn a_log_directory_is_one_nodes_in_one_cluster_and_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let held = open(path).unwrap();
    assert!(matches!(open(path), Err(DirectoryError::InUse)));
    drop(held);
    for stranger in [identity("city", OTHER), identity("village", ME)] {
        let refused = LogStore::open(path, &stranger);
        assert!(matches!(refused, Err(DirectoryError::Foreign { .. })), "{refused:?}");
    }
    // The identity file of another directory does not help: the pages know it too.
    fs::write(path.join("identity"), format!("{}\n", identity("city", OTHER))).unwrap();
    let refused = LogStore::open(path, &identity("city", OTHER));
    assert!(matches!(refused, Err(DirectoryError::Foreign { .. })), "{refused:?}");
}

#[test]
fn a_log_directory_that_lost_a_part_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    // A crash while the directory was made leaves no identity file, perhaps a draft, and no harm.
    drop(open(path).unwrap());
    fs::remove_file(path.join("identity")).unwrap();
    drop(open(path).unwrap());
    fs::remove_file(path.join("identity")).unwrap();
    fs::rename(path.join("pages"), path.join("pages.draft")).unwrap();
    let mut store = open(path).unwrap();
    assert!(!path.join("pages.draft").exists());
    put(&mut store, b"a", b"1");
    store.sync().unwrap();
    drop(store);

    fs::rename(path.join("identity"), path.join("aside")).unwrap();
    assert!(matches!(open(path), Err(DirectoryError::NoIdentity)));
    fs::rename(path.join("aside"), path.join("identity")).unwrap();
    assert_eq!(open(path).unwrap().get(b"a").unwrap(), Some(b"1".to_vec()));

    let old = tempfile::tempdir().unwrap();
    copy(&path.join("pages"), old.path());
    let mut store = open(path).unwrap();
    put(&mut store, b"a", b"2");
    store.sync().unwrap();
    drop(store);
    fs::remove_dir_all(path.join("pages")).unwrap();
    assert!(matches!(open(path), Err(DirectoryError::NoPages)));
    assert!(!path.join("pages").exists(), "and nothing was made in its place");
    fs::create_dir(path.join("pages")).unwrap();
    assert!(matches!(open(path), Err(DirectoryError::NoPages)));
    copy(old.path(), &path.join("pages"));
    let refused = open(path);
    assert!(matches!(refused, Err(DirectoryError::LostWrites { .. })), "{refused:?}");
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// How damage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Right,
    NotOpened,
    NotRead,
    Panicked,
    Wrong,
}

fn verdict(directory: &Path, expected: &[Pair]) -> Verdict {
    let read = catch_unwind(AssertUnwindSafe(|| {
        let Ok(store) = open(directory) else { return Verdict::NotOpened };
        match all(&store) {
            Ok(found) if found == expected => Verdict::Right,
            Ok(_) => Verdict::Wrong,
            Err(_) => Verdict::NotRead,
        }
    }));
    read.unwrap_or(Verdict::Panicked)
}

#[test]
fn a_damaged_log_is_refused_or_right() {
    const PLACES_A_FILE: u64 = 4;
    const PLACES_A_JOURNAL: u64 = 40;
    let whole = tempfile::tempdir().unwrap();
    let mut store = open(whole.path()).unwrap();
    log(&mut store, 400);
    drop(store);
    drop(open(whole.path()).unwrap()); // cuts the empty rest of the journal
    let expected = all(&open(whole.path()).unwrap()).unwrap();

    let mut verdicts: BTreeMap<(String, Verdict), u32> = BTreeMap::new();
    let mut dice: u64 = 1;
    for file in files(whole.path()) {
        let name = file.strip_prefix(whole.path()).unwrap();
        let length = fs::metadata(&file).unwrap().len();
        let journal = name.extension().is_some_and(|ending| ending == "jnl");
        for _ in 0..length.min(if journal { PLACES_A_JOURNAL } else { PLACES_A_FILE }) {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = usize::try_from((dice >> 16) % length).unwrap();
            let damaged = tempfile::tempdir().unwrap();
            copy(whole.path(), damaged.path());
            let mut bytes = fs::read(&file).unwrap();
            bytes[place] ^= 1 << ((dice >> 13) % 8);
            fs::write(damaged.path().join(name), bytes).unwrap();
            let verdict = verdict(damaged.path(), &expected);
            let kind = name.with_file_name("").to_string_lossy().into_owned();
            *verdicts.entry((kind, verdict)).or_default() += 1;
            assert_ne!(verdict, Verdict::Wrong, "byte {place} of {} of {length}", name.display());
        }
    }
    println!("{verdicts:#?}");
    let refused = |verdict: &Verdict| matches!(verdict, Verdict::NotOpened | Verdict::NotRead);
    assert!(verdicts.keys().any(|(_, verdict)| refused(verdict)), "no damage was noticed");
    assert!(verdicts.keys().all(|(_, verdict)| *verdict != Verdict::Panicked), "{verdicts:?}");
}

/// Names the directory that this binary, run once more, is to write to until it is killed.
const VICTIM: &str = "LEDGER_TEST_VICTIM";

#[test]
fn this_binary_run_by_itself_writes_until_it_is_killed() {
    let Ok(directory) = std::env::var(VICTIM) else { return };
    let mut store = LogStore::open(Path::new(&directory), &identity("city", ME)).unwrap();
    let found =
        store.get(b"v").unwrap().map_or(0, |last| u64::from_be_bytes(last.try_into().unwrap()));
    let mut out = std::io::stdout();
    for index in found + 1.. {
        let mut batch = Batch::default();
        batch.put(entry_key(1, index), entry(index));
        batch.put(b"v".to_vec(), index.to_be_bytes().into());
        if let Some(old) = index.checked_sub(1_000) {
            batch.delete(entry_key(1, old));
        }
        store.write(batch).unwrap();
        store.sync().unwrap();
        if writeln!(out, "synced {index}").is_err() {
            return; // whoever would kill it is gone
        }
    }
}

#[test]
fn a_killed_process_lost_nothing_that_it_synced() {
    let directory = tempfile::tempdir().unwrap();
    let mut acked = 0;
    for round in 0..6_u64 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "tests::log_store::this_binary_run_by_itself_writes_until_it_is_killed",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env(VICTIM, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut hear = |lines: &mut dyn Iterator<Item = std::io::Result<String>>| {
            for line in lines {
                let line = line.unwrap();
                if let Some((_, index)) = line.split_once("synced ") {
                    acked = index.parse().unwrap();
                }
            }
        };
        let wanted = usize::try_from(20 + 97 * round).unwrap();
        hear(&mut lines.by_ref().take(wanted));
        victim.kill().unwrap();
        victim.wait().unwrap();
        hear(&mut lines); // what it had said before it died

        let store = LogStore::open(directory.path(), &identity("city", ME)).unwrap();
        let last = store.get(b"v").unwrap().expect("it got that far");
        let last = u64::from_be_bytes(last.try_into().unwrap());
        assert!(last >= acked && acked > 0, "{acked} was synced, {last} is there");
        let expected: Vec<Pair> = (last.saturating_sub(999).max(1)..=last)
            .map(|index| (entry_key(1, index), entry(index)))
            .collect();
        assert_eq!(store.scan(b"l", b"", usize::MAX).unwrap(), expected);
    }
}
