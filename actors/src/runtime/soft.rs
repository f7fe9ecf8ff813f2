//! What the node of a driver's partition knows of him beside his record: through which socket he
//! is reached (the one session registry) and in which cell he was seen last. Soft: sockets attach
//! again every few seconds, cells ask again every few seconds.

use proto::DriverId;
use proto::record::ask::Session;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    session: Option<Session>,
    ring_key: Option<u64>,
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

    /// Notes where a driver was seen; tells the ring key he left, if he left one.
    pub(super) fn seen(&self, driver: DriverId, ring_key: u64) -> Option<u64> {
        let before = self.drivers().entry(driver).or_default().ring_key.replace(ring_key);
        before.filter(|before| *before != ring_key)
    }

    pub(super) fn ring_key(&self, driver: DriverId) -> Option<u64> {
        self.drivers().get(&driver).and_then(|entry| entry.ring_key)
    }
}
