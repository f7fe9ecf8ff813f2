//! The driver shell: the only one that changes his record. It collects claims, runs the offer's
//! timer, and drives an accept to its end: once the record says *taken*, it asks the booking until
//! the booking gives a definite answer, however long that takes.

use super::{REDRIVE_MS, Runtime, count};
use crate::claim::{self, Claim, Claims};
use proto::code::{Code, Refusal};
use proto::record::ask::{
    AssignBooking, ClaimAnswer, HoldAnswer, OfferNews, Push, PushDown, Restand, TellBooking,
};
use proto::record::command::{Command, Idempotency};
use proto::record::driver::{DriverStatus, OfferEnd};
use proto::record::{Commitment, Driver, Offer, Trip, TripState};
use proto::{BookingId, DriverId, OfferId, TripId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::{debug, warn};

/// A shell with nothing to do for this long leaves, in milliseconds.
const IDLE_MS: u64 = 30_000;
/// How many callers may wait for one accept: a phone that retries, from a few nodes.
const WAITERS_MAX: usize = 16;

/// Where an answer goes. A caller who has gone is no error.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

pub(super) enum Message {
    Claim {
        booking: BookingId,
        score_ms: i64,
        contended: bool,
        reply: Reply<ClaimAnswer>,
    },
    Hold {
        offer: Box<Offer>,
        reply: Reply<HoldAnswer>,
    },
    Accept {
        offer: OfferId,
        idempotency: Option<Idempotency>,
        reply: Reply<Trip>,
    },
    Decline {
        offer: OfferId,
        idempotency: Option<Idempotency>,
        reply: Reply<Driver>,
    },
    Release {
        offer: OfferId,
        ended: Option<(TripId, TripState)>,
        reply: Reply<()>,
    },
    SetDuty {
        online: bool,
        idempotency: Option<Idempotency>,
        reply: Reply<Driver>,
    },
    /// Someone must act for him: this node has just begun to lead his partition.
    TakeUp,
    /// The booking gave its definite answer to an accepted offer.
    Decided {
        offer: OfferId,
        decision: Box<Result<Trip, Refusal>>,
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
    deciding: Option<(OfferId, Vec<Reply<Trip>>)>,
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
                    refuse(message, refusal);
                    return Ok(());
                }
            }
        }
        match message {
            Message::Claim { booking, score_ms, contended, reply } => {
                self.claim(&myself, state, booking, score_ms, contended, reply);
            }
            Message::ClaimsDue => self.close_claims(&myself, state),
            Message::Hold { offer, reply: to } => {
                let answer = self.hold(&myself, state, *offer).await;
                reply(to, answer);
            }
            Message::OfferDue(offer) => self.offer_due(state, offer).await,
            Message::Accept { offer, idempotency, reply } => {
                self.accept(&myself, state, offer, idempotency, reply).await;
            }
            Message::Decided { offer, decision } => self.decided(state, offer, *decision).await,
            Message::Decline { offer, idempotency, reply: to } => {
                let answer = self.decline(state, offer, idempotency).await;
                reply(to, answer);
            }
            Message::Release { offer, ended, reply: to } => {
                let answer = self.release(state, offer, ended).await;
                reply(to, answer);
            }
            Message::SetDuty { online, idempotency, reply: to } => {
                let answer = self.set_duty(state, online, idempotency).await;
                reply(to, answer);
            }
            Message::TakeUp => self.take_up(&myself, state),
            Message::Idle => {}
        }
        Ok(())
    }
}

/// Answers a message that can't be served.
fn refuse(message: Message, refusal: Refusal) {
    match message {
        Message::Claim { reply: to, .. } => reply(to, Err(refusal)),
        Message::Hold { reply: to, .. } => reply(to, Err(refusal)),
        Message::Accept { reply: to, .. } => reply(to, Err(refusal)),
        Message::Decline { reply: to, .. } | Message::SetDuty { reply: to, .. } => {
            reply(to, Err(refusal));
        }
        Message::Release { reply: to, .. } => reply(to, Err(refusal)),
        Message::TakeUp
        | Message::Decided { .. }
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

    fn claim(
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
        state.claims.claim(now, claim, free, &self.runtime.world().policy, &mut effects);
        self.act_on_claims(myself, state, effects);
    }

    fn close_claims(&self, myself: &ActorRef<Message>, state: &mut State) {
        let (now, free) = (self.runtime.world().clock.mono(), is_free(state));
        let mut effects = Vec::new();
        state.claims.tick(now, free, &self.runtime.world().policy, &mut effects);
        self.act_on_claims(myself, state, effects);
    }

    fn act_on_claims(
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
                        ClaimAnswer::Lost => &tally.claims_lost,
                        ClaimAnswer::Busy => &tally.claims_busy,
                    });
                    if let Some(to) = state.claimants.remove(&ticket) {
                        reply(to, Ok(answer));
                    }
                }
                claim::Effect::WakeAt(at) => {
                    let wait_ms = at.since(self.runtime.world().clock.mono());
                    myself.send_after(Duration::from_millis(wait_ms), || Message::ClaimsDue);
                }
            }
        }
    }

    async fn hold(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        offer: Offer,
    ) -> Result<HoldAnswer, Refusal> {
        let tally = &self.runtime.0.tally;
        count(&tally.holds);
        let (id, booking, ttl_ms) = (offer.id, offer.booking, offer.ttl_ms);
        let holder = state.claims.holder(self.runtime.world().clock.mono());
        if holder.is_some_and(|holder| holder != booking) {
            count(&tally.holds_refused);
            return Ok(HoldAnswer::Busy);
        }
        let held = self.propose(state, None, Command::Hold { offer: offer.clone() }).await;
        state.claims.settle(booking);
        match held {
            Ok(()) => {
                myself.send_after(Duration::from_millis(ttl_ms.into()), move || {
                    Message::OfferDue(id)
                });
                self.push(Push::Offer(offer));
                Ok(HoldAnswer::Held)
            }
            Err(refusal) => {
                let busy = matches!(refusal.code, Code::DriverBusy | Code::DriverOffline);
                let answer = match (busy, refusal.code == Code::OfferExpired) {
                    (true, _) => HoldAnswer::Busy,
                    (false, true) => HoldAnswer::Gone,
                    (false, false) => return Err(refusal),
                };
                count(&tally.holds_refused);
                Ok(answer)
            }
        }
    }

    /// The offer's time is up. A timer that comes early, late or twice is harmless: the register
    /// frees a driver who holds this offer and nobody else.
    async fn offer_due(&self, state: &mut State, offer: OfferId) {
        let driver = self.id;
        let booking = match state.driver.as_ref().and_then(|driver| driver.current.as_ref()) {
            Some(Commitment::Held { offer: held }) if held.id == offer => held.booking,
            Some(Commitment::Taken { offer: taken, .. })
                if taken.id == offer && self.runtime.world().faults.ttl_frees_taken() =>
            {
                taken.booking
            }
            Some(Commitment::Held { .. } | Commitment::Taken { .. }) | None => return,
        };
        if let Err(refusal) = self.propose(state, None, Command::ExpireHold { driver, offer }).await
        {
            return warn!(%driver, %offer, %refusal, "an offer could not be expired");
        }
        if state.driver.as_ref().is_some_and(|driver| driver.current.is_none()) {
            self.tell_booking(booking, offer, OfferNews::Expired);
            self.push(Push::OfferEnded { offer, how: OfferEnd::Expired });
        }
    }

    async fn accept(
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
                return reply(to, Err(refusal));
            }
        };
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
            Some(_) => reply(to, Err(Code::Retry.into())),
            None => {
                state.deciding = Some((offer, vec![to]));
                self.decide(myself, booking, offer);
            }
        }
    }

    /// Asks the booking until it gives a definite answer, in a task of its own.
    fn decide(&self, myself: &ActorRef<Message>, booking: BookingId, offer: OfferId) {
        let (runtime, driver, myself) = (self.runtime.clone(), self.id, myself.clone());
        tokio::spawn(async move {
            let mut pause_ms = REDRIVE_MS.0;
            loop {
                let ask = AssignBooking { booking, offer, driver };
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
    async fn decided(&self, state: &mut State, offer: OfferId, decision: Result<Trip, Refusal>) {
        let driver = self.id;
        let command = match &decision {
            Ok(trip) => Command::Confirm { driver, offer, trip: trip.id },
            Err(_) => Command::Release { driver, offer, ended: None },
        };
        let stored = self.propose(state, None, command).await;
        let waiters = match state.deciding.take() {
            Some((deciding, waiters)) if deciding == offer => waiters,
            other => {
                state.deciding = other;
                Vec::new()
            }
        };
        if let Err(refusal) = stored {
            // Still taken: the phone asks again, or the next leader takes it up.
            warn!(%driver, %offer, %refusal, "a decision could not be stored");
            for to in waiters {
                reply(to, Err(refusal.clone()));
            }
            return;
        }
        match &decision {
            Ok(trip) => self.push(Push::Trip { trip: trip.id, state: trip.state }),
            Err(_) => self.push(Push::OfferEnded { offer, how: OfferEnd::Taken }),
        }
        for to in waiters {
            reply(to, decision.clone());
        }
    }

    async fn decline(
        &self,
        state: &mut State,
        offer: OfferId,
        idempotency: Option<Idempotency>,
    ) -> Result<Driver, Refusal> {
        let driver = self.id;
        let booking = state.driver.as_ref().and_then(|driver| driver.current.as_ref());
        let booking =
            booking.filter(|current| current.offer().id == offer).map(|c| c.offer().booking);
        self.propose(state, idempotency, Command::Decline { driver, offer }).await?;
        if let Some(booking) = booking {
            self.tell_booking(booking, offer, OfferNews::Declined);
        }
        state.driver.clone().ok_or_else(|| Code::DriverNotFound.into())
    }

    async fn release(
        &self,
        state: &mut State,
        offer: OfferId,
        ended: Option<(TripId, TripState)>,
    ) -> Result<(), Refusal> {
        let driver = self.id;
        let held = state.driver.as_ref().and_then(|driver| driver.current.as_ref());
        let his = held.is_some_and(|current| current.offer().id == offer);
        self.propose(state, None, Command::Release { driver, offer, ended }).await?;
        match ended {
            Some((trip, state)) if his => self.push(Push::Trip { trip, state }),
            None if his => self.push(Push::OfferEnded { offer, how: OfferEnd::Taken }),
            Some(_) | None => {}
        }
        Ok(())
    }

    async fn set_duty(
        &self,
        state: &mut State,
        online: bool,
        idempotency: Option<Idempotency>,
    ) -> Result<Driver, Refusal> {
        let driver = self.id;
        let held = state.driver.as_ref().and_then(|driver| driver.current.as_ref());
        let held = held.map(|current| (current.offer().booking, current.offer().id));
        self.propose(state, idempotency, Command::SetDuty { driver, online }).await?;
        let driver = state.driver.clone().ok_or(Code::DriverNotFound)?;
        if let Some((booking, offer)) = held
            && driver.current.is_none()
        {
            self.tell_booking(booking, offer, OfferNews::Declined);
        }
        Ok(driver)
    }

    /// Goes on where the last leader of this partition stopped.
    fn take_up(&self, myself: &ActorRef<Message>, state: &mut State) {
        match state.driver.as_ref().and_then(|driver| driver.current.clone()) {
            Some(Commitment::Held { offer }) => {
                // The timer starts over: a hold lasts at most its time once per leader.
                let (id, ttl_ms) = (offer.id, offer.ttl_ms);
                myself.send_after(Duration::from_millis(ttl_ms.into()), move || {
                    Message::OfferDue(id)
                });
                self.push(Push::Offer(offer));
            }
            Some(Commitment::Taken { offer, trip: None, .. }) if state.deciding.is_none() => {
                state.deciding = Some((offer.id, Vec::new()));
                self.decide(myself, offer.booking, offer.id);
            }
            Some(Commitment::Taken { .. }) | None => {}
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
            let (runtime, standing) = (self.runtime.clone(), driver.standing());
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

    /// Sends something to his phone, if a socket is known. Lost pushes are made good when the
    /// socket attaches again.
    fn push(&self, push: Push) {
        let (runtime, driver) = (self.runtime.clone(), self.id);
        let Some(session) = runtime.0.soft.session(driver) else { return };
        tokio::spawn(async move {
            let ask = PushDown { node: session.node, connection: session.connection, push };
            if let Ok(false) = runtime.world().router.ask(ask, runtime.background()).await {
                runtime.0.soft.detach(driver, session);
            }
        });
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
