//! A cluster that is none, for this crate's tests: one state behind several loopback listeners,
//! speaking the HTTP and WebSocket of the contract as far as the city uses it. It offers each
//! booking to the nearest free driver at once.
//!
//! It can be told to misbehave: to lose answers (which a correct client survives), to forget what
//! it acked, or to free drivers under way (which the judge must find).

mod routes;

use proto::units::{Clock, Point};
use proto::{BookingId, DriverId, OfferId, RiderId, TripId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// What is wrong with the fake.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Every so-many-th change is done, and answered with RETRY.
    pub(crate) lose_answer_every: Option<u64>,
    /// A driver counts as free while he carries somebody.
    pub(crate) free_drivers_under_way: bool,
    /// Every so-many-th booking is forgotten when its trip ends.
    pub(crate) forget_booking_every: Option<u64>,
}

#[derive(Debug, Default)]
struct Car {
    at: Option<Point>,
    online: bool,
    /// The offer before him, or the trip he is on.
    offer: Option<OfferId>,
    trip: Option<TripId>,
    phone: Option<mpsc::Sender<String>>,
}

#[derive(Debug)]
struct Booking {
    rider: RiderId,
    pickup: Point,
    destination: Point,
    status: &'static str,
    driver: Option<DriverId>,
    trip: Option<TripId>,
    number: u64,
}

#[derive(Debug)]
struct Trip {
    booking: BookingId,
    rider: RiderId,
    driver: DriverId,
    pickup: Point,
    destination: Point,
    status: &'static str,
    transitions: Vec<(&'static str, u64)>,
}

#[derive(Debug, Default)]
struct State {
    cars: BTreeMap<DriverId, Car>,
    bookings: BTreeMap<BookingId, Booking>,
    offers: BTreeMap<OfferId, (BookingId, DriverId)>,
    trips: BTreeMap<TripId, Trip>,
    /// Answers by key: status and body.
    answered: BTreeMap<String, (u16, Value)>,
    changes: u64,
}

/// The fake.
#[derive(Debug)]
pub(crate) struct Fake {
    state: Mutex<State>,
    faults: Faults,
    clock: Arc<dyn Clock>,
    ids: AtomicU64,
}

type Refusal = (u16, &'static str);

impl Fake {
    /// Serves at so many addresses until the runtime ends.
    pub(crate) async fn serve(
        nodes: usize,
        faults: Faults,
        clock: Arc<dyn Clock>,
    ) -> Vec<SocketAddr> {
        let (state, ids) = (Mutex::default(), AtomicU64::new(1));
        let fake = Arc::new(Self { state, faults, clock, ids });
        let mut addresses = Vec::new();
        for number in 1..=nodes {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let router = routes::router(Arc::clone(&fake), number);
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        addresses
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        self.clock.wall().0
    }

    /// Answers a change once for each key; perhaps loses the answer.
    fn change(
        &self,
        key: Option<String>,
        act: impl FnOnce(&mut State) -> Result<(u16, Value), Refusal>,
    ) -> (u16, Value) {
        let mut state = self.state();
        if let Some(known) = key.as_ref().and_then(|key| state.answered.get(key)) {
            return known.clone();
        }
        let (status, body) =
            act(&mut state).unwrap_or_else(|(status, code)| (status, json!({ "code": code })));
        if let Some(key) = key {
            state.answered.insert(key, (status, body.clone()));
        }
        state.changes += 1;
        match self.faults.lose_answer_every {
            Some(n) if state.changes.is_multiple_of(n) => {
                (503, json!({ "code": "RETRY", "retry_after_ms": 10 }))
            }
            Some(_) | None => (status, body),
        }
    }

    fn register_driver(&self, key: Option<String>, name: &str) -> (u16, Value) {
        let driver = DriverId::of_name(name);
        self.change(key, |state| {
            state.cars.entry(driver).or_default();
            Ok((201, driver_json(state, driver)))
        })
    }

    fn set_online(&self, key: Option<String>, driver: DriverId) -> (u16, Value) {
        self.change(key, |state| {
            state.cars.get_mut(&driver).ok_or((404, "DRIVER_NOT_FOUND"))?.online = true;
            Ok((200, driver_json(state, driver)))
        })
    }

    fn book(&self, key: Option<String>, rider: RiderId, from: Point, to: Point) -> (u16, Value) {
        self.change(key, |state| {
            let number = self.next();
            let id = BookingId::mint(rider.slot(), self.clock.wall(), number);
            let booking = Booking {
                rider,
                pickup: from,
                destination: to,
                status: "PENDING",
                driver: None,
                trip: None,
                number,
            };
            state.bookings.insert(id, booking);
            self.offer_all(state);
            Ok((201, booking_json(state, id)))
        })
    }

    /// Offers every waiting booking that is not before a driver to the nearest free one.
    fn offer_all(&self, state: &mut State) {
        let offered: Vec<BookingId> =
            state.cars.values().filter_map(|car| Some(state.offers.get(&car.offer?)?.0)).collect();
        let waiting: Vec<(BookingId, Point)> = state
            .bookings
            .iter()
            .filter(|(id, booking)| booking.status == "PENDING" && !offered.contains(id))
            .map(|(id, booking)| (*id, booking.pickup))
            .collect();
        for (booking, pickup) in waiting {
            let under_way = self.faults.free_drivers_under_way;
            let free = state.cars.iter().filter_map(|(id, car)| {
                let is_free = car.offer.is_none() && (car.trip.is_none() || under_way);
                let at = car.at.filter(|_| is_free && car.online && car.phone.is_some())?;
                Some((roads::metres(at, pickup), *id))
            });
            let Some((_, driver)) = free.min_by(|a, b| a.0.total_cmp(&b.0)) else { return };
            let offer = OfferId::mint(booking.slot(), self.clock.wall(), self.next());
            state.offers.insert(offer, (booking, driver));
            state.cars.get_mut(&driver).unwrap().offer = Some(offer);
            push(&state.cars[&driver], &offer_json(state, driver, offer));
        }
    }

    fn accept(&self, key: Option<String>, driver: DriverId, offer: OfferId) -> (u16, Value) {
        self.change(key, |state| {
            let (id, to) = *state.offers.get(&offer).ok_or((404, "OFFER_NOT_FOUND"))?;
            if to != driver {
                return Err((403, "UNAUTHORIZED_DRIVER"));
            }
            let booking = state.bookings.get_mut(&id).ok_or((404, "BOOKING_NOT_FOUND"))?;
            let car = state.cars.get_mut(&driver).ok_or((404, "DRIVER_NOT_FOUND"))?;
            car.offer = None;
            if booking.status != "PENDING" {
                return Err((410, "OFFER_TAKEN"));
            }
            let trip = TripId::mint(booking.rider.slot(), self.clock.wall(), self.next());
            (booking.status, booking.driver, booking.trip) = ("ASSIGNED", Some(driver), Some(trip));
            car.trip = Some(trip);
            let (status, transitions) = ("DRIVER_ASSIGNED", vec![("DRIVER_ASSIGNED", self.now())]);
            let Booking { rider, pickup, destination, .. } = *booking;
            let record =
                Trip { booking: id, rider, driver, pickup, destination, status, transitions };
            state.trips.insert(trip, record);
            Ok((201, trip_json(state, trip)))
        })
    }

    fn decline(&self, key: Option<String>, driver: DriverId) -> (u16, Value) {
        self.change(key, |state| {
            state.cars.get_mut(&driver).ok_or((404, "DRIVER_NOT_FOUND"))?.offer = None;
            self.offer_all(state);
            Ok((200, driver_json(state, driver)))
        })
    }

    fn step(&self, key: Option<String>, id: TripId, step: &str) -> (u16, Value) {
        self.change(key, |state| {
            let now = self.now();
            let trip = state.trips.get_mut(&id).ok_or((404, "TRIP_NOT_FOUND"))?;
            let to = match (trip.status, step) {
                ("DRIVER_ASSIGNED", "arrive") => "DRIVER_ARRIVED",
                ("DRIVER_ARRIVED", "start") => "IN_PROGRESS",
                ("IN_PROGRESS", "end") => "COMPLETED",
                _ => return Err((409, "TRIP_NOT_STARTED")),
            };
            trip.status = to;
            trip.transitions.push((to, now));
            let (booking, driver) = (trip.booking, trip.driver);
            let body = trip_json(state, id);
            if to == "COMPLETED" {
                let record = state.bookings.get_mut(&booking).ok_or((404, "BOOKING_NOT_FOUND"))?;
                record.status = "COMPLETED";
                let number = record.number;
                if self.faults.forget_booking_every.is_some_and(|n| number.is_multiple_of(n)) {
                    state.bookings.remove(&booking);
                }
                if let Some(car) = state.cars.get_mut(&driver)
                    && car.trip == Some(id)
                {
                    car.trip = None;
                }
                self.offer_all(state);
            }
            Ok((200, body))
        })
    }

    fn cancel(&self, key: Option<String>, id: BookingId) -> (u16, Value) {
        self.change(key, |state| {
            let booking = state.bookings.get_mut(&id).ok_or((404, "BOOKING_NOT_FOUND"))?;
            match booking.status {
                "PENDING" => booking.status = "CANCELLED",
                "ASSIGNED" => return Err((409, "BOOKING_ALREADY_ASSIGNED")),
                _ => return Err((409, "BOOKING_ENDED")),
            }
            Ok((200, booking_json(state, id)))
        })
    }

    fn read_booking(&self, id: BookingId) -> (u16, Value) {
        let state = self.state();
        if state.bookings.contains_key(&id) {
            (200, booking_json(&state, id))
        } else {
            (404, json!({ "code": "BOOKING_NOT_FOUND" }))
        }
    }

    fn read_trip(&self, id: TripId) -> (u16, Value) {
        let state = self.state();
        if state.trips.contains_key(&id) {
            (200, trip_json(&state, id))
        } else {
            (404, json!({ "code": "TRIP_NOT_FOUND" }))
        }
    }

    fn read_driver(&self, id: DriverId) -> (u16, Value) {
        (200, driver_json(&self.state(), id))
    }

    /// A phone dialled: it hears of what is before it.
    fn attach(&self, driver: DriverId, phone: mpsc::Sender<String>) {
        let mut state = self.state();
        let Some(car) = state.cars.get_mut(&driver) else { return };
        car.phone = Some(phone);
        push(car, &json!({ "type": "hello", "driver_id": driver.to_string(), "node": "n1" }));
        if let Some(offer) = car.offer {
            push(&state.cars[&driver], &offer_json(&state, driver, offer));
        }
    }

    fn ping(&self, driver: DriverId, at: Point) {
        let mut state = self.state();
        let Some(car) = state.cars.get_mut(&driver) else { return };
        car.at = Some(at);
        self.offer_all(&mut state);
    }
}

fn push(car: &Car, frame: &Value) {
    if let Some(phone) = &car.phone {
        let _gone = phone.try_send(frame.to_string());
    }
}

fn offer_json(state: &State, driver: DriverId, offer: OfferId) -> Value {
    let id = state.offers[&offer].0;
    let booking = &state.bookings[&id];
    json!({
        "type": "offer", "offer_id": offer.to_string(), "booking_id": id.to_string(),
        "driver_id": driver.to_string(), "attempt": 1, "rank": 1,
        "pickup": place(booking.pickup), "destination": place(booking.destination),
        "distance_m": 100, "eta_sec": 10,
        "created_at_ms": 1, "expires_in_ms": 15_000, "shown_ms": 10_000,
    })
}

fn text(id: Option<impl ToString>) -> Value {
    id.map_or(Value::Null, |id| Value::String(id.to_string()))
}

fn place(point: Point) -> Value {
    json!({ "lat": point.lat(), "lng": point.lng() })
}

fn driver_json(state: &State, id: DriverId) -> Value {
    let trip = state.cars.get(&id).and_then(|car| car.trip);
    let vehicle = json!({ "type": "SEDAN", "seats": 4, "capabilities": [], "plate": "" });
    json!({
        "driver_id": id.to_string(), "name": "", "city_id": 1, "status": "online",
        "vehicle": vehicle, "kyc_verified": true, "can_accept_bookings": trip.is_none(),
        "current_trip_id": text(trip),
    })
}

fn booking_json(state: &State, id: BookingId) -> Value {
    let booking = &state.bookings[&id];
    json!({
        "booking_id": id.to_string(), "rider_id": booking.rider.to_string(),
        "status": booking.status, "attempt": 1,
        "pickup": place(booking.pickup), "destination": place(booking.destination),
        "vehicle_type": "SEDAN", "seats": 1, "capabilities": [],
        "driver_id": text(booking.driver), "trip_id": text(booking.trip), "offers": [],
        "created_at_ms": 1, "updated_at_ms": 1,
    })
}

fn trip_json(state: &State, id: TripId) -> Value {
    let trip = &state.trips[&id];
    let transition = |(number, (to, at)): (usize, &(&str, u64))| {
        json!({
            "sequence": number + 1, "from": Value::Null, "to": to,
            "by": "DRIVER", "reason": "", "at_ms": at,
        })
    };
    let transitions: Vec<Value> = trip.transitions.iter().enumerate().map(transition).collect();
    json!({
        "trip_id": id.to_string(), "booking_id": trip.booking.to_string(),
        "rider_id": trip.rider.to_string(), "driver_id": trip.driver.to_string(),
        "status": trip.status,
        "pickup": place(trip.pickup), "destination": place(trip.destination),
        "transitions": transitions,
    })
}
