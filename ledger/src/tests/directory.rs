//! A ledger in a directory: sled, a real thread, and whose directory it is.

use super::crashes::copy;
use super::*;
use crate::store::{Batch, DirectoryError, Store};
use crate::{Identity, OpenError, SledStore, layout};
use std::fs;
use std::path::Path;
use toy::POISON;

fn identity(cluster: &str, node: NodeId) -> Identity {
    Identity { cluster: cluster.into(), node }
}

fn store(directory: &Path) -> Result<SledStore, DirectoryError> {
    SledStore::open(directory, &identity("city", ME))
}

fn open(directory: &Path) -> Result<Local, OpenError> {
    let store = store(directory).expect("opens");
    Local::open(settings(), store, Hands::at(1000), home, Toy::boxed)
}

#[tokio::test]
async fn a_directory_keeps_state_time_events_and_terms() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = open(directory.path()).unwrap();
    let big = "x".repeat(700_000); // more than sled puts into its own file
    set(&ledger, G1, "a=1").await.unwrap();
    set(&ledger, G1, &format!("big={big}")).await.unwrap();
    let last = set(&ledger, G1, "wait=2").await.unwrap();
    let events = ledger.events(G1, Default::default(), 9).await.unwrap();
    let term = ledger.leadership().borrow()[&G1];
    ledger.stop().await;

    let ledger = open(directory.path()).unwrap();
    assert_eq!(get(&ledger, G1, "a").await, some("1"));
    assert_eq!(get(&ledger, G1, "big").await, some(&big));
    assert_eq!(ledger.open_work(G1).await, Ok(vec![b"wait".to_vec()]));
    assert_eq!(ledger.events(G1, Default::default(), 9).await, Ok(events));
    let next = set(&ledger, G1, "a=3").await.unwrap();
    assert!(next.index == last.index + 1 && next.at > last.at);
    assert!(ledger.leadership().borrow()[&G1] > term);
    ledger.stop().await;
}

#[tokio::test]
async fn a_directory_is_one_nodes_in_one_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    drop(store(path).unwrap());
    for stranger in [identity("city", OTHER), identity("village", ME)] {
        let refused = SledStore::open(path, &stranger);
        assert!(matches!(refused, Err(DirectoryError::Foreign { .. })), "{refused:?}");
    }
    // The identity file of another directory does not help: the pages know it too.
    let line = format!("{}\n", identity("city", OTHER));
    fs::write(path.join("identity"), line).unwrap();
    let refused = SledStore::open(path, &identity("city", OTHER));
    assert!(matches!(refused, Err(DirectoryError::Foreign { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_directory_that_lost_a_part_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    // A crash while the directory was made leaves no identity file, and no harm.
    drop(store(path).unwrap());
    fs::remove_file(path.join("identity")).unwrap();
    let ledger = open(path).unwrap();
    set(&ledger, G1, "a=1").await.unwrap();
    ledger.stop().await;

    fs::rename(path.join("identity"), path.join("aside")).unwrap();
    assert!(matches!(store(path), Err(DirectoryError::NoIdentity)));
    fs::rename(path.join("aside"), path.join("identity")).unwrap();
    let ledger = open(path).unwrap();
    assert_eq!(get(&ledger, G1, "a").await, some("1"));
    ledger.stop().await; // or its writer may still hold the lock

    fs::remove_dir_all(path.join("pages")).unwrap();
    assert!(matches!(store(path), Err(DirectoryError::NoPages)));
    assert!(!path.join("pages").exists(), "and nothing was made in its place");
    fs::create_dir(path.join("pages")).unwrap();
    fs::write(path.join("pages/db"), b"").unwrap();
    assert!(matches!(store(path), Err(DirectoryError::NoPages)));
}

#[tokio::test]
async fn pages_that_lost_what_was_synced_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, old) = (directory.path(), tempfile::tempdir().unwrap());
    let ledger = open(path).unwrap();
    set(&ledger, G1, "a=1").await.unwrap();
    ledger.stop().await;
    copy(&path.join("pages"), old.path());
    let ledger = open(path).unwrap();
    set(&ledger, G1, "a=2").await.unwrap();
    ledger.stop().await;

    fs::rename(path.join("pages"), path.join("new pages")).unwrap();
    fs::create_dir(path.join("pages")).unwrap();
    copy(old.path(), &path.join("pages"));
    let refused = store(path);
    assert!(matches!(refused, Err(DirectoryError::LostWrites { .. })), "{refused:?}");

    fs::remove_dir_all(path.join("pages")).unwrap();
    fs::rename(path.join("new pages"), path.join("pages")).unwrap();
    let ledger = open(path).unwrap();
    assert_eq!(get(&ledger, G1, "a").await, some("2"));
    ledger.stop().await;
    for damage in [&b""[..], b"0123456789012345"] {
        fs::write(path.join("synced"), damage).unwrap();
        assert!(matches!(store(path), Err(DirectoryError::Store(_))));
    }
}

#[tokio::test]
async fn a_directory_is_open_once_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let held = store(directory.path()).unwrap();
    assert!(matches!(store(directory.path()), Err(DirectoryError::InUse)));
    drop(held);
    store(directory.path()).unwrap();
}

#[tokio::test]
async fn a_corrupt_value_names_its_group_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = open(directory.path()).unwrap();
    set(&ledger, G2, "k=1").await.unwrap();
    ledger.stop().await;
    let mut damaged = store(directory.path()).unwrap();
    let mut batch = Batch::default();
    batch.put(layout::state_key(G2, b"k"), vec![POISON]);
    damaged.write(batch).unwrap();
    damaged.sync().unwrap();
    drop(damaged);
    let Err(refused) = open(directory.path()) else { panic!("it must be refused") };
    assert_eq!(refused.to_string(), "the value at key [6b] of group g2 does not decode");
}
