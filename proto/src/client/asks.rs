//! Everything that can be asked, one method each.

use super::Client;
use super::call::{Call, Party, Request};
use super::views::{
    Around, Booking, BookingsPage, Cluster, Counts, DrivenPage, Driver, Fix, Lookup, Nearby,
    NewBooking, NewDriver, Offers, Processed, Receipt, Recorded, Rider, Trip,
};
use crate::ids::{BookingId, DriverId, NodeId, OfferId, RiderId, TripId};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::json;

/// Riders.
impl Client {
    /// Registers a rider. The same name is the same rider.
    pub fn register_rider(&self, name: &str) -> Call<'_, Rider> {
        let slot = RiderId::of_name(name).slot();
        self.call(Request::change("/v1/riders", &json!({ "name": name })).of(slot))
    }
    /// Reads a rider.
    pub fn rider(&self, rider: RiderId) -> Call<'_, Rider> {
        self.call(Request::read(format!("/v1/riders/{rider}")).of(rider.slot()))
    }
    /// Books a ride.
    pub fn book(&self, rider: RiderId, wish: &NewBooking) -> Call<'_, Booking> {
        let request = Request::change("/v1/bookings", wish);
        self.call(request.of(rider.slot()).by(Party::Rider(rider)))
    }
    /// Reads a booking.
    pub fn booking(&self, booking: BookingId) -> Call<'_, Booking> {
        self.call(Request::read(format!("/v1/bookings/{booking}")).of(booking.slot()))
    }
    /// A rider's bookings, newest first: the first page, or the one that a cursor points at.
    pub fn bookings(&self, rider: RiderId, cursor: Option<&str>) -> Call<'_, BookingsPage> {
        let path = format!("/v1/riders/{rider}/bookings");
        self.call(Request::read(paged(path, cursor)).of(rider.slot()))
    }
    /// Calls a booking off that has no driver yet; one that has is called off by its trip.
    pub fn cancel_booking(
        &self,
        rider: RiderId,
        booking: BookingId,
        reason: &str,
    ) -> Call<'_, Booking> {
        let path = format!("/v1/bookings/{booking}/cancel");
        let request = Request::change(path, &json!({ "reason": reason }));
        self.call(request.of(booking.slot()).by(Party::Rider(rider)))
    }
    /// Looks for cars around a point.
    pub fn nearby(&self, around: &Around) -> Call<'_, Nearby> {
        self.call(Request::read(format!("/v1/nearby?{}", around.query())))
    }
}

/// Drivers.
impl Client {
    /// Registers a driver. The same name with the same details is the same driver.
    pub fn register_driver(&self, driver: &NewDriver) -> Call<'_, Driver> {
        let slot = DriverId::of_name(&driver.name).slot();
        self.call(Request::change("/v1/drivers", driver).of(slot))
    }
    /// Reads a driver.
    pub fn driver(&self, driver: DriverId) -> Call<'_, Driver> {
        self.call(Request::read(format!("/v1/drivers/{driver}")).of(driver.slot()))
    }
    /// Goes on duty.
    pub fn go_online(&self, driver: DriverId) -> Call<'_, Driver> {
        self.duty(driver, "online")
    }
    /// Goes off duty.
    pub fn go_offline(&self, driver: DriverId) -> Call<'_, Driver> {
        self.duty(driver, "offline")
    }
    fn duty(&self, driver: DriverId, duty: &str) -> Call<'_, Driver> {
        let request = Request::change(format!("/v1/drivers/{driver}/{duty}"), &json!({}));
        self.call(request.of(driver.slot()).by(Party::Driver(driver)))
    }
    /// Says where a driver is.
    pub fn ping(&self, driver: DriverId, fix: Fix) -> Call<'_, Counts> {
        self.pings(&[(driver, fix)])
    }
    /// Says where several drivers are: at most a thousand in one call.
    pub fn pings(&self, fixes: &[(DriverId, Fix)]) -> Call<'_, Counts> {
        #[derive(Serialize)]
        struct One {
            driver_id: String,
            #[serde(flatten)]
            fix: Fix,
        }
        let one =
            |(driver, fix): &(DriverId, Fix)| One { driver_id: driver.to_string(), fix: *fix };
        let all: Vec<One> = fixes.iter().map(one).collect();
        self.call(Request::report("/v1/drivers/location", &all))
    }
    /// The trips that a driver has ended, newest first: the first page, or the one that a cursor
    /// points at.
    pub fn driven(&self, driver: DriverId, cursor: Option<&str>) -> Call<'_, DrivenPage> {
        let path = format!("/v1/drivers/{driver}/bookings");
        self.call(Request::read(paged(path, cursor)).of(driver.slot()))
    }
    /// The offers before a driver.
    pub fn offers(&self, driver: DriverId) -> Call<'_, Offers> {
        self.call(Request::read(format!("/v1/drivers/{driver}/offers")).of(driver.slot()))
    }
    /// Says yes to an offer. The answer is the trip.
    pub fn accept(&self, driver: DriverId, offer: OfferId) -> Call<'_, Trip> {
        let body = json!({ "offer_id": offer.to_string() });
        let request = Request::change("/v1/trips/accept", &body);
        self.call(request.of(driver.slot()).by(Party::Driver(driver)))
    }
    /// Says no to an offer.
    pub fn decline(&self, driver: DriverId, offer: OfferId) -> Call<'_, Driver> {
        let request = Request::change(format!("/v1/offers/{offer}/decline"), &json!({}));
        self.call(request.of(driver.slot()).by(Party::Driver(driver)))
    }
}

/// Trips.
impl Client {
    /// Reads a trip.
    pub fn trip(&self, trip: TripId) -> Call<'_, Trip> {
        self.call(Request::read(format!("/v1/trips/{trip}")).of(trip.slot()))
    }
    /// The trip that a party is on. Two partitions are asked for it, so no one node is the best.
    pub fn active_trip(&self, party: Party) -> Call<'_, Trip> {
        self.call(Request::read("/v1/trips/active").by(party))
    }
    /// At the pickup.
    pub fn arrive(&self, driver: DriverId, trip: TripId) -> Call<'_, Trip> {
        self.step(driver, trip, "arrive", &json!({}))
    }
    /// The same as its rider: he sees the code that starts it.
    pub fn trip_of(&self, rider: RiderId, trip: TripId) -> Call<'_, Trip> {
        let request = Request::read(format!("/v1/trips/{trip}"));
        self.call(request.of(trip.slot()).by(Party::Rider(rider)))
    }
    /// Says where a driver was on the way: at most a thousand positions, in any order, and what was
    /// sent before may be sent again.
    pub fn trail(
        &self,
        driver: DriverId,
        trip: TripId,
        recorded: &[Recorded],
    ) -> Call<'_, Processed> {
        let path = format!("/v1/trips/{trip}/location");
        let request = Request::change(path, &json!({ "locations": recorded }));
        self.call(request.of(trip.slot()).by(Party::Driver(driver)))
    }
    /// What a trip that is over costs.
    pub fn receipt(&self, by: Party, trip: TripId) -> Call<'_, Receipt> {
        let request = Request::read(format!("/v1/trips/{trip}/receipt"));
        self.call(request.of(trip.slot()).by(by))
    }
    /// The rider is aboard, and told the driver his code if the trip wants one.
    pub fn start(&self, driver: DriverId, trip: TripId, otp: Option<&str>) -> Call<'_, Trip> {
        self.step(driver, trip, "start", &json!({ "otp": otp }))
    }
    /// Stands for a while.
    pub fn pause(&self, driver: DriverId, trip: TripId) -> Call<'_, Trip> {
        self.step(driver, trip, "pause", &json!({}))
    }
    /// Goes on.
    pub fn resume(&self, driver: DriverId, trip: TripId) -> Call<'_, Trip> {
        self.step(driver, trip, "resume", &json!({}))
    }
    /// At the destination; with what the odometer shows, if anybody looked.
    pub fn end(&self, driver: DriverId, trip: TripId, odometer_km: Option<f64>) -> Call<'_, Trip> {
        self.step(driver, trip, "end", &json!({ "odometer_km": odometer_km }))
    }
    /// Calls a trip off, for its driver or its rider.
    pub fn cancel_trip(&self, by: Party, trip: TripId, reason: &str) -> Call<'_, Trip> {
        let path = format!("/v1/trips/{trip}/cancel");
        let request = Request::change(path, &json!({ "reason": reason }));
        self.call(request.of(trip.slot()).by(by))
    }
    fn step(
        &self,
        driver: DriverId,
        trip: TripId,
        step: &str,
        body: &impl Serialize,
    ) -> Call<'_, Trip> {
        let request = Request::change(format!("/v1/trips/{trip}/{step}"), body);
        self.call(request.of(trip.slot()).by(Party::Driver(driver)))
    }
}

/// Operators.
impl Client {
    /// The cluster as some node sees it.
    pub fn cluster(&self) -> Call<'_, Cluster> {
        self.call(Request::read("/v1/cluster"))
    }
    /// Where an id, or a coordinate as `lat,lng`, lives.
    pub fn lookup(&self, key: &str) -> Call<'_, Lookup> {
        self.call(Request::read(format!("/v1/cluster/lookup?key={}", escaped(key))))
    }
    /// Takes everything off a node, so that it can be stopped.
    pub fn drain(&self, node: NodeId) -> Call<'_, IgnoredAny> {
        self.call(Request::change(format!("/v1/cluster/nodes/{node}/drain"), &json!({})))
    }
    /// Lets a drained node hold replicas again.
    pub fn activate(&self, node: NodeId) -> Call<'_, IgnoredAny> {
        self.call(Request::change(format!("/v1/cluster/nodes/{node}/activate"), &json!({})))
    }
}

fn paged(path: String, cursor: Option<&str>) -> String {
    cursor.map_or(path.clone(), |cursor| format!("{path}?cursor={}", escaped(cursor)))
}

/// A text as part of a query: every byte that might mean something is written in hex.
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinate_is_one_parameter() {
        assert_eq!(escaped("40.75,-73.98"), "40.75%2C-73.98");
        assert_eq!(escaped("a&b=ü"), "a%26b%3D%C3%BC");
    }
}
