//! How one booking looks for a better driver while its own is on his way: a value that takes events
//! and gives effects. Every few seconds it has a look; it claims the better one, offers the ride to him
//! and waits for his answer. The same once when it is asked to yield the one it has. There is one question under way at a time, and one offer out at most.
//!
//! It frees nobody by itself, but where the booking has said for good that it keeps its driver: an
//! accept that is on its way may still be told yes.

use super::{better, instead, look_in_ms};
use crate::dispatch::{OFFER_GRACE_MS, Prospect, Ranked, cost};
use crate::policy::Policy;
use proto::record::Offer;
use proto::record::ask::{ClaimAnswer, HoldAnswer, OfferNews};
use proto::record::command::OfferFate;
use proto::{DriverId, MonoMs, OfferId};
use std::collections::BTreeSet;

/// What the records say when it begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// How often the booking has changed its driver.
    pub changes: u16,
    /// The attempt it was in.
    pub attempt: u16,
    /// Who is not asked: they were before, or called it off.
    pub passed_over: BTreeSet<DriverId>,
    /// The offer that was out when the last shell died.
    pub pending: Option<Offer>,
    /// It begins because it is asked to yield its driver.
    pub yields: bool,
}

/// What a look shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How long its driver still takes, in milliseconds.
    pub left_ms: u64,
    /// How long another may take at most, in milliseconds.
    pub within_ms: u64,
    /// Who is near.
    pub near: Vec<Prospect>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A look is over; nothing if nobody can say.
    Looked(Option<Seen>),
    /// Somebody is stranded whom its driver could reach in time.
    Yield,
    /// A claim on a driver came back; with nothing if nobody answered.
    Claimed(DriverId, Option<ClaimAnswer>),
    /// The offer to a driver is recorded, or was refused.
    Started(DriverId, Option<Offer>),
    /// The driver was asked to hold; nothing if nobody answered.
    Held(OfferId, Option<HoldAnswer>),
    /// The driver's side says an offer ended.
    News(OfferId, OfferNews),
    /// The booking keeps its driver: he is there, or the trip is over.
    Kept,
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// See where its driver is and who is near, or how far anybody free is where it is asked to yield him.
    /// Answered by `Looked`.
    Look {
        /// It is asked to.
        yields: bool,
    },
    /// Claim a driver. Answered by `Claimed`.
    Claim(Ranked),
    /// Mint and record an offer of this attempt. Answered by `Started`.
    Start(Ranked, u16),
    /// Put a recorded offer before its driver. Answered by `Held`.
    Hold(Box<Offer>),
    /// Record that an offer ended.
    EndOffer(OfferId, OfferFate),
    /// Free the driver of an offer that can no longer become a trip.
    Release(DriverId, OfferId),
    /// Send a `Tick` then.
    WakeAt(MonoMs),
    /// Stop.
    Finish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Rests(MonoMs),
    Looks {
        yields: bool,
    },
    Claims(Ranked),
    Starts(DriverId),
    /// An offer is out until then.
    Asks(DriverId, OfferId, MonoMs),
    Done,
}

/// See the module's text.
#[derive(Debug)]
pub struct Watch {
    policy: Policy,
    changes: u16,
    attempt: u16,
    passed_over: BTreeSet<DriverId>,
    doing: Doing,
}

impl Watch {
    /// A watch over a booking that has just got its driver, or from where its record says it is.
    pub fn begin(now: MonoMs, policy: Policy, start: Start, out: &mut Vec<Effect>) -> Self {
        let Start { changes, attempt, passed_over, pending, yields } = start;
        let rest_ms = policy.reassign_rest_ms.max(policy.reassign_every_ms);
        let mut watch = Self { policy, changes, attempt, passed_over, doing: Doing::Done };
        match pending {
            Some(offer) => watch.ask(now, offer, out),
            None if yields => watch.look(yields, out),
            None if changes < watch.policy.reassign_max => {
                watch.rest_until(now.plus_ms(rest_ms.into()), out);
            }
            None => out.push(Effect::Finish),
        }
        watch
    }

    /// Takes an event. Late and repeated ones are harmless.
    pub fn step(&mut self, now: MonoMs, event: Event, out: &mut Vec<Effect>) {
        match (self.doing, event) {
            (Doing::Done, _) => {}
            (doing, Event::Kept) => {
                if let Doing::Asks(driver, offer, _) = doing {
                    out.push(Effect::Release(driver, offer));
                }
                self.finish(out);
            }
            (Doing::Rests(until), Event::Tick) if now >= until => self.look(false, out),
            (Doing::Rests(_), Event::Yield) => self.look(true, out),
            (Doing::Looks { yields }, Event::Looked(seen)) => self.looked(now, yields, seen, out),
            (Doing::Claims(candidate), Event::Claimed(driver, answer))
                if candidate.driver == driver =>
            {
                if answer == Some(ClaimAnswer::Granted) {
                    self.doing = Doing::Starts(driver);
                    out.push(Effect::Start(candidate, self.attempt.saturating_add(1)));
                } else {
                    self.rest(now, out);
                }
            }
            (Doing::Starts(asked), Event::Started(driver, offer)) if asked == driver => match offer
            {
                Some(offer) => self.ask(now, offer, out),
                None => self.rest(now, out),
            },
            (Doing::Asks(driver, out_now, _), Event::Held(offer, answer)) if out_now == offer => {
                match answer {
                    Some(HoldAnswer::Held) => {
                        let until = self.patience(now);
                        self.doing = Doing::Asks(driver, offer, until);
                        out.push(Effect::WakeAt(until));
                    }
                    Some(HoldAnswer::Busy | HoldAnswer::Gone) => {
                        self.end(now, offer, OfferFate::Declined, out);
                    }
                    None => self.end(now, offer, OfferFate::Expired, out),
                }
            }
            (Doing::Asks(_, out_now, _), Event::News(offer, news)) if out_now == offer => {
                let fate = match news {
                    OfferNews::Declined => OfferFate::Declined,
                    OfferNews::Expired => OfferFate::Expired,
                };
                self.end(now, offer, fate, out);
            }
            (Doing::Asks(_, offer, until), Event::Tick) if now >= until => {
                self.end(now, offer, OfferFate::Expired, out);
            }
            (_, _) => {}
        }
    }

    fn look(&mut self, yields: bool, out: &mut Vec<Effect>) {
        self.doing = Doing::Looks { yields };
        out.push(Effect::Look { yields });
    }

    fn looked(&mut self, now: MonoMs, yields: bool, seen: Option<Seen>, out: &mut Vec<Effect>) {
        let Some(Seen { left_ms, within_ms, mut near }) = seen else { return self.rest(now, out) };
        if !yields && look_in_ms(&self.policy, left_ms, self.changes).is_none() {
            return self.finish(out);
        }
        near.retain(|it| !self.passed_over.contains(&it.candidate.driver));
        let other = match yields {
            true => instead(&self.policy, (left_ms, within_ms, self.changes), &near),
            false => better(&self.policy, (left_ms, self.changes), &near),
        };
        match other {
            Some(best) => {
                let candidate = Ranked {
                    driver: best.candidate.driver,
                    rank: 1,
                    distance_m: best.candidate.distance_m,
                    eta_s: u32::try_from(best.eta_ms.div_ceil(1_000)).unwrap_or(u32::MAX),
                    cost_ms: cost::cost_ms(&self.policy, best),
                    soon: false,
                    binds: false,
                };
                self.doing = Doing::Claims(candidate);
                out.push(Effect::Claim(candidate));
            }
            None => self.rest(now, out),
        }
    }

    fn ask(&mut self, now: MonoMs, offer: Offer, out: &mut Vec<Effect>) {
        let until = self.patience(now);
        self.passed_over.insert(offer.driver);
        self.attempt = self.attempt.max(offer.attempt);
        self.doing = Doing::Asks(offer.driver, offer.id, until);
        out.extend([Effect::Hold(Box::new(offer)), Effect::WakeAt(until)]);
    }

    /// Longer than the driver has, so that his own answer, even a late one, normally comes first.
    fn patience(&self, now: MonoMs) -> MonoMs {
        now.plus_ms(u64::from(self.policy.offer_ttl_ms) + OFFER_GRACE_MS)
    }

    fn end(&mut self, now: MonoMs, offer: OfferId, fate: OfferFate, out: &mut Vec<Effect>) {
        out.push(Effect::EndOffer(offer, fate));
        self.rest(now, out);
    }

    /// Until the next look for a better one, if it looks for one at all.
    fn rest(&mut self, now: MonoMs, out: &mut Vec<Effect>) {
        if self.changes >= self.policy.reassign_max {
            return self.finish(out);
        }
        self.rest_until(now.plus_ms(self.policy.reassign_every_ms.into()), out);
    }

    fn rest_until(&mut self, until: MonoMs, out: &mut Vec<Effect>) {
        self.doing = Doing::Rests(until);
        out.push(Effect::WakeAt(until));
    }

    fn finish(&mut self, out: &mut Vec<Effect>) {
        self.doing = Doing::Done;
        out.push(Effect::Finish);
    }
}
