//! Whether a booking that waits for its driver should have another one: a free one who would be there
//! so much sooner that the rider, who sees a car come, is better off all the same. One-sided: nobody
//! else is worse off, since the driver let go is free for others.
//!
//! The core only decides. The swap itself is a command of the booking (`Reassign`): the new driver is
//! taken before the old one is let go, so there is never nobody.

use crate::dispatch::{Prospect, cost};
use crate::policy::Policy;

/// How often and for how much a booking gets a better driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Improve {
    /// How often before its pickup; 0 is never.
    pub max: u16,
    /// How often a better driver is looked for, in milliseconds.
    pub every_ms: u32,
    /// How much sooner he must be there, in milliseconds.
    pub gain_ms: u32,
    /// A driver nearer to the pickup than this keeps it, in milliseconds.
    pub left_ms: u32,
}

impl Default for Improve {
    fn default() -> Self {
        Self { max: 0, every_ms: 5_000, gain_ms: 45_000, left_ms: 60_000 }
    }
}

/// When to look again for a booking assigned or looked at just now, in milliseconds; nothing if it
/// keeps its driver: he is nearly there, or it has had as many as policy allows.
pub fn look_in_ms(improve: Improve, left_ms: u64, swaps: u16) -> Option<u64> {
    let may = swaps < improve.max && left_ms > improve.left_ms.into();
    may.then_some(improve.every_ms.into())
}

/// The driver to swap for, if one gains enough: the least cost, of those who are free now and within
/// the pickup cap. `left_ms` is how long the assigned one still takes.
pub fn better<'a>(
    policy: &Policy,
    improve: Improve,
    (left_ms, swaps): (u64, u16),
    prospects: impl IntoIterator<Item = &'a Prospect>,
) -> Option<&'a Prospect> {
    look_in_ms(improve, left_ms, swaps)?;
    let target_ms = left_ms.saturating_sub(improve.gain_ms.into());
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
        let candidate =
            Candidate { driver, point, at, distance_m: 0, status, version: 1, spare: 0 };
        Prospect { free_in_ms, ..Prospect::free(candidate, eta_ms) }
    }

    #[test]
    fn a_swap_must_gain_enough_and_only_the_free_count() {
        let (policy, improve) = (Policy::default(), Improve { max: 2, ..Improve::default() });
        let near = [prospect(1, 75_001, 0), prospect(2, 10_000, 5_000), prospect(3, 75_000, 0)];
        let chosen = |improve, left_ms, swaps| {
            better(&policy, improve, (left_ms, swaps), &near).map(|it| it.candidate.driver.to_raw())
        };
        assert_eq!(chosen(improve, 120_000, 0), Some(3));
        assert_eq!(chosen(improve, 119_999, 0), None);
        assert_eq!(chosen(improve, 120_000, 2), None, "two swaps are enough");
        assert_eq!(chosen(Improve::default(), 120_000, 0), None, "it is off");
    }

    #[test]
    fn a_driver_who_is_nearly_there_keeps_his_rider() {
        let improve = Improve { max: 2, gain_ms: 1, ..Improve::default() };
        let next_door = [prospect(1, 0, 0)];
        assert_eq!(better(&Policy::default(), improve, (60_000, 0), &next_door), None);
        assert_eq!(look_in_ms(improve, 60_001, 1), Some(5_000));
        assert_eq!(look_in_ms(improve, 60_000, 1), None);
    }
}
