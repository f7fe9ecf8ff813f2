//! The driver shell: the only one that changes his record. It collects claims, runs the offer's
//! timer, and drives an accept to its end: once the record says *taken*, it asks the booking until
//! the booking gives a definite answer, however long that takes.

mod accepts;
mod claims;
mod next;
mod offers;

use super::phone::Phone;
use super::{REDRIVE_MS, Runtime};
use crate::claim::Claims;
use accepts::{Asks, Decision};
use next::has_next;
use proto::code::{Code, Refusal};
use proto::record::ask::{
    Accepted, ClaimAnswer, HoldAnswer, OfferNews, Push, Restand, TellBooking,
};
use proto::record::command::{Command, Idempotency};
use proto::record::driver::DriverStatus;
use proto::record::trip::Ended;
use proto::record::{Commitment, Driver, Offer};
use proto::{BookingId, DriverId, OfferId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::debug;

/// A shell with nothing to do for this long leaves, in milliseconds.
const IDLE_MS: u64 = 30_000;

/// Where an answer goes. A caller who has gone is no error.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

pub(super) enum Message {
    Claim {
        booking: BookingId,
        score_ms: i64,
        contended: bool,
        /// He would only be counted on.
        soon: bool,
        reply: Reply<ClaimAnswer>,
    },
    Hold {
        offer: Box<Offer>,
        reply: Reply<HoldAnswer>,
    },
    /// The same, to follow the trip that he is on.
    HoldNext {
        offer: Box<Offer>,
        reply: Reply<HoldAnswer>,
    },
    Accept {
        offer: OfferId,
        idempotency: Option<Idempotency>,
        reply: Reply<Accepted>,
    },
    Decline {
        offer: OfferId,
        idempotency: Option<Idempotency>,
        reply: Reply<Driver>,
    },
    Release {
        offer: OfferId,
        ended: Option<Ended>,
        reply: Reply<()>,
    },
    /// Goes on or off duty, is banned, or no more.
    SetDuty {
        command: Box<Command>,
        idempotency: Option<Idempotency>,
        reply: Reply<Driver>,
    },
    /// Someone must act for him: this node has just begun to lead his partition, or what was asked for
    /// him may have happened without anybody's knowing. His record says what is to be done.
    TakeUp,
    /// The booking gave its definite answer to an accepted offer.
    Decided {
        offer: OfferId,
        decision: Box<Result<Decision, Refusal>>,
    },
    /// The booking was asked to let him go from what he took as his next ride.
    LetGo {
        offer: OfferId,
        idempotency: Option<Idempotency>,
        answer: Result<(), Refusal>,
        /// Nobody waits where it was not he who asked.
        reply: Option<Reply<Driver>>,
    },
    /// An offer's time is up.
    OfferDue(OfferId),
    /// A claim window may be over.
    ClaimsDue,
    /// Leave if there is nothing to do.
    Idle,
}

pub(super) struct Shell {
    pub(super) runtime: Runtime,
    pub(super) id: DriverId,
}

pub(super) struct State {
    /// The record as last committed; nothing until it was read, or if there is none.
    driver: Option<Driver>,
    claims: Claims,
    claimants: BTreeMap<u64, Reply<ClaimAnswer>>,
    next_ticket: u64,
    /// The accept that the booking is being asked about, and who waits for it.
    deciding: Option<(OfferId, Vec<Reply<Accepted>>)>,
    /// What he took as his next ride, once the booking has said that it waits for him.
    promised: Option<OfferId>,
    phone: Phone,
    /// The offer whose time this shell watches.
    timed: Option<OfferId>,
    busy_since_idle: bool,
}

fn reply<T>(to: Reply<T>, answer: Result<T, Refusal>) {
    let _caller_gone = to.send(answer);
}

impl Actor for Shell {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (): (),
    ) -> Result<State, ActorProcessingErr> {
        myself.send_after(Duration::from_millis(IDLE_MS), || Message::Idle);
        Ok(State {
            driver: None,
            claims: Claims::default(),
            claimants: BTreeMap::new(),
            next_ticket: 0,
            deciding: None,
            promised: None,
            phone: Phone::default(),
            timed: None,
            busy_since_idle: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if matches!(message, Message::Idle) {
            self.leave_if_idle(&myself, state);
            return Ok(());
        }
        state.busy_since_idle = true;
        if state.driver.is_none() {
            match self.runtime.driver(self.id).await {
                Ok(driver) => state.driver = Some(driver),
                Err(refusal) => {
                    if matches!(message, Message::TakeUp) && refusal.code.retryable() {
                        take_up_later(&myself);
                    }
                    refuse(message, refusal);
                    return Ok(());
                }
            }
        }
        match message {
            Message::Claim { booking, score_ms, soon: true, reply, .. } => {
                self.count_on(state, booking, score_ms, reply);
            }
            Message::Claim { booking, score_ms, contended, soon: false, reply } => {
                self.claim(&myself, state, booking, score_ms, contended, reply);
            }
            Message::ClaimsDue => self.close_claims(&myself, state),
            Message::Hold { offer, reply: to } => {
                let command = Command::Hold { offer: Offer::clone(&offer) };
                let answer = self.hold(&myself, state, *offer, command).await;
                reply(to, answer);
            }
            Message::HoldNext { offer, reply: to } => {
                state.claims.count_on_no_more(offer.booking);
                let command = Command::HoldNext { offer: Offer::clone(&offer) };
                let answer = self.hold(&myself, state, *offer, command).await;
                reply(to, answer);
            }
            Message::OfferDue(offer) => self.offer_due(&myself, state, offer).await,
            Message::Accept { offer, idempotency, reply } => {
                self.accept(&myself, state, offer, idempotency, reply).await;
            }
            Message::Decided { offer, decision } => {
                self.decided(&myself, state, offer, *decision).await;
            }
            Message::Decline { offer, idempotency, reply } if has_next(state, offer) => {
                self.call_off(&myself, state, offer, idempotency, Some(reply));
            }
            Message::LetGo { offer, idempotency, answer, reply } => {
                self.let_go(state, offer, idempotency, answer, reply).await;
            }
            Message::Decline { offer, idempotency, reply: to } => {
                let answer = self.decline(state, offer, idempotency).await;
                reply(to, answer);
            }
            Message::Release { offer, ended, reply: to } => {
                let nothing_came = ended.is_none();
                let answer = self.release(&myself, state, offer, ended).await;
                if nothing_came {
                    // Whoever took the offer back wants to know that he sees nothing more of it.
                    let quiet = state.phone.quiet();
                    tokio::spawn(async move {
                        quiet.await;
                        reply(to, answer);
                    });
                } else {
                    reply(to, answer);
                }
            }
            Message::SetDuty { command, idempotency, reply: to } => {
                let answer = self.set_duty(state, *command, idempotency).await;
                reply(to, answer);
                self.leave_next_if_banned(&myself, state);
            }
            Message::TakeUp => {
                self.refresh(state).await;
                self.take_up(&myself, state);
            }
            Message::Idle => {}
        }
        Ok(())
    }
}

/// Answers a message that can't be served.
fn refuse(message: Message, refusal: Refusal) {
    match message {
        Message::Claim { reply: to, .. } => reply(to, Err(refusal)),
        Message::Hold { reply: to, .. } | Message::HoldNext { reply: to, .. } => {
            reply(to, Err(refusal));
        }
        Message::Accept { reply: to, .. } => reply(to, Err(refusal)),
        Message::Decline { reply: to, .. }
        | Message::SetDuty { reply: to, .. }
        | Message::LetGo { reply: Some(to), .. } => {
            reply(to, Err(refusal));
        }
        Message::Release { reply: to, .. } => reply(to, Err(refusal)),
        Message::TakeUp
        | Message::Decided { .. }
        | Message::LetGo { reply: None, .. }
        | Message::OfferDue(_)
        | Message::ClaimsDue
        | Message::Idle => debug!(%refusal, "a message to a driver nobody can read"),
    }
}

impl Shell {
    fn leave_if_idle(&self, myself: &ActorRef<Message>, state: &mut State) {
        let committed = state.driver.as_ref().is_some_and(|driver| driver.current.is_some());
        let now = self.runtime.world().clock.mono();
        if state.busy_since_idle
            || committed
            || !state.claims.is_idle(now)
            || state.deciding.is_some()
        {
            state.busy_since_idle = false;
            myself.send_after(Duration::from_millis(IDLE_MS), || Message::Idle);
        } else {
            self.runtime.0.drivers.retire(self.id, myself);
        }
    }

    /// Changes whether he works. An offer that this takes from before him counts as declined.
    async fn set_duty(
        &self,
        state: &mut State,
        command: Command,
        idempotency: Option<Idempotency>,
    ) -> Result<Driver, Refusal> {
        let had = state.driver.iter().flat_map(Driver::commitments);
        let had: Vec<_> = had.map(|it| (it.offer().booking, it.offer().id)).collect();
        self.propose(state, idempotency, command).await?;
        let driver = state.driver.clone().ok_or(Code::DriverNotFound)?;
        for (booking, offer) in had {
            if driver.commitment(offer).is_none() {
                self.tell_booking(booking, offer, OfferNews::Declined);
            }
        }
        Ok(driver)
    }

    /// Does what his record asks for and nobody does yet: goes on where the last leader of this
    /// partition stopped, or with what happened unnoticed.
    fn take_up(&self, myself: &ActorRef<Message>, state: &mut State) {
        let Some(driver) = state.driver.clone() else { return };
        for commitment in driver.commitments() {
            match commitment {
                Commitment::Held { offer } if state.timed != Some(offer.id) => {
                    // The timer starts over: a hold lasts at most its time once per leader.
                    watch(myself, state, offer);
                    if !driver.is_next(offer.id) {
                        state.phone.push(&self.runtime, self.id, Push::Offer(offer.clone()));
                    }
                }
                Commitment::Taken { offer, trip: None, .. } => {
                    self.have_decided(myself, state, &driver, offer);
                }
                Commitment::Held { .. } | Commitment::Taken { .. } => {}
            }
        }
        self.leave_next_if_banned(myself, state);
    }

    /// Asks the booking of an offer that he has accepted, unless that is under way or answered.
    fn have_decided(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        driver: &Driver,
        offer: &Offer,
    ) {
        let deciding = state.deciding.as_ref().map(|(deciding, _)| *deciding);
        let next = driver.is_next(offer.id);
        if deciding == Some(offer.id) || (next && state.promised == Some(offer.id)) {
            return;
        }
        let asks = if next { Asks::Promise } else { Asks::Trip(driver.card()) };
        self.decide(myself, offer.booking, offer.id, asks);
        // Who waits for another offer's end is answered by asking again.
        let waiters = state.deciding.replace((offer.id, Vec::new()));
        for to in waiters.into_iter().flat_map(|(_, waiters)| waiters) {
            reply(to, Err(Code::Retry.into()));
        }
    }

    /// Proposes a command about this driver and notes his record as it then is.
    async fn propose(
        &self,
        state: &mut State,
        idempotency: Option<Idempotency>,
        command: Command,
    ) -> Result<(), Refusal> {
        let proposed = self.runtime.propose_driver(self.id, idempotency, command).await;
        match proposed {
            Ok(driver) => {
                self.note(state, driver);
                Ok(())
            }
            Err(refusal) => {
                if refusal.code.retryable() {
                    self.refresh(state).await;
                }
                Err(refusal)
            }
        }
    }

    /// Reads the record anew after an outcome that did not bring it.
    async fn refresh(&self, state: &mut State) {
        if let Ok(driver) = self.runtime.driver(self.id).await {
            self.note(state, driver);
        }
    }

    /// Notes the record, and tells the cell he was seen in if his standing changed.
    fn note(&self, state: &mut State, driver: Driver) {
        let newer = state.driver.as_ref().is_none_or(|known| known.version < driver.version);
        if newer && let Some(ring_key) = self.runtime.0.soft.ring_key(self.id) {
            let (runtime, standing) = (self.runtime.clone(), self.runtime.stands(&driver));
            tokio::spawn(async move {
                // Lost standings are asked for again by the cell.
                let ask = Restand { ring_key, standing };
                let _lost = runtime.world().router.ask(ask, runtime.background()).await;
            });
        }
        let not_older = state.driver.as_ref().is_none_or(|known| known.version <= driver.version);
        if not_older {
            state.driver = Some(driver);
        }
    }

    fn tell_booking(&self, booking: BookingId, offer: OfferId, news: OfferNews) {
        let runtime = self.runtime.clone();
        tokio::spawn(async move {
            // The booking's own timer makes good for a lost message.
            let ask = TellBooking { booking, offer, news };
            let _lost = runtime.world().router.ask(ask, runtime.background()).await;
        });
    }
}

/// Looks at an offer again when its time is up.
fn watch(myself: &ActorRef<Message>, state: &mut State, offer: &Offer) {
    let (id, ttl_ms) = (offer.id, offer.ttl_ms);
    state.timed = Some(id);
    myself.send_after(Duration::from_millis(ttl_ms.into()), move || Message::OfferDue(id));
}

/// Looks in a moment at what his record asks for: nobody knows whether something happened.
fn take_up_later(myself: &ActorRef<Message>) {
    myself.send_after(Duration::from_millis(REDRIVE_MS.1), || Message::TakeUp);
}

/// Whether he holds or has taken this very offer.
fn holds(state: &State, offer: OfferId) -> bool {
    state.driver.as_ref().is_some_and(|driver| driver.commitment(offer).is_some())
}

/// The booking whose offer he holds or has taken.
fn committed_to(state: &State) -> Option<BookingId> {
    let current = state.driver.as_ref().and_then(|driver| driver.current.as_ref());
    current.map(|current| current.offer().booking)
}

fn is_free(state: &State) -> bool {
    state.driver.as_ref().is_some_and(|driver| driver.standing().status == DriverStatus::Free)
}

impl Runtime {
    /// Sends to a driver's shell, spawning it if need be.
    pub(super) fn tell_driver(&self, id: DriverId, message: Message) {
        self.0.drivers.tell(id, message, || (Shell { runtime: self.clone(), id }, ()));
    }

    /// Sends a message that carries a reply, and waits for it.
    pub(super) async fn ask_driver<T>(
        &self,
        id: DriverId,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell_driver(id, message(reply));
        answer.await.unwrap_or_else(|_| Err(Refusal::new(Code::Retry, "the driver's shell died")))
    }
}
