//! History: what has left the state is still there, on every replica and after every crash.

use super::cluster::{Cluster, groups};
use super::toy::{Toy, past};
use crate::replicated::Retention;
use crate::replicated::{Fault, Faults};
use crate::{Cursor, Ledger, LoggedEvent};
use proto::{GroupId, NodeId};

/// So little that a few dozen records fill segments.
pub(super) const LITTLE: Retention = Retention {
    ms: 24 * 60 * 60 * 1000,
    events_max: 20,
    segment_bytes: 300,
    snapshot_entries: 1_024,
};

const GROUP: GroupId = GroupId(1);

async fn cluster(faults: Faults) -> Cluster {
    let mut cluster = Cluster::with(3, faults, Toy::boxed).await;
    cluster.retention(LITTLE).await;
    cluster.until_whole().await;
    cluster
}

/// All keys of a group's records, newest first, page by page.
pub(super) async fn all(cluster: &Cluster, group: GroupId, page: usize) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    loop {
        let next = cluster.page(group, b"past/", keys.last().cloned(), page).await;
        assert!(next.len() <= page);
        if next.is_empty() {
            return keys;
        }
        keys.extend(next.into_iter().map(|(key, _)| key));
    }
}

pub(super) fn expected(records: u64) -> Vec<Vec<u8>> {
    (1..=records).rev().map(|n| past(&n.to_string())).collect()
}

#[tokio::test(start_paused = true)]
async fn records_are_read_and_paged_through_snapshots_and_restarts() {
    let mut cluster = cluster(Faults::default()).await;
    // Enough for snapshots, so that some are on disk, some sealed in memory, some in neither.
    for n in 1..=2_500u64 {
        cluster.set(GROUP, &format!("+n={n}")).await;
    }
    let saved = |c: &Cluster| c.up[&NodeId(1)].replicas()[1].snapshot.is_some();
    cluster.until("there is a snapshot", saved).await;
    assert_eq!(all(&cluster, GROUP, 97).await, expected(2_500));
    for node in [1, 2, 3] {
        cluster.crash(NodeId(node), 0).await;
    }
    for node in [1, 2, 3] {
        cluster.start(NodeId(node)).await.unwrap();
    }
    cluster.until_whole().await;
    assert_eq!(all(&cluster, GROUP, 500).await, expected(2_500));
    for n in [1, 700, 1_500, 2_500] {
        let key = String::from_utf8(past(&n.to_string())).unwrap();
        assert_eq!(cluster.get(GROUP, &key).await, Some(n.to_string()));
    }
    cluster.check_equal();
}

#[tokio::test(start_paused = true)]
async fn one_disk_after_another_is_replaced_and_no_page_is_lost() {
    let mut cluster = cluster(Faults::default()).await;
    for n in 1..=1_800u64 {
        for group in groups() {
            cluster.set(group, &format!("+n={n}")).await;
        }
    }
    for (old, new) in [(1, 4), (2, 5), (3, 6)] {
        cluster.crash(NodeId(old), 0).await;
        cluster.wipe(NodeId(old));
        cluster.start(NodeId(new)).await.unwrap();
        cluster.until_whole().await;
    }
    for group in groups() {
        assert_eq!(all(&cluster, group, 200).await, expected(1_800), "{group}");
    }
    cluster.check_equal();
}

#[tokio::test(start_paused = true)]
async fn segments_that_were_never_written_are_caught() {
    let mut cluster = cluster(Faults(Some(Fault::SegmentNotWritten))).await;
    for n in 1..=1_500u64 {
        cluster.set(GROUP, &format!("+n={n}")).await;
    }
    let saved = |c: &Cluster| c.up[&NodeId(1)].replicas()[1].snapshot.is_some();
    cluster.until("there is a snapshot", saved).await;
    cluster.crash(NodeId(1), 0).await;
    let why = cluster.start(NodeId(1)).await.expect_err("it opened without its history");
    assert!(why.to_string().contains("history"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_day_of_events_is_read_by_cursor_wherever_it_is() {
    let mut cluster = cluster(Faults::default()).await;
    for n in 1..=2_200u64 {
        cluster.set(GROUP, &format!("n={n},{n}b")).await;
    }
    cluster.crash(NodeId(2), 0).await;
    cluster.start(NodeId(2)).await.unwrap();
    cluster.until_whole().await;
    // From any replica.
    for ledger in cluster.up.values() {
        let mut events: Vec<LoggedEvent> = Vec::new();
        loop {
            let after = events.last().map(|event| event.cursor).unwrap_or_default();
            let next = ledger.events(GROUP, after, 100).await.unwrap();
            if next.is_empty() {
                break;
            }
            events.extend(next);
        }
        assert_eq!(events.len(), 4_400);
        assert!(events.windows(2).all(|pair| pair[0].cursor < pair[1].cursor));
        assert_eq!(events[4_399].event, b"2200b");
        let late = Cursor { n: 1, ..events[4_399].cursor };
        assert_eq!(ledger.events(GROUP, late, 9).await, Ok(vec![]));
    }
}
