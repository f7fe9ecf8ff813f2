//! Policy: every number that dispatch may be tuned by, with its unit and default. A value here is
//! a product decision, not a protocol timer; shortening all of them alike only speeds the city up.

mod places;

pub use places::{PLACES_MAX, PlaceCaps};

use crate::geo::{Drive, straight_drive};
use crate::queue::zone::QueueZones;
use proto::Point;
use proto::record::VehicleType;
use proto::record::fare::{ONE_BP, Quote, Tariff};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Radius steps of a search. Three attempts, as wide as a city's dispatch ever looks.
pub const ATTEMPTS: usize = 3;

/// The most changes of driver that a policy may allow a booking: each is an offer, of which it has 64.
const REASSIGN_MOST: u16 = 8;
/// The most that waiting for a ride may count, in milliseconds: more is no tie-break, but another order.
const FAIRNESS_MOST_MS: u32 = 600_000;
/// The shortest pause between two looks for a better driver, in milliseconds: each is a search, of every
/// booking whose driver is on his way.
const REASSIGN_LEAST_MS: u32 = 100;

/// The most that a last chance may weigh, in percent: more than ten times its time is "whoever else waits".
const LAST_CHANCE_WEIGHT_MOST: u16 = 1_000;
/// The latest that a rider may be fetched for another's sake, in milliseconds.
const YIELD_MOST_MS: u32 = 3_600_000;
/// The most that being stranded may count, in milliseconds: an hour is before all others.
const STRANDED_MOST_MS: u32 = 3_600_000;

/// The values in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// How long a driver has to answer an offer, in milliseconds.
    pub offer_ttl_ms: u32,
    /// How long his phone shows it, in milliseconds; at most `offer_ttl_ms`.
    pub offer_shown_ms: u32,
    /// How long a booking looks for a driver before it expires, in milliseconds.
    pub booking_ttl_ms: u32,
    /// How long one radius is tried before the next, wider one, in milliseconds.
    pub attempt_ms: u32,
    /// The radius of each attempt, in metres, not shrinking.
    pub search_radii_m: [u32; ATTEMPTS],
    /// How many offers of one booking may be out at once, 1 to 64.
    pub max_offers_per_attempt: u16,
    /// How long claims on a contended driver are collected, in milliseconds.
    pub claim_window_ms: u32,
    /// How long a granted claim reserves its driver, in milliseconds.
    pub claim_reserve_ms: u32,
    /// Drivers farther than this from the pickup are not offered, in milliseconds of estimated
    /// driving.
    pub pickup_cap_ms: u32,
    /// Other caps for riders who stand in these places, in milliseconds.
    pub pickup_cap_by_cell: PlaceCaps,
    /// A driver who would reach the rider later than this after he asked is not offered, in
    /// milliseconds: what the rider's patience is taken to be. 0 is no limit.
    pub pickup_within_ms: u32,
    /// The pickup cap of each attempt, in percent of `pickup_cap_ms`, 1 to 100: who has just asked may
    /// be offered nearer drivers only.
    pub attempt_cap_pct: [u16; ATTEMPTS],
    /// How much a booking's waiting time counts against pickup time where several want one driver,
    /// in percent. 100 serves in order of patience, 0 the nearest, whoever has waited how long.
    pub age_weight_pct: u16,
    /// How much the time of the ride counts against a booking where several want one driver, in percent
    /// of it: where cars are scarce, short rides first serve more riders.
    pub ride_weight_pct: u16,
    /// The last part of a booking's time, in percent of it: one that a driver would reach only then, or that
    /// has only that left to look for one, may not find another. Its time is `pickup_within_ms`, or
    /// `booking_ttl_ms` where that is off. 0 is no such part.
    pub last_chance_pct: u16,
    /// How much speaks for a booking there that drivers are wanted for by others too, in percent of how
    /// far it is into that part; in a crowd nothing does.
    pub last_chance_weight_pct: u16,
    /// What speaks for a booking whose widest search found no free driver who could come in time, where a
    /// driver who comes free is wanted by others too, in milliseconds of pickup time; they may have other
    /// drivers to go for.
    pub stranded_ms: u32,
    /// From so many other bookings waiting nearby on it does not count: there most are stranded.
    pub stranded_below: u16,
    /// From so many other bookings waiting nearby on, `crowded_age_weight_pct` counts instead and
    /// the pickup cap is `crowded_cap_pct` of itself; 0 is never.
    pub crowded_from: u16,
    /// The weight of waiting time in a crowd, in percent.
    pub crowded_age_weight_pct: u16,
    /// The pickup cap in a crowd, in percent of `pickup_cap_ms`, 1 to 100.
    pub crowded_cap_pct: u16,
    /// Drivers whose trip ends within so many milliseconds are counted on: a booking that one of
    /// them will reach sooner than any free one waits for him. 0 counts on nobody.
    pub soon_ms: u32,
    /// What the end of a trip is taken to be late by, in milliseconds: the rider gets out.
    pub soon_margin_ms: u32,
    /// Drivers whose trip ends within so many milliseconds are offered the booking as their next ride,
    /// if they will reach it sooner than any free one: who accepts is bound. 0 binds nobody.
    pub next_within_ms: u32,
    /// How long a booking waits for a driver whom it has so bound, in milliseconds; then it looks on, for
    /// free ones.
    pub next_patience_ms: u32,
    /// What each of a driver's capabilities that the booking does not need adds to his cost, in
    /// milliseconds, so that those who can do more are kept for those who need it.
    pub spare_capability_ms: u32,
    /// What a driver is credited with for each of the time that he has waited for a ride, in percent: so
    /// much nearer he counts as. 0 credits nobody.
    pub fairness_pct: u16,
    /// The most that he is credited with, in milliseconds: a tie-break. More made waits longer where cars
    /// are plenty.
    pub fairness_max_ms: u32,
    /// The speed the estimate assumes, in centimetres a second.
    pub speed_cms: u32,
    /// How much longer a road is than a straight line, in percent; 100 is straight.
    pub detour_pct: u32,
    /// Positions older than this are not matched, in milliseconds since the node received them.
    pub fresh_ms: u32,
    /// How much later another driver may come for a rider whose own is on his way and could be in time for a
    /// stranded booking, in milliseconds; 0 never takes a driver from anybody.
    pub yield_ms: u32,
    /// How often a booking may change to a better driver before its pickup; 0 is never.
    pub reassign_max: u16,
    /// How much sooner he must be there, in milliseconds.
    pub reassign_gain_ms: u32,
    /// A driver nearer to the pickup than this keeps it, in milliseconds of estimated driving.
    pub reassign_left_ms: u32,
    /// How long a booking keeps each driver at least, in milliseconds.
    pub reassign_rest_ms: u32,
    /// How often a better driver is looked for, in milliseconds.
    pub reassign_every_ms: u32,
    /// What rides cost.
    pub tariffs: Tariffs,
    /// What a driver must know to start a trip.
    pub start_code: StartRule,
    /// Where drivers wait their turn.
    pub queue_zones: QueueZones,
}

/// What a driver must know to start a trip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartRule {
    /// Nothing.
    #[default]
    None,
    /// Four digits that are made for each trip.
    PerTrip,
    /// The four digits that the rider registered with; made for the trip if he has none.
    Pin,
}

/// What rides cost, by the kind of vehicle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariffs {
    /// Where nothing else is said.
    pub general: Tariff,
    /// For some kinds.
    pub of_kind: BTreeMap<VehicleType, Tariff>,
}

impl Tariffs {
    /// What a kind costs.
    pub fn of(&self, kind: VehicleType) -> Tariff {
        *self.of_kind.get(&kind).unwrap_or(&self.general)
    }
}

impl Default for Tariffs {
    fn default() -> Self {
        let general = Tariff {
            currency: "EUR".parse().expect("three capital letters"),
            base_minor: 250,
            per_km_minor: 120,
            per_minute_minor: 30,
            per_paused_minute_minor: 30,
            minimum_minor: 600,
            tax_bp: 700,
            platform_bp: 2_000,
            cancel_free_ms: 120_000,
            cancel_fee_minor: 400,
        };
        Self { general, of_kind: BTreeMap::new() }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            offer_ttl_ms: 15_000,
            offer_shown_ms: 10_000,
            booking_ttl_ms: 60_000,
            attempt_ms: 20_000,
            search_radii_m: [1_000, 3_000, 8_000],
            max_offers_per_attempt: 1,
            claim_window_ms: 300,
            claim_reserve_ms: 500,
            pickup_cap_ms: 300_000,
            pickup_cap_by_cell: PlaceCaps::default(),
            pickup_within_ms: 0,
            attempt_cap_pct: [100; ATTEMPTS],
            age_weight_pct: 100,
            ride_weight_pct: 10,
            last_chance_pct: 33,
            last_chance_weight_pct: 200,
            stranded_ms: 300_000,
            stranded_below: 80,
            crowded_from: 250,
            crowded_age_weight_pct: 20,
            crowded_cap_pct: 100,
            soon_ms: 5_000,
            soon_margin_ms: 30_000,
            next_within_ms: 0,
            next_patience_ms: 180_000,
            spare_capability_ms: 0,
            fairness_pct: 0,
            fairness_max_ms: 15_000,
            speed_cms: 600,
            detour_pct: 130,
            fresh_ms: 10_000,
            yield_ms: 0,
            reassign_max: 0,
            reassign_gain_ms: 45_000,
            reassign_left_ms: 20_000,
            reassign_rest_ms: 30_000,
            reassign_every_ms: 5_000,
            tariffs: Tariffs::default(),
            start_code: StartRule::None,
            queue_zones: QueueZones::default(),
        }
    }
}

/// A value that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct PolicyError {
    /// Which field.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Policy {
    /// How often a booking may change its driver before its pickup at all: to a better one, or once for one
    /// that is stranded.
    pub fn changes_max(&self) -> u16 {
        self.reassign_max.max(u16::from(self.yield_ms > 0))
    }
    /// What a ride from here to there would cost, in a straight line.
    pub fn quote(&self, kind: VehicleType, from: Point, to: Point) -> Quote {
        self.quote_drive(kind, straight_drive(from, to, self.speed_cms, self.detour_pct))
    }
    /// What a ride over this way would cost.
    pub fn quote_drive(&self, kind: VehicleType, drive: Drive) -> Quote {
        crate::fare::quote(self.tariffs.of(kind), ONE_BP, drive.road_m, drive.seconds())
    }
    /// The policy as it is for a rider who stands there.
    pub fn local(&self, pickup: Point) -> Self {
        let cap_ms = self.pickup_cap_by_cell.at(pickup).unwrap_or(self.pickup_cap_ms);
        Self { pickup_cap_ms: cap_ms, ..self.clone() }
    }
    /// Checks that the values fit together.
    pub fn check(&self) -> Result<(), PolicyError> {
        let refuse = |field, problem: &str| Err(PolicyError { field, problem: problem.into() });
        if self.offer_ttl_ms == 0 || self.booking_ttl_ms == 0 || self.attempt_ms == 0 {
            return refuse("offer_ttl_ms, booking_ttl_ms, attempt_ms", "must be above 0");
        }
        if self.offer_shown_ms > self.offer_ttl_ms {
            return refuse("offer_shown_ms", "must be at most offer_ttl_ms");
        }
        if !self.search_radii_m.is_sorted() || self.search_radii_m[0] == 0 {
            return refuse("search_radii_m", "must be above 0 and not shrink");
        }
        if self.search_radii_m[ATTEMPTS - 1] > crate::geo::SEARCH_RADIUS_MAX_M {
            return refuse("search_radii_m", "must be at most the widest search the index answers");
        }
        if self.max_offers_per_attempt == 0 || self.max_offers_per_attempt > 64 {
            return refuse("max_offers_per_attempt", "must be 1 to 64");
        }
        if self.claim_window_ms >= self.claim_reserve_ms {
            return refuse("claim_window_ms", "must be below claim_reserve_ms");
        }
        let percent = 1..=100;
        if !percent.contains(&self.crowded_cap_pct)
            || !self.attempt_cap_pct.iter().all(|pct| percent.contains(pct))
        {
            return refuse("crowded_cap_pct, attempt_cap_pct", "must be 1 to 100");
        }
        let shares = [self.age_weight_pct, self.crowded_age_weight_pct, self.ride_weight_pct];
        if shares.into_iter().any(|pct| pct > 100) || self.last_chance_pct > 100 {
            let weights =
                "age_weight_pct, crowded_age_weight_pct, ride_weight_pct, last_chance_pct";
            return refuse(weights, "must be at most 100");
        }
        if self.last_chance_weight_pct > LAST_CHANCE_WEIGHT_MOST {
            return refuse("last_chance_weight_pct", "must be at most 1000");
        }
        if self.stranded_ms > STRANDED_MOST_MS {
            return refuse("stranded_ms", "must be at most 3600000");
        }
        if self.fairness_pct > 100 || self.fairness_max_ms > FAIRNESS_MOST_MS {
            return refuse("fairness_pct, fairness_max_ms", "must be at most 100, and 600000");
        }
        if self.speed_cms == 0 || self.detour_pct < 100 {
            return refuse("speed_cms, detour_pct", "must be above 0 and at least 100");
        }
        if self.fresh_ms == 0 {
            return refuse("fresh_ms", "must be above 0");
        }
        if self.next_patience_ms <= self.next_within_ms {
            return refuse("next_patience_ms", "must be above next_within_ms");
        }
        if self.reassign_max > REASSIGN_MOST {
            return refuse("reassign_max", "must be at most 8");
        }
        if self.yield_ms > YIELD_MOST_MS {
            return refuse("yield_ms", "must be at most 3600000");
        }
        if self.reassign_every_ms < REASSIGN_LEAST_MS {
            return refuse("reassign_every_ms", "must be at least 100");
        }
        let shares = |tariff: &Tariff| tariff.tax_bp <= ONE_BP && tariff.platform_bp <= ONE_BP;
        let Tariffs { general, of_kind } = &self.tariffs;
        if !of_kind.values().chain([general]).all(shares) {
            return refuse("tariff", "the tax and the platform's part are 10000 at most");
        }
        if let Some(problem) = self.pickup_cap_by_cell.problem() {
            return refuse("pickup_cap_by_cell", &problem);
        }
        if let Some(problem) = self.queue_zones.problem() {
            return refuse("queue_zones", &problem);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rider_in_a_place_of_its_own_has_its_cap_and_nothing_else_of_it() {
        let rider = Point::from_e7(407_580_000, -739_855_000).unwrap();
        let cell = crate::geo::cell_of(rider).to_string();
        let caps = PlaceCaps::try_from(BTreeMap::from([(cell, 90_000)])).unwrap();
        let policy = Policy { pickup_cap_by_cell: caps, ..Policy::default() };
        assert_eq!(policy.local(rider), Policy { pickup_cap_ms: 90_000, ..policy.clone() });
        let elsewhere = Point::from_e7(0, 0).unwrap();
        assert_eq!(policy.local(elsewhere), policy);
    }

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(Policy::default().check(), Ok(()));
    }

    #[test]
    fn values_that_cannot_be_meant_are_named() {
        let shown = Policy { offer_shown_ms: 20_000, ..Policy::default() };
        assert_eq!(shown.check().map_err(|e| e.field), Err("offer_shown_ms"));
        let next = Policy { next_within_ms: 180_000, ..Policy::default() };
        assert_eq!(next.check().map_err(|e| e.field), Err("next_patience_ms"));
        let radii = Policy { search_radii_m: [3_000, 1_000, 5_000], ..Policy::default() };
        assert_eq!(radii.check().map_err(|e| e.field), Err("search_radii_m"));
    }
}
