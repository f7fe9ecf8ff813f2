//! What a driver took as his next ride, and does not drive: his booking must let him go before his
//! record does.

use super::{Message, Reply, Shell, State, reply};
use proto::OfferId;
use proto::code::{Code, Refusal};
use proto::record::ask::{EndPromise, Push};
use proto::record::command::{Command, Idempotency};
use proto::record::driver::OfferEnd;
use proto::record::party::is_banned;
use proto::record::{Commitment, Driver};
use ractor::ActorRef;
use tracing::debug;

/// Whether he has taken this very offer as his next ride.
pub(super) fn has_next(state: &State, offer: OfferId) -> bool {
    let next = state.driver.as_ref().and_then(|driver| driver.next.as_ref());
    matches!(next, Some(Commitment::Taken { offer: taken, .. }) if taken.id == offer)
}

impl Shell {
    /// Asks the booking to let him go.
    pub(super) fn call_off(
        &self,
        myself: &ActorRef<Message>,
        state: &State,
        offer: OfferId,
        idempotency: Option<Idempotency>,
        reply: Option<Reply<Driver>>,
    ) {
        let next = state.driver.as_ref().and_then(|driver| driver.commitment(offer));
        let Some(booking) = next.map(|next| next.offer().booking) else { return };
        let (runtime, myself) = (self.runtime.clone(), myself.clone());
        tokio::spawn(async move {
            let ask = EndPromise { booking, offer };
            let answer = runtime.world().router.ask(ask, runtime.background()).await.map(drop);
            let _shell_gone = myself.cast(Message::LetGo { offer, idempotency, answer, reply });
        });
    }

    /// The booking has let him go, or says that it is his trip.
    pub(super) async fn let_go(
        &self,
        state: &mut State,
        offer: OfferId,
        idempotency: Option<Idempotency>,
        answer: Result<(), Refusal>,
        to: Option<Reply<Driver>>,
    ) {
        let driver = self.id;
        let his = has_next(state, offer);
        let answer = match answer {
            Ok(()) => self.propose(state, idempotency, Command::CallOff { driver, offer }).await,
            Err(refusal) => Err(refusal),
        };
        match &answer {
            Ok(()) if his => {
                let ended = Push::OfferEnded { offer, how: OfferEnd::Declined };
                state.phone.push(&self.runtime, driver, ended);
            }
            Ok(()) => {}
            Err(refusal) => debug!(%driver, %offer, %refusal, "a next ride was not called off"),
        }
        let Some(to) = to else { return };
        let record = || state.driver.clone().ok_or_else(|| Code::DriverNotFound.into());
        reply(to, answer.and_then(|()| record()));
    }

    /// Who is banned drives the trip that he is on, and no other. If the booking can't be asked now, the
    /// next look at open work asks again.
    pub(super) fn leave_next_if_banned(&self, myself: &ActorRef<Message>, state: &State) {
        let Some(driver) = &state.driver else { return };
        if let Some(Commitment::Taken { offer, .. }) = &driver.next
            && is_banned(driver.ban.as_ref(), self.runtime.world().clock.wall())
        {
            self.call_off(myself, state, offer.id, None, None);
        }
    }
}
