//! What waits to be sent to one peer: the newest ping of each driver, of so many drivers.

use crate::metrics::Metrics;
use crate::router::NodeRouter;
use actors::runtime::world::Context;
use proto::envelope::Subject;
use proto::pings::PingBatch;
use proto::record::ask::Pings;
use proto::record::cell::{Ping, PingFate, PingFates};
use proto::{DriverId, NodeId};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// So many pings that nobody waits for leave at once.
const FLUSH_AT: usize = 256;
/// The longest a ping that nobody waits for is gathered. Pings of phones come once a second; this
/// adds a fortieth of that, and spares a call a ping.
const FLUSH_EVERY: Duration = Duration::from_millis(25);
/// The most pings in one call: 28 bytes each are 112 KiB, which does not stand before other calls
/// for long.
const CALL_MAX: usize = 4_096;
/// Calls under way at once: one being served, one on its way, and two for the way back. While all
/// are, pings gather, and the calls after them are larger.
const CALLS_MAX: usize = 4;
/// Drivers whose pings may wait: a quarter of the fleet of a large city, and 4 MB. Those beyond are
/// refused.
const WAITING_MAX: usize = 65_536;
/// How long a call may take, in milliseconds.
const CALL_WITHIN_MS: u32 = 1_000;

/// The queue to one peer.
#[derive(Debug)]
pub(super) struct Outbox {
    node: NodeId,
    waiting: Mutex<Waiting>,
    /// There is something to send.
    some: Notify,
    /// There is something that somebody waits for, or enough.
    now: Notify,
    /// Calls in a row that were not answered.
    failures: AtomicUsize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Where in the queue a driver's ping is, counted from the first that ever was. Never iterated.
    place_of: FxHashMap<DriverId, usize>,
    queue: VecDeque<Waiter>,
    /// How many were taken out.
    taken: usize,
}

#[derive(Debug)]
struct Waiter {
    ping: Ping,
    ticket: Option<Ticket>,
}

/// Whom to tell of a ping's fate, and which of his pings it is.
#[derive(Debug)]
struct Ticket(Arc<Awaited>, u32);

/// A batch of which some pings were forwarded, and what became of them.
#[derive(Debug)]
pub(super) struct Awaited {
    fates: Box<[AtomicU8]>,
    /// Forwarded pings whose fate is not known.
    left: AtomicUsize,
    settled: Notify,
}

impl Awaited {
    /// A batch of so many pings, none of them forwarded yet.
    pub(super) fn new(pings: usize) -> Arc<Self> {
        let fates = (0..pings).map(|_| AtomicU8::new(PingFate::Lost as u8)).collect();
        Arc::new(Self { fates, left: AtomicUsize::new(0), settled: Notify::new() })
    }

    /// Waits until the fate of every forwarded ping is known. To be called once all have been
    /// added.
    pub(super) async fn settled(&self) {
        while self.left.load(Ordering::Acquire) > 0 {
            self.settled.notified().await;
        }
    }

    /// The fate of a forwarded ping: lost, as long as it is not known.
    pub(super) fn fate(&self, item: u32) -> PingFate {
        match self.fates[item as usize].load(Ordering::Relaxed) {
            0 => PingFate::Applied,
            1 => PingFate::Stale,
            2 => PingFate::Refused,
            _ => PingFate::Lost,
        }
    }

    fn settle(&self, item: u32, fate: PingFate) {
        self.fates[item as usize].store(fate as u8, Ordering::Relaxed);
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_one();
        }
    }
}

impl Outbox {
    pub(super) fn new(node: NodeId, metrics: Arc<Metrics>) -> Arc<Self> {
        let (waiting, some, now) = (Mutex::default(), Notify::new(), Notify::new());
        Arc::new(Self { node, waiting, some, now, failures: AtomicUsize::new(0), metrics })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a ping that nobody waits for.
    pub(super) fn add(&self, ping: Ping) {
        let mut waiting = self.waiting();
        let lost = waiting.add(Waiter { ping, ticket: None });
        let enough = waiting.queue.len() >= FLUSH_AT;
        drop(waiting);
        if let Some((_, fate)) = lost {
            self.count([fate]);
        }
        self.some.notify_one();
        if enough {
            self.now.notify_one();
        }
    }

    /// Adds those of `pings` that `items` numbers; `awaited` will hear of each. Where the peer has
    /// answered nothing for a while, all but one of them, which tries whether it is back, are lost
    /// at once: who waits for its answers would keep others waiting.
    pub(super) fn add_all(&self, pings: &[Ping], items: &[u32], awaited: &Arc<Awaited>) {
        if self.failures.load(Ordering::Relaxed) >= CALLS_MAX {
            self.count(items.iter().map(|_| PingFate::Lost));
            if let Some(first) = items.first().filter(|_| self.waiting().queue.is_empty()) {
                self.add(pings[*first as usize]);
            }
            return;
        }
        awaited.left.fetch_add(items.len(), Ordering::AcqRel);
        let (mut waiting, mut lost) = (self.waiting(), Vec::new());
        for item in items {
            let ticket = Some(Ticket(Arc::clone(awaited), *item));
            lost.extend(waiting.add(Waiter { ping: pings[*item as usize], ticket }));
        }
        drop(waiting);
        self.count(lost.iter().map(|(_, fate)| *fate));
        for (ticket, fate) in lost {
            if let Some(Ticket(awaited, item)) = ticket {
                awaited.settle(item, fate);
            }
        }
        self.some.notify_one();
        self.now.notify_one();
    }

    /// Sends what gathers, until dropped.
    pub(super) async fn send_all(self: Arc<Self>, router: Arc<NodeRouter>) {
        let permits = Arc::new(Semaphore::new(CALLS_MAX));
        loop {
            self.some.notified().await;
            // Either way out is fine: there is reason to hurry, or time has passed.
            let _ = tokio::time::timeout(FLUSH_EVERY, self.now.notified()).await;
            loop {
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
                let Some(batch) = self.waiting().take() else { break };
                let (outbox, router) = (Arc::clone(&self), Arc::clone(&router));
                tokio::spawn(async move {
                    outbox.call(&router, batch).await;
                    drop(permit);
                });
            }
        }
    }

    async fn call(&self, router: &NodeRouter, batch: Vec<Waiter>) {
        let pings: Vec<Ping> = batch.iter().map(|waiter| waiter.ping).collect();
        let ask = Pings { node: self.node, pings: PingBatch::from_pings(&pings) };
        let subject = Subject::Anonymous;
        let context = Context { trace: 0, subject, deadline_ms: CALL_WITHIN_MS };
        let fates: Vec<PingFate> = match router.served(ask, context).await.result {
            Ok(fates) => PingFates::iter(&fates).collect(),
            Err(refusal) => {
                tracing::debug!(owner = %self.node, code = %refusal.code, pings = pings.len(), "pings lost");
                Vec::new()
            }
        };
        match fates.is_empty() {
            true => self.failures.fetch_add(1, Ordering::Relaxed),
            false => self.failures.swap(0, Ordering::Relaxed),
        };
        let fates = fates.into_iter().chain(std::iter::repeat(PingFate::Lost));
        let fated: Vec<_> = batch.into_iter().zip(fates).collect();
        self.count(fated.iter().map(|(_, fate)| *fate));
        for (Waiter { ticket, .. }, fate) in fated {
            if let Some(Ticket(awaited, item)) = ticket {
                awaited.settle(item, fate);
            }
        }
    }

    /// Counts pings where their fate is known: who sent them may have gone.
    fn count(&self, fates: impl IntoIterator<Item = PingFate>) {
        self.metrics.count_pings(fates.into_iter().collect());
    }
}

impl Waiting {
    /// Adds a ping; tells if one was lost by it, this or an older one, and who waits for that.
    fn add(&mut self, new: Waiter) -> Option<(Option<Ticket>, PingFate)> {
        if let Some(place) = self.place_of.get(&new.ping.driver) {
            let known = &mut self.queue[*place - self.taken];
            let older =
                if new.ping.at > known.ping.at { std::mem::replace(known, new) } else { new };
            return Some((older.ticket, PingFate::Stale));
        }
        if self.queue.len() >= WAITING_MAX {
            return Some((new.ticket, PingFate::Refused));
        }
        self.place_of.insert(new.ping.driver, self.taken + self.queue.len());
        self.queue.push_back(new);
        None
    }

    /// Takes a call's worth out, those drivers that wait longest; nothing if there is nothing.
    fn take(&mut self) -> Option<Vec<Waiter>> {
        let batch: Vec<Waiter> = self.queue.drain(..self.queue.len().min(CALL_MAX)).collect();
        self.taken += batch.len();
        match self.queue.is_empty() {
            true => self.place_of.clear(),
            false => batch.iter().for_each(|waiter| {
                self.place_of.remove(&waiter.ping.driver);
            }),
        }
        (!batch.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{Point, WallMs};

    fn ping(driver: u64, at: u64) -> Ping {
        Ping {
            driver: DriverId::from_raw(driver),
            point: Point::from_e7(1, 1).expect("on the globe"),
            heading_deg: 0,
            speed_cms: 0,
            accuracy_m: 0,
            at: WallMs(at),
        }
    }

    fn add(waiting: &mut Waiting, ping: Ping) -> Option<PingFate> {
        waiting.add(Waiter { ping, ticket: None }).map(|(_, fate)| fate)
    }

    fn taken(waiting: &mut Waiting) -> Vec<Ping> {
        waiting.take().unwrap_or_default().into_iter().map(|waiter| waiter.ping).collect()
    }

    #[test]
    fn the_newest_ping_of_a_driver_wins_in_whatever_order_they_come() {
        let mut waiting = Waiting::default();
        assert_eq!(add(&mut waiting, ping(1, 10)), None);
        assert_eq!(add(&mut waiting, ping(1, 12)), Some(PingFate::Stale));
        assert_eq!(add(&mut waiting, ping(1, 11)), Some(PingFate::Stale));
        assert_eq!(taken(&mut waiting), [ping(1, 12)]);
        assert_eq!(taken(&mut waiting), []);
        assert_eq!(add(&mut waiting, ping(1, 11)), None, "what was sent is not waited for");
    }

    #[test]
    fn a_driver_too_many_is_refused_but_not_a_newer_ping_of_a_known_one() {
        let mut waiting = Waiting::default();
        for driver in 0..WAITING_MAX as u64 {
            assert_eq!(add(&mut waiting, ping(driver, 1)), None);
        }
        assert_eq!(add(&mut waiting, ping(u64::MAX, 1)), Some(PingFate::Refused));
        assert_eq!(add(&mut waiting, ping(2, 2)), Some(PingFate::Stale));
        let mut all = Vec::new();
        while let Some(batch) = waiting.take() {
            assert!(batch.len() <= CALL_MAX);
            all.extend(batch.into_iter().map(|waiter| waiter.ping));
        }
        assert_eq!(all.len(), WAITING_MAX);
        assert!(all.contains(&ping(2, 2)) && waiting.place_of.is_empty());
    }

    #[tokio::test]
    async fn who_waits_hears_when_the_last_fate_is_known() {
        let awaited = Awaited::new(3);
        let outbox = Outbox::new(NodeId(2), Arc::default());
        let pings = [ping(1, 1), ping(2, 1), ping(1, 2)];
        outbox.add_all(&pings, &[0, 1, 2], &awaited);
        assert_eq!(awaited.fate(0), PingFate::Stale, "a newer one of the same driver came");
        let batch = outbox.waiting().take().expect("two pings");
        assert_eq!(batch.len(), 2);
        for Waiter { ticket, .. } in batch {
            let Some(Ticket(awaited, item)) = ticket else { panic!("it was awaited") };
            awaited.settle(item, PingFate::Applied);
        }
        tokio::time::timeout(Duration::from_secs(1), awaited.settled()).await.expect("all known");
        assert_eq!([1, 2].map(|item| awaited.fate(item)), [PingFate::Applied; 2]);
    }
}
