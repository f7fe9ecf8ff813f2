//! A driver: a phone that reports where the car is and answers offers ([`phone`]), and a car that
//! carries out the trips that came of it ([`wheel`]).
//!
//! The driver protects nobody from the cluster's mistakes. He says yes to every offer he gets, also
//! with a rider aboard: an offer that should not exist must show in the history as an accepted
//! trip, not be hidden by a polite client. Trips he was given too many he drives one by one.

mod phone;
mod wheel;

use crate::dice::Dice;
use crate::drives::Leg;
use crate::pace::CityMs;
use crate::workload::World;
use proto::client::Trip;
use proto::units::Point;
use proto::{DriverId, OfferId, TripId};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

/// Trips that may wait for the car. One is right; the rest is room for a broken cluster, so that
/// its mistakes are driven and seen.
const TRIPS_MAX: usize = 8;
/// Offers that may be answered at once, for the same reason.
const ANSWERS_MAX: usize = 4;
/// Offers remembered, so that one that is sent again is not answered again. As many as a
/// driver's record in the cluster remembers.
const OFFERS_MAX: usize = 32;

/// What a driver's tasks share.
#[derive(Debug)]
pub(crate) struct Me {
    pub(crate) id: DriverId,
    car: Mutex<Car>,
    offers: Mutex<VecDeque<OfferId>>,
    trips: Mutex<BTreeSet<TripId>>,
    answering: Arc<Semaphore>,
    /// The trip that was called off last.
    called_off: watch::Sender<Option<TripId>>,
}

/// A drive, and when it began.
#[derive(Debug)]
struct Car {
    leg: Arc<Leg>,
    left: CityMs,
}

impl Me {
    pub(crate) fn new(id: DriverId, stands_at: Point) -> Self {
        Self {
            id,
            car: Mutex::new(Car { leg: Arc::new(Leg::at_rest(stands_at)), left: CityMs(0) }),
            offers: Mutex::default(),
            trips: Mutex::default(),
            answering: Arc::new(Semaphore::new(ANSWERS_MAX)),
            called_off: watch::Sender::new(None),
        }
    }

    /// Where the car is.
    fn position(&self, now: CityMs) -> Point {
        let car = self.car.lock().unwrap_or_else(PoisonError::into_inner);
        car.leg.position(now.0.saturating_sub(car.left.0))
    }

    /// Sends the car off.
    fn drive(&self, leg: Arc<Leg>, left: CityMs) {
        *self.car.lock().unwrap_or_else(PoisonError::into_inner) = Car { leg, left };
    }

    /// Whether this offer is seen for the first time.
    fn is_news(&self, offer: OfferId) -> bool {
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        if offers.contains(&offer) {
            return false;
        }
        if offers.len() == OFFERS_MAX {
            offers.pop_front();
        }
        offers.push_back(offer);
        true
    }

    /// Whether this trip is seen for the first time; from now on it is known.
    fn is_new_trip(&self, trip: TripId) -> bool {
        self.trips.lock().unwrap_or_else(PoisonError::into_inner).insert(trip)
    }

    /// Whether this trip was seen before.
    fn knows(&self, trip: TripId) -> bool {
        self.trips.lock().unwrap_or_else(PoisonError::into_inner).contains(&trip)
    }
}

/// Starts a driver's tasks.
pub(crate) fn start(world: &Arc<World>, me: &Arc<Me>, mut dice: Dice, tasks: &mut JoinSet<()>) {
    let (jobs, to_drive) = mpsc::channel::<Trip>(TRIPS_MAX);
    let wheel_dice = dice.fork();
    tasks.spawn(phone::carry(Arc::clone(world), Arc::clone(me), dice, jobs));
    tasks.spawn(wheel::hold(Arc::clone(world), Arc::clone(me), wheel_dice, to_drive));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{Slot, WallMs};

    #[test]
    fn an_offer_sent_again_is_not_answered_again() {
        let me = Me::new(DriverId::from_raw(1), Point::from_degrees(0.0, 0.0).unwrap());
        let offer = |n| OfferId::mint(Slot(1), WallMs(1), n);
        assert!(me.is_news(offer(1)));
        assert!(!me.is_news(offer(1)));
        for n in 2..=u64::try_from(OFFERS_MAX).unwrap() + 1 {
            assert!(me.is_news(offer(n)));
        }
        assert!(me.is_news(offer(1)), "only the last {OFFERS_MAX} are remembered");
    }
}
