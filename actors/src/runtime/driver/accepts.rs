//! An accept, driven to its end: once the record says *taken*, the booking is asked until it gives a
//! definite answer.

use super::{Message, Reply, Shell, State, holds, reply, take_up_later};
use crate::runtime::REDRIVE_MS;
use proto::code::{Code, Refusal};
use proto::record::Trip;
use proto::record::ask::{AssignBooking, Push};
use proto::record::command::{Command, Idempotency};
use proto::record::driver::OfferEnd;
use proto::record::trip::DriverCard;
use proto::{BookingId, OfferId};
use ractor::ActorRef;
use std::time::Duration;
use tracing::warn;

/// How many callers may wait for one accept: a phone that retries, from a few nodes.
const WAITERS_MAX: usize = 16;

impl Shell {
    pub(super) async fn accept(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        offer: OfferId,
        idempotency: Option<Idempotency>,
        to: Reply<Trip>,
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
        let card = accepted.card();
        let first_time =
            state.driver.as_ref().is_some_and(|known| known.version < accepted.version);
        let Some(booking) = accepted.taken_booking() else {
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
                self.decide(myself, booking, offer, card);
            }
        }
    }

    /// Asks the booking until it gives a definite answer, in a task of its own.
    pub(super) fn decide(
        &self,
        myself: &ActorRef<Message>,
        booking: BookingId,
        offer: OfferId,
        card: DriverCard,
    ) {
        let (runtime, driver, myself) = (self.runtime.clone(), self.id, myself.clone());
        tokio::spawn(async move {
            let mut pause_ms = REDRIVE_MS.0;
            loop {
                let ask = AssignBooking { booking, offer, driver, card: card.clone() };
                let decision = runtime.world().router.ask(ask, runtime.background()).await;
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
        decision: Result<Trip, Refusal>,
    ) {
        let driver = self.id;
        let command = match &decision {
            Ok(trip) => Command::Confirm { driver, offer, trip: trip.id },
            Err(_) => Command::Release { driver, offer, ended: None },
        };
        // The booking may have released him already, and told his phone.
        let his = holds(state, offer);
        let stored = self.propose(state, None, command).await;
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
            Ok(trip) => {
                let born = Push::Trip { trip: trip.id, state: trip.state };
                state.phone.push(&self.runtime, driver, born);
            }
            Err(_) if his => {
                let ended = Push::OfferEnded { offer, how: OfferEnd::Taken };
                state.phone.push(&self.runtime, driver, ended);
            }
            Err(_) => {}
        }
        for to in waiters {
            reply(to, decision.clone());
        }
    }
}
