//! Who gets a driver that several bookings want at once. Soft state of the driver's shell: losing
//! it costs a claim, never a ride.
//!
//! A claim on a free driver whose neighbourhood has no other waiting booking is granted at once.
//! Otherwise the best claim of a short window wins: least cost minus favour, then the older booking id.
//! Whoever is outbid hears of it at once and goes for its next candidate, whose window is open yet: so a
//! burst of bookings settles among its drivers within one window (deferred acceptance; Gale and Shapley,
//! College admissions and the stability of marriage, 1962). The winner has the driver reserved until his
//! offer is before him, or the reservation runs out.
//!
//! A driver whose trip ends soon can be *counted on* by one booking at a time, the one with the best
//! score; it is told so, and renews its claim every [`COUNTED_MS`]. Nothing follows from it when he is
//! free: it keeps bookings from waiting for the same car, and from sending for one far away meanwhile.

use crate::policy::Policy;
use proto::record::ask::ClaimAnswer;
use proto::{BookingId, MonoMs};

/// How many claims of the booking that leads are kept: it repeats one when an answer was lost. Those beyond
/// are told that they lost.
pub const REPEATS_MAX: usize = 4;

/// How long a driver is counted on by a booking that does not say so again, in milliseconds: one
/// renewal, made every two seconds, may be lost.
pub const COUNTED_MS: u64 = 5_000;

/// One booking's bid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Names the waiting caller.
    pub ticket: u64,
    /// Who bids.
    pub booking: BookingId,
    /// Cost minus age, in milliseconds; less is better.
    pub score_ms: i64,
    /// Whether other bookings wait nearby.
    pub contended: bool,
}

/// What the shell must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Answer a caller.
    Answer(u64, ClaimAnswer),
    /// Call [`Claims::tick`] then.
    WakeAt(MonoMs),
}

/// The claims on one driver.
#[derive(Debug, Default)]
pub struct Claims {
    /// The claims of the booking that leads in the window that is open; none if none is.
    leading: Vec<Claim>,
    closes_at: MonoMs,
    reserved: Option<(BookingId, MonoMs)>,
    /// Who counts on him, with what score, and until when.
    counted_on: Option<(BookingId, i64, MonoMs)>,
}

impl Claims {
    /// Takes a claim. `free` says whether the driver's record lets him be offered anything.
    pub fn claim(
        &mut self,
        now: MonoMs,
        claim: Claim,
        free: bool,
        policy: &Policy,
        out: &mut Vec<Effect>,
    ) {
        let answer = |answer| Effect::Answer(claim.ticket, answer);
        if !free {
            out.push(answer(ClaimAnswer::Busy(None)));
        } else if let Some(holder) = self.holder(now) {
            let mine = holder == claim.booking;
            let busy = ClaimAnswer::Busy(Some(holder));
            out.push(answer(if mine { ClaimAnswer::Granted } else { busy }));
        } else if let Some(leader) = self.leading.first().copied() {
            self.contend(claim, leader, out);
        } else if claim.contended {
            self.leading.push(claim);
            self.closes_at = now.plus_ms(policy.claim_window_ms.into());
            out.push(Effect::WakeAt(self.closes_at));
        } else {
            self.grant(now, claim, policy, out);
        }
    }

    /// Takes the claim of a booking that would wait for the end of his trip. The best score counts
    /// on him; whoever did before hears of it when he renews.
    pub fn count_on(&mut self, now: MonoMs, claim: Claim) -> ClaimAnswer {
        let standing = self.counted_on.filter(|(_, _, until)| now < *until);
        if let Some((holder, score_ms, _)) = standing
            && holder != claim.booking
            && (score_ms, holder) <= (claim.score_ms, claim.booking)
        {
            return ClaimAnswer::Lost(Some(holder));
        }
        self.counted_on = Some((claim.booking, claim.score_ms, now.plus_ms(COUNTED_MS)));
        ClaimAnswer::Granted
    }

    /// A booking counts on him no more: his record says what it has of him.
    pub fn count_on_no_more(&mut self, booking: BookingId) {
        self.counted_on = self.counted_on.filter(|(holder, ..)| *holder != booking);
    }

    /// Closes the window if it is over. Early or late calls are harmless.
    pub fn tick(&mut self, now: MonoMs, free: bool, policy: &Policy, out: &mut Vec<Effect>) {
        if self.leading.is_empty() || now < self.closes_at {
            return;
        }
        for claim in std::mem::take(&mut self.leading) {
            if free {
                self.grant(now, claim, policy, out);
            } else {
                out.push(Effect::Answer(claim.ticket, ClaimAnswer::Busy(None)));
            }
        }
    }

    /// For whom he is reserved.
    pub fn holder(&self, now: MonoMs) -> Option<BookingId> {
        self.reserved.filter(|(_, until)| now < *until).map(|(booking, _)| booking)
    }

    /// Ends a reservation: the offer is before him, or will not come.
    pub fn settle(&mut self, booking: BookingId) {
        if self.reserved.is_some_and(|(holder, _)| holder == booking) {
            self.reserved = None;
        }
    }

    /// Whether nobody waits and nobody is reserved.
    pub fn is_idle(&self, now: MonoMs) -> bool {
        self.leading.is_empty() && self.holder(now).is_none()
    }

    /// A claim beside the one that leads in the open window.
    fn contend(&mut self, claim: Claim, leader: Claim, out: &mut Vec<Effect>) {
        let lost = |to| ClaimAnswer::Lost(Some(to));
        if claim.booking == leader.booking {
            if self.leading.len() < REPEATS_MAX {
                self.leading.push(claim);
            } else {
                out.push(Effect::Answer(claim.ticket, lost(leader.booking)));
            }
        } else if (claim.score_ms, claim.booking) < (leader.score_ms, leader.booking) {
            let outbid = self.leading.drain(..);
            out.extend(outbid.map(|it| Effect::Answer(it.ticket, lost(claim.booking))));
            self.leading.push(claim);
        } else {
            out.push(Effect::Answer(claim.ticket, lost(leader.booking)));
        }
    }

    fn grant(&mut self, now: MonoMs, claim: Claim, policy: &Policy, out: &mut Vec<Effect>) {
        self.reserved = Some((claim.booking, now.plus_ms(policy.claim_reserve_ms.into())));
        out.push(Effect::Answer(claim.ticket, ClaimAnswer::Granted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::{Slot, WallMs};

    fn booking(n: u64) -> BookingId {
        BookingId::mint(Slot(1), WallMs(n), n)
    }

    fn claim(n: u64, score_ms: i64, contended: bool) -> Claim {
        Claim { ticket: n, booking: booking(n), score_ms, contended }
    }

    #[test]
    fn an_uncontended_claim_is_granted_at_once_and_reserves() {
        let (mut claims, policy, mut out) = (Claims::default(), Policy::default(), Vec::new());
        claims.claim(MonoMs(0), claim(1, 50, false), true, &policy, &mut out);
        claims.claim(MonoMs(1), claim(2, 10, false), true, &policy, &mut out);
        claims.claim(MonoMs(2), claim(1, 50, false), true, &policy, &mut out);
        claims.claim(MonoMs(600), claim(2, 10, false), true, &policy, &mut out);
        use ClaimAnswer::{Busy, Granted};
        let answers = [(1, Granted), (2, Busy(Some(booking(1)))), (1, Granted), (2, Granted)];
        assert_eq!(out, answers.map(|(ticket, answer)| Effect::Answer(ticket, answer)));
    }

    #[test]
    fn the_best_of_a_window_wins_and_whoever_is_outbid_is_told_at_once() {
        let policy = Policy { claim_window_ms: 150, ..Policy::default() };
        let (mut claims, mut out) = (Claims::default(), Vec::new());
        claims.claim(MonoMs(0), claim(1, 50, true), true, &policy, &mut out);
        claims.claim(MonoMs(10), claim(2, 10, false), true, &policy, &mut out);
        claims.claim(MonoMs(20), claim(3, 10, true), true, &policy, &mut out);
        claims.tick(MonoMs(149), true, &policy, &mut out);
        let lost = |ticket| Effect::Answer(ticket, ClaimAnswer::Lost(Some(booking(2))));
        assert_eq!(out, [Effect::WakeAt(MonoMs(150)), lost(1), lost(3)]);
        claims.tick(MonoMs(150), true, &policy, &mut out);
        assert_eq!(out[3..], [Effect::Answer(2, ClaimAnswer::Granted)]);
    }

    #[test]
    fn a_claim_that_is_repeated_is_answered_like_the_first_and_bounded() {
        let (mut claims, policy, mut out) = (Claims::default(), Policy::default(), Vec::new());
        let bid = |ticket| Claim { ticket, ..claim(1, 50, true) };
        for ticket in 1..=5 {
            claims.claim(MonoMs(0), bid(ticket), true, &policy, &mut out);
        }
        let closes = MonoMs(0).plus_ms(policy.claim_window_ms.into());
        let full = Effect::Answer(5, ClaimAnswer::Lost(Some(booking(1))));
        assert_eq!(out, [Effect::WakeAt(closes), full]);
        claims.tick(closes, false, &policy, &mut out);
        let busy = [1, 2, 3, 4].map(|ticket| Effect::Answer(ticket, ClaimAnswer::Busy(None)));
        assert_eq!(out[2..], busy, "somebody else has him by now");
    }

    #[test]
    fn one_booking_at_a_time_counts_on_a_driver_and_it_is_the_best() {
        let mut claims = Claims::default();
        use ClaimAnswer::{Granted, Lost};
        assert_eq!(claims.count_on(MonoMs(0), claim(1, 50, true)), Granted);
        assert_eq!(claims.count_on(MonoMs(1), claim(2, 50, true)), Lost(Some(booking(1))));
        assert_eq!(claims.count_on(MonoMs(2), claim(2, 49, true)), Granted);
        assert_eq!(claims.count_on(MonoMs(3), claim(1, 50, true)), Lost(Some(booking(2))));
        // A claim that worsened is still its own; one that is not renewed is forgotten.
        assert_eq!(claims.count_on(MonoMs(4), claim(2, 90, true)), Granted);
        let later = MonoMs(4).plus_ms(COUNTED_MS);
        assert_eq!(claims.count_on(later, claim(1, 99, true)), Granted);
        assert_eq!(claims.count_on(later, claim(2, 99, true)), Lost(Some(booking(1))));
        claims.count_on_no_more(booking(1));
        assert_eq!(claims.count_on(later, claim(2, 99, true)), Granted, "he has the other's offer");
        assert!(claims.is_idle(later), "nobody is reserved");
    }

    proptest! {
        /// Whatever is claimed in whatever order: every claim is answered once, at most one
        /// booking is granted per reservation, and it has the least score of its window.
        #[test]
        fn every_claim_is_answered_once_and_the_best_wins(
            bids in proptest::collection::vec((0u64..400, -100i64..100, any::<bool>()), 1..40),
        ) {
            let (mut claims, policy) = (Claims::default(), Policy::default());
            let (mut now, mut answers) = (MonoMs(0), Vec::new());
            let mut out = Vec::new();
            let mut window: Vec<Claim> = Vec::new();
            for (n, (wait, score, contended)) in bids.iter().enumerate() {
                now = now.plus_ms(*wait);
                claims.tick(now, true, &policy, &mut out);
                let bid = claim(n as u64 + 1, *score, *contended);
                claims.claim(now, bid, true, &policy, &mut out);
                window.push(bid);
                for effect in out.drain(..) {
                    if let Effect::Answer(ticket, answer) = effect { answers.push((ticket, answer)); }
                }
            }
            claims.tick(now.plus_ms(1_000), true, &policy, &mut out);
            for effect in out.drain(..) {
                if let Effect::Answer(ticket, answer) = effect { answers.push((ticket, answer)); }
            }
            let mut tickets: Vec<u64> = answers.iter().map(|(ticket, _)| *ticket).collect();
            tickets.sort_unstable();
            prop_assert_eq!(tickets, (1..=bids.len() as u64).collect::<Vec<_>>());
            // A loser lost to a claim that is no worse; whoever leads at the end of the window is granted, and
            // nobody who was outbid in it is better.
            let of = |id: BookingId| window.iter().find(|claim| claim.booking == id).copied();
            let mine = |ticket: u64| window.iter().find(|claim| claim.ticket == ticket).copied();
            let mut outbid = Vec::new();
            for (ticket, answer) in answers {
                let loser = mine(ticket).unwrap();
                match answer {
                    ClaimAnswer::Lost(to) => {
                        let to = to.and_then(of).unwrap();
                        prop_assert!((to.score_ms, to.booking) < (loser.score_ms, loser.booking));
                        outbid.push(loser);
                    }
                    ClaimAnswer::Granted => {
                        let winner = loser;
                        prop_assert!(outbid.drain(..).all(|it| it.score_ms >= winner.score_ms));
                    }
                    ClaimAnswer::Busy(_) => {}
                }
            }
        }
    }
}
