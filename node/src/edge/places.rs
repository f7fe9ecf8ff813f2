//! Who may stay at this door, and how many of them at once.

use crate::auth::Identity;
use prometheus_client::metrics::gauge::Gauge;
use proto::DriverId;
use proto::code::{Code, Refusal};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections at once. They are gateways, each for thousands of phones; with 256 KiB to read into
/// and as much of decoded pings, all of them have 160 MiB.
const PLACES: usize = 256;
/// How many of them drivers may have together, so that gateways always find some.
const DRIVERS_MAX: usize = PLACES / 2;
/// How many one driver may have: his phone's, and one that broke and was not noticed yet.
const A_DRIVER_MAX: usize = 2;
/// When to try again where all places are taken, in milliseconds. It takes others to leave.
const RETRY_AFTER_MS: u32 = 5_000;

/// The places of one node.
#[derive(Debug)]
pub(super) struct Places {
    taken: Mutex<Taken>,
    shown: Gauge,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Of each driver who has any.
    of: BTreeMap<DriverId, usize>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    driver: Option<DriverId>,
}

impl Places {
    /// All free. `shown` says how many are not.
    pub(super) fn new(shown: Gauge) -> Self {
        Self { taken: Mutex::default(), shown }
    }

    /// Gives somebody a place, if there is one for him.
    pub(super) fn take(self: &Arc<Self>, who: Identity) -> Result<Place, Refusal> {
        let driver = match who {
            Identity::Believed | Identity::Gateway | Identity::Operator => None,
            Identity::Driver(driver) => Some(driver),
            Identity::Rider(_) => {
                let detail = "riders have nothing to say at this door";
                return Err(Refusal::new(Code::Forbidden, detail));
            }
        };
        let mut taken = self.lock();
        if taken.all >= PLACES {
            return Err(full(format!("{PLACES} connections are open here")));
        }
        if let Some(driver) = driver {
            if taken.of.values().sum::<usize>() >= DRIVERS_MAX {
                return Err(full(format!("{DRIVERS_MAX} drivers' connections are open here")));
            }
            let his = taken.of.entry(driver).or_default();
            if *his >= A_DRIVER_MAX {
                return Err(full(format!("{A_DRIVER_MAX} connections of this driver are open")));
            }
            *his += 1;
        }
        taken.all += 1;
        drop(taken);
        self.shown.inc();
        Ok(Place { places: Arc::clone(self), driver })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        if let Some(driver) = self.driver
            && let Some(his) = taken.of.get_mut(&driver)
        {
            *his -= 1;
            if *his == 0 {
                taken.of.remove(&driver);
            }
        }
        drop(taken);
        self.places.shown.dec();
    }
}

fn full(detail: String) -> Refusal {
    Refusal { retry_after_ms: Some(RETRY_AFTER_MS), ..Refusal::new(Code::Overloaded, detail) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::RiderId;

    fn places() -> Arc<Places> {
        Arc::new(Places::new(Gauge::default()))
    }

    fn code(taken: Result<Place, Refusal>) -> Code {
        taken.expect_err("no place").code
    }

    #[test]
    fn who_finds_all_places_taken_is_told_when_to_come_again() {
        let places = places();
        let mut held: Vec<Place> =
            (0..PLACES).map(|_| places.take(Identity::Gateway).unwrap()).collect();
        assert_eq!(places.shown.get(), 256);
        for late in [Identity::Gateway, Identity::Operator, Identity::Believed] {
            let refusal = places.take(late).unwrap_err();
            assert_eq!((refusal.code, refusal.retry_after_ms), (Code::Overloaded, Some(5_000)));
        }
        held.pop();
        held.push(places.take(Identity::Believed).unwrap());
        assert_eq!(code(places.take(Identity::Gateway)), Code::Overloaded);
    }

    #[test]
    fn drivers_leave_room_for_gateways_and_for_each_other() {
        let places = places();
        let driver = |n| Identity::Driver(DriverId::from_raw(n));
        let both = [places.take(driver(0)).unwrap(), places.take(driver(0)).unwrap()];
        assert_eq!(code(places.take(driver(0))), Code::Overloaded);
        let others: Vec<Place> = (1..127).map(|n| places.take(driver(n)).unwrap()).collect();
        assert_eq!(code(places.take(driver(200))), Code::Overloaded);
        assert!(places.take(Identity::Gateway).is_ok());
        // Who has left is forgotten.
        drop((both, others));
        assert!(places.lock().of.is_empty());
        assert!(places.take(driver(0)).is_ok());
        assert_eq!(places.shown.get(), 0);
    }

    #[test]
    fn riders_find_no_place() {
        let rider = Identity::Rider(RiderId::from_raw(1));
        assert_eq!(code(places().take(rider)), Code::Forbidden);
    }
}
