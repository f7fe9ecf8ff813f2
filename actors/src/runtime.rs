//! The shells: ractor actors around the cores, and the runtime that spawns them on demand.
//!
//! A shell receives, calls its core, persists through the ledger and only then acts. It has no
//! opinions: every guard is in `apply`, every choice in a core.
//!
//! | shell | key | holds | spawned by | leaves |
//! |---|---|---|---|---|
//! | driver | driver id | claims, the offer timer, accepts under way | first message | idle for a while |
//! | booking | booking id | the dispatch | creation, takeover | settled |
//! | watch (`improve.rs`) | booking id | the search for a better driver, or another | assignment, takeover, an appeal | the driver is there or nearly |
//! | promise | booking id | nothing: it waits for a driver on another ride | his yes, takeover | he comes, or does not |
//! | trip | trip id | the release under way | first step, takeover | released, idle |
//! | trail | group | points of its trips for the next batch | first point | idle |
//! | cell | ring key | positions, the demand board | first ping or search | empty for a while, or another's |
//! | queue | zone id | who is seen in a queue zone | leadership, twice a second | another leads, or it is no zone any more |
//!
//! **Ordering.** Messages of one sender to one shell arrive in order; a shell handles one at a
//! time. What takes a network round trip runs in a task and comes back as a message.
//! **Admission** is bounded before a mailbox is reached ([`IN_FLIGHT_MAX`]), because ractor's
//! mailboxes have no bound of their own.
//! **A crash** of a shell loses soft state only; the next message spawns it anew from the ledger.
//!
mod aboard;
mod appeal;
mod areas;
mod atlas;
mod booking;
mod cell;
mod driver;
pub mod eta;
mod expected;
mod explain;
mod follow;
mod improve;
mod inlet;
mod loads;
mod mirror;
mod offer;
mod phone;
mod promise;
mod queue;
mod registry;
mod search;
mod serve;
mod settle;
mod soft;
mod store;
mod trail;
mod trip;
mod verifier;
pub mod world;

pub use inlet::{Group, Groups};
pub use search::{Nearby, Wanted};

use crate::fault::Faults;
use crate::hedge::Hedge;
use crate::policy::Policy;
use arc_swap::ArcSwap;
use ledger::Partitions;
use membership::Membership;
use proto::code::{Code, Refusal};
use proto::envelope::Subject;
use proto::record::Key;
use proto::record::ask::Request;
use proto::units::Clock;
use proto::{BookingId, DriverId, GroupId, NodeId, TripId};
use registry::Registry;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{info, warn};
use world::{Context, Mint, Router, Sockets, Stories};

/// Requests served at once. Each holds at most one mailbox place and a few kilobytes; beyond this
/// the node answers `OVERLOADED` in microseconds rather than everything slowly.
pub const IN_FLIGHT_MAX: usize = 4_096;
/// How long a request that a shell makes for itself may take, in milliseconds.
const BACKGROUND_MS: u32 = 1_000;
/// The first pause of a step that must be driven to its end, and the longest, in milliseconds.
const REDRIVE_MS: (u64, u64) = (50, 1_000);
/// How often open work without a shell is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// The pause before the open work of a group is read again, if it could not be.
const TAKE_OVER_AGAIN: Duration = Duration::from_millis(200);

/// Everything the shells are handed.
#[derive(Clone)]
pub struct World {
    /// Who we are.
    pub node: NodeId,
    /// Who is here and who owns which cell.
    pub membership: Membership,
    /// Durable state, and who leads which part of it.
    pub partitions: Partitions,
    /// The way to every owner, ourselves included.
    pub router: Arc<dyn Router>,
    /// The sockets we hold.
    pub sockets: Arc<dyn Sockets>,
    /// What is remembered of bookings' dispatches.
    pub stories: Arc<dyn Stories>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How long drives take.
    pub eta: Arc<dyn eta::Eta>,
    /// Chance.
    pub mint: Arc<dyn Mint>,
    /// The numbers in force, which an operator may change at any time: what is decided at once is
    /// decided by one look, and a search keeps those it began with.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Members that keep each cell, its owner among them.
    pub cell_replicas: usize,
    /// Mistakes made on purpose; none outside of tests.
    pub faults: Faults,
}

/// How much there is and what was done, for the metrics page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Shells by kind.
    pub driver_shells: u64,
    /// Dispatches under way.
    pub booking_shells: u64,
    /// Trips with something to do.
    pub trip_shells: u64,
    /// Cells held.
    pub cell_shells: u64,
    /// Holds asked of drivers.
    pub holds: u64,
    /// Holds that drivers' records refused.
    pub holds_refused: u64,
    /// Bookings that got a driver.
    pub assignments: u64,
    /// Bookings that changed to a better driver.
    pub reassignments: u64,
    /// Claims granted, lost and refused as busy.
    pub claims_granted: u64,
    /// See `claims_granted`.
    pub claims_lost: u64,
    /// See `claims_granted`.
    pub claims_busy: u64,
    /// Pings applied.
    pub pings_applied: u64,
    /// Pings older than what was known.
    pub pings_stale: u64,
    /// Searches that some owner did not answer in time.
    pub searches_partial: u64,
    /// Questions about a slow owner's cells that were put to those with copies.
    pub searches_hedged: u64,
    /// Those of them that were answered first.
    pub hedges_won: u64,
    /// Requests refused because too many were under way.
    pub overloaded: u64,
    /// Drivers who wait in the queues that are kept here.
    pub queued: u64,
    /// How often a queue named a driver to a booking.
    pub queue_offers: u64,
    /// Drivers who left a queue with a trip.
    pub queue_trips: u64,
    /// How long they had waited at their places, together, in milliseconds.
    pub queue_waited_ms: u64,
}

#[derive(Debug, Default)]
struct Tally {
    holds: AtomicU64,
    holds_refused: AtomicU64,
    assignments: AtomicU64,
    reassignments: AtomicU64,
    claims_granted: AtomicU64,
    claims_lost: AtomicU64,
    claims_busy: AtomicU64,
    pings_applied: AtomicU64,
    pings_stale: AtomicU64,
    searches_partial: AtomicU64,
    searches_hedged: AtomicU64,
    hedges_won: AtomicU64,
    overloaded: AtomicU64,
    queue_offers: AtomicU64,
    queue_trips: AtomicU64,
    queue_waited_ms: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

struct Inner {
    world: World,
    drivers: Registry<DriverId, driver::Message>,
    bookings: Registry<BookingId, booking::Message>,
    watches: Registry<BookingId, improve::Message>,
    promises: Registry<BookingId, promise::Message>,
    trips: Registry<TripId, trip::Message>,
    trails: Registry<GroupId, trail::Message>,
    cells: cell::Cells,
    queues: queue::Queues,
    mirrors: mirror::Mirrors,
    hedge: Mutex<Hedge>,
    atlas: atlas::Atlas,
    soft: soft::Soft,
    verifier: verifier::Verifier,
    admission: Semaphore,
    /// For pieces of trails, which wait a second: they must not fill the rest.
    trail_places: Semaphore,
    /// Trips that may be asked at once whether their riders are aboard.
    aboard_places: Arc<Semaphore>,
    tally: Tally,
    /// What runs beside the shells; ends with [`Runtime::stop`].
    tasks: Mutex<JoinSet<()>>,
}

/// The shells of one node. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

impl Runtime {
    /// A runtime that serves at once and takes over open work as groups come to be led here.
    pub fn start(world: World) -> Self {
        let (verifier, questions) = verifier::Verifier::new();
        let runtime = Self(Arc::new(Inner {
            drivers: Registry::new(),
            bookings: Registry::new(),
            watches: Registry::new(),
            promises: Registry::new(),
            trips: Registry::new(),
            trails: Registry::new(),
            cells: cell::Cells::default(),
            queues: queue::Queues::new(),
            mirrors: mirror::Mirrors::default(),
            hedge: Mutex::default(),
            atlas: atlas::Atlas::new(),
            soft: soft::Soft::default(),
            verifier,
            admission: Semaphore::new(IN_FLIGHT_MAX),
            trail_places: Semaphore::new(IN_FLIGHT_MAX / 4),
            aboard_places: Arc::new(Semaphore::new(aboard::ASKED_MAX)),
            tally: Tally::default(),
            tasks: Mutex::new(JoinSet::new()),
            world,
        }));
        let mut tasks = runtime.tasks();
        tasks.spawn(runtime.clone().follow_leadership());
        tasks.spawn(runtime.clone().verify(questions));
        tasks.spawn(runtime.clone().sweep());
        tasks.spawn(runtime.clone().follow_ring());
        tasks.spawn(runtime.clone().tend_queues());
        if runtime.world().cell_replicas > 1 {
            tasks.spawn(runtime.clone().mirror());
        }
        drop(tasks);
        runtime
    }

    /// Serves a request that this node owns. Refuses at once when too many are under way.
    pub async fn serve(&self, request: Request, context: Context) -> Result<Vec<u8>, Refusal> {
        let Ok(_permit) = self.0.admission.try_acquire() else {
            count(&self.0.tally.overloaded);
            return Err(Code::Overloaded.into());
        };
        // The request itself runs in a task: a caller that hangs up must not cut a state change
        // at an await.
        let runtime = self.clone();
        let served = tokio::spawn(async move { serve::serve(&runtime, request, context).await });
        served.await.unwrap_or_else(|_| Err(Refusal::new(Code::Retry, "the request's task died")))
    }

    /// What there is and what was done.
    pub fn counts(&self) -> Counts {
        let Inner { drivers, bookings, trips, cells, queues, tally, .. } = &*self.0;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            driver_shells: drivers.len(),
            booking_shells: bookings.len(),
            trip_shells: trips.len(),
            cell_shells: cells.len(),
            holds: read(&tally.holds),
            holds_refused: read(&tally.holds_refused),
            assignments: read(&tally.assignments),
            reassignments: read(&tally.reassignments),
            claims_granted: read(&tally.claims_granted),
            claims_lost: read(&tally.claims_lost),
            claims_busy: read(&tally.claims_busy),
            pings_applied: read(&tally.pings_applied),
            pings_stale: read(&tally.pings_stale),
            searches_partial: read(&tally.searches_partial),
            searches_hedged: read(&tally.searches_hedged),
            hedges_won: read(&tally.hedges_won),
            overloaded: read(&tally.overloaded),
            queued: queues.drivers(),
            queue_offers: read(&tally.queue_offers),
            queue_trips: read(&tally.queue_trips),
            queue_waited_ms: read(&tally.queue_waited_ms),
        }
    }

    /// Stops every shell. Nothing durable depends on it.
    pub fn stop(&self) {
        self.tasks().abort_all();
        self.0.drivers.stop();
        self.0.bookings.stop();
        self.0.watches.stop();
        self.0.promises.stop();
        self.0.trips.stop();
        self.0.trails.stop();
        self.0.cells.stop();
        self.0.queues.stop();
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn world(&self) -> &World {
        &self.0.world
    }

    /// The context of a request that a shell makes for itself.
    fn background(&self) -> Context {
        let World { node, mint, .. } = self.world();
        let trace = u128::from(mint.random()) << 64 | u128::from(mint.random());
        Context { trace, subject: Subject::Node(*node), deadline_ms: BACKGROUND_MS }
    }

    /// Has cells looked at when the ring or the split table is another.
    async fn follow_ring(self) {
        let mut views = self.world().membership.watch();
        let mut known = None;
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            let versions = Some((view.ring_version(), view.split_version()));
            if known.is_some() && known != versions {
                self.0.cells.reowned();
            }
            known = versions;
            if views.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes up the open work of every group that this node comes to lead.
    async fn follow_leadership(self) {
        let mut leadership = self.world().partitions.ledger().leadership();
        let mut led = ledger::Leadership::new();
        loop {
            let now = leadership.borrow_and_update().clone();
            let lost = led.iter().filter(|(group, term)| now.get(group) != Some(term));
            let lost: BTreeSet<GroupId> = lost.map(|(group, _)| *group).collect();
            if !lost.is_empty() {
                self.let_go(&lost);
            }
            led.retain(|group, _| !lost.contains(group));
            for (group, term) in &now {
                if led.get(group) != Some(term) && self.take_over(*group).await {
                    led.insert(*group, *term);
                }
            }
            let all = led.len() == now.len();
            let changed = leadership.changed();
            let changed = match all {
                true => Ok(changed.await),
                false => tokio::time::timeout(TAKE_OVER_AGAIN, changed).await,
            };
            if matches!(changed, Ok(Err(_))) {
                return;
            }
        }
    }

    /// Stops the shells of groups that this node leads no more, or leads anew: what they remember
    /// is of a term that has ended.
    fn let_go(&self, lost: &BTreeSet<GroupId>) {
        let world = self.world();
        let of = |slot| lost.contains(&world.partitions.group(slot));
        self.0.drivers.stop_those(|driver| of(driver.slot()));
        self.0.bookings.stop_those(|booking| of(booking.slot()));
        self.0.watches.stop_those(|booking| of(booking.slot()));
        self.0.promises.stop_those(|booking| of(booking.slot()));
        self.0.trips.stop_those(|trip| of(trip.slot()));
        self.0.trails.stop_those(|group| lost.contains(group));
        self.0.queues.stop_those(|zone| of(zone.slot()));
        self.0.soft.forget_those(|driver| of(driver.slot()));
    }

    /// Takes up the open work of a group; says whether it could be read.
    async fn take_over(&self, group: GroupId) -> bool {
        let open = match self.world().partitions.ledger().open_work(group).await {
            Ok(open) => open,
            Err(error) => {
                warn!(%group, %error, "open work could not be read yet");
                return false;
            }
        };
        let count = open.len();
        open.iter().for_each(|key| self.take_up(group, key));
        if count > 0 {
            info!(%group, count, "open work taken up");
        }
        true
    }

    fn take_up(&self, group: GroupId, key: &[u8]) {
        match Key::from_bytes(key) {
            Ok(Key::Booking(id)) => self.take_up_booking(id),
            Ok(Key::Driver(id)) => self.tell_driver(id, driver::Message::TakeUp),
            Ok(Key::Trip(id)) => self.tell_trip(id, trip::Message::TakeUp),
            Ok(Key::Queue(id)) => self.tell_queue(id, queue::Message::Look),
            Ok(
                Key::Rider(_)
                | Key::RiderAnswer(..)
                | Key::DriverAnswer(..)
                | Key::RiderBooking(..)
                | Key::DriverTrip(..)
                | Key::OldRiderAnswer(..)
                | Key::OldDriverAnswer(..)
                | Key::TripTrail(..),
            ) => {}
            Err(error) => warn!(%group, %error, "open work names no entity"),
        }
    }

    /// Looks every few seconds for open work that nobody does: a command may be committed long after
    /// its proposer gave up on it, and then no shell was told.
    async fn sweep(self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let ledger = self.world().partitions.ledger();
            let led: Vec<GroupId> = ledger.leadership().borrow().keys().copied().collect();
            for group in led {
                let Ok(open) = ledger.open_work(group).await else { continue };
                let left = open.iter().filter(|key| !self.is_attended(key));
                left.for_each(|key| self.take_up(group, key));
            }
        }
    }

    /// Whether a shell lives for an entity.
    fn is_attended(&self, key: &[u8]) -> bool {
        match Key::from_bytes(key) {
            Ok(Key::Booking(id)) => {
                self.0.bookings.has(id) || self.0.watches.has(id) || self.0.promises.has(id)
            }
            // His shell looks by itself whether it does all that it should; it lives while it does.
            Ok(Key::Driver(_)) => false,
            Ok(Key::Trip(id)) => self.0.trips.has(id),
            Ok(Key::Queue(id)) => self.0.queues.has(id),
            Ok(_) | Err(_) => true,
        }
    }
}
