//! Who has been asked: drivers who are claimed, offers that are being recorded or put before their
//! drivers, and offers that are out. Each of them takes one of the places that the fan-out allows.

use super::Ranked;
use proto::record::Offer;
use proto::{DriverId, MonoMs, OfferId};
use std::collections::{BTreeMap, BTreeSet};

/// An offer before a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) driver: DriverId,
    /// When the booking stops waiting for his answer.
    pub(super) until: MonoMs,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Flight {
    claiming: BTreeMap<DriverId, Ranked>,
    /// And whether he would be bound.
    starting: BTreeMap<DriverId, bool>,
    holding: BTreeSet<OfferId>,
    out: BTreeMap<OfferId, Out>,
}

impl Flight {
    /// How many questions are unanswered; each of them will be answered.
    pub(super) fn under_way(&self) -> usize {
        self.claiming.len() + self.starting.len() + self.holding.len()
    }

    /// How many may yet become an offer.
    pub(super) fn not_yet_offers(&self) -> usize {
        self.claiming.len() + self.starting.len()
    }

    /// How many places are taken.
    pub(super) fn places(&self) -> usize {
        let ended = self.holding.iter().filter(|offer| !self.out.contains_key(offer)).count();
        self.not_yet_offers() + self.out.len() + ended
    }

    /// Whether a driver is claimed or about to be offered it.
    pub(super) fn asks(&self, driver: DriverId) -> bool {
        self.claiming.contains_key(&driver) || self.starting.contains_key(&driver)
    }

    pub(super) fn claim(&mut self, candidate: Ranked) {
        self.claiming.insert(candidate.driver, candidate);
    }

    /// A claim was answered; gives whom it was for, once.
    pub(super) fn claimed(&mut self, driver: DriverId) -> Option<Ranked> {
        self.claiming.remove(&driver)
    }

    pub(super) fn start(&mut self, candidate: &Ranked) {
        self.starting.insert(candidate.driver, candidate.binds);
    }

    /// The recording of an offer was answered; says, once, whether its driver would be bound.
    pub(super) fn started(&mut self, driver: DriverId) -> Option<bool> {
        self.starting.remove(&driver)
    }

    /// An offer is out, and his answer is waited for until then.
    pub(super) fn out(&mut self, offer: &Offer, until: MonoMs) {
        self.out.insert(offer.id, Out { driver: offer.driver, until });
    }

    /// Its driver is asked to hold it.
    pub(super) fn hold(&mut self, offer: OfferId) {
        self.holding.insert(offer);
    }

    /// He answered.
    pub(super) fn held(&mut self, offer: OfferId) {
        self.holding.remove(&offer);
    }

    /// Waits for an offer's answer until another time.
    pub(super) fn wait_until(&mut self, offer: OfferId, until: MonoMs) {
        if let Some(out) = self.out.get_mut(&offer) {
            out.until = until;
        }
    }

    /// An offer ended; says whether it was out.
    pub(super) fn end(&mut self, offer: OfferId) -> bool {
        self.out.remove(&offer).is_some()
    }

    /// Whether no offer is out.
    pub(super) fn nothing_out(&self) -> bool {
        self.out.is_empty()
    }

    /// When the waiting for some offer ends.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = MonoMs> {
        self.out.values().map(|out| out.until)
    }

    /// The offers whose time has passed.
    pub(super) fn late(&self, now: MonoMs) -> Vec<OfferId> {
        self.out.iter().filter(|(_, out)| now >= out.until).map(|(offer, _)| *offer).collect()
    }

    /// Lets all offers go.
    pub(super) fn take_out(&mut self) -> BTreeMap<OfferId, Out> {
        std::mem::take(&mut self.out)
    }
}
