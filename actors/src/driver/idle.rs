//! Since when a driver has waited for a ride: what he is credited with where several could come.

use proto::record::driver::{Commitment, Driver, Duty};
use proto::{Code, WallMs};

/// Changes a driver, and notes when his waiting began if it began with that: he comes on duty, or refuses
/// an offer or lets it pass. What ends a ride, [`super::release`], notes it too; an offer that somebody else
/// took takes nothing from it.
pub fn noting_idle(
    driver: &mut Driver,
    now: WallMs,
    change: impl FnOnce(&mut Driver) -> Result<(), Code>,
) -> Result<(), Code> {
    let before = (driver.duty, driver.refused);
    change(driver)?;
    if waits(driver) && (driver.duty, driver.refused) != before {
        driver.idle_since = now;
    }
    Ok(())
}

/// Whether nothing but his luck keeps him from a ride.
pub(super) fn waits(driver: &Driver) -> bool {
    driver.duty == Duty::Online && !matches!(driver.current, Some(Commitment::Taken { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver;
    use crate::fault::Faults;
    use proto::record::driver::{Capabilities, Vehicle, VehicleType};
    use proto::record::event::What;
    use proto::record::{CityId, Offer, Profile, TripState};
    use proto::units::Point;
    use proto::{BookingId, DriverId, OfferId, Slot};

    fn offer(n: u64) -> Offer {
        let (pickup, created_at) = (Point::from_e7(0, 0).unwrap(), WallMs(1));
        Offer {
            id: OfferId::mint(Slot(1), created_at, n),
            booking: BookingId::mint(Slot(1), created_at, n),
            driver: DriverId::from_raw(1),
            attempt: 1,
            rank: 1,
            distance_m: 0,
            eta_s: 0,
            cost_ms: 0,
            pickup,
            destination: pickup,
            created_at,
            ttl_ms: 15_000,
            shown_ms: 12_000,
        }
    }

    #[test]
    fn he_waits_from_when_he_was_last_free_by_his_own_doing() {
        let vehicle = Vehicle {
            kind: VehicleType::Sedan,
            seats: 4,
            capabilities: Capabilities(0),
            plate: String::new(),
            make: String::new(),
            model: String::new(),
            color: String::new(),
        };
        let (id, profile) = (DriverId::from_raw(1), Profile::default());
        let mut dee = driver::newcomer(id, "dee".into(), CityId(1), vehicle, true, profile);
        type Change = dyn Fn(&mut Driver, &mut Vec<What>) -> Result<(), Code>;
        let since = |dee: &mut Driver, now, change: &Change| {
            noting_idle(dee, WallMs(now), |dee| change(dee, &mut Vec::new())).unwrap();
            dee.idle_since.0
        };
        let hold = |n| move |dee: &mut Driver, what: &mut _| driver::hold(dee, &offer(n), what);
        let accept = |n: u64| {
            move |dee: &mut Driver, what: &mut Vec<What>| {
                driver::accept(dee, offer(n).id, None, what)
            }
        };
        let duty = |online: bool| {
            move |dee: &mut Driver, what: &mut Vec<What>| {
                driver::set_duty(dee, online, WallMs(0), what)
            }
        };
        let release = |dee: &mut Driver, now, n: u64, ended: Option<TripState>| {
            driver::release(dee, offer(n).id, ended, WallMs(now), &mut Vec::new());
            dee.idle_since.0
        };
        assert_eq!(since(&mut dee, 10, &duty(true)), 10);
        assert_eq!(since(&mut dee, 15, &duty(true)), 10, "he was on duty");
        assert_eq!(since(&mut dee, 20, &hold(1)), 10);
        assert_eq!(release(&mut dee, 30, 1, None), 10, "another took it");
        since(&mut dee, 40, &hold(2));
        let let_pass = |dee: &mut Driver, what: &mut Vec<What>| {
            driver::expire_hold(dee, offer(2).id, Faults::default(), what);
            Ok(())
        };
        assert_eq!(since(&mut dee, 50, &let_pass), 50);
        since(&mut dee, 60, &hold(3));
        let decline =
            |dee: &mut Driver, what: &mut Vec<What>| driver::decline(dee, offer(3).id, what);
        assert_eq!(since(&mut dee, 70, &decline), 70);
        since(&mut dee, 80, &hold(4));
        assert_eq!(since(&mut dee, 90, &accept(4)), 70);
        assert_eq!(release(&mut dee, 95, 4, None), 70, "another was faster");
        since(&mut dee, 96, &hold(5));
        since(&mut dee, 97, &accept(5));
        assert_eq!(release(&mut dee, 100, 5, Some(TripState::Completed)), 100);
        since(&mut dee, 110, &duty(false));
        assert_eq!(since(&mut dee, 120, &duty(true)), 120);
    }
}
