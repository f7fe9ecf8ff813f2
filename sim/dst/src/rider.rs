//! A rider: books, looks how his booking stands, in a storm calls it off now and then, and books again.

use crate::city::{City, Manners, as_booking, id, maybe_id, ms, place, settled, text};
use crate::laws::converged;
use crate::outside;
use crate::phone::{NO_ANSWER, Party, Phone};
use proto::{BookingId, RiderId, TripId};
use serde_json::json;
use sim::history::{Shown, What};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::sleep;

/// Bookings of each rider in a quiet city, one after the other.
pub const RIDES: usize = 2;
/// How often a rider looks at his booking.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// Of a hundred bookings in a storm so many are called off, at some time.
const CALLED_OFF: u32 = 20;

/// A rider's day.
pub async fn ride(city: Rc<City>, n: usize) {
    let mut phone = city.phone(&format!("rider {n}"));
    let rider = phone.post("/v1/riders", json!({ "name": format!("rider {n}") })).await;
    let rider = text(&settled("registering", rider), "rider_id");
    phone.sign_in(Party::Rider(rider.clone()));
    let me: RiderId = rider.parse().expect("a rider's id");
    let mut rides = 0;
    loop {
        let over = match city.manners {
            Manners::Quiet => rides == RIDES,
            Manners::Stormy => city.is_closing(),
        };
        if over {
            return;
        }
        rides += 1;
        let pause = phone.dice().ms(200..2_500);
        sleep(pause).await;
        let Some(booking) = book(&city, &mut phone, me).await else { return };
        let mut rider = Rider { city: &city, phone: &mut phone, me };
        rider.follow(booking).await;
    }
}

async fn book(city: &City, phone: &mut Phone, rider: RiderId) -> Option<BookingId> {
    let asked_ms = ms();
    let (pickup, destination) = (place(phone.dice(), 300), place(phone.dice(), 4_000));
    let body = json!({ "pickup": pickup, "destination": destination });
    let answer = phone.post("/v1/bookings", body).await;
    if answer.as_ref().is_err_and(|refused| refused.code == NO_ANSWER) {
        city.note(What::BookingUnsettled { rider });
        return None;
    }
    let booking: BookingId = id(&settled("booking", answer), "booking_id");
    city.note(What::BookingAcked { booking, rider, asked_ms });
    Some(booking)
}

struct Rider<'a> {
    city: &'a City,
    phone: &'a mut Phone,
    me: RiderId,
}

impl Rider<'_> {
    /// Looks until the booking, and whatever goes on for it, has ended.
    async fn follow(&mut self, mut booking: BookingId) {
        let stormy = self.city.manners == Manners::Stormy;
        let booked_ms = ms();
        let mut gives_up = (stormy && self.phone.dice().percent(CALLED_OFF))
            .then(|| outside::now() + self.phone.dice().ms(100..3_500));
        loop {
            let asked_ms = ms();
            let Ok(now) = self.phone.get(&format!("/v1/bookings/{booking}")).await else {
                self.city.waits(format!("booking {booking} cannot be read"));
                return;
            };
            self.city.shown(Some(Shown::booking(asked_ms, booking, &as_booking(&now))));
            if !["PENDING", "PROMISED", "ASSIGNED"].contains(&text(&now, "status").as_str()) {
                let Some(next) = maybe_id(&now, "replaced_by") else { return };
                // His driver called off; the cluster looks on.
                booking = next;
                let (rider, asked_ms) = (self.me, booked_ms);
                self.city.note(What::BookingAcked { booking, rider, asked_ms });
                continue;
            }
            if gives_up.is_some_and(|at| outside::now() >= at) {
                gives_up = None;
                self.call_off(booking).await;
                continue;
            }
            let rides = stormy && text(&now, "status") != "PENDING";
            let longer = if rides { converged::RIDE } else { Duration::ZERO };
            if outside::now() >= self.city.patience() + longer {
                self.city.waits(format!("booking {booking} has not ended: {now}"));
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn call_off(&mut self, booking: BookingId) {
        self.city.note(What::CancelAsked { booking });
        let path = format!("/v1/bookings/{booking}/cancel");
        match self.phone.post(&path, json!({})).await {
            Ok(_) => self.city.note(What::CancelAcked { booking }),
            Err(refused) if refused.code == "BOOKING_ALREADY_ASSIGNED" => {
                self.call_trip_off(booking).await;
            }
            Err(refused) => {
                let fine = ["BOOKING_ENDED", NO_ANSWER].contains(&refused.code.as_str());
                assert!(fine, "calling off was refused: {refused:?}");
            }
        }
    }

    async fn call_trip_off(&mut self, booking: BookingId) {
        let known = self.phone.get(&format!("/v1/bookings/{booking}")).await;
        let Some(trip) = known.ok().and_then(|known| maybe_id::<TripId>(&known, "trip_id")) else {
            return;
        };
        match self.phone.post(&format!("/v1/trips/{trip}/cancel"), json!({})).await {
            Ok(_) => self.city.note(What::CancelAcked { booking }),
            Err(refused) => {
                const FINE: &[&str] = &[
                    "CANNOT_CANCEL_IN_PROGRESS",
                    "TRIP_ALREADY_COMPLETED",
                    "TRIP_CANCELLED",
                    NO_ANSWER,
                ];
                let fine = FINE.contains(&refused.code.as_str());
                assert!(fine, "calling off a trip was refused: {refused:?}");
            }
        }
    }
}
