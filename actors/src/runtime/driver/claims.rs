//! Claims on a driver: who of the bookings that want him gets him.

use super::{Message, Reply, Shell, State, committed_to, is_free, reply};
use crate::claim::{self, Claim};
use crate::runtime::count;
use proto::BookingId;
use proto::record::ask::ClaimAnswer;
use ractor::ActorRef;
use std::time::Duration;

impl Shell {
    pub(super) fn claim(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        booking: BookingId,
        score_ms: i64,
        contended: bool,
        reply: Reply<ClaimAnswer>,
    ) {
        state.next_ticket += 1;
        let ticket = state.next_ticket;
        state.claimants.insert(ticket, reply);
        let (now, free) = (self.runtime.world().clock.mono(), is_free(state));
        let claim = Claim { ticket, booking, score_ms, contended };
        let mut effects = Vec::new();
        state.claims.claim(now, claim, free, &self.runtime.world().policy.load(), &mut effects);
        self.act_on_claims(myself, state, effects);
    }

    /// Somebody would wait for the end of his ride. One who came free meanwhile has woken those who
    /// wait; this one looks again.
    pub(super) fn count_on(
        &self,
        state: &mut State,
        booking: BookingId,
        score_ms: i64,
        to: Reply<ClaimAnswer>,
    ) {
        let driver = state.driver.as_ref();
        let answer = if driver.is_some_and(|driver| self.runtime.has_aboard(driver)) {
            let now = self.runtime.world().clock.mono();
            let claim = Claim { ticket: 0, booking, score_ms, contended: false };
            state.claims.count_on(now, claim)
        } else {
            ClaimAnswer::Busy(committed_to(state))
        };
        reply(to, Ok(answer));
    }

    pub(super) fn close_claims(&self, myself: &ActorRef<Message>, state: &mut State) {
        let (now, free) = (self.runtime.world().clock.mono(), is_free(state));
        let mut effects = Vec::new();
        state.claims.tick(now, free, &self.runtime.world().policy.load(), &mut effects);
        self.act_on_claims(myself, state, effects);
    }

    pub(super) fn act_on_claims(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        effects: Vec<claim::Effect>,
    ) {
        let tally = &self.runtime.0.tally;
        for effect in effects {
            match effect {
                claim::Effect::Answer(ticket, answer) => {
                    count(match answer {
                        ClaimAnswer::Granted => &tally.claims_granted,
                        ClaimAnswer::Lost(_) => &tally.claims_lost,
                        ClaimAnswer::Busy(_) => &tally.claims_busy,
                    });
                    if let Some(to) = state.claimants.remove(&ticket) {
                        reply(to, Ok(answer.or_busy_with(committed_to(state))));
                    }
                }
                claim::Effect::WakeAt(at) => {
                    let wait_ms = at.since(self.runtime.world().clock.mono());
                    myself.send_after(Duration::from_millis(wait_ms), || Message::ClaimsDue);
                }
            }
        }
    }
}
