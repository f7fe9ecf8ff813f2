//! The booking shell: carries out what the dispatch core decides for one booking that looks for
//! its driver. Decisions about the booking itself (assign, cancel) go straight to the ledger; this
//! shell is only told that it is settled, and leaves.

use super::settle::SETTLE_WITHIN;
use super::{REDRIVE_MS, Runtime, World, count};
use crate::booking::{self, attempts, promise};
use crate::dispatch::{Dispatch, Effect, Event, Prospect, Ranked, Start};
use proto::code::Refusal;
use proto::record::ask::{OfferNews, Withdraw};
use proto::record::cell::{Candidate, Demand};
use proto::record::command::Command;
use proto::record::explain::Explanation;
use proto::record::{Attempt, Booking, BookingState, Offer};
use proto::{BookingId, Code, DriverId, MonoMs, OfferId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{debug, warn};

pub(super) enum Message {
    /// It has just been created.
    Begin(Box<Booking>),
    /// This node has just begun to lead its partition.
    TakeUp,
    /// Something happened.
    Happened(Event),
    /// A driver's side says an offer ended.
    News(OfferId, OfferNews),
    /// A car came free.
    Wake(Candidate),
    /// It was won by an offer, or called off.
    Settled(Option<OfferId>),
    /// A timer.
    Due(MonoMs),
    /// Try again to record that it gave up.
    Expire,
    /// Tell how dispatch went so far, for the record.
    Attempts(oneshot::Sender<Vec<Attempt>>),
    /// Tell all of it.
    Explain(oneshot::Sender<Explanation>),
}

pub(super) struct Shell {
    pub(super) runtime: Runtime,
    pub(super) id: BookingId,
}

/// A dispatch under way; nothing before it began and after it ended.
pub(super) type State = Option<Running>;

pub(super) struct Running {
    /// As it was when the dispatch began; what is read of it never changes.
    booking: Booking,
    pub(super) dispatch: Dispatch,
    /// In which this node leads the booking's partition.
    pub(super) term: u64,
    /// The earliest timer that is set, so that each deadline sets one.
    due_at: Option<MonoMs>,
    expire_pause_ms: u64,
    /// Its end is recorded, and the word of it in the mailbox.
    settled: bool,
}

impl Actor for Shell {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        Ok(None)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Begin(booking) if state.is_none() => {
                self.begin(&myself, state, *booking).await
            }
            Message::TakeUp if state.is_none() => match self.runtime.booking(self.id).await {
                Ok(booking) if booking.state.is_searching() => {
                    self.begin(&myself, state, booking).await;
                }
                Ok(booking) => {
                    // One that has its driver may have asked a better one.
                    self.runtime.watch_booking(&booking);
                    self.runtime.tend_promise(&booking);
                    self.runtime.0.bookings.retire(self.id, &myself);
                }
                Err(refusal) if refusal.code == Code::NotOwner => {
                    // Whoever leads the partition now takes it up.
                    self.runtime.0.bookings.retire(self.id, &myself);
                }
                Err(refusal) if refusal.code.retryable() => {
                    let pause = Duration::from_millis(REDRIVE_MS.1);
                    myself.send_after(pause, || Message::TakeUp);
                }
                Err(refusal) => {
                    warn!(booking = %self.id, %refusal, "a booking could not be taken up");
                    self.runtime.0.bookings.retire(self.id, &myself);
                }
            },
            Message::Begin(_) | Message::TakeUp => {}
            Message::Happened(event) => self.step(&myself, state, event).await,
            Message::News(offer, news) => self.step(&myself, state, Event::News(offer, news)).await,
            Message::Wake(candidate) => self.woken(&myself, state, candidate).await,
            Message::Settled(won) => {
                if won.is_some() && state.is_some() {
                    count(&self.runtime.0.tally.assignments);
                }
                self.step(&myself, state, Event::Settled(won)).await;
            }
            Message::Due(at) => {
                if let Some(running) = state
                    && running.due_at == Some(at)
                {
                    running.due_at = None;
                }
                self.step(&myself, state, Event::Tick).await;
            }
            Message::Expire => self.expire(&myself, state).await,
            Message::Attempts(reply) => {
                if let Some(running) = state {
                    let _caller_gone = reply.send(self.attempts(running));
                }
            }
            Message::Explain(reply) => {
                if let Some(running) = state {
                    let _caller_gone = reply.send(self.story(running, true));
                }
            }
        }
        Ok(())
    }

    /// A shell may be stopped because another node leads now; what it knows is kept all the same.
    async fn post_stop(
        &self,
        _: ActorRef<Message>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(running) = state.take() {
            self.keep_story(&running);
        }
        Ok(())
    }
}

impl Shell {
    async fn begin(&self, myself: &ActorRef<Message>, state: &mut State, booking: Booking) {
        let world = self.runtime.world();
        let now = world.clock.mono();
        let age_ms = attempts::age_ms(&booking, world.clock.wall());
        let offered = booking.offers.iter().map(|(offer, _)| offer.driver);
        let start = Start {
            age_ms,
            ride_ms: u64::from(booking.quote.duration_s) * 1_000,
            attempt: booking.attempt,
            offers_made: booking.offers.len(),
            passed_over: offered.chain(booking.passed_over.iter().copied()).collect(),
            pending: booking::pending(&booking).cloned().collect(),
            waited_ms: promise::waited_ms(&booking),
        };
        let mut effects = Vec::new();
        let policy = world.policy.load().local(booking.pickup.point);
        let dispatch = Dispatch::begin(now, policy, start, &mut effects);
        let partitions = &world.partitions;
        let led = partitions.ledger().leadership();
        let term = led.borrow().get(&partitions.group(self.id.slot())).map_or(0, |term| term.0);
        let (due_at, expire_pause_ms, settled) = (None, REDRIVE_MS.0, false);
        let running = Running { booking, dispatch, term, due_at, expire_pause_ms, settled };
        *state = Some(running);
        self.act(myself, state, effects).await;
    }

    async fn woken(&self, myself: &ActorRef<Message>, state: &mut State, car: Candidate) {
        let Some(Running { booking, .. }) = state else { return };
        let World { eta, policy, clock, .. } = self.runtime.world();
        if policy.load().queue_zones.at(car.point).is_some() {
            return; // He waits his turn there.
        }
        let eta_ms = eta.to_one(&policy.load(), &[car.point], booking.pickup.point)[0];
        let prospect = Prospect::free(car, eta_ms, clock.wall());
        self.step(myself, state, Event::Woken(prospect)).await;
    }

    async fn step(&self, myself: &ActorRef<Message>, state: &mut State, event: Event) {
        let Some(running) = state else { return };
        let mut effects = Vec::new();
        running.dispatch.step(self.runtime.world().clock.mono(), event, &mut effects);
        self.act(myself, state, effects).await;
    }

    /// Performs effects in order; those that ask somebody else do so in a task.
    async fn act(&self, myself: &ActorRef<Message>, state: &mut State, effects: Vec<Effect>) {
        for effect in effects {
            let Some(running) = state else { return };
            match effect {
                Effect::Search { radius_m } => self.search(myself, running, radius_m),
                Effect::Claim { candidate, favour_ms, contended } => {
                    self.claim(myself, candidate, favour_ms, contended);
                }
                Effect::Start { candidate, attempt } => {
                    self.start(myself, running, candidate, attempt);
                }
                Effect::Hold(offer) => self.hold(myself, *offer, false),
                Effect::HoldNext(offer) => self.hold(myself, *offer, true),
                Effect::EndOffer(offer, fate) => {
                    let command = Command::OfferEnd { booking: self.id, offer, fate };
                    let ended = self.runtime.propose_booking(self.id.slot(), None, command).await;
                    if let Err(refusal) = ended {
                        debug!(booking = %self.id, %offer, %refusal, "an offer's end was not recorded");
                    }
                }
                Effect::Release(driver, offer) => {
                    let runtime = self.runtime.clone();
                    tokio::spawn(async move {
                        // His own timer makes good for what is lost all the same.
                        let _late = timeout(SETTLE_WITHIN, runtime.settle(driver, offer)).await;
                    });
                }
                Effect::Appeal { within_ms, but_not } => {
                    self.appeal(myself, running, within_ms, but_not);
                }
                Effect::Expire => self.expire(myself, state).await,
                Effect::WakeAt(at) => self.wake_at(myself, running, at),
                Effect::Finish => {
                    self.withdraw(running);
                    self.keep_story(running);
                    *state = None;
                    self.runtime.0.bookings.retire(self.id, myself);
                }
            }
        }
    }

    fn wake_at(&self, myself: &ActorRef<Message>, running: &mut Running, at: MonoMs) {
        if running.due_at.is_none_or(|due_at| at < due_at) {
            running.due_at = Some(at);
            let wait_ms = at.since(self.runtime.world().clock.mono());
            myself.send_after(Duration::from_millis(wait_ms), move || Message::Due(at));
        }
    }

    fn search(&self, myself: &ActorRef<Message>, running: &Running, radius_m: u32) {
        let (runtime, myself) = (self.runtime.clone(), myself.clone());
        let (pickup, need) = (running.booking.pickup.point, running.booking.need);
        let now = runtime.world().clock.mono();
        let (age_ms, favour_ms) =
            (running.dispatch.age_ms(now), running.dispatch.favour_ms(now, 0));
        let passed_over = running.dispatch.passed_over().iter().copied().collect();
        let demand = Demand { booking: self.id, pickup, need, age_ms, radius_m, favour_ms };
        tokio::spawn(async move {
            let found = runtime.candidates(demand, passed_over).await;
            let _shell_gone = myself.cast(Message::Happened(Event::Found(found)));
        });
    }

    fn appeal(
        &self,
        myself: &ActorRef<Message>,
        running: &Running,
        within_ms: u64,
        but_not: BTreeSet<DriverId>,
    ) {
        let (runtime, myself) = (self.runtime.clone(), myself.clone());
        let booking = running.booking.clone();
        tokio::spawn(async move {
            let asked = runtime.appeal(&booking, within_ms, &but_not).await;
            let _shell_gone = myself.cast(Message::Happened(Event::Appealed(asked)));
        });
    }

    fn claim(
        &self,
        myself: &ActorRef<Message>,
        candidate: Ranked,
        favour_ms: i64,
        contended: bool,
    ) {
        let (runtime, myself, booking) = (self.runtime.clone(), myself.clone(), self.id);
        tokio::spawn(async move {
            let answer = runtime.claim(booking, candidate, favour_ms, contended).await;
            let _shell_gone =
                myself.cast(Message::Happened(Event::Claimed(candidate.driver, answer)));
        });
    }

    /// Records the offer before anybody is held. Nothing comes of it if the booking would not have it.
    fn start(
        &self,
        myself: &ActorRef<Message>,
        running: &Running,
        candidate: Ranked,
        attempt: u16,
    ) {
        let offer = self.runtime.new_offer(&running.booking, candidate, attempt);
        let command =
            Command::OfferStart { offer: offer.clone(), attempts: self.attempts(running) };
        let (runtime, myself, id) = (self.runtime.clone(), myself.clone(), self.id);
        tokio::spawn(async move {
            let driver = offer.driver;
            let started = runtime.propose_booking(id.slot(), None, command).await;
            if let Err(refusal) = &started {
                debug!(booking = %id, %refusal, "an offer could not be started");
            }
            let ended = |refusal: &Refusal| {
                matches!(refusal.code, Code::BookingEnded | Code::BookingAssigned)
            };
            if started.as_ref().is_err_and(ended) {
                // Its end is normally told by whoever brought it about; this is for when that word
                // was lost. Giving up on a settled booking only asks how it was settled.
                let _shell_gone = myself.cast(Message::Expire);
            }
            let event = Event::Started(driver, started.is_ok().then_some(offer));
            let _shell_gone = myself.cast(Message::Happened(event));
        });
    }

    /// Puts an offer before its driver, as his next ride if he has a rider aboard.
    fn hold(&self, myself: &ActorRef<Message>, offer: Offer, next: bool) {
        let (runtime, myself) = (self.runtime.clone(), myself.clone());
        tokio::spawn(async move {
            let here = || myself.get_status() <= ractor::ActorStatus::Running;
            let answer = runtime.put(&offer, next, here).await;
            let _shell_gone = myself.cast(Message::Happened(Event::Held(offer.id, answer)));
        });
    }

    /// Records that nobody was found, however often that takes. If a driver got in first, the
    /// outcome says so, and either way the booking is settled.
    async fn expire(&self, myself: &ActorRef<Message>, state: &mut State) {
        let Some(running) = state.as_mut().filter(|running| !running.settled) else { return };
        let attempts = self.attempts(running);
        let command = Command::ExpireBooking { booking: self.id, attempts };
        match self.runtime.propose_booking(self.id.slot(), None, command).await {
            Ok(booking) => {
                let won = match booking.state {
                    BookingState::Assigned { offer, .. } | BookingState::Promised { offer, .. } => {
                        Some(offer)
                    }
                    BookingState::Open
                    | BookingState::Offering
                    | BookingState::Cancelled { .. }
                    | BookingState::Expired
                    | BookingState::Completed
                    | BookingState::Paid => None,
                };
                running.settled = true;
                let _own_mailbox = myself.cast(Message::Settled(won));
                if won.is_none() {
                    // An offer may be on its way of which this shell never heard that it was recorded.
                    let runtime = self.runtime.clone();
                    tokio::spawn(async move {
                        let _late = timeout(SETTLE_WITHIN, runtime.settle_all(&booking)).await;
                    });
                }
            }
            Err(refusal) => {
                debug!(booking = %self.id, %refusal, "giving up was not recorded");
                let pause = Duration::from_millis(running.expire_pause_ms);
                running.expire_pause_ms = (running.expire_pause_ms * 2).min(REDRIVE_MS.1);
                myself.send_after(pause, || Message::Expire);
            }
        }
    }

    /// Comes off the boards; entries that the message misses die by themselves.
    fn withdraw(&self, running: &Running) {
        let (runtime, booking) = (self.runtime.clone(), self.id);
        let (pickup, radius_m) = (running.booking.pickup.point, running.dispatch.radius_m());
        for node in runtime.world().membership.view().owners_within(pickup, radius_m).into_keys() {
            let runtime = runtime.clone();
            tokio::spawn(async move {
                let ask = Withdraw { node, booking, pickup, radius_m };
                let _lost = runtime.world().router.ask(ask, runtime.background()).await;
            });
        }
    }
}

impl Runtime {
    /// Looks for a driver for a booking that was just created.
    pub(super) fn dispatch(&self, booking: Booking) {
        self.tell_booking(booking.id, Message::Begin(Box::new(booking)));
    }

    /// Goes on looking, from wherever the booking's record says it is.
    pub(super) fn take_up_booking(&self, id: BookingId) {
        self.tell_booking(id, Message::TakeUp);
    }

    fn tell_booking(&self, id: BookingId, message: Message) {
        self.0.bookings.tell(id, message, || (Shell { runtime: self.clone(), id }, ()));
    }
}
