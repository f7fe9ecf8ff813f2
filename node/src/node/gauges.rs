//! Brings what others count up to date in the metrics, when somebody asks for them.

use super::start::Frame;
use crate::metrics::{FateLabels, KindLabels, Metrics, gauge};
use actors::runtime::Counts;
use ledger::{Ledger, Replicated};
use membership::GossipCounts;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(super) fn refresh(frame: &Frame) {
    let metrics = &frame.metrics;
    metrics.sockets.set(gauge(frame.sockets.count()));
    let dropped = frame.sockets.dropped();
    metrics.stories_dropped.inner().store(frame.stories.dropped(), Ordering::Relaxed);
    metrics.pushes_dropped.inner().store(dropped, Ordering::Relaxed);
    metrics.peers_connected.set(gauge(frame.pool.peers_connected()));
    let view = frame.membership.view();
    metrics.members_live.set(gauge(view.members().len()));
    metrics.split_cells.set(gauge(view.splits().len()));
    metrics.ready.set(i64::from(frame.facts().ready().is_ok()));
    gossip(metrics, frame.membership.gossip_counts());
    if let Some(runtime) = frame.runtime.get() {
        actors(metrics, runtime.counts());
    }
    ledger(metrics, &frame.ledger);
}

/// How many streams of riders and of drivers are open.
pub(super) fn streams(metrics: &Metrics, (riders, drivers): (usize, usize)) {
    for (kind, count) in [("rider", riders), ("driver", drivers)] {
        metrics.streams.get_or_create(&KindLabels { kind }).set(gauge(count));
    }
}

fn ledger(metrics: &Metrics, ledger: &Replicated) {
    let counts = ledger.counts();
    metrics.journal_writes.inner().store(counts.writes, Ordering::Relaxed);
    metrics.journal_syncs.inner().store(counts.syncs, Ordering::Relaxed);
    metrics.partitions_led.set(gauge(ledger.leadership().borrow().len()));
    for gap_ms in ledger.take_gaps() {
        metrics.leadership_return_seconds.observe(Duration::from_millis(gap_ms).as_secs_f64());
    }
}

fn gossip(metrics: &Metrics, counts: GossipCounts) {
    let GossipCounts { sent, send_failed, oversized, received, unsealed, garbled, receive_failed } =
        counts;
    for (fate, count) in [
        ("sent", sent),
        ("send_failed", send_failed),
        ("oversized", oversized),
        ("received", received),
        ("unsealed", unsealed),
        ("garbled", garbled),
        ("receive_failed", receive_failed),
    ] {
        let counter = metrics.gossip_datagrams.get_or_create(&FateLabels { fate });
        counter.inner().store(count, Ordering::Relaxed);
    }
}

fn actors(metrics: &Metrics, counts: Counts) {
    let Counts {
        driver_shells,
        booking_shells,
        trip_shells,
        cell_shells,
        holds,
        holds_refused,
        assignments,
        reassignments,
        claims_granted,
        claims_lost,
        claims_busy,
        pings_applied,
        pings_stale,
        searches_partial,
        searches_hedged,
        hedges_won,
        overloaded,
        queued,
        queue_offers,
        queue_trips,
        queue_waited_ms,
    } = counts;
    metrics.queued_drivers.set(i64::try_from(queued).unwrap_or(i64::MAX));
    for (kind, count) in [
        ("driver", driver_shells),
        ("booking", booking_shells),
        ("trip", trip_shells),
        ("cell", cell_shells),
    ] {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        metrics.shells.get_or_create(&KindLabels { kind }).set(count);
    }
    for (name, count) in [
        ("holds", holds),
        ("holds_refused", holds_refused),
        ("assignments", assignments),
        ("reassignments", reassignments),
        ("claims_granted", claims_granted),
        ("claims_lost", claims_lost),
        ("claims_busy", claims_busy),
        ("pings_applied", pings_applied),
        ("pings_stale", pings_stale),
        ("searches_partial", searches_partial),
        ("searches_hedged", searches_hedged),
        ("hedges_won", hedges_won),
        ("overloaded", overloaded),
        ("queue_offers", queue_offers),
        ("queue_trips", queue_trips),
        ("queue_waited_seconds", queue_waited_ms / 1_000),
    ] {
        metrics.count_runtime(name, count);
    }
}
