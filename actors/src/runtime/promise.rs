//! The promise shell: a booking that waits for a driver who is on another ride. It does nothing but
//! wait; if he does not come in time, or can't any more, the booking looks on.

use super::settle::SETTLE_WITHIN;
use super::{REDRIVE_MS, Runtime, World, booking};
use proto::code::Refusal;
use proto::record::ask::{EndPromise, OfferNews};
use proto::record::command::Command;
use proto::record::{Booking, BookingState};
use proto::{BookingId, Code, MonoMs, OfferId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::time::Duration;
use tokio::time::timeout;
use tracing::debug;

/// How often it looks whether the booking has its driver by now, in milliseconds: whoever brings that
/// about says so, and this is for when his word is lost.
const LOOK_MS: u64 = 5_000;

pub(super) enum Message {
    /// Something may have happened to the booking.
    Look,
    /// The time for which it was to look at it.
    Due(MonoMs),
}

pub(super) struct Shell {
    runtime: Runtime,
    id: BookingId,
}

pub(super) struct Waits {
    /// Since when this shell waits.
    since: MonoMs,
    /// When it looks next, so that each look sets one timer.
    due: MonoMs,
}

impl Actor for Shell {
    type Msg = Message;
    type State = Waits;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<Waits, ActorProcessingErr> {
        Ok(Waits { since: self.runtime.world().clock.mono(), due: MonoMs(0) })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        waits: &mut Waits,
    ) -> Result<(), ActorProcessingErr> {
        if matches!(message, Message::Due(at) if at != waits.due) {
            return Ok(());
        }
        match self.look(waits.since).await {
            Ok(Some(wait_ms)) => {
                let at = self.runtime.world().clock.mono().plus_ms(wait_ms);
                waits.due = at;
                myself.send_after(Duration::from_millis(wait_ms), move || Message::Due(at));
            }
            Ok(None) => self.runtime.0.promises.retire(self.id, &myself),
            Err(refusal) if refusal.code.retryable() && refusal.code != Code::NotOwner => {
                myself.send_after(Duration::from_millis(REDRIVE_MS.1), || Message::Look);
            }
            Err(refusal) => {
                debug!(booking = %self.id, %refusal, "a promise is nobody's to keep here");
                self.runtime.0.promises.retire(self.id, &myself);
            }
        }
        Ok(())
    }
}

impl Shell {
    /// Ends the promise if it is time; else says when to look again, or that there is nothing to see.
    async fn look(&self, here_since: MonoMs) -> Result<Option<u64>, Refusal> {
        let booking = self.runtime.booking(self.id).await?;
        let BookingState::Promised { offer, driver, since } = booking.state else {
            return Ok(None);
        };
        let World { clock, policy, .. } = self.runtime.world();
        let patience_ms = u64::from(policy.load().next_patience_ms);
        // Where the promise was made by a clock ahead of this one, only the time here counts.
        let waited_ms = clock.wall().since(since).max(clock.mono().since(here_since));
        let left_ms = patience_ms.saturating_sub(waited_ms);
        if left_ms > 0 {
            return Ok(Some(left_ms.min(LOOK_MS)));
        }
        self.runtime.end_promise(EndPromise { booking: self.id, offer }).await?;
        let runtime = self.runtime.clone();
        tokio::spawn(async move {
            // Whatever is lost, the booking says no when he asks for the ride.
            let _late = timeout(SETTLE_WITHIN, runtime.settle(driver, offer)).await;
        });
        Ok(None)
    }
}

impl Runtime {
    /// Waits for a driver who is on another ride, if that is what a booking does.
    pub(super) fn tend_promise(&self, booking: &Booking) {
        if matches!(booking.state, BookingState::Promised { .. }) {
            let id = booking.id;
            let shell = || (Shell { runtime: self.clone(), id }, ());
            self.0.promises.tell(id, Message::Look, shell);
        }
    }

    /// Decides for a driver who takes a booking as his next ride.
    pub(super) async fn promise(
        &self,
        command: Command,
        id: BookingId,
        offer: OfferId,
    ) -> Result<Booking, Refusal> {
        let promised = self.propose_booking(id.slot(), None, command).await?;
        if matches!(promised.state, BookingState::Promised { .. }) {
            let settled = booking::Message::Settled(Some(offer));
            self.0.bookings.tell_living(id, settled);
            self.tend_promise(&promised);
        }
        Ok(promised)
    }

    /// Ends a promise: the booking looks on.
    pub(super) async fn end_promise(&self, ask: EndPromise) -> Result<Booking, Refusal> {
        let EndPromise { booking: id, offer } = ask;
        let command = Command::EndPromise { booking: id, offer };
        let ended = self.propose_booking(id.slot(), None, command).await?;
        if ended.state.is_searching() {
            // If it still looks, it did not know that he had said yes.
            let news = booking::Message::News(offer, OfferNews::Declined);
            self.0.bookings.tell_living(id, news);
            self.take_up_booking(id);
            self.0.promises.tell_living(id, Message::Look);
        }
        Ok(ended)
    }
}
