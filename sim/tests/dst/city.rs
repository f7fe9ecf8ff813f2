//! A day of a city whose people are clients of the cluster, and what they saw: the evidence for the
//! judge. Riders are here, drivers in their own file.

use crate::cluster::{NODES, http};
use crate::dice::Dice;
use crate::driver::drive;
use crate::outside;
use crate::phone::{Party, Patience, Phone, Refused, get_once};
use proto::{BookingId, DriverId, TripId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sim::history::{Seen, What};
use sim::readback::{AtEnd, BookingAtEnd, DriverAtEnd, Read, TripAtEnd};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::sleep;

/// Who lives here.
pub(crate) const RIDERS: usize = 3;
/// Drivers, one more than can be busy at once, so that a booking never waits for a trip to end.
pub(crate) const DRIVERS: usize = 4;
/// Bookings of each rider, one after the other.
pub(crate) const RIDES: usize = 2;
/// How often a rider looks at his booking, and whoever waits for a state looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often somebody looks before he gives up: a minute and a half.
const LOOKS_MAX: u32 = 360;

/// A city and what its people saw.
#[derive(Debug, Default)]
pub(crate) struct City {
    seed: u64,
    seen: RefCell<Vec<Seen>>,
    at_end: RefCell<AtEnd>,
    closed: Cell<bool>,
    /// Bookings that some driver has declined. Each is declined once at most: four drivers could
    /// all decline it, and it would expire by right.
    declined: RefCell<BTreeSet<BookingId>>,
    patience: Rc<Patience>,
    /// A machine that won't come back.
    gone: Cell<Option<usize>>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// What the clients saw.
    pub(crate) seen: Vec<Seen>,
    /// What was read back.
    pub(crate) at_end: AtEnd,
    /// How often somebody asked again.
    pub(crate) asked_again: usize,
    /// When a node that was up told somebody to, and how.
    pub(crate) told_to: Vec<(Duration, String)>,
}

impl City {
    /// A city without a past.
    pub(crate) fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self { seed, ..Self::default() })
    }

    /// Whether the day is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether a driver may decline this booking; if so, he is the one who does.
    pub(crate) fn may_decline(&self, booking: BookingId) -> bool {
        self.declined.borrow_mut().insert(booking)
    }

    /// The evidence.
    pub(crate) fn evidence(&self) -> Evidence {
        let (seen, at_end) = (self.seen.borrow().clone(), self.at_end.borrow().clone());
        let Patience { asked_again, told_to } = &*self.patience;
        let (asked_again, told_to) = (asked_again.get(), told_to.borrow().clone());
        Evidence { seen, at_end, asked_again, told_to }
    }

    /// A machine will not come back.
    pub(crate) fn has_lost(&self, node: usize) {
        self.gone.set(Some(node));
    }

    /// Writes down what a client saw.
    pub(crate) fn note(&self, what: What) {
        let at_ms = u64::try_from(outside::now().as_millis()).expect("a short run");
        tracing::info!(?what, "seen");
        self.seen.borrow_mut().push(Seen { at_ms, what });
    }

    /// A phone for somebody, with dice of his own.
    pub(crate) fn phone(&self, who: &str) -> Phone {
        Phone::new(Party::Nobody, Dice::of(self.seed, who), Rc::clone(&self.patience))
    }

    /// A whole day: opens when the cluster is ready and at rest, ends when every rider has arrived,
    /// every record was read back and all nodes see the same cluster.
    pub(crate) async fn live(self: Rc<Self>) -> turmoil::Result {
        open().await;
        let drivers: Vec<_> =
            (0..DRIVERS).map(|n| spawn_local(drive(Rc::clone(&self), n))).collect();
        let riders: Vec<_> = (0..RIDERS).map(|n| spawn_local(Rc::clone(&self).ride(n))).collect();
        for rider in riders {
            rider.await?;
        }
        self.closed.set(true);
        for driver in drivers {
            driver.await?;
        }
        self.read_back().await;
        self.views_agree().await;
        Ok(())
    }

    async fn ride(self: Rc<Self>, n: usize) {
        let mut phone = self.phone(&format!("rider {n}"));
        let rider = phone.post("/v1/riders", json!({ "name": format!("rider {n}") })).await;
        let rider = text(&settled("registering", rider), "rider_id");
        phone.sign_in(Party::Rider(rider.clone()));
        for _ in 0..RIDES {
            let pause = phone.dice().ms(500..3_000);
            sleep(pause).await;
            let asked_ms = u64::try_from(outside::now().as_millis()).expect("a short run");
            let (pickup, destination) = (place(phone.dice(), 300), place(phone.dice(), 4_000));
            let body = json!({ "pickup": pickup, "destination": destination });
            let booking = settled("booking", phone.post("/v1/bookings", body).await);
            let booking: BookingId = id(&booking, "booking_id");
            let rider = rider.parse().expect("a rider's id");
            self.note(What::BookingAcked { booking, rider, asked_ms });
            let path = format!("/v1/bookings/{booking}");
            for look in 0.. {
                let now = settled("looking", phone.get(&path).await);
                if !["PENDING", "ASSIGNED"].contains(&text(&now, "status").as_str()) {
                    break;
                }
                assert!(look < LOOKS_MAX, "booking {booking} does not end: {now}");
                sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Reads every record back that a client was told of, and what those name.
    async fn read_back(&self) {
        let mut phone = self.phone("reader");
        let mut at_end = AtEnd::default();
        let (mut trips, mut drivers, mut bookings) = Default::default();
        self.named(&mut bookings, &mut trips, &mut drivers);
        for booking in bookings {
            let read = phone.get(&format!("/v1/bookings/{booking}")).await;
            let read = record(read, |value| BookingAtEnd {
                status: field(value, "status"),
                driver: maybe_id(value, "driver_id"),
                trip: maybe_id(value, "trip_id"),
            });
            trips.extend(read.is().and_then(|booking| booking.trip));
            at_end.bookings.insert(booking, read);
        }
        for driver in drivers {
            let path = format!("/v1/drivers/{driver}");
            // The last trip's end is acked before its driver is told that he is free.
            let freed = until("a driver is free", async || {
                let read = phone.get(&path).await;
                let busy = matches!(&read, Ok(value) if value["current_trip_id"].is_string());
                (!busy).then_some(read)
            });
            let read = record(freed.await, |value| DriverAtEnd {
                trip: maybe_id(value, "current_trip_id"),
                booking: maybe_id(value, "current_booking_id"),
            });
            at_end.drivers.insert(driver, read);
        }
        for trip in trips {
            let read = phone.get(&format!("/v1/trips/{trip}")).await;
            let read = record(read, |value| TripAtEnd {
                booking: id(value, "booking_id"),
                driver: id(value, "driver_id"),
                status: field(value, "status"),
                path: value["transitions"].as_array().map_or_else(Vec::new, |steps| {
                    steps.iter().map(|step| (field(step, "to"), field(step, "at_ms"))).collect()
                }),
            });
            at_end.trips.insert(trip, read);
        }
        *self.at_end.borrow_mut() = at_end;
    }

    /// Waits until all nodes name the same members with the same starts and have the same ring.
    async fn views_agree(&self) {
        let here: Vec<usize> = (0..NODES).filter(|node| Some(*node) != self.gone.get()).collect();
        until("all nodes see one cluster", async || {
            let mut views = BTreeSet::new();
            for node in &here {
                let (_, view) = get_once(*node, "/v1/cluster").await.ok()?;
                let members = view["members"].as_array()?;
                let known: Vec<String> =
                    members.iter().map(|m| format!("{} {}", m["node"], m["generation"])).collect();
                views.insert(format!("{} {known:?}", view["ring_version"]));
                let me = http(*node).to_string();
                if members.len() != here.len() || members.iter().all(|m| m["http"] != me) {
                    return None;
                }
            }
            (views.len() == 1).then_some(())
        })
        .await;
    }

    fn named(
        &self,
        bookings: &mut BTreeSet<BookingId>,
        trips: &mut BTreeSet<TripId>,
        drivers: &mut BTreeSet<DriverId>,
    ) {
        for Seen { what, .. } in &*self.seen.borrow() {
            if let What::BookingAcked { booking, .. } = what {
                bookings.insert(*booking);
            }
            if let What::AcceptAcked { booking, trip, driver, .. } = what {
                bookings.insert(*booking);
                trips.insert(*trip);
                drivers.insert(*driver);
            }
            if let What::DriverAcked { driver } = what {
                drivers.insert(*driver);
            }
        }
    }
}

/// Waits until the cluster is ready and at rest.
pub(crate) async fn open() {
    for node in 0..NODES {
        until("a node is ready", async || {
            matches!(get_once(node, "/readyz").await, Ok((200, _))).then_some(())
        })
        .await;
        until("partitions are led by whom they should be", async || at_rest(node).await).await;
    }
}

/// Whether every partition is led by whom it should be, as a node sees it.
async fn at_rest(node: usize) -> Option<()> {
    let (_, view) = get_once(node, "/v1/cluster/partitions").await.ok()?;
    let mut all = view["partitions"].as_array()?.iter();
    all.all(|partition| partition["leader"] == partition["wanted"][0]).then_some(())
}

/// Looks until there is something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS_MAX {
        if let Some(found) = look().await {
            return found;
        }
        sleep(LOOK_EVERY).await;
    }
    panic!("waited too long until {what}");
}

/// The answer to what cannot be refused.
pub(crate) fn settled(doing: &str, answer: Result<Value, Refused>) -> Value {
    answer.unwrap_or_else(|refused| panic!("{doing} was refused: {refused:?}"))
}

fn record<T>(read: Result<Value, Refused>, of: impl FnOnce(&Value) -> T) -> Read<T> {
    match read {
        Ok(value) => Read::Is(of(&value)),
        Err(refused) => Read::Missing(refused.code),
    }
}

/// Somewhere within so many metres of the corner where everybody meets.
pub(crate) fn place(dice: &mut Dice, metres: usize) -> Value {
    // A hundred-thousandth of a degree is about a metre.
    let mut off = |base: f64| {
        let off = i32::try_from(dice.one_of(0..2 * metres)).expect("small");
        base + f64::from(off - i32::try_from(metres).expect("small")) / 100_000.0
    };
    json!({ "lat": off(40.7580), "lng": off(-73.9855) })
}

/// A field of a JSON object, which must be there.
fn field<T: DeserializeOwned>(value: &Value, name: &str) -> T {
    serde_json::from_value(value[name].clone())
        .unwrap_or_else(|error| panic!("field {name} of {value}: {error}"))
}

/// A field that is a text.
pub(crate) fn text(value: &Value, name: &str) -> String {
    field(value, name)
}

/// A field that is an id.
pub(crate) fn id<T: FromStr<Err: Debug>>(value: &Value, name: &str) -> T {
    field::<String>(value, name).parse().expect("an id")
}

fn maybe_id<T: FromStr<Err: Debug>>(value: &Value, name: &str) -> Option<T> {
    value[name].as_str().map(|text| text.parse().expect("an id"))
}
