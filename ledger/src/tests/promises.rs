//! Order, durability, time, and who is told what.

use super::*;
use crate::local::QUEUE_MAX;
use crate::writer::BATCH_MAX;
use crate::{Cursor, Leadership, Term};
use tokio::task::JoinSet;
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn a_command_is_answered_with_its_place_its_time_and_its_outcome() {
    let ledger = on(&MemoryDisk::default(), &Hands::at(1000), settings());
    let first = set(&ledger, G1, "a=1").await.unwrap();
    assert_eq!(first, Committed { index: 1, at: WallMs(1000), outcome: b"".into() });
    let second = set(&ledger, G1, "a=2").await.unwrap();
    assert_eq!(second, Committed { index: 2, at: WallMs(1001), outcome: b"1".into() });
    let refused = set(&ledger, G1, "nonsense").await.unwrap();
    assert_eq!((refused.index, &refused.outcome[..]), (3, &b"refused"[..]), "logged all the same");
    let elsewhere = set(&ledger, G2, "a=3").await.unwrap();
    assert_eq!((elsewhere.index, elsewhere.at), (1, WallMs(1000)), "each group counts for itself");
    assert_eq!(get(&ledger, G1, "a").await, some("2"));
    assert_eq!(get(&ledger, G1, "b").await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(1000));
    let ledger = on(&disk, &clock, settings());
    for command in ["a=1", "wait=2", "gone=3", "gone="] {
        set(&ledger, G1, command).await.unwrap();
    }
    disk.crash(0);

    let ledger = on(&disk, &clock, settings());
    assert_eq!(get(&ledger, G1, "a").await, some("1"));
    assert_eq!(get(&ledger, G1, "gone").await, Ok(None));
    assert_eq!(ledger.open_work(G1).await, Ok(vec![b"wait".to_vec()]));
    assert_eq!(ledger.open_work(G2).await, Ok(vec![]));
    assert_eq!(set(&ledger, G1, "a=9").await.unwrap().index, 5, "the log goes on where it was");
}

#[tokio::test(start_paused = true)]
async fn times_rise_even_if_the_clock_goes_back() {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(5000));
    let ledger = on(&disk, &clock, settings());
    assert_eq!(set(&ledger, G1, "a=1").await.unwrap().at, WallMs(5000));
    clock.set(10);
    assert_eq!(set(&ledger, G1, "a=2").await.unwrap().at, WallMs(5001));
    disk.crash(0);
    let ledger = on(&disk, &clock, settings());
    assert_eq!(set(&ledger, G1, "a=3").await.unwrap().at, WallMs(5002));
    clock.set(6000);
    assert_eq!(set(&ledger, G1, "a=4").await.unwrap().at, WallMs(6000));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_share_a_few_syncs() {
    let disk = MemoryDisk::default();
    let ledger = on(&disk, &Hands::at(0), settings());
    let before = disk.syncs();
    let mut callers = JoinSet::new();
    for n in 0..1000 {
        let ledger = Arc::clone(&ledger);
        callers.spawn(async move { set(&ledger, G1, &format!("k{n}=1")).await });
    }
    let mut indexes: Vec<u64> =
        callers.join_all().await.into_iter().map(|c| c.unwrap().index).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, (1..=1000).collect::<Vec<_>>());
    assert_eq!(disk.syncs() - before, 1000_u64.div_ceil(BATCH_MAX as u64));
}

#[tokio::test(start_paused = true)]
async fn reads_do_not_sync() {
    let disk = MemoryDisk::default();
    let ledger = on(&disk, &Hands::at(0), settings());
    set(&ledger, G1, "a=1").await.unwrap();
    let before = disk.syncs();
    for _ in 0..10 {
        get(&ledger, G1, "a").await.unwrap();
        ledger.events(G1, Cursor::default(), 10).await.unwrap();
        ledger.open_work(G1).await.unwrap();
    }
    assert_eq!(disk.syncs(), before);
}

#[tokio::test(start_paused = true)]
async fn a_read_waits_until_what_it_would_show_is_durable() {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(0));
    let ledger = on(&disk, &clock, settings());
    set(&ledger, G1, "a=old").await.unwrap();

    let proposed = tokio::spawn({
        let ledger = Arc::clone(&ledger);
        async move { set(&ledger, G1, "a=new").await }
    });
    tokio::time::sleep(SYNC / 4).await; // applied and written, not yet synced
    assert!(timeout(SYNC / 4, get(&ledger, G1, "a")).await.is_err(), "it must not answer yet");
    assert!(timeout(SYNC / 4, ledger.events(G1, Cursor::default(), 9)).await.is_err());
    assert_eq!(get(&ledger, G1, "a").await, some("new"));
    assert!(proposed.is_finished(), "and then it was acknowledged");

    // The same, and the machine crashes before the sync: nobody may have seen the value.
    let _unheard = tokio::spawn({
        let ledger = Arc::clone(&ledger);
        async move { set(&ledger, G1, "a=lost").await }
    });
    tokio::time::sleep(SYNC / 4).await;
    let read = tokio::spawn({
        let ledger = Arc::clone(&ledger);
        async move { get(&ledger, G1, "a").await }
    });
    tokio::time::sleep(SYNC / 4).await;
    disk.crash(0);
    assert!(read.await.unwrap().is_err());
    assert_eq!(get(&on(&disk, &clock, settings()), G1, "a").await, some("new"));
}

#[tokio::test(start_paused = true)]
async fn a_read_in_a_batch_sees_the_commands_before_it() {
    let ledger = on(&MemoryDisk::default(), &Hands::at(0), settings());
    let (first, seen, second) =
        tokio::join!(set(&ledger, G1, "a=1"), get(&ledger, G1, "a"), set(&ledger, G1, "b=2"));
    assert_eq!((first.unwrap().index, second.unwrap().index), (1, 2));
    assert_eq!(seen, some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once_and_does_nothing() {
    let disk = MemoryDisk::default();
    let ledger = on(&disk, &Hands::at(0), settings());
    let mut callers = JoinSet::new();
    let propose = |n: usize| {
        let ledger = Arc::clone(&ledger);
        async move { (n, set(&ledger, G1, &format!("k{n}=1")).await) }
    };
    callers.spawn(propose(0));
    tokio::time::sleep(SYNC / 4).await; // the writer has taken that one and is syncing
    for n in 1..=QUEUE_MAX {
        callers.spawn(propose(n));
    }
    tokio::time::sleep(SYNC / 4).await;
    let at_once = timeout(Duration::from_nanos(1), set(&ledger, G1, "late=1"));
    assert_eq!(at_once.await.expect("at once"), Err(Refused::Overloaded));
    assert_eq!(get(&ledger, G1, "k0").await, Err(Refused::Overloaded));

    for (n, answer) in callers.join_all().await {
        assert!(answer.is_ok(), "{n}: {answer:?}");
    }
    assert_eq!(get(&ledger, G1, "late").await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn who_asks_the_wrong_node_is_told_the_right_one() {
    let ledger = on(&MemoryDisk::default(), &Hands::at(0), settings());
    let elsewhere = Refused::NotLeader { hint: Some(OTHER) };
    assert_eq!(set(&ledger, G9, "a=1").await, Err(elsewhere.clone()));
    assert_eq!(get(&ledger, G9, "a").await, Err(elsewhere.clone()));
    assert_eq!(ledger.open_work(G9).await, Err(elsewhere.clone()));
    assert_eq!(ledger.events(G9, Cursor::default(), 1).await, Err(elsewhere));
    assert_eq!((ledger.leader(G9), ledger.leader(G1)), (Some(OTHER), Some(ME)));
}

#[tokio::test(start_paused = true)]
async fn it_leads_its_groups_in_a_term_that_rises_with_each_start() {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(0));
    for start in 1..4 {
        let ledger = on(&disk, &clock, settings());
        let led = Leadership::from([(G1, Term(start)), (G2, Term(start))]);
        assert_eq!(*ledger.leadership().borrow(), led);
        disk.crash(0); // the count must not need an orderly stop
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_serves_what_is_queued_and_nothing_after() {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(0));
    let ledger = on(&disk, &clock, settings());
    let mut leadership = ledger.leadership();
    leadership.mark_unchanged();
    let (queued, ()) = tokio::join!(set(&ledger, G1, "a=1"), ledger.stop());
    assert_eq!(queued.unwrap().index, 1);
    assert_eq!(set(&ledger, G1, "a=2").await, Err(Refused::NotLeader { hint: None }));
    assert!(leadership.has_changed().unwrap() && leadership.borrow().is_empty());
    ledger.stop().await; // again, and nothing happens
    assert_eq!(get(&on(&disk, &clock, settings()), G1, "a").await, some("1"));
}
