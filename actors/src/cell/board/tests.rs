use super::*;
use crate::geo::{distance_m, eta_ms};
use proptest::prelude::*;
use proto::record::booking::Need;
use proto::record::driver::{Capabilities, VehicleType};
use proto::{DriverId, WallMs};

const CHILD_SEAT: Capabilities = Capabilities(1);

/// So many metres east of a corner of Times Square.
fn east_m(metres: u32) -> Point {
    Point::from_degrees(40.758, -73.9855 + f64::from(metres) / 84_225.0).unwrap()
}

fn booking(id: u128) -> BookingId {
    BookingId::from_raw(id)
}

fn demand(id: u128, metres_east: u32, age_ms: u32) -> Demand {
    let need = Need { kind: VehicleType::Sedan, capabilities: Capabilities(0), seats: 1 };
    let pickup = east_m(metres_east);
    // Waiting counts in full.
    let favour_ms = age_ms.into();
    Demand { booking: booking(id), pickup, need, age_ms, radius_m: 1_000, favour_ms }
}

fn standing() -> Standing {
    Standing {
        driver: DriverId::from_raw(7),
        status: DriverStatus::Free,
        kind: VehicleType::Sedan,
        capabilities: Capabilities(0),
        seats_free: 4,
        version: 3,
        accepts_pct: 100,
        idle_since: WallMs(0),
        ends: None,
    }
}

fn car() -> Candidate {
    Candidate {
        driver: DriverId::from_raw(7),
        point: east_m(0),
        at: WallMs(5),
        distance_m: 0,
        status: DriverStatus::Free,
        version: 3,
        spare: 0,
        idle_since: WallMs(0),
    }
}

/// The ids of the bookings that the car wakes; 10 m take a second.
fn woken(board: &Board, standing: &Standing, max: usize, now_ms: u64) -> Vec<u128> {
    let woken =
        board.wake(&car(), standing, |metres| eta_ms(metres, 1_000, 100), max, MonoMs(now_ms));
    woken.into_iter().map(|(booking, _)| booking.to_raw()).collect()
}

#[test]
fn the_nearest_and_the_longest_waiting_are_woken_first() {
    let mut board = Board::new();
    board.post(demand(1, 500, 0), MonoMs(0)); // 50 s away
    board.post(demand(2, 900, 60_000), MonoMs(0)); // 90 s away, waited 60 s: 30 s
    board.post(demand(3, 100, 0), MonoMs(0)); // 10 s away
    board.post(demand(4, 500, 0), MonoMs(0)); // as 1, higher id
    assert_eq!(woken(&board, &standing(), WAKE_MAX, 0), [3, 2, 1, 4]);
    assert_eq!(woken(&board, &standing(), 2, 0), [3, 2]);
    board.check_invariants();
}

#[test]
fn what_speaks_for_a_booking_is_what_its_last_post_says() {
    let mut board = Board::new();
    board.post(demand(1, 510, 0), MonoMs(0)); // 51 s
    board.post(demand(2, 500, 0), MonoMs(0)); // 50 s
    assert_eq!(woken(&board, &standing(), WAKE_MAX, 0), [2, 1]);
    board.post(demand(1, 510, 2_000), MonoMs(2_000));
    assert_eq!(woken(&board, &standing(), WAKE_MAX, 2_000), [1, 2]);
}

#[test]
fn the_car_is_told_as_it_looks_from_each_pickup() {
    let mut board = Board::new();
    board.post(demand(1, 500, 0), MonoMs(0));
    let woken = board.wake(&car(), &standing(), u64::from, WAKE_MAX, MonoMs(0));
    let distance_m = distance_m(east_m(500), east_m(0));
    assert_eq!(woken, [(booking(1), Candidate { distance_m, ..car() })]);
}

#[test]
fn only_a_circle_that_covers_the_car_is_woken() {
    let mut board = Board::new();
    board.post(demand(1, 998, 0), MonoMs(0));
    board.post(demand(2, 1_003, 0), MonoMs(0));
    assert_eq!(woken(&board, &standing(), WAKE_MAX, 0), [1]);
}

#[test]
fn only_a_car_that_can_serve_the_need_wakes_it() {
    let mut board = Board::new();
    let plain = demand(1, 100, 0);
    let need = |kind, capabilities, seats| Need { kind, capabilities, seats };
    board.post(plain, MonoMs(0));
    let suv = need(VehicleType::Suv, Capabilities(0), 1);
    board.post(Demand { need: suv, ..demand(2, 100, 0) }, MonoMs(0));
    let child = need(VehicleType::Sedan, CHILD_SEAT, 1);
    board.post(Demand { need: child, ..demand(3, 100, 0) }, MonoMs(0));
    let many = need(VehicleType::Sedan, Capabilities(0), 5);
    board.post(Demand { need: many, ..demand(4, 100, 0) }, MonoMs(0));
    assert_eq!(woken(&board, &standing(), WAKE_MAX, 0), [1]);
    let seated = Standing { capabilities: CHILD_SEAT, ..standing() };
    assert_eq!(woken(&board, &seated, WAKE_MAX, 0), [1, 3]);
    let wide = Standing { seats_free: 5, ..standing() };
    assert_eq!(woken(&board, &wide, WAKE_MAX, 0), [1, 4]);
}

#[test]
fn a_driver_who_cannot_be_matched_wakes_nobody() {
    let mut board = Board::new();
    board.post(demand(1, 100, 0), MonoMs(0));
    for status in [DriverStatus::Offline, DriverStatus::Held, DriverStatus::Taken] {
        let busy = Standing { status, ..standing() };
        assert!(woken(&board, &busy, WAKE_MAX, 0).is_empty(), "{status:?}");
    }
}

#[test]
fn a_post_dies_unless_it_is_renewed() {
    let mut board = Board::new();
    board.post(demand(1, 100, 0), MonoMs(0));
    board.post(demand(2, 100, 0), MonoMs(0));
    board.post(demand(1, 100, 1_000), MonoMs(1_000));
    assert_eq!(woken(&board, &standing(), WAKE_MAX, POST_TTL_MS - 1), [1, 2]);
    assert_eq!(woken(&board, &standing(), WAKE_MAX, POST_TTL_MS), [1]);
    board.expire(MonoMs(POST_TTL_MS));
    assert_eq!(board.len(), 1);
    board.expire(MonoMs(POST_TTL_MS + 1_000));
    assert!(board.is_empty());
    board.check_invariants();
}

#[test]
fn a_withdrawn_booking_is_gone_at_once() {
    let mut board = Board::new();
    board.post(demand(1, 100, 0), MonoMs(0));
    assert!(board.withdraw(booking(1)));
    assert!(!board.withdraw(booking(1)));
    assert!(woken(&board, &standing(), WAKE_MAX, 0).is_empty());
    board.check_invariants();
}

#[test]
fn others_waiting_are_counted_without_oneself_and_without_the_dead() {
    let mut board = Board::new();
    board.post(demand(1, 0, 0), MonoMs(0));
    board.post(demand(2, 100, 0), MonoMs(1_000));
    board.post(demand(3, 2_000, 0), MonoMs(1_000));
    let near =
        |radius_m, id, now| board.waiting_near(east_m(0), radius_m, booking(id), MonoMs(now));
    assert_eq!(near(1_000, 1, 1_000), 1);
    assert_eq!(near(1_000, 9, 1_000), 2);
    assert_eq!(near(3_000, 9, 1_000), 3);
    assert_eq!(near(3_000, 9, POST_TTL_MS), 2);
}

#[test]
fn a_full_board_drops_the_one_that_would_die_first() {
    let mut board = Board::new();
    for id in 0..POSTS_MAX as u128 {
        board.post(demand(id, 100, 0), MonoMs(0));
    }
    board.post(demand(0, 100, 0), MonoMs(1)); // renewed: 1 is the oldest now
    assert_eq!((board.len(), board.crowded_out()), (POSTS_MAX, 0));
    board.post(demand(1 << 64, 100, 0), MonoMs(2));
    assert_eq!((board.len(), board.crowded_out()), (POSTS_MAX, 1));
    assert!(!board.withdraw(booking(1)));
    assert!(board.withdraw(booking(0)));
    board.check_invariants();
}

#[derive(Debug, Clone)]
enum Op {
    Post { id: u128, east: u32, age_ms: u32, radius_m: u32, seats: u8 },
    Withdraw(u128),
    Expire,
    Wake { seats: u8, max: usize },
    Count { id: u128, east: u32, radius_m: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let metres = 0..3_000_u32;
    prop_oneof![
        4 => (0..12_u128, metres.clone(), 0..90_000_u32, metres.clone(), 1..5_u8).prop_map(
            |(id, east, age_ms, radius_m, seats)| Op::Post { id, east, age_ms, radius_m, seats }
        ),
        1 => (0..12_u128).prop_map(Op::Withdraw),
        1 => Just(Op::Expire),
        3 => (0..5_u8, 0..10_usize).prop_map(|(seats, max)| Op::Wake { seats, max }),
        2 => (0..12_u128, metres.clone(), metres)
            .prop_map(|(id, east, radius_m)| Op::Count { id, east, radius_m }),
    ]
}

proptest! {
    #[test]
    fn the_board_answers_as_a_list_does(
        script in prop::collection::vec((0..800_u64, op()), 1..120)
    ) {
        let (mut board, mut list) = (Board::new(), Vec::<(Demand, u64)>::new());
        let mut now = 0;
        for (pause_ms, op) in script {
            now += pause_ms;
            list.retain(|(_, posted_at)| now - posted_at < POST_TTL_MS);
            match op {
                Op::Post { id, east, age_ms, radius_m, seats } => {
                    let mut demand = Demand { radius_m, ..demand(id, east, age_ms) };
                    demand.need.seats = seats;
                    board.post(demand, MonoMs(now));
                    list.retain(|(old, _)| old.booking != demand.booking);
                    list.push((demand, now));
                }
                Op::Withdraw(id) => {
                    board.expire(MonoMs(now));
                    let before = list.len();
                    list.retain(|(old, _)| old.booking != booking(id));
                    prop_assert_eq!(board.withdraw(booking(id)), list.len() < before);
                }
                Op::Expire => {
                    board.expire(MonoMs(now));
                    prop_assert_eq!(board.len(), list.len());
                }
                Op::Wake { seats, max } => {
                    let standing = Standing { seats_free: seats, ..standing() };
                    let mut expected = Vec::new();
                    for (demand, _) in &list {
                        let metres = distance_m(demand.pickup, car().point);
                        if metres <= demand.radius_m && demand.need.seats <= seats {
                            let eta_ms = eta_ms(metres, 1_000, 100).cast_signed();
                            expected.push((eta_ms - demand.favour_ms, demand.booking.to_raw()));
                        }
                    }
                    expected.sort_unstable();
                    expected.truncate(max);
                    let expected: Vec<u128> = expected.into_iter().map(|(_, id)| id).collect();
                    prop_assert_eq!(woken(&board, &standing, max, now), expected);
                }
                Op::Count { id, east, radius_m } => {
                    let (centre, except) = (east_m(east), booking(id));
                    let others = list.iter().filter(|(demand, _)| demand.booking != except);
                    let near = others
                        .filter(|(demand, _)| distance_m(demand.pickup, centre) <= radius_m)
                        .count();
                    let counted = board.waiting_near(centre, radius_m, except, MonoMs(now));
                    prop_assert_eq!(counted as usize, near.min(WAITING_MAX));
                }
            }
            board.check_invariants();
        }
    }
}
