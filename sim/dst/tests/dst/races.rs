//! Races: two requests that exclude each other reach random nodes at the same moment, over links and
//! disks of changing speed. One of them wins, both parties are told the same story, and so is whoever
//! reads the records afterwards. Each race is run many times, and must have ended either way.

use crate::number;
use dst::city::{now_ms, open, settled, text, until};
use dst::dice::Dice;
use dst::outside;
use dst::phone::{Lines, Party, Phone, Refused};
use dst::run::visit;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::sleep;

/// How often each race is run in CI; `RACES=1000` for the whole.
const RACES: u64 = 60;
/// Pairs of people who race at the same time, each in a town of its own.
const PAIRS: u64 = 10;
/// One of the two starts up to so much later, in milliseconds.
const HEAD_START_MS: u64 = 120;
/// A loser is free again within this.
const FREE_WITHIN: Duration = Duration::from_secs(1);
/// Offers end so soon where a race is against the clock, in milliseconds.
const TTL_MS: u64 = 1_500;

/// How a race ended: what the first and the second were told, `ok` or a code.
type Ending = (String, String);

/// Runs a race often; says how often it ended how.
#[expect(clippy::print_stdout, reason = "how often is what a person wants to know")]
fn endings<F>(
    flags: &'static [&'static str],
    race: impl Fn(Town) -> F + Copy + Send + 'static,
) -> BTreeMap<Ending, u64>
where
    F: Future<Output = (Town, Ending)> + 'static,
{
    let seed = number("SIM_SEED").unwrap_or(1);
    let rounds = number("RACES").unwrap_or(RACES).div_ceil(PAIRS);
    let seen: Arc<Mutex<BTreeMap<Ending, u64>>> = Arc::default();
    let notes = Arc::clone(&seen);
    let longest = Duration::from_secs(60 + 20 * rounds);
    let took = visit(seed, flags, longest, move || {
        Box::pin(async move {
            open(&[0, 1, 2]).await;
            let lines = Lines::to(vec![0, 1, 2], longest);
            let towns = (0..PAIRS).map(|n| {
                let (notes, lines) = (Arc::clone(&notes), Rc::clone(&lines));
                spawn_local(async move {
                    let mut town = Town::found(seed, n, lines).await;
                    for _ in 0..rounds {
                        let (lived, ending) = race(town).await;
                        *notes.lock().expect("nobody panicked").entry(ending).or_default() += 1;
                        town = lived;
                    }
                })
            });
            for town in towns.collect::<Vec<_>>() {
                town.await?;
            }
            Ok(())
        })
    });
    let seen = seen.lock().expect("nobody panicked").clone();
    println!("{took:?} of simulated time: {seen:?}");
    seen
}

/// Fails unless a race ended in these ways, in each of them, and in no other.
fn only(endings: &BTreeMap<Ending, u64>, ways: &[(&str, &str)]) {
    let mut seen: Vec<(&str, &str)> =
        endings.keys().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let mut ways = ways.to_vec();
    seen.sort_unstable();
    ways.sort_unstable();
    assert_eq!(seen, ways, "{endings:?}");
}

/// A rider and two drivers, far from everybody else.
struct Town {
    dice: Dice,
    lines: Rc<Lines>,
    lat: f64,
    rider: Phone,
    /// Another rider, for a second booking.
    other: Phone,
    drivers: [(Phone, String); 2],
}

fn told(answer: &Result<Value, Refused>) -> String {
    answer.as_ref().map_or_else(|refused| refused.code.clone(), |_| "ok".into())
}

impl Town {
    async fn found(seed: u64, n: u64, lines: Rc<Lines>) -> Self {
        let phone = |who: &str| Phone::new(Party::Nobody, Dice::of(seed, who), Rc::clone(&lines));
        let mut people = Vec::new();
        for who in [format!("rider {n}"), format!("other rider {n}")] {
            let mut rider = phone(&who);
            let known =
                settled("registering", rider.post("/v1/riders", json!({ "name": who })).await);
            rider.sign_in(Party::Rider(text(&known, "rider_id")));
            people.push(rider);
        }
        let mut drivers = Vec::new();
        for who in [format!("driver {n}"), format!("other driver {n}")] {
            let mut driver = phone(&who);
            let vehicle = json!({ "type": "SEDAN" });
            let body = json!({ "name": who, "vehicle": vehicle, "kyc_verified": true });
            let known = settled("registering", driver.post("/v1/drivers", body).await);
            let id = text(&known, "driver_id");
            driver.sign_in(Party::Driver(id.clone()));
            drivers.push((driver, id));
        }
        let [rider, other] = <[Phone; 2]>::try_from(people).ok().expect("two riders");
        let drivers = <[(Phone, String); 2]>::try_from(drivers).ok().expect("two drivers");
        #[expect(clippy::cast_precision_loss, reason = "a few towns")]
        let lat = 40.0 + 0.2 * n as f64;
        Self { dice: Dice::of(seed, &format!("town {n}")), lines, lat, rider, other, drivers }
    }

    /// So many of the drivers go to work, and are seen.
    async fn work(&mut self, how_many: usize) {
        for (driver, id) in &mut self.drivers[..how_many] {
            settled(
                "going online",
                driver.post(&format!("/v1/drivers/{id}/online"), json!({})).await,
            );
            let fix = json!({ "lat": self.lat, "lng": -73.98, "ts": now_ms() });
            settled("pinging", driver.post(&format!("/v1/drivers/{id}/location"), fix).await);
        }
    }

    async fn book(lat: f64, rider: &mut Phone) -> String {
        let body = json!({
            "pickup": { "lat": lat, "lng": -73.98 }, "destination": { "lat": lat, "lng": -73.97 },
        });
        text(&settled("booking", rider.post("/v1/bookings", body).await), "booking_id")
    }

    /// The offer of a booking that is before a driver.
    async fn offer(&mut self, driver: usize, booking: &str) -> Value {
        let (phone, id) = &mut self.drivers[driver];
        for _ in 0..600 {
            let offers = phone.get(&format!("/v1/drivers/{id}/offers")).await;
            let offers = settled("asking", offers);
            if let Some(offer) = offers["offers"].get(0).filter(|it| it["booking_id"] == booking) {
                return offer.clone();
            }
            // Positions grow old while nobody is on the way.
            let fix = json!({ "lat": self.lat, "lng": -73.98, "ts": now_ms() });
            settled("pinging", phone.post(&format!("/v1/drivers/{id}/location"), fix).await);
            sleep(Duration::from_millis(50)).await;
        }
        panic!("no offer of {booking} comes to {id}");
    }

    /// A ride that the first driver has accepted: the booking and the trip.
    async fn ride(&mut self) -> (String, String) {
        self.work(1).await;
        let booking = Self::book(self.lat, &mut self.rider).await;
        let offer = self.offer(0, &booking).await;
        let yes = json!({ "offer_id": offer["offer_id"] });
        let trip = settled("accepting", self.drivers[0].0.post("/v1/trips/accept", yes).await);
        (booking, text(&trip, "trip_id"))
    }

    fn head_starts(&mut self) -> (Duration, Duration) {
        (self.dice.ms(0..HEAD_START_MS), self.dice.ms(0..HEAD_START_MS))
    }

    /// The driver and the rider ask for something each, at nearly the same time.
    async fn both(
        &mut self,
        driver: (&str, Value),
        rider: (&str, Value),
    ) -> [Result<Value, Refused>; 2] {
        let (first, second) = self.head_starts();
        let (by_driver, by_rider) = (&mut self.drivers[0].0, &mut self.rider);
        let first = async {
            sleep(first).await;
            by_driver.post(driver.0, driver.1).await
        };
        let second = async {
            sleep(second).await;
            by_rider.post(rider.0, rider.1).await
        };
        tokio::join!(first, second).into()
    }

    async fn trip(&mut self, trip: &str) -> Value {
        settled("reading", self.rider.get(&format!("/v1/trips/{trip}")).await)
    }

    /// Everybody goes home, and is free.
    async fn rest(&mut self) {
        let Party::Rider(rider) = self.rider.party().clone() else { panic!("a rider") };
        let known = settled("reading", self.rider.get(&format!("/v1/riders/{rider}")).await);
        if let Some(booking) = known["active_booking_id"].as_str() {
            let path = format!("/v1/bookings/{booking}/cancel");
            settled("calling off", self.rider.post(&path, json!({})).await);
        }
        for (driver, id) in &mut self.drivers {
            let path = format!("/v1/drivers/{id}/offline");
            until("a driver is free", async || {
                driver.post(&path, json!({})).await.is_ok().then_some(())
            })
            .await;
        }
    }
}

/// How often a trip came into a state.
fn times(trip: &Value, state: &str) -> usize {
    let steps = trip["transitions"].as_array().expect("a list").iter();
    let numbers: Vec<_> = steps.clone().filter_map(|step| step["sequence"].as_u64()).collect();
    let gapless: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, gapless, "{trip}");
    steps.filter(|step| step["to"] == state).count()
}

#[test]
fn race_a_driver_and_rider_cancel_at_once_and_one_cancel_counts() {
    let seen = endings(&[], |mut town| async move {
        let (booking, trip) = town.ride().await;
        let path = format!("/v1/trips/{trip}/cancel");
        let [driver, rider] = town.both((&path, json!({})), (&path, json!({}))).await;
        let now = town.trip(&trip).await;
        assert_eq!((&now["status"], times(&now, "CANCELLED")), (&json!("CANCELLED"), 1), "{now}");
        // Only a driver who calls off leaves a rider who still wants to go.
        let by_driver = driver.is_ok();
        assert_eq!(now["replaced_by"].is_string(), by_driver, "{now}");
        let old = settled("reading", town.rider.get(&format!("/v1/bookings/{booking}")).await);
        let by = if by_driver { "DRIVER" } else { "RIDER" };
        assert_eq!((&old["status"], &old["cancelled_by"]), (&json!("CANCELLED"), &json!(by)));
        town.rest().await;
        (town, (told(&driver), told(&rider)))
    });
    only(&seen, &[("ok", "TRIP_CANCELLED"), ("TRIP_CANCELLED", "ok")]);
}

#[test]
fn race_b_a_start_and_a_cancel_never_both_happen() {
    let seen = endings(&[], |mut town| async move {
        let (_, trip) = town.ride().await;
        let (start, cancel) =
            (format!("/v1/trips/{trip}/start"), format!("/v1/trips/{trip}/cancel"));
        let [driver, rider] = town.both((&start, json!({})), (&cancel, json!({}))).await;
        let now = town.trip(&trip).await;
        let happened = (times(&now, "IN_PROGRESS"), times(&now, "CANCELLED"));
        assert_eq!(happened, (usize::from(driver.is_ok()), usize::from(rider.is_ok())), "{now}");
        if driver.is_ok() {
            let end = format!("/v1/trips/{trip}/end");
            settled("ending", town.drivers[0].0.post(&end, json!({})).await);
        }
        town.rest().await;
        (town, (told(&driver), told(&rider)))
    });
    only(&seen, &[("ok", "CANNOT_CANCEL_IN_PROGRESS"), ("TRIP_CANCELLED", "ok")]);
}

#[test]
fn race_c_a_trip_that_is_ended_twice_is_charged_once() {
    let seen = endings(&[], |mut town| async move {
        let (_, trip) = town.ride().await;
        let start = format!("/v1/trips/{trip}/start");
        settled("starting", town.drivers[0].0.post(&start, json!({})).await);
        let end = format!("/v1/trips/{trip}/end");
        // The driver's old phone and his new one: each has keys of its own.
        let Party::Driver(id) = town.drivers[0].0.party().clone() else { panic!("a driver") };
        let mut old = Phone::new(
            Party::Driver(id),
            Dice::of(town.dice.bits(), "old"),
            Rc::clone(&town.lines),
        );
        let (first, second) = town.head_starts();
        let new = &mut town.drivers[0].0;
        let one = async {
            sleep(first).await;
            old.post(&end, json!({ "odometer_km": 1.0 })).await
        };
        let two = async {
            sleep(second).await;
            new.post(&end, json!({ "odometer_km": 2.0 })).await
        };
        let (one, two) = tokio::join!(one, two);
        let now = town.trip(&trip).await;
        assert_eq!(times(&now, "COMPLETED"), 1, "{now}");
        assert_eq!(now["odometer_km"], if one.is_ok() { 1.0 } else { 2.0 }, "{now}");
        let winner = one.as_ref().or(two.as_ref()).expect("one was served");
        assert_eq!(now["fare"], winner["fare"], "the bill that was shown is the bill");
        town.rest().await;
        (town, (told(&one), told(&two)))
    });
    only(&seen, &[("ok", "TRIP_ALREADY_ENDED"), ("TRIP_ALREADY_ENDED", "ok")]);
}

#[test]
fn race_d_of_two_drivers_who_accept_one_has_the_ride() {
    let seen = endings(&["--max-offers-per-attempt", "2"], |mut town| async move {
        town.work(2).await;
        let booking = Town::book(town.lat, &mut town.rider).await;
        let offers = [town.offer(0, &booking).await, town.offer(1, &booking).await];
        let yes = offers.map(|offer| json!({ "offer_id": offer["offer_id"] }));
        let (first, second) = town.head_starts();
        let [(a, id_a), (b, id_b)] = &mut town.drivers;
        let [yes_a, yes_b] = yes;
        let one = async {
            sleep(first).await;
            a.post("/v1/trips/accept", yes_a).await
        };
        let two = async {
            sleep(second).await;
            b.post("/v1/trips/accept", yes_b).await
        };
        let (one, two) = tokio::join!(one, two);
        let decided = outside::now();
        let (winner, loser) = if one.is_ok() { (id_a.clone(), 1) } else { (id_b.clone(), 0) };
        let (phone, id) = &mut town.drivers[loser];
        let path = format!("/v1/drivers/{id}");
        until("the loser is free", async || {
            let known = settled("reading", phone.get(&path).await);
            (known["can_accept_bookings"] == true).then_some(())
        })
        .await;
        assert!(outside::now() - decided < FREE_WITHIN + Duration::from_millis(500), "too late");
        let known = settled("reading", town.rider.get(&format!("/v1/bookings/{booking}")).await);
        assert_eq!((&known["status"], &known["driver_id"]), (&json!("ASSIGNED"), &json!(winner)));
        let cancel = format!("/v1/trips/{}/cancel", text(&known, "trip_id"));
        settled("calling off", town.rider.post(&cancel, json!({})).await);
        town.rest().await;
        (town, (told(&one), told(&two)))
    });
    only(&seen, &[("ok", "OFFER_TAKEN"), ("OFFER_TAKEN", "ok")]);
}

#[test]
fn race_e_a_driver_who_accepts_two_offers_has_the_one_that_stands() {
    let seen =
        endings(&["--offer-ttl-ms", "1500", "--offer-shown-ms", "1000"], |mut town| async move {
            town.work(1).await;
            let lat = town.lat;
            let gone_booking = Town::book(lat, &mut town.other).await;
            let gone = town.offer(0, &gone_booking).await;
            // He lets it pass; then another booking comes.
            let booking = Town::book(lat, &mut town.rider).await;
            let offer = town.offer(0, &booking).await;
            let Party::Driver(id) = town.drivers[0].0.party().clone() else { panic!("a driver") };
            let mut old = Phone::new(
                Party::Driver(id),
                Dice::of(town.dice.bits(), "old"),
                Rc::clone(&town.lines),
            );
            let (first, second) = town.head_starts();
            let new = &mut town.drivers[0].0;
            let one = async {
                sleep(first).await;
                new.post("/v1/trips/accept", json!({ "offer_id": offer["offer_id"] })).await
            };
            let two = async {
                sleep(second).await;
                old.post("/v1/trips/accept", json!({ "offer_id": gone["offer_id"] })).await
            };
            let (one, two) = tokio::join!(one, two);
            let known =
                settled("reading", town.rider.get(&format!("/v1/bookings/{booking}")).await);
            assert_eq!(known["status"], "ASSIGNED");
            let cancel = format!("/v1/trips/{}/cancel", text(&known, "trip_id"));
            settled("calling off", town.rider.post(&cancel, json!({})).await);
            let cancel = format!("/v1/bookings/{gone_booking}/cancel");
            settled("calling off", town.other.post(&cancel, json!({})).await);
            town.rest().await;
            (town, (told(&one), told(&two)))
        });
    only(&seen, &[("ok", "DRIVER_BUSY"), ("ok", "OFFER_EXPIRED")]);
}

#[test]
fn race_f_an_accept_beside_the_end_of_the_offers_time_is_in_time_or_not() {
    let seen =
        endings(&["--offer-ttl-ms", "1500", "--offer-shown-ms", "1000"], |mut town| async move {
            town.work(1).await;
            let booking = Town::book(town.lat, &mut town.rider).await;
            let offer = town.offer(0, &booking).await;
            let left = offer["expires_in_ms"].as_u64().expect("a number").min(TTL_MS);
            let early = town.dice.ms(0..300);
            sleep((Duration::from_millis(left + 200)).saturating_sub(early)).await;
            let yes = json!({ "offer_id": offer["offer_id"] });
            let (driver, id) = &mut town.drivers[0];
            let accepted = driver.post("/v1/trips/accept", yes).await;
            let path = format!("/v1/drivers/{id}");
            let known = settled("reading", driver.get(&path).await);
            let now = settled("reading", town.rider.get(&format!("/v1/bookings/{booking}")).await);
            let end = match &accepted {
                Ok(trip) => {
                    assert_eq!(
                        (&now["status"], &known["current_trip_id"]),
                        (&json!("ASSIGNED"), &trip["trip_id"])
                    );
                    let cancel = format!("/v1/trips/{}/cancel", text(trip, "trip_id"));
                    settled("calling off", town.rider.post(&cancel, json!({})).await);
                    "assigned"
                }
                Err(_) => {
                    assert_eq!(
                        (&now["status"], &known["current_trip_id"]),
                        (&json!("PENDING"), &Value::Null)
                    );
                    "still looking"
                }
            };
            town.rest().await;
            (town, (told(&accepted), end.into()))
        });
    only(&seen, &[("ok", "assigned"), ("OFFER_EXPIRED", "still looking")]);
}
