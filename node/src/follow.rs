//! The streams of riders and drivers that this node holds, and the tasks that keep them told.
//!
//! A few times a second each node that leads partitions of those who are followed gets one message
//! for all of them: how far each stream was told. It answers what is new. Nothing else is kept
//! anywhere: a stream that comes back to another node says how far it was told, and goes on there.
//! Whoever can't wait, because he has just come or a push says that there is news, is asked about at
//! once. Once a second the cells are asked where the drivers are.

#[cfg(test)]
mod samples;
mod shift;
mod story;
mod table;

use crate::router::NodeRouter;
use actors::policy::Policy;
use actors::runtime::eta::Eta;
use actors::runtime::world::{Context, Mint};
use arc_swap::ArcSwap;
use futures_util::future::join_all;
use membership::Membership;
use proto::envelope::Subject;
use proto::record::Booking;
use proto::record::ask::{Ask, Fix, Fixes, Follow, Following, Mark, Push, Whereabouts};
use proto::{DriverId, NodeId, Point};
use shift::Shift;
pub(crate) use shift::{Job, News, Place, Told, Why};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use story::Story;
pub(crate) use story::{Down, Records};
use table::{Table, Tell};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval};

/// Riders' streams at once. Each has a booking and its trip in memory, 20 KB at most and 2 as a rule,
/// and is a connection beside it; 4,096 are a city's rides under way at one of several nodes.
pub(crate) const STREAMS_MAX: usize = 4_096;
/// Drivers' streams at once, half a KB each: as many as a node has connections by default.
pub(crate) const SOCKETS_MAX: usize = 16_384;
/// How often owners are asked for news of bookings.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often they are asked for news of drivers. Pushes hurry what can't wait.
const DRIVERS_LOOK_EVERY: Duration = Duration::from_millis(500);
/// Every so many looks, positions are shown: once a second.
const LOOKS_A_FIX: u32 = 4;
/// Questions in one message, as many as an owner takes.
const BATCH_MAX: usize = 256;
/// How long a node may take to answer, in milliseconds: the others' streams wait for it.
const WITHIN_MS: u32 = 500;

/// What it works with.
pub(crate) struct Means {
    pub(crate) node: NodeId,
    pub(crate) router: Arc<NodeRouter>,
    pub(crate) membership: Membership,
    pub(crate) mint: Arc<dyn Mint>,
    pub(crate) policy: Arc<ArcSwap<Policy>>,
    pub(crate) eta: Arc<dyn Eta>,
}

/// Streams of one kind.
struct Kind<S: Tell> {
    table: Mutex<Table<S>>,
    /// Somebody can't wait.
    hurried: Notify,
}

impl<S: Tell> Kind<S> {
    fn new(max: usize) -> Self {
        Self { table: Mutex::new(Table::new(max)), hurried: Notify::new() }
    }

    fn table(&self) -> MutexGuard<'_, Table<S>> {
        // Each critical section leaves the table whole, so a poisoned lock is still good.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, story: S) -> Option<(u64, mpsc::Receiver<S::Down>)> {
        let opened = self.table().open(story);
        self.hurried.notify_one();
        opened
    }
}

/// All streams of this node.
pub struct Streams {
    means: Means,
    riders: Kind<Story>,
    drivers: Kind<Shift>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (riders, drivers) = self.counts();
        let mut shown = f.debug_struct("Streams");
        shown.field("riders", &riders).field("drivers", &drivers).finish_non_exhaustive()
    }
}

/// A driver's stream. Dropping it closes it.
pub(crate) struct Line {
    number: u64,
    streams: Arc<Streams>,
    /// What is to be shown, in order. It ends if he is too far behind, or has too many streams.
    pub(crate) news: mpsc::Receiver<Told>,
}

impl Line {
    /// Something was pushed to his phone: it is shown now, or his log is looked at.
    pub(crate) fn pushed(&self, push: Push) {
        let drivers = &self.streams.drivers;
        let mut table = drivers.table();
        table.tell(self.number, |shift| shift.pushed(push));
        table.hurry(self.number);
        drop(table);
        drivers.hurried.notify_one();
    }

    /// Says where he is, if nothing is being told.
    pub(crate) fn still(&self) {
        let say = |shift: &mut Shift| shift.still().into_iter().collect();
        self.streams.drivers.table().tell(self.number, say);
    }
}

impl Streams {
    pub(crate) fn new(means: Means) -> Arc<Self> {
        let (riders, drivers) = (Kind::new(STREAMS_MAX), Kind::new(SOCKETS_MAX));
        Arc::new(Self { means, riders, drivers })
    }

    /// Opens a stream of what happens to a booking after a place in the log; nothing to begin with
    /// how things are. None is given if there are too many; of one rider the oldest is closed.
    pub(crate) fn of_booking(
        &self,
        booking: &Booking,
        after: Option<Mark>,
    ) -> Option<mpsc::Receiver<Down>> {
        Some(self.riders.open(Story::new(booking, after))?.1)
    }

    /// Opens a stream of what happens to a driver, likewise.
    pub(crate) fn of_driver(
        self: &Arc<Self>,
        driver: DriverId,
        after: Option<Place>,
    ) -> Option<Line> {
        let (number, news) = self.drivers.open(Shift::new(driver, after))?;
        Some(Line { number, streams: Arc::clone(self), news })
    }

    /// How many streams of riders and of drivers are open.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.riders.table().count(), self.drivers.table().count())
    }

    /// Keeps the streams told, until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        tokio::join!(
            self.look(&self.riders, LOOK_EVERY),
            self.look(&self.drivers, DRIVERS_LOOK_EVERY),
            self.look_hurried(&self.riders),
            self.look_hurried(&self.drivers),
            self.show_positions(),
        );
    }

    /// Asks about all streams of a kind, again and again.
    async fn look<S: Tell>(&self, kind: &Kind<S>, every: Duration) {
        let mut every = interval(every);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.tell_news(kind, false).await;
        }
    }

    /// Asks about those who can't wait. Both may ask the same at once: a story knows what it has
    /// heard.
    async fn look_hurried<S: Tell>(&self, kind: &Kind<S>) {
        loop {
            kind.hurried.notified().await;
            self.tell_news(kind, true).await;
        }
    }

    async fn show_positions(&self) {
        let mut every = interval(LOOK_EVERY * LOOKS_A_FIX);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.tell_positions().await;
        }
    }

    /// Asks the leaders what is new, and passes it on. While a partition has none, its streams wait.
    async fn tell_news<S: Tell>(&self, kind: &Kind<S>, due_only: bool) {
        let Some(partitions) = self.means.router.partitions() else { return };
        let mut by_leader: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
        for (number, question) in kind.table().questions(due_only) {
            if let Some(leader) = partitions.leader(question.of.slot()) {
                by_leader.entry(leader).or_default().push((number, question));
            }
        }
        let asks = by_leader.into_iter().flat_map(|(node, questions)| {
            let batches: Vec<_> = questions.chunks(BATCH_MAX).map(<[_]>::to_vec).collect();
            batches.into_iter().map(move |batch| self.ask_news(kind, node, batch))
        });
        join_all(asks).await;
    }

    async fn ask_news<S: Tell>(&self, kind: &Kind<S>, node: NodeId, batch: Vec<(u64, Following)>) {
        let follows = batch.iter().map(|(_, question)| *question).collect();
        let Some(answers) = self.ask(Follow { node, follows }).await else { return };
        let (mut table, mut due) = (kind.table(), false);
        for ((number, question), answer) in batch.iter().zip(answers) {
            if let Some(answer) = answer {
                due |= table.hear(*number, question, answer);
            }
        }
        drop(table);
        if due {
            kind.hurried.notify_one();
        }
    }

    /// Asks where the drivers are who are on their way, and shows it.
    async fn tell_positions(&self) {
        let drivers: BTreeSet<DriverId> = {
            let table = self.riders.table();
            table.stories().filter_map(Story::way).map(|(driver, _)| driver).collect()
        };
        if drivers.is_empty() {
            return;
        }
        let fixes = self.fixes(drivers).await;
        self.riders.table().tell_all(|story| {
            let (driver, to) = story.way()?;
            let fix = fixes.get(&driver)?;
            story.position(*fix, self.eta_s(fix.point, to))
        });
    }

    /// Where a driver was seen last, if that was within the last minute.
    pub(crate) async fn fix(&self, driver: DriverId) -> Option<Fix> {
        self.fixes(BTreeSet::from([driver])).await.remove(&driver)
    }

    /// How long a drive is estimated to take, in seconds, rounded up.
    pub(crate) fn eta_s(&self, from: Point, to: Point) -> u32 {
        let Means { eta, policy, .. } = &self.means;
        let ms = eta.to_one(&policy.load(), &[from], to)[0];
        u32::try_from(ms.div_ceil(1_000)).unwrap_or(u32::MAX)
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
