//! How one booking looks for its driver: best claim. A value that takes events and gives effects;
//! the shell around it talks to cells, drivers and the ledger.
//!
//! ```text
//! search the cells -> rank by estimated pickup time, drop those over the cap
//!   -> claim the best -> record the offer -> hold the driver -> wait for his answer
//!   lost, busy, declined, expired -> the next candidate; none left -> a wider radius
//!   nobody -> stand on the cells' demand boards, search again after 1 s, then every 2 s
//! ```
//!
//! Every effect that asks something is answered by exactly one event, even if the answer is that
//! nobody answered; so there is at most one search, one claim and one hold under way.
//!
//! # Not done
//! * Scarce-capability surcharge, fairness credit and on-trip drivers: the cost is pickup time.

use crate::geo;
use crate::policy::{ATTEMPTS, Policy};
use proto::record::Offer;
use proto::record::ask::{ClaimAnswer, HoldAnswer, OfferNews};
use proto::record::cell::Candidate;
use proto::record::command::OfferFate;
use proto::{DriverId, MonoMs, OfferId};
use std::collections::{BTreeMap, BTreeSet};

/// A booking that nobody could be found for searches again after this long, then after
/// [`REBID_MAX_MS`]: the boards wake it when a car comes free, so a search only refreshes its post.
pub const REBID_MS: u64 = 1_000;
/// The longest pause between searches, in milliseconds; below the boards' `POST_TTL_MS`. Where
/// cars are scarce hundreds of bookings wait, and searches once a second took both cores.
pub const REBID_MAX_MS: u64 = 2_000;
/// How many candidates one search brings.
pub const CANDIDATES_MAX: u16 = 32;
/// Lost claims in a row before the booking steps back for a moment.
pub const CLAIM_ROUNDS: u32 = 3;
/// The booking's own timer runs this much longer than the driver's, so that the driver's own
/// answer, even a late one, normally arrives first.
pub const OFFER_GRACE_MS: u64 = 2_000;

/// A candidate with what the matcher thinks of him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked {
    /// Who.
    pub driver: DriverId,
    /// His place in the search, from 1.
    pub rank: u16,
    /// Straight-line metres to the pickup.
    pub distance_m: u32,
    /// Estimated seconds to the pickup.
    pub eta_s: u32,
    /// What the matcher orders by, in milliseconds.
    pub cost_ms: i64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A search came back; with nothing if nobody answered.
    Found {
        /// Who was found.
        candidates: Vec<Candidate>,
        /// Other bookings waiting there.
        waiting: u32,
    },
    /// A claim came back; with nothing if nobody answered.
    Claimed(Option<ClaimAnswer>),
    /// The offer is recorded, or was refused.
    Started(Option<Offer>),
    /// The driver was asked to hold; nothing if nobody answered.
    Held(OfferId, Option<HoldAnswer>),
    /// The driver's side says an offer ended.
    News(OfferId, OfferNews),
    /// A car came free nearby.
    Woken(Candidate),
    /// The booking no longer looks for a driver: won by an offer, or called off or expired.
    Settled(Option<OfferId>),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the cells within a radius, and stand on their boards. Answered by `Found`.
    Search {
        /// In metres.
        radius_m: u32,
    },
    /// Claim a driver. Answered by `Claimed`.
    Claim {
        /// Who and at what cost.
        candidate: Ranked,
        /// How long the booking has waited, in milliseconds.
        age_ms: u32,
        /// Whether others wait nearby.
        contended: bool,
    },
    /// Mint and record an offer. Answered by `Started`.
    Start {
        /// To whom.
        candidate: Ranked,
        /// In which attempt.
        attempt: u16,
    },
    /// Put a recorded offer before its driver. Answered by `Held`.
    Hold(Box<Offer>),
    /// Record that an offer ended.
    EndOffer(OfferId, OfferFate),
    /// Free the driver of an offer that can no longer become a trip.
    Release(DriverId, OfferId),
    /// Record that the booking gave up. Answered by `Settled`.
    Expire,
    /// Come off the boards, and stop.
    Finish,
    /// Send a `Tick` then.
    WakeAt(MonoMs),
}

/// The step under way; at most one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Nothing,
    Searching,
    Claiming(Ranked),
    Starting,
    Holding(OfferId),
    Expiring,
    Done,
}

/// An offer before a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Out {
    driver: DriverId,
    /// When the booking stops waiting for his answer.
    until: MonoMs,
}

/// One booking's search for a driver.
#[derive(Debug)]
pub struct Dispatch {
    policy: Policy,
    /// When the booking was created, on this process's clock; may lie before the process began,
    /// then it is zero and `age_before_ms` holds the rest.
    began_at: MonoMs,
    age_before_ms: u64,
    expires_at: MonoMs,
    attempt: u16,
    attempt_ends_at: MonoMs,
    doing: Doing,
    candidates: Vec<Ranked>,
    /// The last search brought candidates, and they have not been used up.
    found_some: bool,
    contended: bool,
    rounds_lost: u32,
    /// Pauses in a row, with no offer between them.
    fruitless: u32,
    next_search_at: MonoMs,
    offers_out: BTreeMap<OfferId, Out>,
    offered: BTreeSet<DriverId>,
    /// Drivers whose shell did not answer a claim: their node is probably down, though the cells
    /// still name them. Passed over until nobody else is found.
    silent: BTreeSet<DriverId>,
}

impl Dispatch {
    /// A dispatch of a booking that is `age_ms` old. `offered` are the drivers it was offered to
    /// before, `pending` the offers that were out when its last shell died: they are put before
    /// their drivers again.
    pub fn begin(
        now: MonoMs,
        policy: Policy,
        age_ms: u64,
        attempt: u16,
        offered: BTreeSet<DriverId>,
        pending: Vec<Offer>,
        out: &mut Vec<Effect>,
    ) -> Self {
        let left_ms = u64::from(policy.booking_ttl_ms).saturating_sub(age_ms);
        let mut dispatch = Self {
            began_at: now,
            age_before_ms: age_ms,
            expires_at: now.plus_ms(left_ms),
            attempt: attempt.max(1),
            attempt_ends_at: now.plus_ms(policy.attempt_ms.into()),
            doing: Doing::Nothing,
            candidates: Vec::new(),
            found_some: false,
            contended: false,
            rounds_lost: 0,
            fruitless: 0,
            next_search_at: now,
            offers_out: BTreeMap::new(),
            offered,
            silent: BTreeSet::new(),
            policy,
        };
        for offer in pending {
            dispatch.offered.insert(offer.driver);
            dispatch.out(now, &offer);
            out.push(Effect::Hold(Box::new(offer)));
        }
        dispatch.go_on(now, out);
        dispatch
    }

    /// Takes an event. Late and repeated ones are harmless.
    pub fn step(&mut self, now: MonoMs, event: Event, out: &mut Vec<Effect>) {
        if self.doing == Doing::Done {
            return;
        }
        match event {
            Event::Found { candidates, waiting } => self.found(now, candidates, waiting),
            Event::Claimed(answer) => self.claimed(now, answer, out),
            Event::Started(offer) => self.started(now, offer, out),
            Event::Held(offer, answer) => self.held(now, offer, answer, out),
            Event::News(offer, news) => {
                let fate = match news {
                    OfferNews::Declined => OfferFate::Declined,
                    OfferNews::Expired => OfferFate::Expired,
                };
                self.end_offer(offer, fate, out);
                self.look_again(now);
            }
            Event::Woken(candidate) => self.woken(candidate),
            Event::Settled(won) => {
                self.doing = Doing::Done;
                for (offer, Out { driver, .. }) in std::mem::take(&mut self.offers_out) {
                    // The winner's driver is bound to the trip; releasing him would free him on it.
                    if won != Some(offer) {
                        out.push(Effect::Release(driver, offer));
                    }
                }
                out.push(Effect::Finish);
                return;
            }
            Event::Tick => {}
        }
        self.go_on(now, out);
    }

    /// How long the booking has waited, in milliseconds.
    pub fn age_ms(&self, now: MonoMs) -> u32 {
        let age_ms = self.age_before_ms.saturating_add(now.since(self.began_at));
        u32::try_from(age_ms).unwrap_or(u32::MAX)
    }

    /// The widest radius searched so far, in metres.
    pub fn radius_m(&self) -> u32 {
        self.policy.search_radii_m[usize::from(self.attempt).clamp(1, ATTEMPTS) - 1]
    }

    /// Whether the booking was settled.
    pub fn is_done(&self) -> bool {
        self.doing == Doing::Done
    }

    /// Decides what to do next, if nothing is under way.
    fn go_on(&mut self, now: MonoMs, out: &mut Vec<Effect>) {
        self.expire_offers(now, out);
        if self.doing != Doing::Nothing {
            return self.wake(out);
        }
        if now >= self.expires_at && self.offers_out.is_empty() {
            self.doing = Doing::Expiring;
            out.push(Effect::Expire);
            return;
        }
        if self.offers_out.len() >= usize::from(self.policy.max_offers_per_attempt)
            || now >= self.expires_at
        {
            return self.wake(out);
        }
        if self.rounds_lost < CLAIM_ROUNDS && !self.candidates.is_empty() {
            let candidate = self.candidates.remove(0);
            self.doing = Doing::Claiming(candidate);
            let (age_ms, contended) = (self.age_ms(now), self.contended);
            out.push(Effect::Claim { candidate, age_ms, contended });
            return self.wake(out);
        }
        if self.used_up() && self.widen(now) {
            self.next_search_at = now;
        }
        if now >= self.next_search_at {
            self.widen_if_due(now);
            self.doing = Doing::Searching;
            out.push(Effect::Search { radius_m: self.radius_m() });
        }
        self.wake(out);
    }

    /// Asks to be woken for the next deadline that nothing under way will bring along: whatever
    /// is under way is answered, and then the rest is looked at again. A deadline that has passed
    /// while something is under way must not wake anybody, or the shell would spin until then.
    fn wake(&self, out: &mut Vec<Effect>) {
        let offers = self.offers_out.values().map(|offer| offer.until);
        let idle = self.doing == Doing::Nothing;
        let full = self.offers_out.len() >= usize::from(self.policy.max_offers_per_attempt);
        // Past its end a booking only waits for the offers that are out.
        let search = Some(self.next_search_at).filter(|at| idle && !full && *at < self.expires_at);
        let end = (idle && self.offers_out.is_empty()).then_some(self.expires_at);
        if let Some(at) = offers.chain(search).chain(end).min() {
            out.push(Effect::WakeAt(at));
        }
    }

    /// Whether a search brought candidates and none of them is left to try.
    fn used_up(&mut self) -> bool {
        self.rounds_lost < CLAIM_ROUNDS && std::mem::take(&mut self.found_some)
    }

    /// The candidates are as old as the offer that just ended: search again.
    fn look_again(&mut self, now: MonoMs) {
        if self.doing == Doing::Nothing {
            self.candidates.clear();
            self.found_some = false;
            self.next_search_at = now;
        }
    }

    /// When to search again: the pause doubles each time until an offer is made.
    fn rebid_at(&mut self, now: MonoMs, pause_ms: u64) -> MonoMs {
        let doubled = pause_ms << self.fruitless.min(2);
        self.fruitless = self.fruitless.saturating_add(1);
        now.plus_ms(doubled.min(REBID_MAX_MS))
    }

    fn widen_if_due(&mut self, now: MonoMs) {
        if now >= self.attempt_ends_at {
            self.widen(now);
        }
    }

    /// Takes the next radius, if there is a wider one.
    fn widen(&mut self, now: MonoMs) -> bool {
        let wider = usize::from(self.attempt) < ATTEMPTS;
        if wider {
            self.attempt += 1;
            self.attempt_ends_at = now.plus_ms(self.policy.attempt_ms.into());
        }
        wider
    }

    fn found(&mut self, now: MonoMs, candidates: Vec<Candidate>, waiting: u32) {
        if self.doing != Doing::Searching {
            return;
        }
        self.doing = Doing::Nothing;
        self.rounds_lost = 0;
        self.contended = waiting > 0;
        let mut ranked: Vec<Ranked> =
            candidates.iter().filter_map(|candidate| self.appraise(candidate)).collect();
        ranked.sort_by_key(|candidate| (candidate.cost_ms, candidate.driver));
        ranked.dedup_by_key(|candidate| candidate.driver);
        for (place, candidate) in (1..).zip(&mut ranked) {
            candidate.rank = place;
        }
        self.candidates = ranked;
        self.found_some = !self.candidates.is_empty();
        if self.candidates.is_empty() {
            self.silent.clear();
        }
        // Nobody here: look farther at once. Nobody anywhere: wait for the boards, or a moment.
        let wider = self.candidates.is_empty() && self.widen(now);
        self.next_search_at = match (wider, self.found_some) {
            (true, _) => now,
            (false, false) => self.rebid_at(now, REBID_MS),
            (false, true) => now.plus_ms(REBID_MS),
        };
    }

    /// What a candidate costs; nothing if he may not be offered this booking.
    fn appraise(&self, candidate: &Candidate) -> Option<Ranked> {
        let Candidate { driver, distance_m, .. } = *candidate;
        let eta_ms = geo::eta_ms(distance_m, self.policy.speed_cms, self.policy.detour_pct);
        let eta_s = u32::try_from(eta_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
        let fits = !self.offered.contains(&driver)
            && !self.silent.contains(&driver)
            && eta_ms <= u64::from(self.policy.pickup_cap_ms);
        let cost_ms = i64::try_from(eta_ms).unwrap_or(i64::MAX);
        fits.then_some(Ranked { driver, rank: 1, distance_m, eta_s, cost_ms })
    }

    fn claimed(&mut self, now: MonoMs, answer: Option<ClaimAnswer>, out: &mut Vec<Effect>) {
        let Doing::Claiming(candidate) = self.doing else { return };
        match answer {
            Some(ClaimAnswer::Granted) => {
                self.doing = Doing::Starting;
                out.push(Effect::Start { candidate, attempt: self.attempt });
            }
            Some(ClaimAnswer::Lost | ClaimAnswer::Busy) | None => {
                if answer.is_none() {
                    self.silent.insert(candidate.driver);
                }
                self.doing = Doing::Nothing;
                self.rounds_lost += 1;
                if self.rounds_lost == CLAIM_ROUNDS {
                    self.candidates.clear();
                    let pause_ms = u64::from(self.policy.claim_reserve_ms);
                    self.next_search_at = self.rebid_at(now, pause_ms.min(REBID_MS));
                }
            }
        }
    }

    fn started(&mut self, now: MonoMs, offer: Option<Offer>, out: &mut Vec<Effect>) {
        if self.doing != Doing::Starting {
            return;
        }
        self.doing = Doing::Nothing;
        // A refusal means the booking was settled, and that event is on its way.
        let Some(offer) = offer else {
            self.next_search_at = self.rebid_at(now, REBID_MS);
            return;
        };
        self.fruitless = 0;
        self.doing = Doing::Holding(offer.id);
        self.offered.insert(offer.driver);
        self.out(now, &offer);
        out.push(Effect::Hold(Box::new(offer)));
    }

    fn held(
        &mut self,
        now: MonoMs,
        offer: OfferId,
        answer: Option<HoldAnswer>,
        out: &mut Vec<Effect>,
    ) {
        if self.doing == Doing::Holding(offer) {
            self.doing = Doing::Nothing;
        }
        match answer {
            Some(HoldAnswer::Held) => {
                let until = now.plus_ms(u64::from(self.policy.offer_ttl_ms) + OFFER_GRACE_MS);
                if let Some(known) = self.offers_out.get_mut(&offer) {
                    known.until = until;
                }
            }
            Some(HoldAnswer::Busy | HoldAnswer::Gone) => {
                self.end_offer(offer, OfferFate::Declined, out);
            }
            // Nobody answered: he may hold it all the same, then his own timer frees him.
            None => self.end_offer(offer, OfferFate::Expired, out),
        }
    }

    fn woken(&mut self, candidate: Candidate) {
        let Some(ranked) = self.appraise(&candidate) else { return };
        if self.candidates.iter().all(|known| known.driver != ranked.driver) {
            // Others were woken by the same car.
            self.contended = true;
            self.rounds_lost = 0;
            let place = self.candidates.partition_point(|known| known.cost_ms <= ranked.cost_ms);
            self.candidates.insert(place, ranked);
            self.candidates.truncate(CANDIDATES_MAX.into());
        }
    }

    fn out(&mut self, now: MonoMs, offer: &Offer) {
        let until = now.plus_ms(u64::from(offer.ttl_ms) + OFFER_GRACE_MS);
        self.offers_out.insert(offer.id, Out { driver: offer.driver, until });
    }

    fn end_offer(&mut self, offer: OfferId, fate: OfferFate, out: &mut Vec<Effect>) {
        if self.offers_out.remove(&offer).is_some() {
            out.push(Effect::EndOffer(offer, fate));
        }
    }

    fn expire_offers(&mut self, now: MonoMs, out: &mut Vec<Effect>) {
        let late: Vec<OfferId> =
            self.offers_out.iter().filter(|(_, o)| now >= o.until).map(|(id, _)| *id).collect();
        for offer in late {
            self.end_offer(offer, OfferFate::Expired, out);
            self.look_again(now);
        }
    }
}
