//! The offer before a driver: held, run out, declined, taken back.

use super::{Message, Shell, State, holds, take_up_later, watch};
use crate::driver;
use crate::runtime::{REDRIVE_MS, count};
use proto::OfferId;
use proto::code::{Code, Refusal};
use proto::record::ask::{HoldAnswer, OfferNews, Push};
use proto::record::command::{Command, Idempotency};
use proto::record::driver::OfferEnd;
use proto::record::trip::Ended;
use proto::record::{Commitment, Driver, Offer};
use ractor::ActorRef;
use std::time::Duration;
use tracing::warn;

impl Shell {
    pub(super) async fn hold(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        offer: Offer,
        command: Command,
    ) -> Result<HoldAnswer, Refusal> {
        let tally = &self.runtime.0.tally;
        count(&tally.holds);
        let booking = offer.booking;
        let holder = state.claims.holder(self.runtime.world().clock.mono());
        if holder.is_some_and(|holder| holder != booking) {
            count(&tally.holds_refused);
            return Ok(HoldAnswer::Busy);
        }
        let held = self.propose(state, None, command).await;
        state.claims.settle(booking);
        match held {
            Ok(()) => {
                watch(myself, state, &offer);
                // What is to follow his trip stands in his log; nothing is lost if he sees it a little later.
                if !state.driver.as_ref().is_some_and(|driver| driver.is_next(offer.id)) {
                    state.phone.push(&self.runtime, self.id, Push::Offer(offer));
                }
                Ok(HoldAnswer::Held)
            }
            Err(refusal) => {
                let busy = matches!(refusal.code, Code::DriverBusy | Code::DriverOffline);
                let answer = match (busy, refusal.code == Code::OfferExpired) {
                    (true, _) => HoldAnswer::Busy,
                    (false, true) => HoldAnswer::Gone,
                    (false, false) => {
                        take_up_later(myself);
                        return Err(refusal);
                    }
                };
                count(&tally.holds_refused);
                Ok(answer)
            }
        }
    }

    /// The offer's time is up. A timer that comes early, late or twice is harmless: the register
    /// frees a driver who holds this offer and nobody else.
    pub(super) async fn offer_due(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        offer: OfferId,
    ) {
        let driver = self.id;
        let booking = match state.driver.as_ref().and_then(|driver| driver.commitment(offer)) {
            Some(Commitment::Held { offer: held }) => held.booking,
            Some(Commitment::Taken { offer: taken, .. })
                if self.runtime.world().faults.ttl_frees_taken() =>
            {
                taken.booking
            }
            Some(Commitment::Taken { .. }) | None => return,
        };
        if let Err(refusal) = self.propose(state, None, Command::ExpireHold { driver, offer }).await
        {
            warn!(%driver, %offer, %refusal, "an offer could not be expired");
            let pause = Duration::from_millis(REDRIVE_MS.1);
            myself.send_after(pause, move || Message::OfferDue(offer));
            return;
        }
        if !holds(state, offer) {
            self.tell_booking(booking, offer, OfferNews::Expired);
            let ended = Push::OfferEnded { offer, how: OfferEnd::Expired };
            state.phone.push(&self.runtime, driver, ended);
        }
    }

    pub(super) async fn decline(
        &self,
        state: &mut State,
        offer: OfferId,
        idempotency: Option<Idempotency>,
    ) -> Result<Driver, Refusal> {
        let driver = self.id;
        let booking = state.driver.as_ref().and_then(|driver| driver.commitment(offer));
        let booking = booking.map(|his| his.offer().booking);
        self.propose(state, idempotency, Command::Decline { driver, offer }).await?;
        if let Some(booking) = booking {
            self.tell_booking(booking, offer, OfferNews::Declined);
        }
        state.driver.clone().ok_or_else(|| Code::DriverNotFound.into())
    }

    pub(super) async fn release(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        offer: OfferId,
        ended: Option<Ended>,
    ) -> Result<(), Refusal> {
        let driver = self.id;
        let his = holds(state, offer);
        let had_next = state.driver.as_ref().is_some_and(|driver| driver.next.is_some());
        let known = |known: &Driver| driver::outcome(known, offer).is_some();
        if !his && state.driver.as_ref().is_some_and(known) {
            return Ok(()); // An end is for ever, however old the record that knows of it.
        }
        self.propose(state, None, Command::Release { driver, offer, ended }).await?;
        let push = match ended {
            Some(Ended { trip, state, .. }) => Push::Trip { trip, state },
            None => Push::OfferEnded { offer, how: OfferEnd::Taken },
        };
        if his {
            state.phone.push(&self.runtime, driver, push);
        }
        if had_next {
            // What was to follow is what he drives now.
            self.take_up(myself, state);
        }
        Ok(())
    }
}
