//! The cells of the city as one node would have them: the index of each ring key, and the board.

use actors::cell::board::{Board, WAKE_MAX};
use actors::cell::index::{Query, Restood, Supply};
use actors::dispatch::cost;
use actors::geo;
use actors::policy::Policy;
use h3o::{CellIndex, Resolution};
use proto::record::cell::{Candidate, Demand, Ping};
use proto::record::driver::{Capabilities, DriverStatus, Standing, VehicleType};
use proto::{BookingId, DriverId, MonoMs, Point, WallMs};
use std::collections::BTreeMap;

/// Longer than any run: nobody has to be asked about again.
const BELIEVED_MS: u64 = u64::MAX / 2;

/// See the module's text.
pub(super) struct Cells {
    supplies: BTreeMap<u64, Supply>,
    board: Board,
    /// Which ring key a driver was seen in last.
    seen: BTreeMap<DriverId, u64>,
    pings: u64,
    /// The ring keys of the junctions.
    keys: BTreeMap<Point, u64>,
    /// Every so many-th ring key of a node that died says nothing until then.
    silent: Vec<(usize, u64)>,
}

/// The ring key of a place where no cell is split: its parent of resolution 6.
fn ring_key(place: Point) -> u64 {
    let cell = geo::cell_of(place);
    cell.parent(Resolution::Six).map_or(0, |key: CellIndex| key.into())
}

impl Cells {
    pub(super) fn new(junctions: &[Point]) -> Self {
        let keys: BTreeMap<Point, u64> =
            junctions.iter().map(|place| (*place, ring_key(*place))).collect();
        let supplies = keys.values().map(|key| (*key, Supply::new(BELIEVED_MS))).collect();
        let (board, seen, pings, silent) = (Board::new(), BTreeMap::new(), 0, Vec::new());
        Self { supplies, board, seen, pings, keys, silent }
    }

    /// A free driver is seen at a place. Gives those who wait and should hear of it.
    pub(super) fn appear(
        &mut self,
        driver: DriverId,
        point: Point,
        policy: &Policy,
        now: MonoMs,
    ) -> Vec<(BookingId, Candidate)> {
        self.vanish(driver);
        self.pings += 1;
        let key = self.keys.get(&point).copied().unwrap_or_else(|| ring_key(point));
        let supply = self.supplies.entry(key).or_insert_with(|| Supply::new(BELIEVED_MS));
        self.seen.insert(driver, key);
        let (heading_deg, speed_cms, accuracy_m, at) = (0, 0, 5, WallMs(self.pings));
        supply.ping(&Ping { driver, point, heading_deg, speed_cms, accuracy_m, at }, now);
        let standing = Standing {
            driver,
            status: DriverStatus::Free,
            kind: VehicleType::Sedan,
            capabilities: Capabilities::default(),
            seats_free: 4,
            version: self.pings,
            accepts_pct: 100,
        };
        let Restood::Freed(car) = supply.restand(&standing, now) else { return Vec::new() };
        let eta_ms = |metres| geo::eta_ms(metres, policy.speed_cms, policy.detour_pct);
        // The board is the whole city's, so how many wait there says nothing about a crowd here.
        let counted_ms = |age_ms| cost::counted_age_ms(policy, age_ms, 0);
        self.board.wake(&car, &standing, eta_ms, counted_ms, WAKE_MAX, now)
    }

    /// A driver is not to be found any more.
    pub(super) fn vanish(&mut self, driver: DriverId) {
        if let Some(key) = self.seen.remove(&driver)
            && let Some(supply) = self.supplies.get_mut(&key)
        {
            supply.forget(driver, None);
        }
    }

    /// Who is near, nearest first; and whether some cell did not answer.
    pub(super) fn near(&mut self, query: &Query, now: MonoMs) -> (Vec<Candidate>, bool) {
        let (mut found, mut partial) = (Vec::new(), false);
        self.silent.retain(|(_, until_ms)| now.0 < *until_ms);
        for (number, supply) in self.supplies.values_mut().enumerate() {
            let node = number % super::NODES;
            if self.silent.iter().any(|(silent, _)| *silent == node) {
                partial = true;
                continue;
            }
            found.extend(supply.search(query, now));
        }
        found.sort_unstable_by_key(|candidate| (candidate.distance_m, candidate.driver));
        found.truncate(query.max.into());
        (found, partial)
    }

    /// Puts a booking up; how many others wait nearby.
    pub(super) fn post(&mut self, demand: Demand, now: MonoMs) -> u32 {
        let Demand { booking, pickup, radius_m, .. } = demand;
        let waiting = self.board.waiting_near(pickup, radius_m, booking, now);
        self.board.post(demand, now);
        waiting
    }

    /// Takes a booking down.
    pub(super) fn withdraw(&mut self, booking: BookingId) {
        self.board.withdraw(booking);
    }

    /// A node died: its cells say nothing until then.
    pub(super) fn silence(&mut self, node: usize, until_ms: u64) {
        self.silent.push((node, until_ms));
    }
}
