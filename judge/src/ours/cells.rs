//! The cells of the city as one node would have them: the index of each ring key, and the board.

use actors::cell::board::{Board, WAKE_MAX};
use actors::cell::index::{ENDING_MAX, Query, Restood, Supply};
use actors::geo;
use actors::policy::Policy;
use h3o::{CellIndex, Resolution};
use proto::record::cell::{Candidate, Demand, Ending, Ping};
use proto::record::driver::{Capabilities, DriverStatus, Standing, VehicleType};
use proto::{BookingId, DriverId, MonoMs, Point, WallMs};
use std::collections::BTreeMap;

/// Longer than any run: nobody has to be asked about again.
const BELIEVED_MS: u64 = 1 << 40;

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
        let (restood, standing) = self.stand(driver, point, None, now);
        let Restood::Freed(car) = restood else { return Vec::new() };
        let eta_ms = |metres| geo::eta_ms(metres, policy.speed_cms, policy.detour_pct);
        self.board.wake(&car, &standing, eta_ms, WAKE_MAX, now)
    }

    /// A driver with a rider aboard is seen on his way to where the ride ends.
    pub(super) fn pass(&mut self, driver: DriverId, point: Point, ends: Point, now: MonoMs) {
        if self.seen.get(&driver).is_some_and(|key| *key != self.key(point)) {
            self.vanish(driver);
        }
        self.stand(driver, point, Some(ends), now);
    }

    fn key(&self, point: Point) -> u64 {
        self.keys.get(&point).copied().unwrap_or_else(|| ring_key(point))
    }

    /// A driver pings and his partition says how he stands: free, or with a rider for `ends`.
    fn stand(
        &mut self,
        driver: DriverId,
        point: Point,
        ends: Option<Point>,
        now: MonoMs,
    ) -> (Restood, Standing) {
        self.pings += 1;
        let key = self.key(point);
        let supply = self.supplies.entry(key).or_insert_with(|| Supply::new(BELIEVED_MS));
        self.seen.insert(driver, key);
        let (heading_deg, speed_cms, accuracy_m, at) = (0, 0, 5, WallMs(self.pings));
        supply.ping(&Ping { driver, point, heading_deg, speed_cms, accuracy_m, at }, now);
        let status = if ends.is_some() { DriverStatus::Taken } else { DriverStatus::Free };
        let standing = Standing {
            driver,
            status,
            kind: VehicleType::Sedan,
            capabilities: Capabilities::default(),
            seats_free: 4,
            version: self.pings,
            accepts_pct: 100,
            idle_since: WallMs(0), // the street knows
            ends,
        };
        (supply.restand(&standing, now), standing)
    }

    /// A driver is not to be found any more.
    pub(super) fn vanish(&mut self, driver: DriverId) {
        if let Some(key) = self.seen.remove(&driver)
            && let Some(supply) = self.supplies.get_mut(&key)
        {
            supply.forget(driver, None);
        }
    }

    /// Who is near, nearest first; whose ride ends soon; and whether some cell did not answer.
    pub(super) fn near(
        &mut self,
        query: &Query,
        now: MonoMs,
    ) -> (Vec<Candidate>, Vec<Ending>, bool) {
        let (mut found, mut ending, mut partial) = (Vec::new(), Vec::new(), false);
        self.silent.retain(|(_, until_ms)| now.0 < *until_ms);
        for (number, supply) in self.supplies.values_mut().enumerate() {
            let node = number % super::NODES;
            if self.silent.iter().any(|(silent, _)| *silent == node) {
                partial = true;
                continue;
            }
            let hits = supply.find(query, now, false);
            found.extend(hits.candidates);
            ending.extend(hits.ending);
        }
        found.sort_unstable_by_key(|candidate| (candidate.distance_m, candidate.driver));
        found.truncate(query.max.into());
        ending.sort_by_key(|it: &Ending| (it.way_m(), it.car.driver));
        ending.truncate(ENDING_MAX);
        (found, ending, partial)
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
