//! Whether a booking that waits for its driver should have another one: a free one who would be there
//! so much sooner that the rider, who sees a car come, is better off all the same. One-sided: nobody
//! else is worse off, since the driver let go is free for others.
//!
//! And whether it should have a later one, for the sake of a booking that nobody but its driver can reach
//! in time ([`Watch`] is asked to *yield* him): if the other comes not much later, and in time.
//!
//! The core only decides. The change itself is a command of the booking (`Reassign`): the new driver
//! is taken before the old one is let go, so there is never nobody.

mod watch;

pub use watch::{Effect, Event, Seen, Start, Watch};

use crate::dispatch::{Prospect, cost};
use crate::policy::Policy;

/// When to look again for a booking assigned or looked at just now, in milliseconds; nothing if it
/// keeps its driver: he is nearly there, or it has had as many as policy allows.
pub fn look_in_ms(policy: &Policy, left_ms: u64, changes: u16) -> Option<u64> {
    let may = changes < policy.reassign_max && left_ms > policy.reassign_left_ms.into();
    may.then_some(policy.reassign_every_ms.into())
}

/// The driver to change to, if one gains enough: the least cost, of those who are free now and within
/// the pickup cap. `left_ms` is how long the assigned one still takes.
pub fn better<'a>(
    policy: &Policy,
    (left_ms, changes): (u64, u16),
    prospects: impl IntoIterator<Item = &'a Prospect>,
) -> Option<&'a Prospect> {
    look_in_ms(policy, left_ms, changes)?;
    let target_ms = left_ms.saturating_sub(policy.reassign_gain_ms.into());
    let free = prospects.into_iter().filter(|it| it.free_in_ms == 0 && it.eta_ms <= target_ms);
    free.filter(|it| it.eta_ms <= policy.pickup_cap_ms.into())
        .min_by_key(|it| (cost::cost_ms(policy, it), it.candidate.driver))
}

/// Drivers on their way to others who could come to a stranded booking in time, at most. Where more could, one
/// of them will be free for it soon, and nobody is asked to yield: a prototype made some 40 % of the changes so,
/// for as many riders (docs/matching.md).
pub const FETCHING_MAX: usize = 16;

/// How much of a driver's way to the stranded rider counts beside what his own rider loses, in percent.
const WAY_PCT: u64 = 25;

/// What it costs, in milliseconds, if a driver who still takes `left_ms` to his rider goes to a stranded one
/// instead, `way_ms` away, and another comes for his own in `instead_ms`; nothing if that may not be.
pub fn loss_ms(policy: &Policy, left_ms: u64, instead_ms: u64, way_ms: u64) -> Option<u64> {
    let later_ms = instead_ms.saturating_sub(left_ms);
    let may = left_ms > policy.reassign_left_ms.into() && later_ms <= policy.yield_ms.into();
    may.then(|| later_ms.saturating_add(way_ms.saturating_mul(WAY_PCT) / 100))
}

/// The driver to change to, so that the assigned one can fetch somebody who has nobody else: the one who is
/// there first, of those who are free, if that is not too much later and within what the rider may wait.
pub fn instead<'a>(
    policy: &Policy,
    (left_ms, within_ms, changes): (u64, u64, u16),
    prospects: impl IntoIterator<Item = &'a Prospect>,
) -> Option<&'a Prospect> {
    if changes >= policy.changes_max() || left_ms <= policy.reassign_left_ms.into() {
        return None;
    }
    let latest_ms = left_ms.saturating_add(policy.yield_ms.into()).min(within_ms);
    let free = prospects.into_iter().filter(|it| it.free_in_ms == 0 && it.eta_ms <= latest_ms);
    free.min_by_key(|it| (it.eta_ms, it.candidate.driver))
}

#[cfg(test)]
mod tests;
