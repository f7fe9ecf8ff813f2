//! An accept, driven to its end: once the record says *taken*, the booking is asked until it gives a
//! definite answer.

use super::{Message, Reply, Shell, State, holds, reply, take_up_later};
use crate::runtime::REDRIVE_MS;
use proto::code::{Code, Refusal};
use proto::record::ask::{Accepted, AssignBooking, PromiseBooking, Push};
use proto::record::command::{Command, Idempotency};
use proto::record::driver::OfferEnd;
use proto::record::trip::DriverCard;
use proto::record::{Booking, Offer, OfferState, Trip};
use proto::{BookingId, OfferId};
use ractor::ActorRef;
use std::time::Duration;
use tracing::warn;

/// How many callers may wait for one accept: a phone that retries, from a few nodes.
const WAITERS_MAX: usize = 16;

/// What a booking is asked for by whoever has accepted.
pub(super) enum Asks {
    /// The trip, for this driver.
    Trip(DriverCard),
    /// To wait for him: he is on another.
    Promise,
}

/// What it says.
#[derive(Clone)]
pub(in crate::runtime) enum Decision {
    Trip(Box<Trip>),
    Promise(Box<Booking>),
}

impl Decision {
    fn accepted(self, offer: OfferId) -> Accepted {
        match self {
            Self::Trip(trip) => Accepted::Trip(trip),
            Self::Promise(booking) => Accepted::Next { offer, booking: booking.id },
        }
    }
}

impl Shell {
    pub(super) async fn accept(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        offer: OfferId,
        idempotency: Option<Idempotency>,
        to: Reply<Accepted>,
    ) {
        let driver = self.id;
        let key = idempotency.map(|asked| asked.key);
        let accept = Command::Accept { driver, offer, key };
        // The outcome names the booking even where the record has moved on: a repeat of an old
        // accept gets the first outcome again.
        let accepted = match self.runtime.propose_driver(driver, idempotency, accept).await {
            Ok(accepted) => accepted,
            Err(refusal) => {
                self.refresh(state).await;
                if refusal.code.retryable() {
                    take_up_later(myself);
                }
                return reply(to, Err(refusal));
            }
        };
        let next = accepted.is_next(offer);
        let asks = if next { Asks::Promise } else { Asks::Trip(accepted.card()) };
        let first_time =
            state.driver.as_ref().is_some_and(|known| known.version < accepted.version);
        let Some(booking) = accepted.commitment(offer).map(|his| his.offer().booking) else {
            return reply(to, Err(Refusal::new(Code::Retry, "accepted, but nothing is taken")));
        };
        if first_time {
            self.note(state, accepted);
        }
        match &mut state.deciding {
            Some((deciding, waiters)) if *deciding == offer => {
                if waiters.len() < WAITERS_MAX {
                    waiters.push(to);
                } else {
                    reply(to, Err(Code::Overloaded.into()));
                }
            }
            Some(_) => {
                take_up_later(myself);
                reply(to, Err(Code::Retry.into()));
            }
            None => {
                state.deciding = Some((offer, vec![to]));
                self.decide(myself, booking, offer, asks);
            }
        }
    }

    /// Asks the booking until it gives a definite answer, in a task of its own.
    pub(super) fn decide(
        &self,
        myself: &ActorRef<Message>,
        booking: BookingId,
        offer: OfferId,
        asks: Asks,
    ) {
        let (runtime, driver, myself) = (self.runtime.clone(), self.id, myself.clone());
        tokio::spawn(async move {
            let mut pause_ms = REDRIVE_MS.0;
            loop {
                let (router, context) = (&runtime.world().router, runtime.background());
                let decision = match &asks {
                    Asks::Trip(card) => {
                        let ask = AssignBooking { booking, offer, driver, card: card.clone() };
                        let answer = router.ask(ask, context).await;
                        answer.map(|trip| Decision::Trip(Box::new(trip)))
                    }
                    Asks::Promise => {
                        let ask = PromiseBooking { booking, offer, driver };
                        let answer = router.ask(ask, context).await;
                        answer.map(|booking| Decision::Promise(Box::new(booking)))
                    }
                };
                let definite = match &decision {
                    Ok(_) => true,
                    // Only the booking's own words free a driver who has accepted.
                    Err(refusal) => matches!(
                        refusal.code,
                        Code::OfferTaken | Code::OfferExpired | Code::BookingNotFound
                    ),
                };
                if definite {
                    let _shell_gone =
                        myself.cast(Message::Decided { offer, decision: Box::new(decision) });
                    return;
                }
                if myself.get_status() > ractor::ActorStatus::Running {
                    return; // Whoever leads the partition next takes the accept up again.
                }
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                pause_ms = (pause_ms * 2).min(REDRIVE_MS.1);
            }
        });
    }

    /// Keeps or frees him by the booking's answer, and only then tells his phone.
    pub(super) async fn decided(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        offer: OfferId,
        decision: Result<Decision, Refusal>,
    ) {
        let driver = self.id;
        // Who was promised to it once may be so no more; he said yes to that all the same.
        let stands = match &decision {
            Ok(Decision::Trip(_)) => true,
            Ok(Decision::Promise(booking)) => !has_lapsed(booking, offer),
            Err(_) => false,
        };
        let command = match &decision {
            Ok(Decision::Trip(trip)) => Some(Command::Confirm { driver, offer, trip: trip.id }),
            Ok(Decision::Promise(_)) if stands => None,
            Ok(_) | Err(_) => Some(Command::Release { driver, offer, ended: None }),
        };
        // The booking may have released him already, and told his phone.
        let his = holds(state, offer);
        let stored = match command {
            Some(command) => self.propose(state, None, command).await,
            None => Ok(()),
        };
        let waiters = match state.deciding.take() {
            Some((deciding, waiters)) if deciding == offer => waiters,
            other => {
                state.deciding = other;
                Vec::new()
            }
        };
        if let Err(refusal) = stored {
            // Still taken: the booking is asked again.
            take_up_later(myself);
            warn!(%driver, %offer, %refusal, "a decision could not be stored");
            for to in waiters {
                reply(to, Err(refusal.clone()));
            }
            return;
        }
        match &decision {
            Ok(Decision::Trip(trip)) => {
                let born = Push::Trip { trip: trip.id, state: trip.state };
                state.phone.push(&self.runtime, driver, born);
            }
            Ok(Decision::Promise(_)) if stands => state.promised = Some(offer),
            Ok(_) | Err(_) if his => {
                let ended = Push::OfferEnded { offer, how: OfferEnd::Taken };
                state.phone.push(&self.runtime, driver, ended);
            }
            Ok(_) | Err(_) => {}
        }
        for to in waiters {
            reply(to, decision.clone().map(|decision| decision.accepted(offer)));
        }
        if matches!(decision, Ok(Decision::Promise(_))) {
            // He may have come to the end of the ride before while the booking was asked.
            self.take_up(myself, state);
        }
    }
}

/// Whether a booking waits for the driver of an offer no more.
fn has_lapsed(booking: &Booking, offer: OfferId) -> bool {
    let his = |(known, _): &&(Offer, OfferState)| known.id == offer;
    let state = booking.offers.iter().find(his).map(|(_, state)| *state);
    matches!(state, None | Some(OfferState::Lapsed { .. }))
}
