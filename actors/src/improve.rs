//! Whether a booking that waits for its driver should have another one: a free one who would be there
//! so much sooner that the rider, who sees a car come, is better off all the same. One-sided: nobody
//! else is worse off, since the driver let go is free for others.
//!
//! The core only decides. The swap itself is a command of the booking (`Reassign`): the new driver is
//! taken before the old one is let go, so there is never nobody.

use crate::dispatch::{Prospect, cost};
use crate::policy::Policy;

/// When to look again for a booking assigned or looked at just now, in milliseconds; nothing if it
/// keeps its driver: he is nearly there, or it has had as many as policy allows.
pub fn look_in_ms(policy: &Policy, left_ms: u64, swaps: u16) -> Option<u64> {
    let may = swaps < policy.improve_max && left_ms > policy.improve_left_ms.into();
    may.then_some(policy.improve_every_ms.into())
}

/// The driver to swap for, if one gains enough: the least cost, of those who are free now and within
/// the pickup cap. `left_ms` is how long the assigned one still takes.
pub fn better<'a>(
    policy: &Policy,
    left_ms: u64,
    swaps: u16,
    prospects: impl IntoIterator<Item = &'a Prospect>,
) -> Option<&'a Prospect> {
    look_in_ms(policy, left_ms, swaps)?;
    let target_ms = left_ms.saturating_sub(policy.improve_gain_ms.into());
    let free = prospects.into_iter().filter(|it| it.free_in_ms == 0 && it.eta_ms <= target_ms);
    free.filter(|it| it.eta_ms <= policy.pickup_cap_ms.into())
        .min_by_key(|it| (cost::cost_ms(policy, it), it.candidate.driver))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::record::cell::Candidate;
    use proto::record::driver::DriverStatus;
    use proto::{DriverId, Point, WallMs};

    fn prospect(driver: u64, eta_ms: u64, free_in_ms: u64) -> Prospect {
        let (at, status) = (WallMs(0), DriverStatus::Free);
        let (driver, point) = (DriverId::from_raw(driver), Point::from_e7(0, 0).unwrap());
        let candidate = Candidate { driver, point, at, distance_m: 0, status, version: 1 };
        Prospect { free_in_ms, ..Prospect::free(candidate, eta_ms) }
    }

    #[test]
    fn a_swap_must_gain_enough_and_only_the_free_count() {
        let policy = Policy { improve_max: 2, ..Policy::default() };
        let near = [prospect(1, 75_001, 0), prospect(2, 10_000, 5_000), prospect(3, 75_000, 0)];
        let chosen = better(&policy, 120_000, 0, &near).map(|it| it.candidate.driver.to_raw());
        assert_eq!(chosen, Some(3));
        assert_eq!(better(&policy, 119_999, 0, &near), None);
        assert_eq!(better(&policy, 120_000, 2, &near), None, "two swaps are enough");
        assert_eq!(better(&Policy::default(), 120_000, 0, &near), None, "it is off");
    }

    #[test]
    fn a_driver_who_is_nearly_there_keeps_his_rider() {
        let policy = Policy { improve_max: 2, improve_gain_ms: 1, ..Policy::default() };
        assert_eq!(better(&policy, 60_000, 0, &[prospect(1, 0, 0)]), None);
        assert_eq!(look_in_ms(&policy, 60_001, 1), Some(5_000));
        assert_eq!(look_in_ms(&policy, 60_000, 1), None);
    }
}
