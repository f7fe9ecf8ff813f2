//! What a driver costs a booking, in milliseconds: the pickup time, and what policy adds to it or
//! takes from it. Whole numbers, so that every node comes to the same.

use super::words::Prospect;
use crate::policy::{ATTEMPTS, Policy};
use proto::record::explain::Filter;

/// When he would be there, in milliseconds from now.
pub fn arrival_ms(policy: &Policy, prospect: &Prospect) -> u64 {
    let Prospect { eta_ms, free_in_ms, .. } = *prospect;
    let margin_ms = if free_in_ms > 0 { u64::from(policy.soon_margin_ms) } else { 0 };
    eta_ms.saturating_add(free_in_ms).saturating_add(margin_ms)
}

/// What the matcher orders by: arrival, less what he is credited with, and more for everything that he
/// can do and nobody here needs.
pub fn cost_ms(policy: &Policy, prospect: &Prospect) -> i64 {
    let spare = u64::from(prospect.candidate.spare);
    let surcharge_ms = spare * u64::from(policy.spare_capability_ms);
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    signed(arrival_ms(policy, prospect).saturating_add(surcharge_ms))
        - signed(credit_ms(policy, prospect))
}

/// A booking, as far as it matters who may be offered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asks {
    /// How long it has waited, in milliseconds.
    pub age_ms: u32,
    /// How many others wait nearby.
    pub waiting: u32,
    /// In which attempt it searches, from 1.
    pub attempt: u16,
    /// How long its ride will be, in milliseconds.
    pub ride_ms: u64,
    /// It waited in vain for a driver who was on another ride.
    pub let_down: bool,
    /// Its widest search found no free driver who could come in time.
    pub stranded: bool,
}

/// Whether he would be bound: he has a rider aboard for so short a time that the policy lets him be
/// offered his next ride. Nobody waits in vain twice.
pub fn binds(policy: &Policy, prospect: &Prospect, asks: Asks) -> bool {
    let within = 1..=u64::from(policy.next_within_ms);
    within.contains(&prospect.free_in_ms) && !asks.let_down
}

/// Whether he may be offered to a booking, or counted on by it.
pub fn fits(policy: &Policy, prospect: &Prospect, asks: Asks) -> Result<(), Filter> {
    let Asks { age_ms, .. } = asks;
    let counted_on =
        prospect.free_in_ms <= policy.soon_ms.into() && may_wait(policy, prospect, age_ms);
    // Who is bound to come stops the booking's clock.
    if prospect.free_in_ms > 0 && !counted_on && !binds(policy, prospect, asks) {
        return Err(Filter::Busy);
    }
    let (cap_ms, within_ms) = (cap_ms(policy, asks), within_ms(policy, age_ms));
    if prospect.eta_ms > cap_ms || arrival_ms(policy, prospect) > within_ms {
        return Err(Filter::PickupCap);
    }
    Ok(())
}

/// How long a driver may need to the pickup, in milliseconds.
fn cap_ms(policy: &Policy, asks: Asks) -> u64 {
    let crowd_pct = if crowded(policy, asks.waiting) { policy.crowded_cap_pct } else { 100 };
    let attempt_pct = policy.attempt_cap_pct[usize::from(asks.attempt).clamp(1, ATTEMPTS) - 1];
    let pct = u64::from(crowd_pct) * u64::from(attempt_pct);
    u64::from(policy.pickup_cap_ms) * pct / 10_000
}

/// How long from now a driver may come for a booking that has waited so long, in milliseconds.
pub fn within_ms(policy: &Policy, age_ms: u32) -> u64 {
    match policy.pickup_within_ms {
        0 => u64::MAX,
        limit => u64::from(limit.saturating_sub(age_ms)),
    }
}

/// How long a driver of another rider may need to a booking that nobody else can reach, in milliseconds;
/// nothing if it must not ask for one.
pub fn appeal_ms(policy: &Policy, asks: Asks) -> Option<u64> {
    let may = policy.yield_ms > 0 && counts_as_stranded(policy, asks);
    may.then(|| cap_ms(policy, asks).min(within_ms(policy, asks.age_ms)))
}

/// Whether a booking of this age may wait for the end of his ride: not if it would have expired by then.
fn may_wait(policy: &Policy, prospect: &Prospect, age_ms: u32) -> bool {
    let free_in_ms = prospect.free_in_ms.saturating_add(policy.soon_margin_ms.into());
    free_in_ms.saturating_add(age_ms.into()) < policy.booking_ttl_ms.into()
}

/// How far from the end of his ride a driver may be, in straight metres, to be worth asking how long it
/// still takes. 0 if nobody is counted on or bound.
pub fn ending_m(policy: &Policy) -> u32 {
    drives_m(policy, policy.soon_ms.max(policy.next_within_ms))
}

/// How far a driver gets in a time, in straight metres: twice as far as the policy's speed takes him,
/// since roads may be faster.
pub fn drives_m(policy: &Policy, ms: u32) -> u32 {
    let Policy { speed_cms, detour_pct, .. } = *policy;
    let metres = 2 * u64::from(ms) * u64::from(speed_cms) / 1_000 / u64::from(detour_pct.max(1));
    u32::try_from(metres).unwrap_or(u32::MAX)
}

/// What is taken off the cost of a driver who has waited for a ride: a share of his waiting, and not more
/// than a bound, so that it breaks ties and is no queue.
fn credit_ms(policy: &Policy, prospect: &Prospect) -> u64 {
    if prospect.free_in_ms > 0 {
        return 0; // he has a ride
    }
    let share_ms = prospect.idle_ms.saturating_mul(policy.fairness_pct.into()) / 100;
    share_ms.min(policy.fairness_max_ms.into())
}

/// What speaks for a booking where several want the same driver, in milliseconds of pickup time: a share
/// of its waiting, less a share of its ride, and more where he may be its last chance, or nobody else is
/// there for it. Where cars are scarce, one that is sent on a long ride is missing for as long elsewhere.
pub fn favour_ms(policy: &Policy, asks: Asks, arrival_ms: u64) -> i64 {
    let weight = match crowded(policy, asks.waiting) {
        true => policy.crowded_age_weight_pct,
        false => policy.age_weight_pct,
    };
    share(asks.age_ms.into(), weight) - share(asks.ride_ms, policy.ride_weight_pct)
        + last_chance_ms(policy, asks, arrival_ms)
        + stranded_ms(policy, asks)
}

/// What speaks for a booking for which no free driver could come in time.
fn stranded_ms(policy: &Policy, asks: Asks) -> i64 {
    if counts_as_stranded(policy, asks) { policy.stranded_ms.into() } else { 0 }
}

/// Others that want the same driver have somebody else, unless so many wait that few have.
fn counts_as_stranded(policy: &Policy, asks: Asks) -> bool {
    asks.stranded && asks.waiting < policy.stranded_below.into()
}

/// What speaks for a booking that has hardly time for another driver than one who is there so long from
/// now. In a crowd nothing: somebody goes without, and whoever has just asked waits less for the same car.
fn last_chance_ms(policy: &Policy, asks: Asks, arrival_ms: u64) -> i64 {
    if crowded(policy, asks.waiting) {
        return 0;
    }
    let age_ms = u64::from(asks.age_ms);
    let (time_ms, over_ms) = match policy.pickup_within_ms {
        0 => (policy.booking_ttl_ms, age_ms),
        within_ms => (within_ms, age_ms.saturating_add(arrival_ms)),
    };
    let last_ms = u64::from(time_ms) * u64::from(policy.last_chance_pct) / 100;
    let left_ms = u64::from(time_ms).saturating_sub(over_ms);
    share(last_ms.saturating_sub(left_ms), policy.last_chance_weight_pct)
}

fn share(ms: u64, pct: u16) -> i64 {
    i64::try_from(ms.saturating_mul(pct.into()) / 100).unwrap_or(i64::MAX)
}

fn crowded(policy: &Policy, waiting: u32) -> bool {
    policy.crowded_from > 0 && waiting >= u32::from(policy.crowded_from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::record::cell::Candidate;
    use proto::record::driver::DriverStatus;
    use proto::{DriverId, Point, WallMs};

    fn prospect(eta_ms: u64) -> Prospect {
        let (driver, at, status) = (DriverId::from_raw(1), WallMs(0), DriverStatus::Free);
        let (point, distance_m, version) = (Point::from_e7(0, 0).unwrap(), 0, 1);
        let (spare, idle_since) = (0, at);
        let car = Candidate { driver, point, at, distance_m, status, version, spare, idle_since };
        Prospect::free(car, eta_ms, at)
    }

    fn asks(age_ms: u32, waiting: u32) -> Asks {
        Asks { age_ms, waiting, attempt: 1, ride_ms: 0, let_down: false, stranded: false }
    }

    #[test]
    fn by_default_the_cost_is_the_pickup_time_and_nobody_who_is_busy_fits() {
        let policy = Policy { soon_ms: 0, ..Policy::default() };
        assert_eq!(cost_ms(&policy, &prospect(90_000)), 90_000);
        assert_eq!(fits(&policy, &prospect(300_000), asks(u32::MAX, 9)), Ok(()));
        assert_eq!(fits(&policy, &prospect(300_001), asks(0, 0)), Err(Filter::PickupCap));
        let busy = Prospect { free_in_ms: 1, ..prospect(0) };
        assert_eq!(fits(&policy, &busy, asks(0, 0)), Err(Filter::Busy));
        assert_eq!(ending_m(&policy), 0);
    }

    #[test]
    fn one_whose_trip_ends_soon_costs_the_time_until_then_and_what_it_may_be_late_by() {
        let policy = Policy { soon_ms: 30_000, soon_margin_ms: 5_000, ..Policy::default() };
        let soon = |free_in_ms| Prospect { free_in_ms, ..prospect(40_000) };
        assert_eq!(cost_ms(&policy, &soon(30_000)), 75_000);
        assert_eq!(fits(&policy, &soon(30_000), asks(0, 0)), Ok(()));
        assert_eq!(fits(&policy, &soon(30_001), asks(0, 0)), Err(Filter::Busy));
        // 6 m/s with 30 % of detour are 138 m in half a minute.
        assert_eq!(ending_m(&policy), 276);
    }

    #[test]
    fn one_who_may_be_bound_fits_however_late_the_booking_is_unless_it_was_let_down() {
        let policy = Policy { soon_ms: 0, next_within_ms: 60_000, ..Policy::default() };
        let next = |free_in_ms| Prospect { free_in_ms, ..prospect(40_000) };
        assert_eq!(fits(&policy, &next(60_000), asks(59_000, 0)), Ok(()));
        assert_eq!(fits(&policy, &next(60_001), asks(0, 0)), Err(Filter::Busy));
        let let_down = Asks { let_down: true, ..asks(0, 0) };
        assert_eq!(fits(&policy, &next(60_000), let_down), Err(Filter::Busy));
        assert_eq!(ending_m(&policy), 553);
    }

    #[test]
    fn waiting_speaks_for_a_booking_and_a_long_ride_against_it() {
        let policy = Policy {
            age_weight_pct: 50,
            ride_weight_pct: 10,
            last_chance_pct: 0,
            ..Policy::default()
        };
        let favour = |age_ms, ride_ms| favour_ms(&policy, Asks { ride_ms, ..asks(age_ms, 3) }, 0);
        assert_eq!([favour(60_000, 0), favour(0, 600_000)], [30_000, -60_000]);
        assert_eq!(favour(60_000, 600_000), -30_000);
    }

    #[test]
    fn a_last_chance_speaks_for_a_booking_the_more_the_less_is_left_but_not_in_a_crowd() {
        let policy = Policy {
            pickup_within_ms: 300_000,
            last_chance_pct: 33,
            last_chance_weight_pct: 200,
            crowded_from: 10,
            ..Policy::default()
        };
        let speaks = |age_ms, arrival_ms| last_chance_ms(&policy, asks(age_ms, 9), arrival_ms);
        // Of 300 s the last 99 count, and each second twice.
        assert_eq!([speaks(0, 201_000), speaks(100_000, 101_000)], [0, 0]);
        assert_eq!([speaks(0, 202_000), speaks(100_000, 150_000)], [2_000, 98_000]);
        assert_eq!([speaks(0, 300_000), speaks(400_000, 0)], [198_000, 198_000]);
        assert_eq!(last_chance_ms(&policy, asks(100_000, 10), 150_000), 0, "in a crowd");
        // Where pickups have no limit, its time is that to look for a driver in.
        let policy = Policy { pickup_within_ms: 0, booking_ttl_ms: 60_000, ..policy };
        let speaks = |age_ms| last_chance_ms(&policy, asks(age_ms, 9), 500_000);
        assert_eq!([speaks(40_200), speaks(50_200), speaks(60_000)], [0, 20_000, 39_600]);
    }

    #[test]
    fn to_be_stranded_speaks_for_a_booking_where_few_others_wait() {
        let policy = Policy { stranded_ms: 300_000, stranded_below: 10, ..Policy::default() };
        let favour =
            |stranded, waiting| favour_ms(&policy, Asks { stranded, ..asks(0, waiting) }, 0);
        let favours = [favour(true, 9), favour(true, 10), favour(false, 0)];
        assert_eq!(favours, [300_000, 0, 0]);
    }

    #[test]
    fn a_stranded_booking_appeals_for_drivers_who_would_be_there_in_time() {
        let policy = Policy {
            yield_ms: 60_000,
            stranded_below: 10,
            pickup_within_ms: 250_000,
            ..Policy::default()
        };
        let stranded = |age_ms, waiting| Asks { stranded: true, ..asks(age_ms, waiting) };
        let appeals = [(0, 9), (100_000, 9), (0, 10)]
            .map(|(age_ms, waiting)| appeal_ms(&policy, stranded(age_ms, waiting)));
        assert_eq!(appeals, [Some(250_000), Some(150_000), None]);
        assert_eq!(appeal_ms(&policy, asks(0, 9)), None, "somebody free could come");
        let off = Policy { yield_ms: 0, ..policy };
        assert_eq!(appeal_ms(&off, stranded(0, 0)), None);
    }

    #[test]
    fn nobody_is_waited_for_beyond_the_end_of_the_booking() {
        let policy = Policy { soon_margin_ms: 30_000, ..Policy::default() };
        let soon = Prospect { free_in_ms: 5_000, ..prospect(40_000) };
        assert_eq!(policy.booking_ttl_ms, 60_000);
        assert!(may_wait(&policy, &soon, 24_999) && !may_wait(&policy, &soon, 25_000));
    }

    #[test]
    fn the_fairness_credit_is_bounded_and_a_spare_capability_costs() {
        let policy = Policy { fairness_pct: 10, ..Policy::default() };
        let idle = |idle_ms, free_in_ms| Prospect { idle_ms, free_in_ms, ..prospect(100_000) };
        let costs = [0, 50_000, 3_600_000, u64::MAX].map(|ms| cost_ms(&policy, &idle(ms, 0)));
        assert_eq!(costs, [100_000, 95_000, 85_000, 85_000]);
        assert_eq!(cost_ms(&Policy::default(), &idle(50_000, 0)), 100_000, "off unless it is set");
        let rides = cost_ms(&policy, &idle(50_000, 1));
        assert_eq!(rides, cost_ms(&policy, &idle(0, 1)), "who has a ride does not wait for one");
        let policy = Policy { spare_capability_ms: 90_000, ..Policy::default() };
        let mut able = prospect(1_000);
        able.candidate.spare = 2;
        assert_eq!(cost_ms(&policy, &able), 181_000);
    }

    #[test]
    fn nobody_is_promised_a_car_that_comes_after_his_patience() {
        let policy = Policy { pickup_within_ms: 300_000, ..Policy::default() };
        assert_eq!(fits(&policy, &prospect(60_000), asks(240_000, 0)), Ok(()));
        assert_eq!(fits(&policy, &prospect(60_001), asks(240_000, 0)), Err(Filter::PickupCap));
        assert_eq!(fits(&policy, &prospect(0), asks(300_001, 0)), Ok(()), "he is there");
    }

    #[test]
    fn a_crowd_and_an_early_attempt_shrink_the_cap() {
        let policy = Policy {
            crowded_from: 10,
            crowded_age_weight_pct: 5,
            crowded_cap_pct: 50,
            attempt_cap_pct: [40, 100, 100],
            age_weight_pct: 100,
            last_chance_pct: 0,
            ..Policy::default()
        };
        assert_eq!(favour_ms(&policy, asks(100_000, 9), 0), 100_000);
        assert_eq!(favour_ms(&policy, asks(100_000, 10), 0), 5_000);
        let fits = |eta_ms, waiting, attempt| {
            fits(&policy, &prospect(eta_ms), Asks { attempt, ..asks(0, waiting) })
        };
        assert_eq!([fits(120_000, 9, 1), fits(300_000, 9, 2)], [Ok(()); 2]);
        assert_eq!([fits(60_000, 10, 1), fits(150_000, 10, 3)], [Ok(()); 2]);
        assert_eq!([fits(120_001, 9, 1), fits(60_001, 10, 1)], [Err(Filter::PickupCap); 2]);
    }
}
