//! The end of offers that can no longer become a trip. A booking that has ended takes its offers
//! back from their drivers, also those that are still on their way: a release that comes first
//! leaves its mark, and the hold is refused.
//!
//! A cancel is acknowledged only when every offer that was out at the cancel is settled so, and what
//! was sent to the drivers' phones has been written. After that no phone shows an offer of it.

use super::{REDRIVE_MS, Runtime, booking, promise};
use futures_util::future::join_all;
use proto::code::{Code, Refusal};
use proto::record::ask::{CancelBooking, ReleaseDriver};
use proto::record::command::Command;
use proto::record::{Actor, Attempt, Booking, OfferState};
use proto::{BookingId, DriverId, OfferId};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long drivers may take to hear that an offer has ended: a release of a second's patience, and
/// a part of another. A cancel that takes longer is answered RETRY.
pub(super) const SETTLE_WITHIN: Duration = Duration::from_millis(1_500);
/// How long a booking's shell may take to tell of its attempts. It may be in the middle of a commit;
/// a cancel does not wait for much of it.
const ATTEMPTS_WITHIN: Duration = Duration::from_millis(100);

impl Runtime {
    /// Calls a booking off for its rider; if it has a driver, its trip is what must be cancelled.
    pub(super) async fn cancel(&self, ask: CancelBooking) -> Result<Booking, Refusal> {
        let CancelBooking { booking: id, rider, reason, idempotency } = ask;
        let booking = self.booking(id).await?;
        if booking.rider != rider {
            return Err(Code::Unauthorized.into());
        }
        let attempts = match booking.state.is_searching() {
            true => self.attempts_at_hand(id).await,
            false => Vec::new(),
        };
        let command = Command::CancelBooking { booking: id, by: Actor::Rider, reason, attempts };
        let cancelled = self.propose_booking(id.slot(), idempotency, command).await?;
        self.0.bookings.tell_living(id, booking::Message::Settled(None));
        self.0.promises.tell_living(id, promise::Message::Look);
        match timeout(SETTLE_WITHIN, self.settle_all(&cancelled)).await {
            Ok(()) => Ok(cancelled),
            Err(_) => {
                let detail = "it is called off, but not all drivers who were asked know; ask again";
                Err(Refusal::new(Code::Retry, detail))
            }
        }
    }

    /// Settles what a booking that has ended left with drivers, however often that must be asked.
    /// An offer that ran out may be on its way too, if nobody answered when he was to hold it.
    pub(super) async fn settle_all(&self, booking: &Booking) {
        let unsettled = booking.offers.iter().filter(|(_, state)| match state {
            OfferState::Cancelled | OfferState::Expired | OfferState::Lapsed { .. } => true,
            OfferState::Pending
            | OfferState::Accepted
            | OfferState::Declined
            | OfferState::Promised
            | OfferState::Reassigned { .. } => false,
        });
        join_all(unsettled.map(|(offer, _)| self.settle(offer.driver, offer.id))).await;
    }

    /// Frees a driver of an offer of which nothing came.
    pub(super) async fn settle(&self, driver: DriverId, offer: OfferId) {
        let mut pause_ms = REDRIVE_MS.0;
        loop {
            let ask = ReleaseDriver { driver, offer, ended: None };
            match self.world().router.ask(ask, self.background()).await {
                Ok(()) => return,
                Err(refusal) if refusal.code == Code::DriverNotFound => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(pause_ms)).await,
            }
            pause_ms = (pause_ms * 2).min(REDRIVE_MS.1);
        }
    }

    /// How dispatch went so far, if the booking's shell is here and not too busy to say.
    async fn attempts_at_hand(&self, booking: BookingId) -> Vec<Attempt> {
        let (reply, answer) = oneshot::channel();
        self.0.bookings.tell_living(booking, booking::Message::Attempts(reply));
        timeout(ATTEMPTS_WITHIN, answer).await.ok().and_then(Result::ok).unwrap_or_default()
    }
}
