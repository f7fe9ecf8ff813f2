//! An offer on its way to a driver: he is claimed, it is made, it is put before him. Whoever looks for a
//! driver of a booking does so.

use super::{REDRIVE_MS, Runtime};
use crate::dispatch::Ranked;
use proto::BookingId;
use proto::record::ask::{Claim, ClaimAnswer, HoldAnswer, HoldDriver, HoldNext};
use proto::record::{Booking, Offer};
use std::time::Duration;

/// How long a claim may take beyond its window, in milliseconds: a network round trip with room.
const CLAIM_GRACE_MS: u32 = 100;
/// How long the driver of an offer is asked for, in milliseconds: a takeover of his partition, with
/// room. A booking offers a driver once only, so whoever is given up is lost to it.
const REACHED_WITHIN_MS: u64 = 4_000;
/// How long a hold may take, in milliseconds: one commit, even on a busy disk.
const HOLD_MS: u32 = 1_000;

impl Runtime {
    /// Claims a driver for a booking; nothing if nobody answered.
    pub(super) async fn claim(
        &self,
        booking: BookingId,
        candidate: Ranked,
        favour_ms: i64,
        contended: bool,
    ) -> Option<ClaimAnswer> {
        let Ranked { driver, cost_ms, soon, .. } = candidate;
        let ask = Claim { driver, booking, cost_ms, favour_ms, contended, soon };
        let patience_ms = self.world().policy.load().claim_window_ms + CLAIM_GRACE_MS;
        let context = self.background().within_ms(patience_ms);
        self.world().router.ask(ask, context).await.ok()
    }

    /// An offer to be recorded.
    pub(super) fn new_offer(&self, booking: &Booking, candidate: Ranked, attempt: u16) -> Offer {
        let world = self.world();
        let policy = world.policy.load();
        let created_at = world.clock.wall();
        Offer {
            id: world.mint.offer(booking.id.slot(), created_at),
            booking: booking.id,
            driver: candidate.driver,
            attempt,
            rank: candidate.rank,
            distance_m: candidate.distance_m,
            eta_s: candidate.eta_s,
            cost_ms: candidate.cost_ms,
            pickup: booking.pickup.point,
            destination: booking.destination.point,
            created_at,
            ttl_ms: policy.offer_ttl_ms,
            shown_ms: policy.offer_shown_ms,
        }
    }

    /// Puts an offer before its driver, as his next ride if he has a rider aboard. If nobody answers it
    /// asks again for a while, as long as who asks is here.
    pub(super) async fn put(
        &self,
        offer: &Offer,
        next: bool,
        here: impl Fn() -> bool,
    ) -> Option<HoldAnswer> {
        let world = self.world();
        // One that the booking has given up meanwhile must not come before him.
        let until = world.clock.mono().plus_ms(REACHED_WITHIN_MS.min(offer.ttl_ms.into()));
        loop {
            let (offer, context) = (offer.clone(), self.background().within_ms(HOLD_MS));
            let answer = if next {
                world.router.ask(HoldNext { offer }, context).await
            } else {
                world.router.ask(HoldDriver { offer }, context).await
            };
            if answer.is_ok() || world.clock.mono() >= until || !here() {
                return answer.ok();
            }
            tokio::time::sleep(Duration::from_millis(REDRIVE_MS.0)).await;
        }
    }
}
