mod ending;
mod oracle;

use super::*;
use crate::geo::distance_m;
use h3o::LatLng;
use proptest::prelude::*;
use proto::record::booking::Need;
use proto::record::cell::{Candidate, Seek};
use proto::record::driver::{Capabilities, DriverStatus, Standing, VehicleType};
use proto::record::explain::{DROPPED_MAX, Filter};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

const CHILD_SEAT: Capabilities = Capabilities(1);
const VERIFY_MS: u64 = 30_000;

/// So many metres north and east of Times Square.
fn around(north_m: i32, east_m: i32) -> Point {
    let (north, east) = (f64::from(north_m) / 111_195.0, f64::from(east_m) / 84_225.0);
    Point::from_degrees(40.758 + north, -73.9855 + east).unwrap()
}

fn driver(id: u64) -> DriverId {
    DriverId::from_raw(id)
}

fn ping(id: u64, point: Point, at_ms: u64) -> Ping {
    let (heading_deg, speed_cms, accuracy_m) = (0, 0, 5);
    Ping { driver: driver(id), point, heading_deg, speed_cms, accuracy_m, at: WallMs(at_ms) }
}

const IDLE_SINCE: WallMs = WallMs(7_000);

fn standing(id: u64, status: DriverStatus, version: u64) -> Standing {
    Standing {
        driver: driver(id),
        status,
        kind: VehicleType::Sedan,
        capabilities: Capabilities(0),
        seats_free: 4,
        version,
        accepts_pct: 80,
        idle_since: IDLE_SINCE,
        ends: None,
    }
}

/// A supply with a free driver at each point; ids count from 1, phone time 1, received at 0.
fn free_at(points: &[Point]) -> Supply {
    let mut supply = Supply::new(VERIFY_MS);
    for (id, point) in (1..).zip(points) {
        supply.ping(&ping(id, *point, 1), MonoMs(0));
        supply.restand(&standing(id, DriverStatus::Free, 1), MonoMs(0));
    }
    supply
}

fn query() -> Query {
    let (center, radius_m) = (around(0, 0), 5_000);
    let (seek, fresh_ms, max, ending_m) = (Seek::Free, 10_000, 32, 0);
    Query { center, radius_m, need: None, seek, fresh_ms, max, ending_m }
}

fn ids(found: &[Candidate]) -> Vec<u64> {
    found.iter().map(|candidate| candidate.driver.to_raw()).collect()
}

const STAYED: PingOutcome = PingOutcome::Applied { moved: false, ask: false };

#[test]
fn a_ping_from_the_same_cell_moves_nothing_but_is_fresh() {
    let centre = LatLng::from(cell_of(around(0, 0)));
    let centre = Point::from_degrees(centre.lat(), centre.lng()).unwrap();
    let mut supply = free_at(&[centre]);
    let before = supply.counts();
    for second in 1..=100 {
        let near = Point::from_degrees(centre.lat() + second as f64 * 1e-5, centre.lng()).unwrap();
        let outcome = supply.ping(&ping(1, near, 1 + second), MonoMs(second * 1_000));
        assert_eq!(outcome, STAYED);
    }
    let after = supply.counts();
    assert_eq!(after.applied, before.applied + 100);
    assert_eq!((after.bucket_writes, after.located), (before.bucket_writes, before.located));
    assert_eq!(ids(&supply.search(&query(), MonoMs(110_000))), [1]);
    assert_eq!(supply.fix(driver(1)).map(|fix| fix.seen), Some(MonoMs(100_000)));
    assert!(supply.expire(MonoMs(110_000), 10_000, 10).is_empty());
    supply.check_invariants();
}

#[test]
fn a_search_tells_whom_it_left_out_and_why() {
    let mut supply = free_at(&[around(10, 0); 8]);
    let mut restand = |id, change: fn(&mut Standing)| {
        let mut standing = standing(id, DriverStatus::Free, 2);
        standing.capabilities = CHILD_SEAT;
        change(&mut standing);
        supply.restand(&standing, MonoMs(0));
    };
    restand(1, |it| it.status = DriverStatus::Offline);
    restand(2, |it| it.status = DriverStatus::Held);
    restand(3, |it| it.kind = VehicleType::Bike);
    restand(4, |it| it.seats_free = 1);
    restand(5, |it| it.capabilities = Capabilities(2));
    for id in [6, 7, 8] {
        restand(id, |_| {});
    }
    let heard = |id, point| ping(id, point, 9);
    for id in [1, 2, 3, 4, 5, 8] {
        supply.ping(&heard(id, around(10, 0)), MonoMs(20_000));
    }
    supply.ping(&heard(7, around(700, 0)), MonoMs(20_000));
    supply.ping(&heard(9, around(10, 0)), MonoMs(20_000));
    let need = Need { kind: VehicleType::Sedan, capabilities: CHILD_SEAT, seats: 2 };
    let query = Query { need: Some(need), radius_m: 650, ..query() };
    let Hits { candidates, mut dropped, .. } = supply.search_and_tell(&query, MonoMs(20_000));
    assert_eq!(ids(&candidates), [8]);
    dropped.sort_by_key(|dropped| dropped.driver);
    use Filter::{Busy, Capability, Offline, Seats, Stale, TooFar, Unknown, Vehicle};
    let filters: Vec<_> = dropped.iter().map(|it| (it.driver.to_raw(), it.filter)).collect();
    let told = [Offline, Busy, Vehicle, Seats, Capability, Stale, TooFar].into_iter();
    let told: Vec<_> = (1..).zip(told).chain([(9, Unknown)]).collect();
    assert_eq!(filters, told);
    assert_eq!(dropped[6].distance_m, distance_m(query.center, around(700, 0)));
}

#[test]
fn a_search_tells_of_so_many_and_no_more() {
    let mut supply = free_at(&vec![around(10, 0); 3 * DROPPED_MAX]);
    let need = Need { kind: VehicleType::Bike, capabilities: Capabilities(0), seats: 1 };
    let told = supply.search_and_tell(&Query { need: Some(need), ..query() }, MonoMs(0));
    assert_eq!((told.candidates.len(), told.dropped.len()), (0, DROPPED_MAX));
}

#[test]
fn a_ping_across_the_border_of_a_cell_moves_the_driver_once() {
    let mut supply = free_at(&[around(0, 0)]);
    let before = supply.counts().bucket_writes;
    let outcome = supply.ping(&ping(1, around(3_000, 0), 2), MonoMs(1));
    assert_eq!(outcome, PingOutcome::Applied { moved: true, ask: false });
    assert_eq!(supply.counts().bucket_writes, before + 2, "out of one bucket, into another");
    assert_eq!(supply.len(), 1);
    supply.check_invariants();
}

#[test]
fn the_newest_phone_time_wins_whatever_the_order() {
    let mut supply = free_at(&[around(0, 0)]);
    supply.ping(&ping(1, around(50, 0), 9), MonoMs(1));
    for at_ms in [8, 9] {
        let late = ping(1, around(2_000, 0), at_ms);
        assert_eq!(supply.ping(&late, MonoMs(2)), PingOutcome::Stale);
    }
    let fix = Fix { point: around(50, 0), at: WallMs(9), seen: MonoMs(1) };
    assert_eq!(supply.fix(driver(1)), Some(fix), "a stale ping is no sign of life either");
}

#[test]
fn a_driver_without_standing_is_never_nominated() {
    let mut supply = Supply::new(VERIFY_MS);
    let outcome = supply.ping(&ping(1, around(0, 0), 1), MonoMs(0));
    assert_eq!(outcome, PingOutcome::Applied { moved: true, ask: true });
    let all = Query { seek: Seek::All, ..query() };
    assert!(supply.search(&all, MonoMs(0)).is_empty());
    supply.restand(&standing(1, DriverStatus::Offline, 1), MonoMs(0));
    assert_eq!(ids(&supply.search(&all, MonoMs(0))), [1]);
    assert!(supply.search(&query(), MonoMs(0)).is_empty());
}

#[test]
fn what_a_replica_says_counts_until_the_leader_speaks() {
    use DriverStatus::{Free, Held, Taken};
    let mut supply = Supply::new(VERIFY_MS);
    supply.ping(&ping(1, around(0, 0), 1), MonoMs(0));
    let heard = supply.hearsay(&standing(1, Held, 3), MonoMs(0));
    assert_eq!(heard, Restood::Noted);
    let all = Query { seek: Seek::All, ..query() };
    assert_eq!(ids(&supply.search(&all, MonoMs(0))), [1], "he is found without a leader's word");
    let soon = MonoMs(ASK_AGAIN_MS);
    assert_eq!(supply.unverified(soon, 9).len(), 1, "and is asked about again soon");
    assert_eq!(supply.restand(&standing(1, Taken, 4), soon), Restood::Noted);
    for version in [3, 4] {
        let late = supply.hearsay(&standing(1, Free, version), soon);
        assert_eq!(late, Restood::Ignored, "an old word takes nothing back");
    }
    let later = MonoMs(ASK_AGAIN_MS + VERIFY_MS / 2 - 1);
    assert_eq!(supply.unverified(later, 9), [], "nor has the leader asked again");
    supply.hearsay(&standing(1, Free, 5), later);
    assert_eq!(ids(&supply.search(&Query { fresh_ms: u32::MAX, ..query() }, later)), [1]);
}

#[test]
fn only_the_newest_standing_counts_and_coming_free_is_told_once() {
    use DriverStatus::{Free, Held, Offline, Taken};
    let mut supply = Supply::new(VERIFY_MS);
    let told = |supply: &mut Supply, status, version| {
        supply.restand(&standing(1, status, version), MonoMs(0))
    };
    assert_eq!(told(&mut supply, Free, 1), Restood::Ignored, "not here yet");
    supply.ping(&ping(1, around(0, 0), 1), MonoMs(0));
    let freed = |version| {
        let (driver, point, at, distance_m) = (driver(1), around(0, 0), WallMs(1), 0);
        let (status, spare) = (Free, 0);
        Restood::Freed(Candidate {
            driver,
            point,
            at,
            distance_m,
            status,
            version,
            spare,
            idle_since: IDLE_SINCE,
        })
    };
    assert_eq!(told(&mut supply, Free, 1), freed(1));
    assert_eq!(told(&mut supply, Free, 1), Restood::Noted, "confirmed");
    assert_eq!(told(&mut supply, Free, 2), Restood::Noted, "was free before");
    assert_eq!(told(&mut supply, Held, 3), Restood::Noted);
    assert_eq!(told(&mut supply, Free, 2), Restood::Ignored, "late");
    assert!(supply.search(&query(), MonoMs(0)).is_empty());
    assert_eq!(told(&mut supply, Taken, 4), Restood::Noted);
    assert_eq!(told(&mut supply, Offline, 5), Restood::Noted);
    assert_eq!(told(&mut supply, Free, 6), freed(6));
}

#[test]
fn only_the_right_vehicle_with_all_it_needs_is_found() {
    let mut supply = free_at(&[around(0, 0), around(10, 0), around(20, 0), around(30, 0)]);
    let base = |id| standing(id, DriverStatus::Free, 2);
    supply.restand(&Standing { kind: VehicleType::Suv, ..base(2) }, MonoMs(0));
    supply.restand(&Standing { capabilities: Capabilities(3), ..base(3) }, MonoMs(0));
    supply.restand(&Standing { seats_free: 2, ..base(4) }, MonoMs(0));
    let mut found = |kind, capabilities, seats| {
        let need = Some(Need { kind, capabilities, seats });
        ids(&supply.search(&Query { need, ..query() }, MonoMs(0)))
    };
    assert_eq!(found(VehicleType::Sedan, Capabilities(0), 1), [1, 3, 4]);
    assert_eq!(found(VehicleType::Sedan, Capabilities(0), 3), [1, 3]);
    assert_eq!(found(VehicleType::Sedan, CHILD_SEAT, 1), [3]);
    assert_eq!(found(VehicleType::Suv, Capabilities(0), 4), [2]);
    assert_eq!(found(VehicleType::Suv, CHILD_SEAT, 4), [0_u64; 0]);
    assert_eq!(found(VehicleType::Bike, Capabilities(0), 1), [0_u64; 0]);
}

#[test]
fn what_was_not_heard_of_in_time_is_neither_found_nor_kept() {
    let mut supply = free_at(&[around(0, 0), around(0, 10)]);
    supply.ping(&ping(2, around(0, 10), 2), MonoMs(4_000));
    assert_eq!(ids(&supply.search(&query(), MonoMs(10_000))), [1, 2], "the limit is inside");
    assert_eq!(ids(&supply.search(&query(), MonoMs(10_001))), [2]);
    assert!(supply.expire(MonoMs(10_000), 10_000, 10).is_empty());
    assert_eq!(supply.expire(MonoMs(14_000), 10_000, 10), [driver(1)]);
    assert_eq!(supply.expire(MonoMs(14_001), 10_000, 10), [driver(2)]);
    assert!(supply.is_empty());
    supply.check_invariants();
    supply.ping(&ping(3, around(0, 0), 1), MonoMs(20_000));
    assert_eq!((supply.len(), supply.entries.len()), (1, 2), "slots are used again");
    supply.check_invariants();
}

#[test]
fn a_sweep_is_bounded_and_starts_with_the_longest_silent() {
    let mut supply = Supply::new(VERIFY_MS);
    for id in 1..=100 {
        supply.ping(&ping(id, around(0, 0), 1), MonoMs(id));
    }
    let expected: Vec<DriverId> = (1..=30).map(driver).collect();
    assert_eq!(supply.expire(MonoMs(50_000), 10_000, 30), expected);
    assert_eq!(supply.len(), 70);
    assert_eq!(supply.expire(MonoMs(50_000), 10_000, 1_000).len(), 70);
}

#[test]
fn a_driver_seen_elsewhere_is_forgotten_and_a_late_ping_does_not_bring_him_back() {
    let mut old = Supply::new(VERIFY_MS);
    old.ping(&ping(1, around(0, 0), 1), MonoMs(0));
    old.restand(&standing(1, DriverStatus::Free, 1), MonoMs(0));
    // Word that he moved at 3, while a ping of 2 is still under way.
    assert!(old.forget(driver(1), Some(WallMs(3))));
    assert_eq!(old.ping(&ping(1, around(0, 0), 2), MonoMs(2)), PingOutcome::Stale);
    assert_eq!((old.len(), old.fix(driver(1))), (0, None));
    assert!(!old.forget(driver(1), Some(WallMs(3))));
    old.check_invariants();
    // He comes back; what was known of him is not believed, and his partition is asked at once.
    let back = old.ping(&ping(1, around(0, 0), 4), MonoMs(3));
    assert_eq!(back, PingOutcome::Applied { moved: true, ask: true });
    let again = old.ping(&ping(1, around(0, 0), 5), MonoMs(4));
    assert_eq!(again, PingOutcome::Applied { moved: false, ask: false }, "once a while");
    // Old word of that move, come late, changes nothing.
    assert!(!old.forget(driver(1), Some(WallMs(3))));
    assert_eq!(old.len(), 1);
    old.check_invariants();
    // A ghost is swept like a driver, but nobody hears of it.
    old.forget(driver(1), None);
    assert!(old.expire(MonoMs(60_000), 10_000, 10).is_empty());
    assert!(old.entries.len() == 1 && old.vacant.len() == 1);
    old.check_invariants();
}

#[test]
fn the_forgotten_come_back_only_with_a_ping_that_is_not_older() {
    let mut supply = free_at(&[around(0, 0)]);
    supply.ping(&ping(1, around(0, 0), 2), MonoMs(0));
    assert!(supply.forget(driver(1), None));
    assert!(!supply.forget(driver(1), None));
    assert!(!supply.forget(driver(2), None));
    assert!(supply.search(&query(), MonoMs(0)).is_empty());
    assert_eq!(supply.restand(&standing(1, DriverStatus::Free, 9), MonoMs(0)), Restood::Ignored);
    assert_eq!(supply.ping(&ping(1, around(0, 0), 1), MonoMs(1)), PingOutcome::Stale);
    // His last one, by which he left: the cell that he left to is merged into this key.
    let back = supply.ping(&ping(1, around(0, 0), 2), MonoMs(1));
    assert_eq!(back, PingOutcome::Applied { moved: true, ask: true });
    assert_eq!(supply.len(), 1);
    supply.check_invariants();
}

#[test]
fn everybodys_turn_to_be_asked_about_comes() {
    let mut supply = Supply::new(VERIFY_MS);
    for id in 1..=10 {
        supply.ping(&ping(id, around(0, 0), 1), MonoMs(0));
    }
    let named = |asked: Vec<(DriverId, WallMs)>| asked.into_iter().map(|(driver, _)| driver);
    let mut asked: Vec<DriverId> = Vec::new();
    for _ in 0..4 {
        asked.extend(named(supply.unverified(MonoMs(ASK_AGAIN_MS), 3)));
    }
    asked.sort_unstable();
    assert_eq!(asked, (1..=10).map(driver).collect::<Vec<_>>(), "each once");
    assert!(supply.unverified(MonoMs(2 * ASK_AGAIN_MS - 1), 99).is_empty());
    supply.restand(&standing(4, DriverStatus::Free, 1), MonoMs(2 * ASK_AGAIN_MS));
    assert_eq!(supply.unverified(MonoMs(2 * ASK_AGAIN_MS), 99).len(), 9, "4 is answered");
    supply.forget(driver(5), None);
    let later = supply.unverified(MonoMs(2 * ASK_AGAIN_MS + VERIFY_MS), 99);
    let later: Vec<DriverId> = named(later).collect();
    assert!(later.contains(&driver(4)) && !later.contains(&driver(5)), "{later:?}");
}

#[test]
fn those_who_came_at_once_are_not_asked_about_at_once() {
    const DRIVERS: u64 = 1_000;
    let mut supply = Supply::new(VERIFY_MS);
    for id in 1..=DRIVERS {
        supply.ping(&ping(id, around(0, 0), 1), MonoMs(0));
        supply.restand(&standing(id, DriverStatus::Free, 1), MonoMs(0));
    }
    let mut asked_in = |now: MonoMs| {
        let asked = supply.unverified(now, usize::MAX);
        for (driver, _) in &asked {
            supply.restand(&standing(driver.to_raw(), DriverStatus::Free, 1), now);
        }
        asked.len()
    };
    let asked: Vec<usize> = (1..=20).map(|n| asked_in(MonoMs(n * VERIFY_MS / 20))).collect();
    assert_eq!(asked[..9], [0; 9], "all are believed for a while");
    let fair = usize::try_from(DRIVERS / 10).unwrap();
    assert!(asked[10..].iter().all(|asked| (fair / 2..2 * fair).contains(asked)), "{asked:?}");
}

#[test]
fn a_search_touches_no_cell_that_cannot_better_its_answer() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let points: Vec<Point> = (0..4_000)
        .map(|_| around(rng.random_range(-4_000..4_000), rng.random_range(-4_000..4_000)))
        .collect();
    let mut supply = free_at(&points);
    let cells = supply.buckets.len() as u64;
    assert!(cells > 70, "{cells} cells");
    let touched = |supply: &mut Supply, query: Query| {
        let before = supply.counts().cells_touched;
        supply.search(&query, MonoMs(0));
        supply.counts().cells_touched - before
    };
    assert!(touched(&mut supply, Query { max: 8, ..query() }) <= 4);
    assert!(touched(&mut supply, Query { radius_m: 500, max: 9_999, ..query() }) <= 7);
    assert_eq!(touched(&mut supply, Query { max: 0, ..query() }), 0);
    assert_eq!(touched(&mut supply, Query { center: around(40_000, 0), ..query() }), 0);
    assert_eq!(touched(&mut supply, Query { radius_m: u32::MAX, max: 9_999, ..query() }), cells);
}

#[test]
fn a_full_supply_takes_no_new_driver_and_serves_the_old() {
    let mut supply = Supply::new(VERIFY_MS);
    let point = around(0, 0);
    for id in 0..DRIVERS_MAX as u64 {
        supply.ping(&ping(id, point, 1), MonoMs(id));
    }
    let new = ping(u64::MAX, point, 1);
    assert_eq!(supply.ping(&new, MonoMs(0)), PingOutcome::Full);
    let old = supply.ping(&ping(0, point, 2), MonoMs(DRIVERS_MAX as u64));
    assert!(matches!(old, PingOutcome::Applied { moved: false, .. }), "{old:?}");
    assert_eq!(supply.expire(MonoMs(10_002), 10_000, 2), [driver(1)]);
    assert_eq!(supply.ping(&new, MonoMs(0)), PingOutcome::Applied { moved: true, ask: true });
    assert_eq!((supply.len(), supply.counts().full), (DRIVERS_MAX, 1));
}

#[test]
fn a_driver_costs_little_memory() {
    let (entry, sweep, bucket) = (size_of::<Entry>(), size_of::<Reverse<(MonoMs, u32)>>(), 4);
    let idle = size_of::<u32>();
    // A place of the map is a pair and a byte of tag, and 7 in 8 to 7 in 16 of them are taken.
    let place = size_of::<(DriverId, u32)>() + 1;
    let (map, map_grown) = ((place * 8).div_ceil(7), (place * 16).div_ceil(7));
    assert_eq!((entry, idle, sweep, bucket, map, map_grown), (64, 4, 16, 4, 20, 39));
    assert!(entry + idle + sweep + bucket + (map + map_grown) / 2 <= 120, "as the module says");
    assert!(2 * (entry + idle + sweep + bucket) + map_grown <= 215, "just after all have doubled");
}
