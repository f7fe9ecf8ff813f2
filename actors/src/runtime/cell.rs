//! Cells: for each ring key owned here its supply and demand board, and the shell that tends it.
//!
//! What happens a million times a second goes past the mailbox: a ping or a search locks the cell,
//! calls the core and is done, and whoever pinged is told once it is so. A message would cost more
//! than what it carries: a bare call to a ractor takes some 500 ns, all of a ping 300 to 700. What
//! is rare, takes time or must wait its turn is the shell's: it sweeps, has drivers' partitions
//! asked how they stand, wakes bookings when a car comes free, and hands the cell over when the
//! ring gives it to somebody else.

mod cells;
mod handover;

pub(super) use cells::Cells;

use super::Runtime;
use crate::cell::board::{Board, WAKE_MAX};
use crate::cell::index::{Hits, PingOutcome, Query, Restood, Supply, Tally};
use crate::cell::pressure::Pressure;
use crate::geo;
use h3o::{CellIndex, Resolution};
use handover::Whose;
use proto::record::ask::{AreaCount, Fix, Wake};
use proto::record::cell::{Demand, Ping, PingCounts, PingFate};
use proto::record::driver::{Standing, VehicleType};
use proto::slot::frozen_hash;
use proto::{BookingId, DriverId, MonoMs, NodeId, Point, WallMs};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a cell sweeps, verifies and looks whether it is still needed, in milliseconds.
const TICK_MS: u64 = 500;
/// A standing is believed this long at most before its partition is asked again, in milliseconds.
/// Changes are told at once; this bounds how long a cell may misjudge a driver whose change was lost
/// on the way. 300,000 drivers are 28,000 questions a second, each a record read and decoded.
const VERIFY_MS: u64 = 15_000;
/// Drivers not heard of for this long are dropped, in milliseconds. Far above any freshness that
/// is searched for, so that nobody flickers.
const EXPIRE_MS: u64 = 60_000;
/// Drivers swept or verified in one tick: 512 ids and standings are a frame of some 20 KB.
const SWEEP_MAX: usize = 512;
/// Ticks without a driver or a post before the shell leaves: a minute.
const EMPTY_TICKS: u32 = 120;

/// A booking is counted when it is posted the first time, which is sooner than so many milliseconds
/// after it was made; later it is one whose post had died.
const NEW_MS: u32 = 1_000;

/// A copy younger than this, in milliseconds, may not have heard of everybody yet: several ping
/// periods.
const WARM_MS: u64 = 5_000;

/// What the shell is told.
pub(super) enum Message {
    Withdraw(BookingId),
    Restand(Vec<Standing>),
    /// The word of replicas that do not lead.
    Hearsay(Vec<Standing>),
    /// As its owner was told, for a copy.
    CopyStanding(Standing),
    Forget(DriverId, Option<WallMs>),
    /// The ring or the split table is another.
    Reowned,
    Tick,
}

/// One ring key's supply and demand board, behind a lock that is held for microseconds; by a batch of
/// 4,096 pings that all lie here, for two milliseconds.
pub(super) struct Cell {
    ring_key: u64,
    born: MonoMs,
    state: Mutex<State>,
}

struct State {
    supply: Supply,
    board: Board,
    pressure: Pressure,
    empty_ticks: u32,
    whose: Whose,
    /// Nobody looks here any more: it was empty for long, or belongs to somebody else.
    left: bool,
}

impl State {
    /// Whether it may be forgotten.
    fn is_empty(&self, now: MonoMs) -> bool {
        self.supply.is_empty()
            && self.board.is_empty()
            && self.pressure.counts(now).next().is_none()
    }
}

/// A cell that is looked at no more; its key may have another.
pub(super) struct Left;

impl Cell {
    fn new(ring_key: u64, born: MonoMs) -> Arc<Self> {
        let (supply, board, pressure) = (Supply::new(VERIFY_MS), Board::new(), Pressure::default());
        let (empty_ticks, whose, left) = (0, Whose::default(), false);
        let state = State { supply, board, pressure, empty_ticks, whose, left };
        Arc::new(Self { ring_key, born, state: Mutex::new(state) })
    }

    /// Whether it has been here for long enough to know, as a copy, all that its owner knows.
    pub(super) const fn is_warm(&self, now: MonoMs) -> bool {
        now.since(self.born) >= WARM_MS
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The cores leave themselves whole between calls, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies those of `pings` that `items` numbers, notes how each fared, and has the partitions
    /// of those asked whom nothing is known of.
    pub(super) fn apply(
        &self,
        runtime: &Runtime,
        pings: &[Ping],
        items: &[u32],
        fates: &mut [PingFate],
        as_owner: bool,
    ) -> Result<PingCounts, Left> {
        let now = runtime.world().clock.mono();
        let mut state = self.state();
        if state.left {
            return Err(Left);
        }
        let mut counts = PingCounts::default();
        state.supply.ping_all(pings, items, now, |item, outcome| {
            let fate = match outcome {
                PingOutcome::Applied { ask, .. } => {
                    if ask {
                        let Ping { driver, at, .. } = pings[item as usize];
                        runtime.0.verifier.ask(driver, self.ring_key, at);
                    }
                    PingFate::Applied
                }
                PingOutcome::Stale => PingFate::Stale,
                PingOutcome::Full => PingFate::Refused,
            };
            fates[item as usize] = fate;
            counts.count(fate);
        });
        if as_owner && counts.applied > 0 {
            state.whose.taken_for_owner();
        }
        Ok(counts)
    }

    /// Who is near, and what of a demand is put up here.
    pub(super) fn search(&self, query: &Query, post: Option<Demand>, now: MonoMs) -> Hits {
        let mut state = self.state();
        let State { supply, board, pressure, .. } = &mut *state;
        let Some(demand) = post else { return supply.find(query, now, false) };
        let Demand { pickup, need, age_ms, .. } = demand;
        let is_new = board.post(demand, now) && age_ms < NEW_MS;
        if let Some(area) = self.area_of(pickup).filter(|_| is_new) {
            pressure.count(area, need.kind, now);
        }
        supply.search_and_tell(query, now)
    }

    /// How many other bookings wait within the circle of one, of those that stand here.
    pub(super) fn waiting_near(&self, demand: &Demand, now: MonoMs) -> u32 {
        let Demand { booking, pickup, radius_m, .. } = *demand;
        self.state().board.waiting_near(pickup, radius_m, booking, now)
    }

    /// The r7 cell of a place, if the place belongs to this ring key.
    fn area_of(&self, place: Point) -> Option<CellIndex> {
        let (key, cell) = (CellIndex::try_from(self.ring_key).ok()?, geo::cell_of(place));
        let is_here = cell.parent(key.resolution()) == Some(key);
        is_here.then(|| cell.parent(Resolution::Seven)).flatten()
    }

    /// Shows what is counted here, by r7 cell and vehicle type, in parts that add up.
    pub(super) fn count_areas(
        &self,
        now: MonoMs,
        mut show: impl FnMut(CellIndex, VehicleType, AreaCount),
    ) {
        let state = self.state();
        for area in state.supply.areas() {
            for (kind, tally) in VehicleType::ALL.into_iter().zip(&area.by_kind) {
                let Tally { drivers, busy, accepts_pct, .. } = *tally;
                let silent_ms = tally.silent_ms(now) * u64::from(drivers);
                let count =
                    AreaCount { drivers, busy, accepts_pct, silent_ms, ..AreaCount::default() };
                show(area.cell, kind, count);
            }
        }
        for ((area, kind), bookings_5m) in state.pressure.counts(now) {
            show(area, kind, AreaCount { bookings_5m, ..AreaCount::default() });
        }
        // A booking stands on the boards of its whole circle; it is counted where its rider waits.
        for Demand { pickup, need, .. } in state.board.waiting(now) {
            if let Some(area) = self.area_of(*pickup) {
                show(area, need.kind, AreaCount { waiting: 1, ..AreaCount::default() });
            }
        }
    }

    /// The last known positions of those who are here.
    pub(super) fn fixes(&self, drivers: &[DriverId]) -> Vec<Fix> {
        let state = self.state();
        let fix = |driver: &DriverId| {
            let seen = state.supply.fix(*driver)?;
            Some(Fix { driver: *driver, point: seen.point, at: seen.at })
        };
        drivers.iter().filter_map(fix).collect()
    }
}

pub(super) struct Shell {
    runtime: Runtime,
    cell: Arc<Cell>,
}

impl Actor for Shell {
    type Msg = Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        // Cells are made by the hundred in one moment; their ticks must not all come in one.
        let phase_ms = frozen_hash(&self.cell.ring_key.to_be_bytes()) % TICK_MS;
        myself.send_after(Duration::from_millis(TICK_MS + phase_ms), || Message::Tick);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Withdraw(booking) => {
                self.cell.state().board.withdraw(booking);
            }
            Message::Restand(standings) => {
                standings.iter().for_each(|standing| self.restand(standing, Supply::restand));
                self.runtime.mirror_standings(self.cell.ring_key, &standings);
            }
            Message::Hearsay(standings) => {
                standings.iter().for_each(|standing| self.restand(standing, Supply::hearsay));
            }
            Message::CopyStanding(standing) => self.restand(&standing, Supply::restand),
            Message::Forget(driver, at) => {
                self.cell.state().supply.forget(driver, at);
            }
            Message::Reowned => self.look_at_ring(&myself),
            Message::Tick => self.tick(&myself),
        }
        Ok(())
    }
}

impl Shell {
    fn restand(&self, standing: &Standing, take: fn(&mut Supply, &Standing, MonoMs) -> Restood) {
        let world = self.runtime.world();
        let now = world.clock.mono();
        let mut state = self.cell.state();
        let Restood::Freed(car) = take(&mut state.supply, standing, now) else { return };
        let policy = world.policy.load();
        let eta_ms = |distance_m| geo::eta_ms(distance_m, policy.speed_cms, policy.detour_pct);
        let mut by_node: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
        let woken = state.board.wake(&car, standing, eta_ms, WAKE_MAX, now);
        for (booking, candidate) in woken {
            if let Some(node) = world.partitions.leader(booking.slot()) {
                by_node.entry(node).or_default().push((booking, candidate));
            }
        }
        drop(state);
        for (node, woken) in by_node {
            let runtime = self.runtime.clone();
            tokio::spawn(async move {
                // A booking that was not woken searches again within a second.
                let ask = Wake { node, woken };
                let _lost = runtime.world().router.ask(ask, runtime.background()).await;
            });
        }
    }

    fn tick(&self, myself: &ActorRef<Message>) {
        let now = self.runtime.world().clock.mono();
        let mut state = self.cell.state();
        state.supply.expire(now, EXPIRE_MS, SWEEP_MAX);
        state.board.expire(now);
        // A cell that is somebody else's must not claim those whom it has handed on. Whoever finds the
        // verifier's queue full stays as he is and is named again in a moment.
        let asked = if state.whose.is_kept() { SWEEP_MAX } else { 0 };
        for (driver, at) in state.supply.unverified(now, asked) {
            self.runtime.0.verifier.ask(driver, self.cell.ring_key, at);
        }
        let empty = state.is_empty(now);
        state.empty_ticks = if empty { state.empty_ticks + 1 } else { 0 };
        let leaves = state.empty_ticks >= EMPTY_TICKS;
        drop(state);
        self.look_at_ring(myself);
        if leaves {
            self.runtime.0.cells.retire_if(&self.cell, myself, |state| state.is_empty(now));
        }
        myself.send_after(Duration::from_millis(TICK_MS), || Message::Tick);
    }
}
