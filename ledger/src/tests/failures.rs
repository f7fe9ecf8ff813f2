//! Stores that fail, stores that are damaged, machines with bugs.

use super::*;
use crate::layout::{self, FORMAT_KEY};
use crate::{Batch, OpenError, Store, StoreError};
use proto::codec;
use toy::POISON;

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_the_service_and_acknowledges_nothing() {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(0));
    let ledger = on(&disk, &clock, settings());
    set(&ledger, G1, "a=1").await.unwrap();
    let mut leadership = ledger.leadership();
    leadership.mark_unchanged();

    let crash = async {
        tokio::time::sleep(SYNC / 2).await; // the command is written, its sync is under way
        disk.crash(1); // and it even reached the disk
    };
    let (unknown, ()) = tokio::join!(set(&ledger, G1, "a=2"), crash);
    assert_eq!(unknown, Err(Refused::Unknown));
    leadership.changed().await.unwrap();
    assert!(leadership.borrow().is_empty());
    let stopped = Refused::NotLeader { hint: None };
    assert_eq!(set(&ledger, G1, "a=3").await, Err(stopped.clone()));
    assert_eq!(get(&ledger, G1, "a").await, Err(stopped));
    assert_eq!(ledger.leader(G1), None);
    ledger.stop().await;

    assert_eq!(
        get(&on(&disk, &clock, settings()), G1, "a").await,
        some("2"),
        "unknown, not undone"
    );
}

#[tokio::test(start_paused = true)]
async fn commands_still_queued_when_the_store_fails_were_not_done() {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(0));
    let ledger = on(&disk, &clock, settings());
    let late = async {
        tokio::time::sleep(SYNC / 2).await;
        set(&ledger, G1, "b=1").await
    };
    let crash = async {
        tokio::time::sleep(SYNC * 3 / 4).await;
        disk.crash(9);
    };
    let (in_batch, queued, ()) = tokio::join!(set(&ledger, G1, "a=1"), late, crash);
    assert_eq!(in_batch, Err(Refused::Unknown));
    assert_eq!(queued, Err(Refused::NotLeader { hint: None }));
    assert_eq!(get(&on(&disk, &clock, settings()), G1, "b").await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_panics_leaves_its_callers_without_a_promise() {
    let ledger = on(&MemoryDisk::default(), &Hands::at(0), settings());
    let mut leadership = ledger.leadership();
    assert_eq!(set(&ledger, G1, "panic").await, Err(Refused::Unknown));
    assert!(leadership.wait_for(|leads| leads.is_empty()).await.is_ok());
    assert_eq!(set(&ledger, G2, "a=1").await, Err(Refused::NotLeader { hint: None }));
}

/// A disk with `a=1` in group 1, and then `damage` done to it.
async fn damaged(damage: impl FnOnce(&mut Batch)) -> Result<(), OpenError> {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(0));
    let ledger = on(&disk, &clock, settings());
    set(&ledger, G1, "a=1").await.unwrap();
    ledger.stop().await;
    let (mut store, mut batch) = (disk.open(), Batch::default());
    damage(&mut batch);
    store.write(batch).unwrap();
    store.sync().unwrap();
    let opened = Local::open_on_task(settings(), disk.open(), SYNC, clock, home, Toy::boxed);
    opened.map(|_| ())
}

#[tokio::test(start_paused = true)]
async fn a_damaged_store_is_refused_and_says_where() {
    assert!(damaged(|_| {}).await.is_ok());

    let refused = damaged(|batch| batch.put(layout::state_key(G1, b"k"), vec![POISON])).await;
    let Err(OpenError::Value { group: G1, key, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(key, b"k");

    let lost = damaged(|batch| batch.delete(layout::state_key(G1, b"a"))).await;
    assert!(matches!(lost, Err(OpenError::Torn(G1))), "{lost:?}");
    let old = damaged(|batch| batch.put(layout::state_key(G1, b"a"), b"0".into())).await;
    assert!(matches!(old, Err(OpenError::Torn(G1))), "{old:?}");
    let extra = damaged(|batch| batch.put(layout::state_key(G2, b"a"), b"0".into())).await;
    assert!(matches!(extra, Err(OpenError::Torn(G2))), "{extra:?}");

    let (progress, nothing) = layout::progress_pair(G1, Default::default());
    let forgotten = damaged(|batch| batch.delete(progress.clone())).await;
    assert!(matches!(forgotten, Err(OpenError::Torn(G1))), "{forgotten:?}");
    let only_events = damaged(|batch| {
        batch.put(progress.clone(), nothing);
        batch.delete(layout::state_key(G1, b"a"));
    });
    let only_events = only_events.await;
    assert!(matches!(only_events, Err(OpenError::Torn(G1))), "{only_events:?}");

    let stray = layout::progress_pair(GroupId(7), Default::default());
    let refused = damaged(|batch| batch.put(stray.0, stray.1)).await;
    assert!(matches!(refused, Err(OpenError::Stray(GroupId(7)))), "{refused:?}");

    type Damage = Box<dyn FnOnce(&mut Batch)>;
    let damages: [(&str, Damage); 5] = [
        ("bad progress", Box::new(move |batch| batch.put(progress, b"?".into()))),
        ("a short key", Box::new(|batch| batch.put(b"s1".into(), b"?".into()))),
        ("no format", Box::new(|batch| batch.delete(FORMAT_KEY.into()))),
        ("bad format", Box::new(|batch| batch.put(FORMAT_KEY.into(), b"?".into()))),
        ("a later format", Box::new(|batch| batch.put(FORMAT_KEY.into(), codec::encode(&2u64)))),
    ];
    for (what, damage) in damages {
        let refused = damaged(damage).await;
        let corrupt = matches!(refused, Err(OpenError::Store(StoreError::Corrupt { .. })));
        assert!(corrupt, "{what}: {refused:?}");
    }
}
