//! The index beside a list that is searched from end to end, and counts beside a recount.

use super::*;
use crate::geo::{CellShape, Flat};

/// What the index should do, with a list and linear scans.
#[derive(Debug, Default)]
struct Oracle {
    drivers: Vec<Naive>,
}

#[derive(Debug, Clone, Copy)]
struct Naive {
    driver: DriverId,
    point: Point,
    at: WallMs,
    seen: MonoMs,
    here: bool,
    standing: Option<Standing>,
}

impl Oracle {
    fn find(&mut self, driver: DriverId) -> Option<&mut Naive> {
        self.drivers.iter_mut().find(|naive| naive.driver == driver)
    }

    /// Whether the ping was taken, and if so whether it moved him.
    fn ping(&mut self, ping: &Ping, now: MonoMs) -> Option<bool> {
        let Ping { driver, point, at, .. } = *ping;
        let old = self.find(driver).copied();
        if old.is_some_and(|old| at < old.at || at == old.at && old.here) {
            return None;
        }
        let standing = old.and_then(|old| old.standing);
        self.drivers.retain(|naive| naive.driver != driver);
        self.drivers.push(Naive { driver, point, at, seen: now, here: true, standing });
        Some(!old.is_some_and(|old| old.here && cell_of(old.point) == cell_of(point)))
    }

    fn restand(&mut self, standing: &Standing) -> Restood {
        let Some(naive) = self.find(standing.driver).filter(|naive| naive.here) else {
            return Restood::Ignored;
        };
        let old = naive.standing.replace(*standing);
        if old.is_some_and(|old| old.version > standing.version) {
            naive.standing = old;
            return Restood::Ignored;
        }
        let free = |standing: Standing| standing.status == DriverStatus::Free;
        if free(*standing) && !old.is_some_and(free) {
            let Naive { driver, point, at, .. } = *naive;
            let Standing { status, version, idle_since, .. } = *standing;
            let (distance_m, spare) = (0, 0);
            let freed =
                Candidate { driver, point, at, distance_m, status, version, spare, idle_since };
            return Restood::Freed(freed);
        }
        Restood::Noted
    }

    fn forget(&mut self, driver: DriverId, at: Option<WallMs>) -> bool {
        let newer = |naive: &&mut Naive| at.is_none_or(|at| at >= naive.at);
        let Some(naive) = self.find(driver).filter(newer) else { return false };
        naive.at = at.unwrap_or(naive.at);
        let was_here = std::mem::take(&mut naive.here);
        naive.standing = None;
        was_here
    }

    fn expire(&mut self, now: MonoMs, older_than_ms: u64) -> Vec<DriverId> {
        let old = |naive: &Naive| now.since(naive.seen) > older_than_ms;
        let gone = self.drivers.iter().filter(|naive| old(naive) && naive.here);
        let mut gone: Vec<DriverId> = gone.map(|naive| naive.driver).collect();
        gone.sort_unstable();
        self.drivers.retain(|naive| !old(naive));
        gone
    }

    fn search(&self, query: &Query, now: MonoMs) -> Vec<Candidate> {
        let mut found = Vec::new();
        for naive in self.drivers.iter().filter(|naive| naive.here) {
            let Naive { driver, point, at, seen, .. } = *naive;
            let Some(standing) = naive.standing else { continue };
            let Standing { status, version, idle_since, .. } = standing;
            let distance_m = distance_m(query.center, point);
            let fits = query.need.is_none_or(|need| {
                standing.kind == need.kind
                    && need.capabilities.0 & !standing.capabilities.0 == 0
                    && need.seats <= standing.seats_free
            });
            let fresh = now.since(seen) <= u64::from(query.fresh_ms);
            let free = match query.seek {
                Seek::Free => status == DriverStatus::Free,
                Seek::Fetching => status == DriverStatus::Taken && standing.ends.is_none(),
                Seek::All => true,
            };
            if fits && fresh && free && distance_m <= query.radius_m {
                let spare = query.need.map_or(0, |need| {
                    (0..32).filter(|bit| can_beyond(standing, need, *bit)).count()
                });
                let spare = u8::try_from(spare).unwrap();
                found.push(Candidate {
                    driver,
                    point,
                    at,
                    distance_m,
                    status,
                    version,
                    spare,
                    idle_since,
                });
            }
        }
        found.sort_by_key(|candidate| (candidate.distance_m, candidate.driver));
        found.truncate(usize::from(query.max));
        found
    }

    /// Who has a rider aboard and ends near: the least way there first.
    fn ending(&self, query: &Query, now: MonoMs) -> Vec<(DriverId, Point)> {
        let mut found = Vec::new();
        for naive in self.drivers.iter().filter(|naive| naive.here) {
            let taken = |it: &Standing| it.status == DriverStatus::Taken;
            let Some(standing) = naive.standing.filter(taken) else { continue };
            let Some(ends) = standing.ends else { continue };
            let left_m = distance_m(naive.point, ends);
            let there_m = distance_m(query.center, ends);
            let fits = query.need.is_none_or(|need| crate::cell::meets(&standing, &need));
            let fresh = now.since(naive.seen) <= u64::from(query.fresh_ms);
            // The index looks at the cells that the circle touches.
            let seen = CellShape::of(cell_of(naive.point));
            let looked = seen.nearest_on(&Flat::around(query.center)) <= query.radius_m;
            if fits && fresh && looked && left_m <= query.ending_m && there_m <= query.radius_m {
                found.push((left_m + there_m, naive.driver, ends));
            }
        }
        found.sort_unstable();
        found.truncate(ENDING_MAX);
        found.into_iter().map(|(_, driver, ends)| (driver, ends)).collect()
    }
}

fn can_beyond(standing: Standing, need: Need, bit: u32) -> bool {
    let has = |capabilities: Capabilities| capabilities.0 >> bit & 1 == 1;
    has(standing.capabilities) && !has(need.capabilities)
}

#[derive(Debug, Clone)]
enum Op {
    Pings(Vec<(u64, Point, u64)>),
    Restand(Standing),
    Hearsay(Standing),
    Forget(u64, Option<WallMs>),
    Expire { older_than_ms: u64 },
    Search(Query),
}

fn any_point() -> impl Strategy<Value = Point> {
    // A few places often, so that drivers meet and distances tie; else anywhere within 5 km, part
    // of it in another ring key.
    prop_oneof![
        2 => (0..6_i32).prop_map(|step| around(step * 150, 0)),
        3 => (-5_000..5_000_i32, -5_000..5_000_i32).prop_map(|(north, east)| around(north, east)),
    ]
}

fn any_kind() -> impl Strategy<Value = VehicleType> {
    prop_oneof![4 => Just(VehicleType::Sedan), 1 => Just(VehicleType::Suv)]
}

fn any_standing() -> impl Strategy<Value = Standing> {
    let status = prop_oneof![
        4 => Just(DriverStatus::Free),
        1 => Just(DriverStatus::Offline),
        1 => Just(DriverStatus::Held),
        1 => Just(DriverStatus::Taken),
    ];
    let ends = prop::option::of(any_point());
    (0..16_u64, status, any_kind(), 0..4_u32, 0..5_u8, 0..20_u64, 0..=100_u8, ends).prop_map(
        |(id, status, kind, bits, seats_free, version, accepts_pct, ends)| {
            let (driver, capabilities) = (driver(id), Capabilities(bits));
            let seats = seats_free;
            Standing {
                driver,
                status,
                kind,
                capabilities,
                seats_free: seats,
                version,
                accepts_pct,
                idle_since: WallMs((version * 200 + u64::from(accepts_pct)) * 1_000),
                ends,
            }
        },
    )
}

fn any_query() -> impl Strategy<Value = Query> {
    let need = (any_kind(), 0..4_u32, 1..5_u8).prop_map(|(kind, bits, seats)| Need {
        kind,
        capabilities: Capabilities(bits),
        seats,
    });
    let need = prop::option::of(need);
    let seek = prop_oneof![Just(Seek::Free), Just(Seek::Fetching), Just(Seek::All)];
    let ending_m = prop_oneof![Just(0), 0..2_000_u32];
    (any_point(), 0..9_000_u32, need, seek, 0..20_000_u32, 0..12_u16, ending_m).prop_map(
        |(center, radius_m, need, seek, fresh_ms, max, ending_m)| Query {
            center,
            radius_m,
            need,
            seek,
            fresh_ms,
            max,
            ending_m,
        },
    )
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop::collection::vec((0..16_u64, any_point(), 1..200_u64), 1..40)
            .prop_map(Op::Pings),
        6 => any_standing().prop_map(Op::Restand),
        2 => any_standing().prop_map(Op::Hearsay),
        1 => (0..16_u64, prop::option::of((0..2_000_u64).prop_map(WallMs)))
            .prop_map(|(id, at)| Op::Forget(id, at)),
        1 => (0..30_000_u64).prop_map(|older_than_ms| Op::Expire { older_than_ms }),
        5 => any_query().prop_map(Op::Search),
    ]
}

proptest! {
    #[test]
    fn the_index_answers_as_a_list_does(
        script in prop::collection::vec((0..1_500_u64, any_op()), 1..150)
    ) {
        let (mut supply, mut oracle) = (Supply::new(VERIFY_MS), Oracle::default());
        let mut now = MonoMs(0);
        for (step, (pause_ms, op)) in (0..).zip(script) {
            now = now.plus_ms(pause_ms);
            match op {
                Op::Pings(some) => {
                    // Phone times mostly grow, but some pings come late.
                    let pings: Vec<Ping> = some
                        .into_iter()
                        .map(|(id, point, at_ms)| ping(id, point, at_ms + step * 10))
                        .collect();
                    let items: Vec<u32> = (0..).take(pings.len()).collect();
                    let mut became = Vec::new();
                    supply.ping_all(&pings, &items, now, |item, outcome| {
                        became.push((item, outcome));
                    });
                    prop_assert!(became.iter().map(|(item, _)| item).eq(&items), "each once");
                    for (ping, (_, outcome)) in pings.iter().zip(became) {
                        let expected = oracle.ping(ping, now);
                        let naive = oracle.find(ping.driver);
                        let known = naive.is_some_and(|it| it.standing.is_some());
                        match outcome {
                            PingOutcome::Applied { moved, ask } => {
                                prop_assert_eq!(Some(moved), expected);
                                prop_assert!(!(ask && known), "asked about one who is known");
                            }
                            PingOutcome::Stale => prop_assert_eq!(expected, None),
                            PingOutcome::Full => unreachable!(),
                        }
                    }
                }
                Op::Restand(standing) => {
                    prop_assert_eq!(supply.restand(&standing, now), oracle.restand(&standing));
                }
                Op::Hearsay(standing) => {
                    let naive = oracle.find(standing.driver).and_then(|it| it.standing);
                    let news = naive.is_none_or(|known| known.version < standing.version);
                    let expected =
                        if news { oracle.restand(&standing) } else { Restood::Ignored };
                    prop_assert_eq!(supply.hearsay(&standing, now), expected);
                }
                Op::Forget(id, at) => {
                    prop_assert_eq!(supply.forget(driver(id), at), oracle.forget(driver(id), at));
                }
                Op::Expire { older_than_ms } => {
                    let mut gone = supply.expire(now, older_than_ms, usize::MAX);
                    gone.sort_unstable();
                    prop_assert_eq!(gone, oracle.expire(now, older_than_ms));
                }
                Op::Search(query) => {
                    let found = supply.search(&query, now);
                    prop_assert_eq!(&found, &oracle.search(&query, now));
                    // Once there are enough free ones the index looks no farther.
                    if query.seek == Seek::Free && query.ending_m > 0 && found.len() < query.max.into() {
                        let told = supply.search_and_tell(&query, now);
                        let ending: Vec<(DriverId, Point)> =
                            told.ending.iter().map(|it| (it.car.driver, it.ends)).collect();
                        prop_assert_eq!(&told.candidates, &found);
                        prop_assert_eq!(ending, oracle.ending(&query, now));
                    }
                    for candidate in found {
                        let seen = supply.fix(candidate.driver).map(|fix| fix.seen);
                        let fresh = |seen| now.since(seen) <= u64::from(query.fresh_ms);
                        prop_assert!(seen.is_some_and(fresh), "a stale one was found");
                    }
                }
            }
            supply.check_invariants();
            let here = oracle.drivers.iter().filter(|naive| naive.here).count();
            prop_assert_eq!(supply.len(), here);
        }
    }
}

#[test]
fn what_is_counted_equals_a_recount_after_a_million_random_events() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let mut supply = Supply::new(VERIFY_MS);
    let statuses =
        [DriverStatus::Free, DriverStatus::Held, DriverStatus::Taken, DriverStatus::Offline];
    for event in 0..1_000_000_u64 {
        let (now, id) = (MonoMs(event / 10), rng.random_range(0..2_000_u64));
        match rng.random_range(0..100) {
            0..80 => {
                let to = around(rng.random_range(-3_000..3_000), rng.random_range(-3_000..3_000));
                supply.ping(&ping(id, to, event + 1), now);
            }
            80..97 => {
                let status = statuses[rng.random_range(0..4)];
                let kind = VehicleType::ALL[rng.random_range(0..4)];
                let accepts_pct = rng.random_range(0..=100);
                let standing = Standing { kind, accepts_pct, ..standing(id, status, event) };
                supply.restand(&standing, now);
            }
            97..99 => {
                supply.forget(driver(id), None);
            }
            _ => {
                supply.expire(now, 20_000, 8);
            }
        }
    }
    supply.check_invariants();
    let drivers: u32 =
        supply.areas().iter().flat_map(|area| area.by_kind).map(|tally| tally.drivers).sum();
    assert!((500..2_000).contains(&drivers), "{drivers} drivers are counted");
    let silent = |tally: &Tally| tally.drivers == 0 || tally.silent_ms(MonoMs(100_000)) < 20_000;
    assert!(supply.areas().iter().flat_map(|area| &area.by_kind).all(silent));
}
