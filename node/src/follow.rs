//! The streams of riders that this node holds, and the one task that keeps them told.
//!
//! A few times a second each node that leads partitions of followed bookings gets one message for
//! all of them: how far each stream was told. It answers what is new. Nothing else is kept anywhere:
//! a stream that comes back to another node says how far it was told, and goes on there.
//! Once a second the cells are asked where the drivers are.

mod story;

use crate::router::NodeRouter;
use actors::geo;
use actors::policy::Policy;
use actors::runtime::world::{Context, Mint};
use futures_util::future::join_all;
use membership::Membership;
use proto::envelope::Subject;
use proto::record::Booking;
use proto::record::ask::{Ask, Fix, Fixes, Follow, Followed, Following, Mark, Whereabouts};
use proto::{DriverId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use story::Story;
pub(crate) use story::{Down, Records};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// Streams at once. Each has a booking and its trip in memory, 20 KB at most and 2 as a rule, and
/// is a connection beside it; 4,096 are a city's rides under way at one of several nodes.
pub(crate) const STREAMS_MAX: usize = 4_096;
/// What may wait for one reader: the whole story of a booking with 64 offers that were made and
/// ended, and a trip. A reader that is this far behind is cut off, and goes on where it was when it
/// comes back.
const QUEUE_MAX: usize = 256;
/// How often owners are asked for news.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Every so many looks, positions are shown: once a second.
const LOOKS_A_FIX: u32 = 4;
/// Bookings in one message, as many as an owner takes.
const BATCH_MAX: usize = 256;
/// How long a node may take to answer, in milliseconds: the others' streams wait for it.
const WITHIN_MS: u32 = 500;

/// What it works with.
pub(crate) struct Means {
    pub(crate) node: NodeId,
    pub(crate) router: Arc<NodeRouter>,
    pub(crate) membership: Membership,
    pub(crate) mint: Arc<dyn Mint>,
    pub(crate) policy: Policy,
}

/// One stream.
struct Open {
    story: Story,
    queue: mpsc::Sender<Down>,
}

#[derive(Default)]
struct Table {
    streams: BTreeMap<u64, Open>,
    last: u64,
}

/// All streams of this node. Whoever drops the end that he reads closes his.
pub struct Streams {
    means: Means,
    table: Mutex<Table>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("open", &self.table().streams.len()).finish_non_exhaustive()
    }
}

impl Streams {
    pub(crate) fn new(means: Means) -> Arc<Self> {
        Arc::new(Self { means, table: Mutex::default() })
    }

    /// Opens a stream of what happens to a booking after a place in the log; nothing to begin with
    /// how things are. Nothing is given if there are too many.
    pub(crate) fn open(
        &self,
        booking: &Booking,
        after: Option<Mark>,
    ) -> Option<mpsc::Receiver<Down>> {
        let mut table = self.table();
        table.streams.retain(|_, open| !open.queue.is_closed());
        if table.streams.len() >= STREAMS_MAX {
            return None;
        }
        let (queue, news) = mpsc::channel(QUEUE_MAX);
        table.last += 1;
        let number = table.last;
        table.streams.insert(number, Open { story: Story::new(booking, after), queue });
        Some(news)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each critical section leaves the table whole, so a poisoned lock is still good.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the streams told, until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut every = interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for look in (0..LOOKS_A_FIX).cycle() {
            every.tick().await;
            self.tell_news().await;
            if look == 0 {
                self.tell_positions().await;
            }
        }
    }

    /// Asks the leaders what is new, and passes it on.
    async fn tell_news(&self) {
        let asks = self.questions().into_iter().flat_map(|(node, questions)| {
            let batches: Vec<_> = questions.chunks(BATCH_MAX).map(<[_]>::to_vec).collect();
            batches.into_iter().map(move |batch| self.ask_news(node, batch))
        });
        join_all(asks).await;
    }

    /// What is to be asked of each leader. While a partition has none, its streams wait.
    fn questions(&self) -> BTreeMap<NodeId, Vec<(u64, Following)>> {
        let mut by_leader: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
        let Some(partitions) = self.means.router.partitions() else { return by_leader };
        let mut table = self.table();
        table.streams.retain(|_, open| !open.queue.is_closed());
        for (number, open) in &table.streams {
            let question = open.story.question();
            if let Some(leader) = partitions.leader(question.booking.slot()) {
                by_leader.entry(leader).or_default().push((*number, question));
            }
        }
        by_leader
    }

    async fn ask_news(&self, node: NodeId, batch: Vec<(u64, Following)>) {
        let (numbers, follows): (Vec<u64>, Vec<Following>) = batch.into_iter().unzip();
        let Some(answers) = self.ask(Follow { node, follows }).await else { return };
        let mut table = self.table();
        for (number, answer) in numbers.into_iter().zip(answers) {
            if let Some(answer) = answer {
                table.hear(number, answer);
            }
        }
    }

    /// Asks where the drivers are who are on their way, and shows it.
    async fn tell_positions(&self) {
        let drivers: BTreeSet<DriverId> = {
            let table = self.table();
            let ways = table.streams.values().filter_map(|open| open.story.way());
            ways.map(|(driver, _)| driver).collect()
        };
        if drivers.is_empty() {
            return;
        }
        let fixes = self.fixes(drivers).await;
        let Policy { speed_cms, detour_pct, .. } = self.means.policy;
        self.table().streams.retain(|_, open| {
            let Some((driver, to)) = open.story.way() else { return true };
            let Some(fix) = fixes.get(&driver) else { return true };
            let eta_s = geo::eta_s(geo::distance_m(fix.point, to), speed_cms, detour_pct);
            let position = open.story.position(*fix, eta_s);
            position.is_none_or(|position| open.queue.try_send(position).is_ok())
        });
    }

    /// Where drivers were seen last: their partitions know the cells, the cells the places.
    async fn fixes(&self, drivers: BTreeSet<DriverId>) -> BTreeMap<DriverId, Fix> {
        let mut by_leader: BTreeMap<NodeId, Vec<DriverId>> = BTreeMap::new();
        if let Some(partitions) = self.means.router.partitions() {
            for driver in drivers {
                if let Some(leader) = partitions.leader(driver.slot()) {
                    by_leader.entry(leader).or_default().push(driver);
                }
            }
        }
        let asks = by_leader.into_iter().map(|(node, drivers)| async move {
            let keys = self.ask(Whereabouts { node, drivers: drivers.clone() }).await;
            let keys = keys.into_iter().flatten();
            drivers.into_iter().zip(keys).filter_map(|(driver, key)| Some((driver, key?))).collect()
        });
        let seen: Vec<Vec<(DriverId, u64)>> = join_all(asks).await;

        let view = self.means.membership.view();
        let mut by_owner: BTreeMap<NodeId, Vec<(DriverId, u64)>> = BTreeMap::new();
        for (driver, ring_key) in seen.into_iter().flatten() {
            if let Some(owner) = view.cell_owner(ring_key) {
                by_owner.entry(owner).or_default().push((driver, ring_key));
            }
        }
        let asks = by_owner.into_iter().map(|(node, sought)| self.ask(Fixes { node, sought }));
        let fixes = join_all(asks).await.into_iter().flatten().flatten();
        fixes.map(|fix| (fix.driver, fix)).collect()
    }

    async fn ask<A: Ask>(&self, ask: A) -> Option<A::Answer> {
        let Means { node, router, mint, .. } = &self.means;
        let trace = u128::from(mint.random()) << 64 | u128::from(mint.random());
        let context = Context { trace, subject: Subject::Node(*node), deadline_ms: WITHIN_MS };
        // Whoever does not answer is asked again in a moment, or somebody else is.
        router.served(ask, context).await.result.ok()
    }
}

impl Table {
    /// Passes an answer on; a reader that is too far behind is cut off.
    fn hear(&mut self, number: u64, answer: Followed) {
        let Some(open) = self.streams.get_mut(&number) else { return };
        let downs = open.story.hear(answer);
        let ends = downs.iter().any(|down| matches!(down, Down::End { .. }));
        let sent = downs.into_iter().all(|down| open.queue.try_send(down).is_ok());
        if ends || !sent {
            self.streams.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::record::BookingState;
    use story::tests::{booking, news};

    #[test]
    fn a_reader_that_is_too_far_behind_is_cut_off_after_what_waits_for_it() {
        let mut table = Table::default();
        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        let story = Story::new(&booking(BookingState::Open), None);
        table.streams.insert(7, Open { story, queue });
        for index in 0..=QUEUE_MAX as u64 {
            assert!(table.streams.contains_key(&7), "cut off before {index}");
            table.hear(7, news(&[index], index, Some(BookingState::Open)));
        }
        assert!(table.streams.is_empty());
        let mut told = 0;
        while waiting.try_recv().is_ok() {
            told += 1;
        }
        assert_eq!(told, QUEUE_MAX);
        assert!(waiting.is_closed());
    }
}
