//! The shell of a booking whose driver is on his way: carries out what the core decides about a better
//! one, or about another where it is asked to yield the one it has. It lives while the policy allows a change
//! and the driver has not arrived, and looks once every few seconds; or for one look where it is only
//! asked. What it knows is soft, but for the offer that is out, which the record names.
//!
//! # Not done
//! * A booking whose partition changed its leader is looked after only if an offer of it was out.
//! * What is gained is worked out when the better driver is asked, not when he says yes.

use super::settle::SETTLE_WITHIN;
use super::{REDRIVE_MS, Runtime, World, count, trip};
use crate::booking::{attempts, change, pending};
use crate::dispatch::{CANDIDATES_MAX, Prospect, Ranked, cost};
use crate::geo::distance_m;
use crate::improve::{Effect, Event, Seen, Start, Watch};
use crate::runtime::search::Wanted;
use proto::code::Refusal;
use proto::record::ask::{Fix, Fixes, OfferNews, Whereabouts};
use proto::record::cell::Seek;
use proto::record::command::{Command, OfferFate};
use proto::record::{Booking, BookingState, Offer, Trip, TripState};
use proto::{BookingId, Code, DriverId, MonoMs, OfferId, Point, TripId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::time::Duration;
use tokio::time::timeout;
use tracing::debug;

/// Who is looked at: those next to the pickup, of whom some were asked before.
const NEAR_MAX: u16 = 16;

pub(super) enum Message {
    /// Read the record, and go on from there.
    TakeUp,
    /// The booking has this trip now, or still.
    Assigned(TripId),
    /// A trip of the booking is no longer on its way to the pickup.
    Moved(TripId),
    /// Somebody is stranded whom this driver of the booking could reach in time.
    Yield(DriverId),
    /// Something happened.
    Happened(Event),
    /// A driver's side says an offer ended.
    News(OfferId, OfferNews),
    /// A timer.
    Due,
}

pub(super) struct Shell {
    runtime: Runtime,
    id: BookingId,
}

/// What is looked after; nothing before the record was read.
pub(super) type State = Option<Running>;

pub(super) struct Running {
    /// As it was when the watch began.
    booking: Booking,
    driver: DriverId,
    trip: TripId,
    watch: Watch,
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
            Message::TakeUp => self.take_up(&myself, state, None).await,
            Message::Assigned(trip) => {
                let left = state.as_ref().map(|running| running.trip).filter(|left| *left != trip);
                if let Some(left) = left {
                    count(&self.runtime.0.tally.reassignments);
                    // Its driver is to be released. If this is lost, whoever sweeps finds it open.
                    self.runtime.tell_trip(left, trip::Message::TakeUp);
                }
                if left.is_some() || state.is_none() {
                    self.take_up(&myself, state, None).await;
                }
            }
            // The end of a trip that the booking has left is no news of the one it has.
            Message::Moved(trip) if state.as_ref().is_some_and(|it| it.trip == trip) => {
                self.step(&myself, state, Event::Kept).await;
            }
            Message::Moved(_) => {}
            Message::Yield(driver) if state.is_none() => {
                self.take_up(&myself, state, Some(driver)).await;
            }
            Message::Yield(driver) if state.as_ref().is_some_and(|it| it.driver == driver) => {
                self.step(&myself, state, Event::Yield).await;
            }
            Message::Yield(_) => {} // it has another by now
            Message::Happened(event) => self.step(&myself, state, event).await,
            Message::News(offer, news) => self.step(&myself, state, Event::News(offer, news)).await,
            Message::Due => self.step(&myself, state, Event::Tick).await,
        }
        Ok(())
    }
}

impl Shell {
    /// Begins from where the record says the booking is; if it is asked to yield a driver, for that.
    async fn take_up(
        &self,
        myself: &ActorRef<Message>,
        state: &mut State,
        yields: Option<DriverId>,
    ) {
        *state = None;
        let booking = match self.runtime.booking(self.id).await {
            Ok(booking) => booking,
            Err(refusal) if refusal.code.retryable() && refusal.code != Code::NotOwner => {
                return later(myself);
            }
            Err(_) => return self.runtime.0.watches.retire(self.id, myself),
        };
        let BookingState::Assigned { driver, trip, .. } = booking.state else {
            return self.runtime.0.watches.retire(self.id, myself);
        };
        let offered = booking.offers.iter().map(|(offer, _)| offer.driver);
        let start = Start {
            changes: u16::try_from(change::changes(&booking)).unwrap_or(u16::MAX),
            attempt: booking.attempt,
            passed_over: offered.chain(booking.passed_over.iter().copied()).collect(),
            pending: pending(&booking).next().cloned(),
            yields: yields == Some(driver),
        };
        let World { clock, policy, .. } = self.runtime.world();
        let mut effects = Vec::new();
        let policy = policy.load().local(booking.pickup.point);
        let watch = Watch::begin(clock.mono(), policy, start, &mut effects);
        *state = Some(Running { booking, driver, trip, watch });
        self.act(myself, state, effects).await;
    }

    async fn step(&self, myself: &ActorRef<Message>, state: &mut State, event: Event) {
        let Some(running) = state else { return };
        let mut effects = Vec::new();
        running.watch.step(self.runtime.world().clock.mono(), event, &mut effects);
        self.act(myself, state, effects).await;
    }

    /// Performs effects in order; those that ask somebody else do so in a task.
    async fn act(&self, myself: &ActorRef<Message>, state: &mut State, effects: Vec<Effect>) {
        for effect in effects {
            let Some(running) = state else { return };
            match effect {
                Effect::Look { yields } => self.look(myself, running, yields),
                Effect::Claim(candidate) => self.claim(myself, candidate),
                Effect::Start(candidate, attempt) => {
                    self.start(myself, running, candidate, attempt);
                }
                Effect::Hold(offer) => self.hold(myself, *offer),
                Effect::EndOffer(offer, fate) => self.end_offer(myself, offer, fate).await,
                Effect::Release(driver, offer) => {
                    let runtime = self.runtime.clone();
                    tokio::spawn(async move {
                        // His own timer makes good for what is lost all the same.
                        let _late = timeout(SETTLE_WITHIN, runtime.settle(driver, offer)).await;
                    });
                }
                Effect::WakeAt(at) => self.wake_at(myself, at),
                Effect::Finish => {
                    *state = None;
                    self.runtime.0.watches.retire(self.id, myself);
                }
            }
        }
    }

    fn wake_at(&self, myself: &ActorRef<Message>, at: MonoMs) {
        let wait_ms = at.since(self.runtime.world().clock.mono());
        myself.send_after(Duration::from_millis(wait_ms), || Message::Due);
    }

    fn look(&self, myself: &ActorRef<Message>, running: &Running, yields: bool) {
        let (runtime, myself) = (self.runtime.clone(), myself.clone());
        let (driver, trip, booking) = (running.driver, running.trip, running.booking.clone());
        tokio::spawn(async move {
            let seen = runtime.who_else((driver, trip), &booking, yields).await;
            let _shell_gone = myself.cast(Message::Happened(Event::Looked(seen)));
        });
    }

    /// Claims him as one whom others want too: those who wait for a driver come first.
    fn claim(&self, myself: &ActorRef<Message>, candidate: Ranked) {
        let (runtime, myself, booking) = (self.runtime.clone(), myself.clone(), self.id);
        tokio::spawn(async move {
            let answer = runtime.claim(booking, candidate, 0, true).await;
            let claimed = Event::Claimed(candidate.driver, answer);
            let _shell_gone = myself.cast(Message::Happened(claimed));
        });
    }

    /// Records the offer before anybody is held.
    fn start(
        &self,
        myself: &ActorRef<Message>,
        running: &Running,
        candidate: Ranked,
        attempt: u16,
    ) {
        let offer = self.runtime.new_offer(&running.booking, candidate, attempt);
        let policy = self.runtime.world().policy.load();
        let (max, rest_ms) = (policy.changes_max(), policy.reassign_rest_ms);
        let command = Command::Reassign { offer: offer.clone(), max, rest_ms };
        let (runtime, myself, id) = (self.runtime.clone(), myself.clone(), self.id);
        tokio::spawn(async move {
            let started = runtime.propose_booking(id.slot(), None, command).await;
            let driver = offer.driver;
            let started = match started {
                Ok(_) => Event::Started(driver, Some(offer)),
                Err(refusal) => {
                    debug!(booking = %id, %refusal, "a better driver could not be offered it");
                    if refusal.code.retryable() {
                        return later(&myself); // it may be recorded all the same
                    }
                    Event::Started(driver, None)
                }
            };
            let _shell_gone = myself.cast(Message::Happened(started));
        });
    }

    fn hold(&self, myself: &ActorRef<Message>, offer: Offer) {
        let (runtime, myself) = (self.runtime.clone(), myself.clone());
        tokio::spawn(async move {
            let here = || myself.get_status() <= ractor::ActorStatus::Running;
            let answer = runtime.put(&offer, false, here).await;
            let _shell_gone = myself.cast(Message::Happened(Event::Held(offer.id, answer)));
        });
    }

    async fn end_offer(&self, myself: &ActorRef<Message>, offer: OfferId, fate: OfferFate) {
        let command = Command::OfferEnd { booking: self.id, offer, fate };
        let ended: Result<Booking, Refusal> =
            self.runtime.propose_booking(self.id.slot(), None, command).await;
        if let Err(refusal) = ended {
            debug!(booking = %self.id, %offer, %refusal, "an offer's end was not recorded");
            later(myself);
        }
    }
}

/// Reads the record anew in a moment: nobody knows whether something happened.
fn later(myself: &ActorRef<Message>) {
    myself.send_after(Duration::from_millis(REDRIVE_MS.1), || Message::TakeUp);
}

impl Runtime {
    /// A trip was born, or its driver asked again whether it was: from now on a better driver may be
    /// looked for, if the policy has that.
    pub(super) fn watch_trip(&self, trip: &Trip) {
        let message = Message::Assigned(trip.id);
        if trip.state != TripState::Assigned {
            return;
        }
        if self.world().policy.load().reassign_max > 0 {
            self.tell_watch(trip.booking, message);
        } else {
            self.0.watches.tell_living(trip.booking, message);
        }
    }

    /// Goes on with the offer that an assigned booking has out.
    pub(super) fn watch_booking(&self, booking: &Booking) {
        let assigned = matches!(booking.state, BookingState::Assigned { .. });
        if assigned && pending(booking).next().is_some() {
            self.tell_watch(booking.id, Message::TakeUp);
        }
    }

    /// A trip moved: from the pickup on its booking keeps the driver.
    pub(super) fn unwatch(&self, trip: &Trip) {
        if trip.state != TripState::Assigned {
            self.0.watches.tell_living(trip.booking, Message::Moved(trip.id));
        }
    }

    /// Asks a booking to yield the driver whom it has; if it has him no more, nothing happens.
    pub(super) fn ask_to_yield(&self, booking: BookingId, driver: DriverId) {
        if self.world().policy.load().yield_ms > 0 {
            self.tell_watch(booking, Message::Yield(driver));
        }
    }

    fn tell_watch(&self, id: BookingId, message: Message) {
        self.0.watches.tell(id, message, || (Shell { runtime: self.clone(), id }, ()));
    }

    /// How long a booking's driver still takes, and who is free within his distance; or, where it is asked
    /// to yield him, at any. Who was only asked has not heard whether the driver is there.
    async fn who_else(
        &self,
        (driver, trip): (DriverId, TripId),
        booking: &Booking,
        yields: bool,
    ) -> Option<Seen> {
        if yields && self.trip(trip).await.ok()?.state != TripState::Assigned {
            return None;
        }
        let World { policy, eta, clock, .. } = self.world();
        let (policy, pickup) = (policy.load_full(), booking.pickup.point);
        let Fix { point, .. } = self.seen_at(driver).await?;
        let left_ms = eta.to_one(&policy, &[point], pickup)[0];
        let widest_m = policy.search_radii_m.last().copied().unwrap_or_default();
        let wanted = Wanted {
            center: pickup,
            radius_m: if yields { widest_m } else { distance_m(pickup, point).clamp(1, widest_m) },
            need: Some(booking.need),
            seek: Seek::Free,
            max: if yields { CANDIDATES_MAX } else { NEAR_MAX },
            fresh_ms: None,
            within_ms: 0,
        };
        let mut near = self.nearby(wanted).await.candidates;
        // Who stands in a queue waits his turn there.
        near.retain(|car| policy.queue_zones.at(car.point).is_none());
        let places: Vec<Point> = near.iter().map(|car| car.point).collect();
        let etas_ms = eta.to_one(&policy, &places, pickup);
        let now = clock.wall();
        let near = near.into_iter().zip(etas_ms);
        let near = near.map(|(car, eta_ms)| Prospect::free(car, eta_ms, now)).collect();
        let age_ms = u32::try_from(attempts::age_ms(booking, now)).unwrap_or(u32::MAX);
        Some(Seen { left_ms, within_ms: cost::within_ms(&policy, age_ms), near })
    }

    /// Where a driver was seen last: his partition knows the cell, the cell the place.
    async fn seen_at(&self, driver: DriverId) -> Option<Fix> {
        let World { partitions, membership, router, .. } = self.world();
        let ask = Whereabouts { node: partitions.leader(driver.slot())?, drivers: vec![driver] };
        let keys = router.ask(ask, self.background()).await.ok()?;
        let ring_key = keys.first().copied().flatten()?;
        let node = membership.view().cell_owner(ring_key)?;
        let ask = Fixes { node, sought: vec![(driver, ring_key)] };
        let fixes = router.ask(ask, self.background()).await.ok()?;
        fixes.into_iter().find(|fix| fix.driver == driver)
    }
}
