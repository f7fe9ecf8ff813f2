//! The cores in their virtual city, against what must hold of any policy and what a brute force finds.

use super::*;
use crate::city::{Plan, Request, town};
use crate::draws::Realism;
use crate::reference::optimum;
use crate::score::Score;
use roads::{Map, Matrix, Road};

/// A clock that stands: what a decision takes is not judged here.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn mono(&self) -> MonoMs {
        MonoMs(0)
    }
    fn wall(&self) -> WallMs {
        WallMs(0)
    }
}

fn ours(patience_ms: u32) -> Ours {
    let policy = Policy {
        booking_ttl_ms: patience_ms,
        pickup_within_ms: patience_ms,
        pickup_cap_ms: patience_ms,
        soon_ms: 30_000,
        reassign_max: 2,
        reassign_gain_ms: 20_000,
        reassign_left_ms: 20_000,
        ..Policy::default()
    };
    Ours { policy, boards: true, roads: true }
}

/// A road of junctions 100 m and 20 s apart, both ways.
fn line(junctions: u32) -> Matrix {
    let place = |i: u32| Point::from_e7(0, i32::try_from(i * 8_993).unwrap()).unwrap();
    let road = |from, to| Road { from, to, metres: 100, ms: 20_000 };
    let roads: Vec<Road> = (1..junctions).flat_map(|i| [road(i - 1, i), road(i, i - 1)]).collect();
    let map = Map::new((0..junctions).map(place).collect(), roads).unwrap();
    Matrix::new(&map, &|| {}).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_city_also_in_an_unkind_world() {
    let town = town(Plan { side: 12, requests: 300, ..Plan::TOWN }, &|| {}).unwrap();
    for realism in [Realism::NONE, Realism::ALL] {
        let run = |seed| {
            let stands = town.fleet(25, seed);
            let mut street = Street::new(&town.network, &town.requests, &stands);
            super::run(&mut street, &ours(300_000), Draws { seed, realism }, &Still);
            (street.riders, street.deadhead_m)
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}

#[test]
fn no_car_has_two_riders_at_once_and_nobody_is_fetched_after_his_patience() {
    let town = town(Plan { side: 12, requests: 400, ..Plan::TOWN }, &|| {}).unwrap();
    let stands = town.fleet(20, 1);
    let mut street = Street::new(&town.network, &town.requests, &stands);
    let draws = Draws { seed: 1, realism: Realism::NONE };
    super::run(&mut street, &ours(300_000), draws, &Still);
    let mut rides: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
    for (rider, request) in street.riders.iter().zip(&town.requests).filter(|(it, _)| it.served) {
        // Some milliseconds go to messages after the estimate.
        assert!(rider.pickup_ms - request.at_ms <= 300_000 + 1_000, "{rider:?}");
        let over_ms = rider.pickup_ms + u64::from(town.network.ms(request.from, request.to));
        rides.entry(rider.car.unwrap()).or_default().push((rider.pickup_ms, over_ms));
    }
    for spans in rides.values_mut() {
        spans.sort_unstable();
        assert!(spans.windows(2).all(|pair| pair[0].1 < pair[1].0), "{spans:?}");
    }
    let score = Score::of(&street, 300_000, None, Vec::new());
    assert!(score.share > 0.3 && score.swaps >= 0.0, "{score:?}");
}

#[test]
fn riders_who_ask_together_are_served_as_well_as_the_best_of_all_pairings_within_a_fifth() {
    let network = line(45);
    let mut total = (0, 0);
    for seed in 0..40_u64 {
        let draws = Draws { seed, realism: Realism::NONE };
        let somewhere = |n| u32::try_from(draws.some_number(n) % 45).unwrap();
        let requests: Vec<Request> =
            (0..4).map(|n| Request { at_ms: 0, from: somewhere(n), to: 44 }).collect();
        let stands: Vec<u32> = (10..15).map(somewhere).collect();
        let mut street = Street::new(&network, &requests, &stands);
        super::run(&mut street, &ours(2_000_000), draws, &Still);
        assert!(street.riders.iter().all(|rider| rider.served), "{requests:?} {stands:?}");
        let best =
            optimum(4, 5, |rider, car| Some(network.ms(stands[car], requests[rider].from).into()));
        let ms =
            |(rider, car): (usize, usize)| u64::from(network.ms(stands[car], requests[rider].from));
        let best_ms: u64 = best.into_iter().map(ms).sum();
        let ours_ms: u64 = street.riders.iter().map(|rider| rider.pickup_ms).sum();
        total = (total.0 + ours_ms, total.1 + best_ms);
    }
    assert!(total.0 * 10 <= total.1 * 12, "{} ms of waiting, {} at best", total.0, total.1);
}

#[test]
fn a_car_that_ends_next_door_is_waited_for_instead_of_one_from_far_away() {
    let network = line(60);
    // The first rider goes from 19 to 20 and is over at 80 s; the second asks at 60 s at 20, where
    // another car is 280 s away.
    let requests =
        [Request { at_ms: 0, from: 19, to: 20 }, Request { at_ms: 60_000, from: 20, to: 40 }];
    let fetched = |soon_ms| {
        let mut street = Street::new(&network, &requests, &[19, 34]);
        let mut ours = ours(300_000);
        (ours.policy.soon_ms, ours.policy.reassign_max) = (soon_ms, 0);
        let draws = Draws { seed: 1, realism: Realism::NONE };
        super::run(&mut street, &ours, draws, &Still);
        (street.riders[1].car.unwrap(), street.riders[1].pickup_ms / 1_000)
    };
    assert_eq!(fetched(30_000), (0, 80));
    assert_eq!(fetched(0), (1, 340), "without counting on him the far one is sent");
}

#[test]
fn the_last_chance_of_one_rider_goes_before_one_of_many() {
    let network = line(60);
    // Two rides keep both cars busy, until 80 s at 21 and until 160 s at 20. Whoever waits at 32 has been
    // waiting for 60 s when the first car comes free, and no other could be there in time; who waits at
    // 24 is nearer to it, and to the second as well.
    let asks = |at_ms, from, to| Request { at_ms, from, to };
    let requests = [asks(0, 20, 21), asks(0, 15, 20), asks(20_000, 32, 33), asks(50_000, 24, 25)];
    let served = |last_chance_pct| {
        let mut street = Street::new(&network, &requests, &[20, 15]);
        let mut ours = ours(300_000);
        (ours.policy.soon_ms, ours.policy.reassign_max) = (0, 0);
        ours.policy.last_chance_pct = last_chance_pct;
        let draws = Draws { seed: 1, realism: Realism::NONE };
        super::run(&mut street, &ours, draws, &Still);
        street.riders.iter().map(|rider| rider.served).collect::<Vec<_>>()
    };
    assert_eq!(served(Policy::default().last_chance_pct), [true; 4]);
    assert_eq!(served(0), [true, true, false, true], "the nearer one has the first car");
}
