//! What a dispatch makes of the answers that come: of a search, a claim, a record, a hold, a board.

use super::{
    CANDIDATES_MAX, Dispatch, Doing, Effect, Findings, OFFER_GRACE_MS, Prospect, REBID_MAX_MS,
    REBID_MS, Ranked, cost,
};
use crate::policy::Policy;
use proto::record::Offer;
use proto::record::ask::{ClaimAnswer, HoldAnswer};
use proto::record::cell::Candidate;
use proto::record::command::OfferFate;
use proto::record::explain::{Dropped, Fate, Filter};
use proto::{DriverId, MonoMs, OfferId};

impl Dispatch {
    pub(super) fn found(&mut self, now: MonoMs, mut findings: Findings, out: &mut Vec<Effect>) {
        if self.doing != Doing::Searching {
            return;
        }
        self.doing = Doing::Nothing;
        self.rounds_lost = 0;
        self.contended = findings.waiting > 0;
        self.waiting = findings.waiting;
        self.queued = findings.queued;
        self.counted_on = None;
        let (mut ranked, mut unfit) = (Vec::new(), Vec::new());
        for prospect in &findings.candidates {
            match self.appraise(now, prospect) {
                Ok(fit) => ranked.push(fit),
                Err(filter) => {
                    let Candidate { driver, distance_m, .. } = prospect.candidate;
                    unfit.push(Dropped { driver, filter, distance_m });
                }
            }
        }
        if !self.queued {
            ranked.sort_by_key(|candidate| (candidate.cost_ms, candidate.driver));
        }
        ranked.dedup_by_key(|candidate| candidate.driver);
        for (place, candidate) in (1..).zip(&mut ranked) {
            candidate.rank = place;
        }
        let nobody_free = !self.queued && ranked.iter().all(|candidate| candidate.soon);
        self.stranded = nobody_free && self.steps.is_widest();
        self.steps.found(findings.candidates.len());
        let search = (self.steps.now().number, self.radius_m(), self.age_ms(now));
        self.trace.searched(search, &mut findings, &ranked, unfit);
        self.candidates = ranked;
        self.found_some = !self.candidates.is_empty();
        if self.candidates.is_empty() {
            self.silent.clear();
        }
        self.appeal(now, out);
        // Somebody free may be nearer in time than the end of a trip here: look farther first.
        let soon = self.candidates.first().is_some_and(|best| best.soon);
        if soon && self.flight.nothing_out() && self.steps.widen(now) {
            self.candidates.clear();
            self.found_some = false;
            self.next_search_at = now;
            return;
        }
        // Nobody here: look farther at once, unless somebody may yet say yes. Nobody anywhere: wait
        // for the boards, or a moment.
        let nobody = self.candidates.is_empty() && self.flight.nothing_out();
        let wider = nobody && self.steps.widen(now);
        let in_vain = !wider && (!self.found_some || self.steps.is_widest());
        self.fruitless = self.fruitless.saturating_add(u32::from(in_vain));
        self.next_search_at = if wider { now } else { self.rebid_at(now, REBID_MS) };
    }

    /// Asks for somebody else's driver, if nobody free could come.
    fn appeal(&mut self, now: MonoMs, out: &mut Vec<Effect>) {
        let within_ms = cost::appeal_ms(&self.policy, self.asks(now));
        if let Some(within_ms) = within_ms.filter(|_| !self.appeals && self.flight.nothing_out()) {
            self.appeals = true;
            out.push(Effect::Appeal { within_ms, but_not: self.appealed.clone() });
        }
    }

    /// He may come free or not; if he does not, another is asked for.
    pub(super) fn was_appealed(&mut self, asked: Option<DriverId>) {
        self.appeals = false;
        match asked {
            Some(driver) => {
                self.appealed.insert(driver);
            }
            None => self.appealed.clear(),
        }
    }

    /// What a driver costs, or why he may not be offered this booking.
    fn appraise(&self, now: MonoMs, prospect: &Prospect) -> Result<Ranked, Filter> {
        let Candidate { driver, distance_m, .. } = prospect.candidate;
        if self.passed_over.contains(&driver) {
            return Err(Filter::OfferedBefore);
        }
        if self.silent.contains(&driver) {
            return Err(Filter::Silent);
        }
        if !self.queued {
            cost::fits(&self.policy, prospect, self.asks(now))?;
        }
        let awaited = self.awaited.get(&driver);
        let binds = cost::binds(&self.policy, prospect, self.asks(now));
        let awaited = awaited.filter(|_| !binds);
        if prospect.free_in_ms > 0 && awaited.is_some_and(|since| self.was_due(now, *since)) {
            return Err(Filter::Busy);
        }
        let arrival_ms = cost::arrival_ms(&self.policy, prospect);
        let eta_s = u32::try_from(arrival_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
        let (cost_ms, soon) = (cost::cost_ms(&self.policy, prospect), prospect.free_in_ms > 0);
        Ok(Ranked { driver, rank: 1, distance_m, eta_s, cost_ms, soon, binds })
    }

    /// Whether a driver who was counted on since then should have been free by now.
    fn was_due(&self, now: MonoMs, since: MonoMs) -> bool {
        let Policy { soon_ms, soon_margin_ms, .. } = self.policy;
        now.since(since) > u64::from(soon_ms) + u64::from(soon_margin_ms)
    }

    pub(super) fn claimed(
        &mut self,
        now: MonoMs,
        driver: DriverId,
        answer: Option<ClaimAnswer>,
        out: &mut Vec<Effect>,
    ) {
        let Some(candidate) = self.flight.claimed(driver) else { return };
        let fate = match answer {
            Some(ClaimAnswer::Granted) => Fate::Granted,
            Some(ClaimAnswer::Lost(to)) => Fate::Lost(to),
            Some(ClaimAnswer::Busy(with)) => Fate::Busy(with),
            None => Fate::Silent,
        };
        self.trace.fate(driver, fate);
        if candidate.soon && !(candidate.binds && fate == Fate::Granted) {
            if fate == Fate::Granted {
                // He will be there before anybody else could: nobody farther is asked meanwhile.
                self.candidates.clear();
                self.found_some = false;
                self.awaited.entry(driver).or_insert(now);
                self.counted_on = Some(now.plus_ms(u64::from(candidate.eta_s) * 1_000));
                self.next_search_at = now.plus_ms(REBID_MAX_MS);
            }
            return;
        }
        if fate == Fate::Granted {
            self.flight.start(&candidate);
            out.push(Effect::Start { candidate, attempt: self.steps.now().number });
            return;
        }
        if fate == Fate::Silent {
            self.silent.insert(driver);
        }
        self.rounds_lost += 1;
        if self.rounds_lost == self.rounds_max() {
            self.candidates.clear();
            let pause_ms = u64::from(self.policy.claim_reserve_ms);
            self.next_search_at = self.rebid_at(now, pause_ms.min(REBID_MS));
        }
    }

    pub(super) fn started(
        &mut self,
        now: MonoMs,
        driver: DriverId,
        offer: Option<Offer>,
        out: &mut Vec<Effect>,
    ) {
        let Some(binds) = self.flight.started(driver) else { return };
        // A refusal means the booking was settled, and that event is on its way.
        let Some(offer) = offer else {
            self.next_search_at = self.rebid_at(now, REBID_MS);
            return;
        };
        self.fruitless = 0;
        self.offers_made += 1;
        self.passed_over.insert(driver);
        self.candidates.retain(|candidate| candidate.driver != driver);
        self.trace.offered(driver, offer.id);
        self.flight.hold(offer.id);
        self.out(now, &offer);
        let offer = Box::new(offer);
        out.push(if binds { Effect::HoldNext(offer) } else { Effect::Hold(offer) });
    }

    pub(super) fn held(
        &mut self,
        now: MonoMs,
        offer: OfferId,
        answer: Option<HoldAnswer>,
        out: &mut Vec<Effect>,
    ) {
        self.flight.held(offer);
        match answer {
            Some(HoldAnswer::Held) => {
                let wait_ms = u64::from(self.policy.offer_ttl_ms) + OFFER_GRACE_MS;
                self.flight.wait_until(offer, now.plus_ms(wait_ms));
            }
            Some(HoldAnswer::Busy | HoldAnswer::Gone) => {
                self.end_offer(offer, OfferFate::Declined, out);
            }
            // Nobody answered: he may hold it all the same, then his own timer frees him.
            None => self.end_offer(offer, OfferFate::Expired, out),
        }
    }

    pub(super) fn woken(&mut self, now: MonoMs, prospect: &Prospect) {
        if self.queued {
            return; // it is somebody else's turn
        }
        let Ok(ranked) = self.appraise(now, prospect) else { return };
        let there = now.plus_ms(u64::from(ranked.eta_s) * 1_000);
        if self.counted_on.is_some_and(|counted_on| counted_on <= there) {
            return;
        }
        if self.candidates.iter().all(|known| known.driver != ranked.driver) {
            // Others were woken by the same car.
            self.contended = true;
            self.rounds_lost = 0;
            let place = self.candidates.partition_point(|known| known.cost_ms <= ranked.cost_ms);
            self.candidates.insert(place, ranked);
            self.candidates.truncate(CANDIDATES_MAX.into());
            self.trace.woken(&ranked);
        }
    }
}
