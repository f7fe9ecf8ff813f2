//! What a driver costs a booking, in milliseconds: the pickup time, and what policy adds to it or
//! takes from it. Whole numbers, so that every node comes to the same.

use super::words::Prospect;
use crate::policy::Policy;
use proto::record::explain::Filter;

/// When he would be there, in milliseconds from now.
pub fn arrival_ms(policy: &Policy, prospect: &Prospect) -> u64 {
    let Prospect { eta_ms, free_in_ms, .. } = *prospect;
    let margin_ms = if free_in_ms > 0 { u64::from(policy.soon_margin_ms) } else { 0 };
    eta_ms.saturating_add(free_in_ms).saturating_add(margin_ms)
}

/// What the matcher orders by: arrival, less a bounded credit for having been idle, and more for
/// everything that he can do and nobody here needs.
pub fn cost_ms(policy: &Policy, prospect: &Prospect) -> i64 {
    let credit_ms = prospect.idle_ms.saturating_mul(policy.fairness_pct.into()) / 100;
    let credit_ms = credit_ms.min(policy.fairness_max_ms.into());
    let surcharge_ms = u64::from(prospect.spare) * u64::from(policy.spare_capability_ms);
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    signed(arrival_ms(policy, prospect).saturating_add(surcharge_ms)) - signed(credit_ms)
}

/// Whether he may be offered to a booking of this age, which `waiting` others wait beside.
pub fn fits(policy: &Policy, prospect: &Prospect, age_ms: u32, waiting: u32) -> Result<(), Filter> {
    let cap_pct = if crowded(policy, waiting) { policy.crowded_cap_pct } else { 100 };
    let cap_ms = u64::from(policy.pickup_cap_ms) * u64::from(cap_pct) / 100;
    let within_ms = match policy.pickup_within_ms {
        0 => u64::MAX,
        limit => u64::from(limit.saturating_sub(age_ms)),
    };
    if prospect.eta_ms > cap_ms || arrival_ms(policy, prospect) > within_ms {
        return Err(Filter::PickupCap);
    }
    Ok(())
}

/// How much of a booking's age counts where others want the same driver, in milliseconds.
pub fn counted_age_ms(policy: &Policy, age_ms: u32, waiting: u32) -> u32 {
    let weight = match crowded(policy, waiting) {
        true => policy.crowded_age_weight_pct,
        false => policy.age_weight_pct,
    };
    let counted_ms = u64::from(age_ms) * u64::from(weight) / 100;
    u32::try_from(counted_ms).unwrap_or(u32::MAX)
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
        let point = Point::from_e7(0, 0).unwrap();
        Prospect::free(Candidate { driver, point, at, distance_m: 0, status, version: 1 }, eta_ms)
    }

    #[test]
    fn by_default_the_cost_is_the_pickup_time_and_age_counts_in_full() {
        let policy = Policy::default();
        assert_eq!(cost_ms(&policy, &prospect(90_000)), 90_000);
        assert_eq!(counted_age_ms(&policy, 7_000, u32::MAX), 7_000);
        assert_eq!(fits(&policy, &prospect(300_000), u32::MAX, 9), Ok(()));
        assert_eq!(fits(&policy, &prospect(300_001), 0, 0), Err(Filter::PickupCap));
    }

    #[test]
    fn the_fairness_credit_is_bounded_and_a_spare_capability_costs() {
        let policy = Policy { fairness_pct: 10, spare_capability_ms: 90_000, ..Policy::default() };
        let idle = |idle_ms| cost_ms(&policy, &Prospect { idle_ms, ..prospect(100_000) });
        assert_eq!([idle(0), idle(50_000), idle(3_600_000)], [100_000, 95_000, 85_000]);
        assert_eq!(cost_ms(&policy, &Prospect { spare: 2, ..prospect(1_000) }), 181_000);
    }

    #[test]
    fn nobody_is_promised_a_car_that_comes_after_his_patience() {
        let policy = Policy { pickup_within_ms: 300_000, ..Policy::default() };
        assert_eq!(fits(&policy, &prospect(60_000), 240_000, 0), Ok(()));
        assert_eq!(fits(&policy, &prospect(60_001), 240_000, 0), Err(Filter::PickupCap));
        assert_eq!(fits(&policy, &prospect(0), 300_001, 0), Ok(()), "he is there");
    }

    #[test]
    fn a_crowd_shrinks_the_cap_and_the_weight_of_waiting() {
        let policy = Policy {
            crowded_from: 10,
            crowded_age_weight_pct: 5,
            crowded_cap_pct: 50,
            ..Policy::default()
        };
        assert_eq!(counted_age_ms(&policy, 100_000, 9), 100_000);
        assert_eq!(counted_age_ms(&policy, 100_000, 10), 5_000);
        assert_eq!(fits(&policy, &prospect(150_001), 0, 9), Ok(()));
        assert_eq!(fits(&policy, &prospect(150_001), 0, 10), Err(Filter::PickupCap));
    }
}
