//! How one booking looks for its driver: best claim. A value that takes events and gives effects;
//! the shell around it talks to cells, drivers and the ledger.
//!
//! ```text
//! search the cells -> rank by estimated pickup time, drop those over the cap
//!   -> claim the best -> record the offer -> hold the driver -> wait for his answer
//!   lost, busy, declined, expired -> the next candidate; none left -> a wider radius
//!   nobody, or all lost -> stand on the cells' demand boards, search again after 1 s, then every 2 s
//! ```
//!
//! As many offers are out at once as the policy says; one by default. Their claims, records and
//! holds do not wait for each other, up to [`UNDER_WAY_MAX`]. Who says yes first has the booking,
//! the others are released.
//!
//! Every effect that asks something is answered by exactly one event, even if the answer is that
//! nobody answered; so there is at most one search under way, and one claim, record or hold a driver.
//!
//! A driver whose trip ends soon is claimed like a free one where he would be there first. Granted,
//! he is *counted on*: the booking takes nobody who would come later, and looks again in a moment. He
//! is not bound by it, nor is the booking; when he is free, whoever wants him then claims him. Binding
//! them was tried, and made riders wait a third longer where cars were scarce (docs/matching.md). The
//! policy may have it all the same: then he is offered the booking as his next ride, like a free one.
//!
//! # Not done
//! * The fan-out does not follow how often drivers say yes here.

mod answers;
pub mod cost;
mod flight;
mod radius;
mod trace;
mod words;

pub use radius::Step;
pub use words::{Effect, Event, Findings, Prospect, Ranked, Start};

use crate::policy::Policy;
use cost::Asks;
use flight::{Flight, Out};
use proto::record::Offer;
use proto::record::ask::OfferNews;
use proto::record::booking::OFFERS_MAX;
use proto::record::command::OfferFate;
use proto::record::explain::{Fate, Searched};
use proto::{DriverId, MonoMs, OfferId};
use radius::Steps;
use std::collections::{BTreeMap, BTreeSet};
use trace::Trace;

/// A booking that nobody could be found for searches again after this long, then after
/// [`REBID_MAX_MS`]: the boards wake it when a car comes free, so a search only refreshes its post.
pub const REBID_MS: u64 = 1_000;
/// The longest pause between searches, in milliseconds; below the boards' `POST_TTL_MS`. Where
/// cars are scarce hundreds of bookings wait, and searches once a second took both cores.
pub const REBID_MAX_MS: u64 = 2_000;
/// How many candidates one search brings, where few offers are out at once.
pub const CANDIDATES: u16 = 32;
/// The most that one search brings. Of those near in a straight line few may be near by road: of the riders
/// who went unserved in Manhattan (3,500 cars), half of the searches that some free car could have reached
/// did not find it among 32. At some 60 bytes each an answer stays below 8 KB.
pub const CANDIDATES_MAX: u16 = 128;
/// Lost claims before the booking steps back for a moment, for each offer that may be out at once.
pub const CLAIM_ROUNDS: u32 = 8;
/// Claims, records and holds under way at once. The widest fan-out takes two rounds of them: some
/// 20 ms of an idle node, and half a second where each claim waits for its window.
pub const UNDER_WAY_MAX: usize = 32;
/// The booking's own timer runs this much longer than the driver's, so that the driver's own
/// answer, even a late one, normally arrives first.
pub const OFFER_GRACE_MS: u64 = 2_000;

/// How many candidates a search of this radius should bring under a policy: twice as many as are asked at
/// once, and the most where nobody was there at once.
pub fn candidates_max(policy: &Policy, radius_m: u32) -> u16 {
    if radius_m >= policy.search_radii_m[1] {
        return CANDIDATES_MAX;
    }
    policy.max_offers_per_attempt.saturating_mul(2).clamp(CANDIDATES, CANDIDATES_MAX)
}

/// What is under way for the booking as a whole; at most one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Nothing,
    Searching,
    Expiring,
    Done,
}

/// One booking's search for a driver.
#[derive(Debug)]
pub struct Dispatch {
    policy: Policy,
    /// When the booking was created, on this process's clock; may lie before the process began,
    /// then it is zero and `age_before_ms` holds the rest.
    began_at: MonoMs,
    age_before_ms: u64,
    ride_ms: u64,
    let_down: bool,
    expires_at: MonoMs,
    steps: Steps,
    doing: Doing,
    candidates: Vec<Ranked>,
    /// The last search brought candidates, and they have not been used up.
    found_some: bool,
    contended: bool,
    /// Other bookings that waited nearby at the last search.
    waiting: u32,
    /// Whether a queue answered the last search.
    queued: bool,
    /// Whether the last search was the widest, and found no free driver who could come in time.
    stranded: bool,
    /// When the driver that is counted on would be there; forgotten by the next search.
    counted_on: Option<MonoMs>,
    /// Since when each was counted on who was. A ride that has been about to end for long may never.
    awaited: BTreeMap<DriverId, MonoMs>,
    rounds_lost: u32,
    /// Searches in a row that found nobody, or were the widest, with no offer between them.
    fruitless: u32,
    next_search_at: MonoMs,
    flight: Flight,
    offers_made: usize,
    passed_over: BTreeSet<DriverId>,
    /// Drivers whose shell did not answer a claim: their node is probably down, though the cells
    /// still name them. Passed over until nobody else is found.
    silent: BTreeSet<DriverId>,
    /// Whose bookings were asked to yield them; forgotten when nobody else is left to ask for.
    appealed: BTreeSet<DriverId>,
    /// Whether an appeal is under way.
    appeals: bool,
    trace: Trace,
}

impl Dispatch {
    /// A dispatch from where the booking's record says it is: the offers that were out are put
    /// before their drivers again.
    pub fn begin(now: MonoMs, policy: Policy, start: Start, out: &mut Vec<Effect>) -> Self {
        let Start { age_ms, ride_ms, attempt, offers_made, passed_over, pending, waited_ms } =
            start;
        // It did not look for anybody while it waited.
        let looked_ms = age_ms.saturating_sub(waited_ms.unwrap_or_default());
        let left_ms = u64::from(policy.booking_ttl_ms).saturating_sub(looked_ms);
        let mut dispatch = Self {
            began_at: now,
            age_before_ms: age_ms,
            ride_ms,
            let_down: waited_ms.is_some(),
            expires_at: now.plus_ms(left_ms),
            steps: Steps::begin(now, &policy, attempt),
            doing: Doing::Nothing,
            candidates: Vec::new(),
            found_some: false,
            contended: false,
            waiting: 0,
            queued: false,
            stranded: false,
            counted_on: None,
            awaited: BTreeMap::new(),
            rounds_lost: 0,
            fruitless: 0,
            next_search_at: now,
            flight: Flight::default(),
            offers_made,
            passed_over,
            silent: BTreeSet::new(),
            appealed: BTreeSet::new(),
            appeals: false,
            trace: Trace::default(),
            policy,
        };
        for offer in pending {
            dispatch.passed_over.insert(offer.driver);
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
            Event::Found(findings) => self.found(now, findings, out),
            Event::Claimed(driver, answer) => self.claimed(now, driver, answer, out),
            Event::Started(driver, offer) => self.started(now, driver, offer, out),
            Event::Held(offer, answer) => self.held(now, offer, answer, out),
            Event::News(offer, news) => {
                let fate = match news {
                    OfferNews::Declined => OfferFate::Declined,
                    OfferNews::Expired => OfferFate::Expired,
                };
                self.end_offer(offer, fate, out);
                self.look_again(now);
            }
            Event::Woken(prospect) => self.woken(now, &prospect),
            Event::Appealed(asked) => self.was_appealed(asked),
            Event::Settled(won) => {
                self.doing = Doing::Done;
                for (offer, Out { driver, .. }) in self.flight.take_out() {
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

    /// What speaks for this booking where several want the same driver, in milliseconds of pickup time, if
    /// he is there so long from now.
    pub fn favour_ms(&self, now: MonoMs, arrival_ms: u64) -> i64 {
        cost::favour_ms(&self.policy, self.asks(now), arrival_ms)
    }

    fn asks(&self, now: MonoMs) -> Asks {
        let (waiting, attempt, ride_ms) = (self.waiting, self.steps.now().number, self.ride_ms);
        let (let_down, stranded) = (self.let_down, self.stranded);
        Asks { age_ms: self.age_ms(now), waiting, attempt, ride_ms, let_down, stranded }
    }

    /// The widest radius searched so far, in metres.
    pub fn radius_m(&self) -> u32 {
        self.steps.now().radius_m
    }

    /// The radius steps so far, oldest first; the last is under way.
    pub fn steps(&self) -> &[Step] {
        self.steps.all()
    }

    /// The searches so far, oldest first, and how many older ones are forgotten.
    pub fn searches(&self) -> (Vec<Searched>, u32) {
        self.trace.searches()
    }

    /// Who is not asked again: he was, or called it off.
    pub const fn passed_over(&self) -> &BTreeSet<DriverId> {
        &self.passed_over
    }

    /// Whether the booking was settled.
    pub fn is_done(&self) -> bool {
        self.doing == Doing::Done
    }

    /// Decides what to do next, if nothing is under way that must be waited for.
    fn go_on(&mut self, now: MonoMs, out: &mut Vec<Effect>) {
        self.expire_offers(now, out);
        if self.doing != Doing::Nothing {
            return self.wake(out);
        }
        let over = now >= self.expires_at || self.offers_made >= OFFERS_MAX;
        if over && self.flight.places() == 0 {
            self.doing = Doing::Expiring;
            out.push(Effect::Expire);
            return;
        }
        if over {
            self.next_search_at = self.expires_at; // no more of them
            return self.wake(out);
        }
        self.claim_next(now, out);
        if self.room() == 0 || self.flight.under_way() > 0 {
            return self.wake(out);
        }
        if self.used_up() && self.steps.widen(now) {
            self.next_search_at = now;
        }
        if now >= self.next_search_at {
            self.steps.widen_if_due(now);
            self.doing = Doing::Searching;
            out.push(Effect::Search { radius_m: self.radius_m() });
        }
        self.wake(out);
    }

    /// Claims the best candidates, as many as there is room for.
    fn claim_next(&mut self, now: MonoMs, out: &mut Vec<Effect>) {
        let contended = self.contended;
        while self.room() > 0
            && self.flight.under_way() < UNDER_WAY_MAX
            && self.rounds_lost < self.rounds_max()
            && let Some(next) = self.candidates.iter().position(|it| !self.flight.asks(it.driver))
        {
            let candidate = self.candidates.remove(next);
            let favour_ms = self.favour_ms(now, u64::from(candidate.eta_s) * 1_000);
            self.flight.claim(candidate);
            self.trace.fate(candidate.driver, Fate::Asked);
            out.push(Effect::Claim { candidate, favour_ms, contended });
        }
    }

    /// How many more drivers may be asked now.
    fn room(&self) -> usize {
        let at_once = usize::from(self.policy.max_offers_per_attempt);
        let left = OFFERS_MAX.saturating_sub(self.offers_made + self.flight.not_yet_offers());
        at_once.saturating_sub(self.flight.places()).min(left)
    }

    fn rounds_max(&self) -> u32 {
        CLAIM_ROUNDS * u32::from(self.policy.max_offers_per_attempt.max(1))
    }

    /// Asks to be woken for the next deadline that nothing under way will bring along: whatever
    /// is under way is answered, and then the rest is looked at again. A deadline that has passed
    /// while something is under way must not wake anybody, or the shell would spin until then.
    fn wake(&self, out: &mut Vec<Effect>) {
        let idle = self.is_idle();
        let full = self.room() == 0;
        // Past its end a booking only waits for the offers that are out.
        let search = Some(self.next_search_at).filter(|at| idle && !full && *at < self.expires_at);
        let end = (idle && self.flight.nothing_out()).then_some(self.expires_at);
        if let Some(at) = self.flight.deadlines().chain(search).chain(end).min() {
            out.push(Effect::WakeAt(at));
        }
    }

    fn is_idle(&self) -> bool {
        self.doing == Doing::Nothing && self.flight.under_way() == 0
    }

    /// Whether a search brought candidates, none of them is left to try, and nobody has an offer.
    fn used_up(&mut self) -> bool {
        self.flight.nothing_out()
            && self.rounds_lost < self.rounds_max()
            && std::mem::take(&mut self.found_some)
    }

    /// The candidates are as old as the offer that just ended: search again.
    fn look_again(&mut self, now: MonoMs) {
        if self.is_idle() {
            self.candidates.clear();
            self.found_some = false;
            self.next_search_at = now;
        }
    }

    /// When to search again: the pause doubles with each search in vain until an offer is made.
    fn rebid_at(&self, now: MonoMs, pause_ms: u64) -> MonoMs {
        let doubled = pause_ms << self.fruitless.saturating_sub(1).min(2);
        now.plus_ms(doubled.min(REBID_MAX_MS))
    }

    fn out(&mut self, now: MonoMs, offer: &Offer) {
        self.flight.out(offer, now.plus_ms(u64::from(offer.ttl_ms) + OFFER_GRACE_MS));
    }

    fn end_offer(&mut self, offer: OfferId, fate: OfferFate, out: &mut Vec<Effect>) {
        if self.flight.end(offer) {
            out.push(Effect::EndOffer(offer, fate));
        }
    }

    fn expire_offers(&mut self, now: MonoMs, out: &mut Vec<Effect>) {
        for offer in self.flight.late(now) {
            self.end_offer(offer, OfferFate::Expired, out);
            self.look_again(now);
        }
    }
}
