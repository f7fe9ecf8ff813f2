//! What the node of a driver's partition knows of him beside his record: through which socket he
//! is reached (the one session registry), in which cell he was seen last, and whether a rider is aboard. Soft: sockets attach
//! again every few seconds, cells ask again every few seconds.

use proto::record::ask::Session;
use proto::{DriverId, OfferId, WallMs};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    session: Option<Session>,
    /// In which cell's ring key he was seen last, and when by his phone.
    seen: Option<(u64, WallMs)>,
    /// Of which offer a rider is known to be aboard, or not; or was asked about.
    aboard: Option<(OfferId, bool)>,
}

#[derive(Debug, Default)]
pub(super) struct Soft {
    drivers: Mutex<BTreeMap<DriverId, Entry>>,
}

impl Soft {
    fn drivers(&self) -> MutexGuard<'_, BTreeMap<DriverId, Entry>> {
        // Each critical section leaves the map whole, so a poisoned lock is still good.
        self.drivers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a session; the newest epoch wins.
    pub(super) fn attach(&self, driver: DriverId, session: Session) {
        let mut drivers = self.drivers();
        let entry = drivers.entry(driver).or_default();
        if entry.session.is_none_or(|known| known <= session) {
            entry.session = Some(session);
        }
    }

    /// Forgets a session that turned out to be gone, unless a newer one took its place.
    pub(super) fn detach(&self, driver: DriverId, session: Session) {
        if let Some(entry) = self.drivers().get_mut(&driver)
            && entry.session == Some(session)
        {
            entry.session = None;
        }
    }

    /// Forgets drivers whose partition is led elsewhere now: sockets and cells tell the new leader.
    pub(super) fn forget_those(&self, which: impl Fn(&DriverId) -> bool) {
        self.drivers().retain(|driver, _| !which(driver));
    }

    pub(super) fn session(&self, driver: DriverId) -> Option<Session> {
        self.drivers().get(&driver).and_then(|entry| entry.session)
    }

    /// Notes where a driver was seen. If two ring keys speak of him, tells the one that is behind
    /// and when he was seen in the other.
    pub(super) fn seen(
        &self,
        driver: DriverId,
        ring_key: u64,
        at: WallMs,
    ) -> Option<(u64, WallMs)> {
        let mut drivers = self.drivers();
        let seen = &mut drivers.entry(driver).or_default().seen;
        match *seen {
            Some((known, last)) if known != ring_key && at < last => Some((ring_key, last)),
            Some((known, last)) => {
                *seen = Some((ring_key, at.max(last)));
                (known != ring_key).then_some((known, at))
            }
            None => {
                *seen = Some((ring_key, at));
                None
            }
        }
    }

    /// Notes whether the rider of an offer is aboard.
    pub(super) fn set_aboard(&self, driver: DriverId, offer: OfferId, aboard: bool) {
        self.drivers().entry(driver).or_default().aboard = Some((offer, aboard));
    }

    /// The offer whose rider is aboard.
    pub(super) fn aboard(&self, driver: DriverId) -> Option<OfferId> {
        let (offer, aboard) = self.drivers().get(&driver)?.aboard?;
        aboard.then_some(offer)
    }

    /// Whether somebody should ask if the rider of an offer is aboard: nothing was said of it, nor asked.
    /// Notes that it was asked.
    pub(super) fn ask_aboard(&self, driver: DriverId, offer: OfferId) -> bool {
        let mut drivers = self.drivers();
        let known = &mut drivers.entry(driver).or_default().aboard;
        let unknown = known.is_none_or(|(other, _)| other != offer);
        if unknown {
            *known = Some((offer, false));
        }
        unknown
    }

    pub(super) fn ring_key(&self, driver: DriverId) -> Option<u64> {
        Some(self.drivers().get(&driver)?.seen?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_cells_that_have_a_driver_the_one_behind_is_told() {
        let (soft, dee) = (Soft::default(), DriverId::from_raw(9));
        let (west, east) = (1, 2);
        assert_eq!(soft.seen(dee, west, WallMs(10)), None);
        assert_eq!(soft.seen(dee, west, WallMs(11)), None);
        assert_eq!(soft.seen(dee, east, WallMs(12)), Some((west, WallMs(12))), "he moved");
        assert_eq!(soft.seen(dee, west, WallMs(11)), Some((west, WallMs(12))), "it was late");
        assert_eq!(soft.ring_key(dee), Some(east));
        assert_eq!(soft.seen(dee, west, WallMs(13)), Some((east, WallMs(13))), "he came back");
        assert_eq!(soft.ring_key(dee), Some(west));
    }

    #[test]
    fn a_trip_is_asked_about_once_and_whoever_is_told_need_not_ask() {
        let (soft, dee) = (Soft::default(), DriverId::from_raw(9));
        let offer = |n| OfferId::mint(proto::Slot(1), WallMs(0), n);
        assert_eq!(soft.aboard(dee), None);
        assert!(soft.ask_aboard(dee, offer(1)));
        assert!(!soft.ask_aboard(dee, offer(1)), "once is enough");
        soft.set_aboard(dee, offer(1), true);
        assert_eq!(soft.aboard(dee), Some(offer(1)));
        soft.set_aboard(dee, offer(1), false);
        assert_eq!((soft.aboard(dee), soft.ask_aboard(dee, offer(1))), (None, false), "he paused");
        assert!(soft.ask_aboard(dee, offer(2)), "another ride");
    }
}
