//! The event log: numbers, cursors, retention.

use super::*;
use crate::writer::EVENTS_ANSWER_MAX;
use crate::{Cursor, LoggedEvent, Retention};

fn at(index: u64, n: u32) -> Cursor {
    Cursor { index, n }
}

async fn all(ledger: &Local, group: GroupId, page: usize) -> Vec<LoggedEvent> {
    let mut events: Vec<LoggedEvent> = Vec::new();
    loop {
        let after = events.last().map(|event| event.cursor).unwrap_or_default();
        let next = ledger.events(group, after, page).await.unwrap();
        assert!(next.len() <= page);
        if next.is_empty() {
            return events;
        }
        events.extend(next);
    }
}

fn cursors(events: &[LoggedEvent]) -> Vec<Cursor> {
    events.iter().map(|event| event.cursor).collect()
}

#[tokio::test(start_paused = true)]
async fn events_are_numbered_by_command_and_read_by_cursor_across_a_restart() {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(7000));
    let ledger = on(&disk, &clock, settings());
    set(&ledger, G1, "a=x,y").await.unwrap();
    set(&ledger, G1, "nonsense").await.unwrap();
    set(&ledger, G2, "a=other group").await.unwrap();
    set(&ledger, G1, "b=z").await.unwrap();
    let whole = all(&ledger, G1, 100).await;
    let texts: Vec<_> = whole.iter().map(|e| String::from_utf8_lossy(&e.event)).collect();
    assert_eq!(texts, ["x", "y", "z"]);
    assert_eq!(cursors(&whole), [at(1, 0), at(1, 1), at(3, 0)]);
    assert_eq!((whole[1].at, whole[2].at), (WallMs(7000), WallMs(7002)), "the command's own time");

    disk.crash(0);
    let ledger = on(&disk, &clock, settings());
    set(&ledger, G1, "c=later").await.unwrap();
    let after = ledger.events(G1, at(1, 0), 100).await.unwrap();
    assert_eq!(cursors(&after), [at(1, 1), at(3, 0), at(4, 0)]);
    assert_eq!(all(&ledger, G1, 1).await.len(), 4, "page by page is the same");
    assert_eq!(ledger.events(G1, at(4, 0), 9).await, Ok(vec![]));
    assert_eq!(ledger.events(G1, Cursor::default(), 0).await, Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_holds_a_bounded_number_of_events() {
    let ledger = on(&MemoryDisk::default(), &Hands::at(0), settings());
    set(&ledger, G1, &format!("a={}", ",".repeat(2 * EVENTS_ANSWER_MAX))).await.unwrap();
    let events = ledger.events(G1, Cursor::default(), usize::MAX).await.unwrap();
    assert_eq!(events.len(), EVENTS_ANSWER_MAX);
    assert_eq!(all(&ledger, G1, usize::MAX).await.len(), 2 * EVENTS_ANSWER_MAX + 1);
}

#[tokio::test(start_paused = true)]
async fn events_beyond_the_count_are_pruned_oldest_first() {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(0));
    let few =
        Settings { retention: Retention { events_max: 5, ..Default::default() }, ..settings() };
    let ledger = on(&disk, &clock, few.clone());
    for n in 0..20 {
        set(&ledger, G1, &format!("a={n}")).await.unwrap();
        set(&ledger, G2, &format!("a={n}")).await.unwrap();
    }
    let kept = all(&ledger, G1, 100).await;
    // Groups take turns, so a group may be a turn behind.
    assert!((5..=6).contains(&kept.len()), "{kept:?}");
    assert_eq!(kept.last().map(|event| event.cursor), Some(at(20, 0)));

    disk.crash(0);
    let ledger = on(&disk, &clock, few);
    assert_eq!(all(&ledger, G1, 100).await, kept, "pruning is durable, and so is the count");
    for n in 0..4 {
        set(&ledger, G1, &format!("a={n}")).await.unwrap();
    }
    assert!(all(&ledger, G1, 100).await.len() <= 6);
}

#[tokio::test(start_paused = true)]
async fn events_beyond_the_time_are_pruned_in_bounded_steps() {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(1000));
    let brief = Retention { ms: 500, ..Default::default() };
    let one_group = Settings { groups: vec![G1], retention: brief, ..settings() };
    let ledger = on(&disk, &clock, one_group);
    set(&ledger, G1, &format!("a={}", ",".repeat(199))).await.unwrap();
    clock.set(1500);
    set(&ledger, G1, "b=young").await.unwrap();
    assert_eq!(all(&ledger, G1, 1000).await.len(), 201, "half a second is still in time");

    clock.set(1501);
    let mut left = Vec::new();
    for _ in 0..5 {
        set(&ledger, G1, "nonsense").await.unwrap(); // logs no event
        left.push(all(&ledger, G1, 1000).await.len());
    }
    assert_eq!(left, [137, 73, 9, 1, 1]);
    assert_eq!(all(&ledger, G1, 9).await[0].cursor, at(2, 0));
    assert_eq!(get(&ledger, G1, "b").await, some("young"), "state is not the event log");
}

#[tokio::test(start_paused = true)]
async fn pruning_gains_on_logging_under_load() {
    let (disk, clock) = (MemoryDisk::default(), Hands::at(0));
    let few =
        Settings { retention: Retention { events_max: 10, ..Default::default() }, ..settings() };
    let ledger = on(&disk, &clock, few);
    let many = ",".repeat(299);
    for n in 0..20 {
        set(&ledger, GroupId(1 + n % 2), &format!("a={many}")).await.unwrap();
        // 300 events a batch are logged, half of them in each group.
        let held = all(&ledger, G1, 1000).await.len() + all(&ledger, G2, 1000).await.len();
        assert!(held <= 2 * (10 + 2 * 300), "after {n}: {held}");
    }
}
