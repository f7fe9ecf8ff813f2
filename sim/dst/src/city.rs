//! A city whose people are clients of the cluster, from the founding to the evidence for the judge.
//! Riders and drivers are in files of their own.

use crate::cluster::{Cluster, http, name};
use crate::dice::Dice;
use crate::driver::drive;
use crate::fault::Fault;
use crate::laws::Broken;
use crate::laws::converged::{self, Unrest};
use crate::laws::located::{self, Look};
use crate::laws::served::Service;
use crate::laws::takeover::Takeovers;
use crate::outside;
use crate::phone::{Lines, NO_ANSWER, Party, Phone, Refused, get_once};
use crate::rider::ride;
use crate::schedule::Schedule;
use crate::{prober, scout};
use proto::{BookingId, DriverId, TripId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sim::history::{Seen, Shown, What};
use sim::readback::{AtEnd, BookingAtEnd, DriverAtEnd, Read, TripAtEnd, is_reassigned};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::sleep;

/// How often whoever waits for a state looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often somebody looks before he gives up: a minute and a half.
const LOOKS_MAX: u32 = 360;

/// How people behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Each rider is carried twice; a booking is declined once at most, and nobody calls off.
    Quiet,
    /// Riders book until the world is mended, call off, and want more drivers than there are; drivers
    /// decline, let offers pass, and call off.
    Stormy,
}

/// Something an operator is to do.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// For which fault.
    pub fault: usize,
    /// Which machine's node.
    pub node: usize,
    /// Drain it, or take it in again.
    pub drain: bool,
}

/// A cut with two clean sides, while it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Since when.
    pub since: Duration,
    /// The nodes of each side.
    pub sides: [Vec<usize>; 2],
}

/// A city and what its people saw.
pub struct City {
    /// Whose chance it is.
    pub seed: u64,
    /// What is to happen.
    pub plan: Rc<Schedule>,
    /// How people behave.
    pub manners: Manners,
    /// What the phones know.
    pub lines: Rc<Lines>,
    /// The machines, for what only an observer may ask.
    pub cluster: Rc<Cluster>,
    /// What operators are to do.
    pub orders: RefCell<VecDeque<Order>>,
    /// What came of it, by fault.
    pub obeyed: RefCell<BTreeMap<usize, Result<(), String>>>,
    /// The cut with clean sides, if there is just one cut.
    pub split: RefCell<Option<Split>>,
    /// Whether partitions serve.
    pub service: RefCell<Service>,
    /// How long takeovers took.
    pub takeovers: RefCell<Takeovers>,
    /// Rides that a driver had taken as his next while he was on another.
    pub nexts: Cell<usize>,
    /// Looks from the sides of cuts.
    pub looks: RefCell<Vec<Look>>,
    /// Everybody is registered and the cluster at rest.
    pub opened: Cell<bool>,
    seen: RefCell<Vec<Seen>>,
    at_end: RefCell<AtEnd>,
    /// No new bookings.
    closing: Cell<bool>,
    closed: Cell<bool>,
    /// Bookings that some driver has declined, in a quiet city. Each is declined once at most: four
    /// drivers could all decline it, and it would expire by right.
    declined: RefCell<BTreeSet<BookingId>>,
    waiting: RefCell<Vec<String>>,
    broken: RefCell<Vec<Broken>>,
    /// How long after the heal everything was at rest.
    rested: Cell<Option<Duration>>,
}

/// What is there when a city has closed.
#[derive(Debug)]
pub struct Evidence {
    /// What the clients saw.
    pub seen: Vec<Seen>,
    /// What was read back.
    pub at_end: AtEnd,
    /// Laws found broken on the way.
    pub broken: Vec<Broken>,
    /// How long after the heal everything was at rest, if that was waited for.
    pub rested: Option<Duration>,
}

impl City {
    /// A city without a past.
    pub fn new(seed: u64, plan: Rc<Schedule>, manners: Manners, cluster: Rc<Cluster>) -> Rc<Self> {
        let patience = plan.end.saturating_sub(Duration::from_secs(2));
        let lines = Lines::to(cluster.kept(), patience);
        Rc::new(Self {
            seed,
            plan,
            manners,
            lines,
            cluster,
            orders: RefCell::default(),
            obeyed: RefCell::default(),
            split: RefCell::default(),
            service: RefCell::default(),
            takeovers: RefCell::default(),
            nexts: Cell::default(),
            looks: RefCell::default(),
            opened: Cell::default(),
            seen: RefCell::default(),
            at_end: RefCell::default(),
            closing: Cell::default(),
            closed: Cell::default(),
            declined: RefCell::default(),
            waiting: RefCell::default(),
            broken: RefCell::default(),
            rested: Cell::default(),
        })
    }

    /// Nobody books any more: the world is mended.
    pub fn close(&self) {
        self.closing.set(true);
    }
    /// Whether riders go home after this ride.
    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }
    /// Whether the day is over.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }
    /// Whether a driver may decline this booking; if so in a quiet city, he is the one who does.
    pub fn may_decline(&self, booking: BookingId) -> bool {
        self.manners == Manners::Stormy || self.declined.borrow_mut().insert(booking)
    }

    /// Until when people wait for what must have come to an end.
    pub fn patience(&self) -> Duration {
        match self.manners {
            Manners::Quiet => self.lines.until,
            Manners::Stormy => self.plan.heal + converged::WITHIN,
        }
    }
    /// Somebody still waits when that time is over.
    pub fn waits(&self, what: String) {
        self.waiting.borrow_mut().push(what);
    }

    /// The evidence.
    pub fn evidence(&self) -> Evidence {
        let mut broken = self.broken.borrow().clone();
        broken.extend(self.lines.odd.borrow().iter().cloned());
        // In a quiet city nobody writes for the law's sake.
        if self.manners == Manners::Stormy {
            broken.extend(self.service.borrow().broken());
        }
        broken.extend(located::judge(&self.looks.borrow()));
        let (seen, at_end) = (self.seen.borrow().clone(), self.at_end.borrow().clone());
        Evidence { seen, at_end, broken, rested: self.rested.get() }
    }

    /// Writes down what a client saw.
    pub fn note(&self, what: What) {
        let at_ms = ms();
        if let What::Shown(shown) = &what {
            tracing::debug!(?shown, "seen");
        } else {
            tracing::info!(?what, "seen");
        }
        self.seen.borrow_mut().push(Seen { at_ms, what });
    }

    /// Writes down what an answer showed.
    pub fn shown(&self, shown: Option<Shown>) {
        shown.into_iter().for_each(|shown| self.note(What::Shown(shown)));
    }

    /// A phone for somebody, with dice of his own.
    pub fn phone(&self, who: &str) -> Phone {
        Phone::new(Party::Nobody, Dice::of(self.seed, who), Rc::clone(&self.lines))
    }

    /// A whole life: opens when the cluster is ready and at rest, ends when every rider has arrived,
    /// every record was read back and all nodes see the same cluster.
    pub async fn live(self: Rc<Self>) -> turmoil::Result {
        let founders = self.lines.doors.borrow().clone();
        open(&founders).await;
        let mut others = Vec::new();
        if self.manners == Manners::Stormy {
            others = prober::all(&self);
            others.push(spawn_local(scout::scout(Rc::clone(&self))));
            others.push(spawn_local(Rc::clone(&self).operate()));
        }
        let drivers: Vec<_> =
            (0..self.plan.drivers).map(|n| spawn_local(drive(Rc::clone(&self), n))).collect();
        let riders: Vec<_> =
            (0..self.plan.riders).map(|n| spawn_local(ride(Rc::clone(&self), n))).collect();
        self.opened.set(true);
        for rider in riders {
            rider.await?;
        }
        if self.manners == Manners::Stormy {
            while !self.is_closing() {
                sleep(LOOK_EVERY).await;
            }
            scout::fresh(&self).await;
        }
        self.closed.set(true);
        for task in drivers.into_iter().chain(others) {
            task.await?;
        }
        self.come_to_rest().await;
        self.read_back().await;
        Ok(())
    }

    /// Does what an operator is told to do.
    async fn operate(self: Rc<Self>) {
        let mut phone = self.phone("operator");
        while !self.is_closed() {
            let order = self.orders.borrow_mut().pop_front();
            if let Some(Order { fault, node, drain }) = order {
                let what = if drain { "drain" } else { "activate" };
                let path = format!("/v1/cluster/nodes/{}/{what}", name(node));
                let answer = phone.post(&path, json!({})).await;
                tracing::info!(node = name(node), what, ok = answer.is_ok(), "ordered");
                let answer = answer.map(drop).map_err(|refused| refused.code);
                self.obeyed.borrow_mut().insert(fault, answer);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until nothing is pending, and says what is when the time is over.
    async fn come_to_rest(&self) {
        let mut phone = self.phone("inspector");
        let until = self.patience().max(outside::now() + converged::CLEARED);
        loop {
            let unrest = self.unrest(&mut phone).await;
            if unrest.is_none() {
                self.rested.set(Some(outside::now().saturating_sub(self.plan.heal)));
                return;
            }
            if outside::now() >= until {
                self.broken.borrow_mut().extend(converged::judge(&unrest));
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn unrest(&self, phone: &mut Phone) -> Unrest {
        let mut unrest = Unrest { waiting: self.waiting.borrow().clone(), ..Unrest::default() };
        unrest.waiting.extend(self.lines.unsettled.borrow().iter().cloned());
        let (mut bookings, mut trips, mut drivers) = Default::default();
        self.named(&mut bookings, &mut trips, &mut drivers);
        for driver in drivers {
            if let Some(known) = phone.try_once("GET", &format!("/v1/drivers/{driver}"), None).await
            {
                let bound = |field: &str| known[field].is_string();
                if ["current_offer_id", "current_booking_id", "next_booking_id"]
                    .into_iter()
                    .any(bound)
                {
                    unrest.bound.push(format!("driver {driver} is not free: {known}"));
                }
            } else {
                unrest.bound.push(format!("driver {driver} cannot be read"));
            }
        }
        let (cluster, on) = (&self.cluster, self.cluster.on());
        // A disk that came back blank is missed for longer than a quiet run lasts.
        if !self.plan.faults.iter().any(|due| matches!(due.fault, Fault::Blank(_))) {
            unrest.lacking = cluster.replicas().are_whole(&cluster.wanted(), &on).err();
        }
        unrest.views = self.views().await.err();
        unrest
    }

    /// Whether all nodes name the same members with the same starts and have the same ring.
    async fn views(&self) -> Result<(), String> {
        let here = self.cluster.running();
        let mut views: BTreeMap<String, usize> = BTreeMap::new();
        for node in &here {
            let view = get_once(*node, "/v1/cluster").await;
            let (_, view) = view.map_err(|e| format!("{} says nothing: {e}", name(*node)))?;
            let members = view["members"].as_array().cloned().unwrap_or_default();
            let known: Vec<String> =
                members.iter().map(|m| format!("{} {}", m["node"], m["generation"])).collect();
            views.insert(format!("{} {known:?}", view["ring_version"]), *node);
            let me = http(*node).to_string();
            if members.len() != here.len() || members.iter().all(|m| m["http"] != me) {
                return Err(format!("{} sees {known:?} of {here:?}", name(*node)));
            }
        }
        if views.len() == 1 { Ok(()) } else { Err(format!("nodes see different rings: {views:?}")) }
    }

    /// Reads every record back that a client was told of, and what those name.
    async fn read_back(&self) {
        let mut phone = self.phone("reader");
        let mut at_end = AtEnd::default();
        let (mut trips, mut drivers, mut bookings) = Default::default();
        self.named(&mut bookings, &mut trips, &mut drivers);
        for booking in bookings {
            let asked_ms = ms();
            let read = record(phone.get(&format!("/v1/bookings/{booking}")).await, as_booking);
            self.shown(read.is().map(|now| Shown::booking(asked_ms, booking, now)));
            trips.extend(read.is().and_then(|booking| booking.trip));
            at_end.bookings.insert(booking, read);
        }
        for driver in drivers {
            let read = phone.get(&format!("/v1/drivers/{driver}")).await;
            let read = record(read, |value| DriverAtEnd {
                trip: maybe_id(value, "current_trip_id"),
                booking: maybe_id(value, "current_booking_id"),
                next: maybe_id(value, "next_booking_id"),
            });
            at_end.drivers.insert(driver, read);
        }
        for trip in trips {
            let asked_ms = ms();
            let read = record(phone.get(&format!("/v1/trips/{trip}")).await, as_trip);
            self.shown(read.is().map(|now| Shown::trip(asked_ms, trip, now)));
            at_end.trips.insert(trip, read);
        }
        *self.at_end.borrow_mut() = at_end;
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

    /// What clients saw so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// Notes a law that was found broken.
    pub fn accuse(&self, broken: impl IntoIterator<Item = Broken>) {
        self.broken.borrow_mut().extend(broken);
    }
}

/// Waits until these nodes are ready and at rest.
pub async fn open(nodes: &[usize]) {
    for node in nodes {
        until("a node is ready", async || {
            matches!(get_once(*node, "/readyz").await, Ok((200, _))).then_some(())
        })
        .await;
        until("partitions are led by whom they should be", async || at_rest(*node).await).await;
    }
}

/// Whether every partition is led by whom it should be, as a node sees it.
async fn at_rest(node: usize) -> Option<()> {
    let (_, view) = get_once(node, "/v1/cluster/partitions").await.ok()?;
    let mut all = view["partitions"].as_array()?.iter();
    all.all(|partition| partition["leader"] == partition["wanted"][0]).then_some(())
}

/// Looks until there is something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS_MAX {
        if let Some(found) = look().await {
            return found;
        }
        sleep(LOOK_EVERY).await;
    }
    panic!("waited too long until {what}");
}

/// The answer to what cannot be refused.
pub fn settled(doing: &str, answer: Result<Value, Refused>) -> Value {
    answer.unwrap_or_else(|refused| panic!("{doing} was refused: {refused:?}"))
}

fn record<T>(read: Result<Value, Refused>, of: impl FnOnce(&Value) -> T) -> Read<T> {
    match read {
        Ok(value) => Read::Is(of(&value)),
        Err(refused) if refused.code == NO_ANSWER => Read::NoAnswer,
        Err(refused) => Read::Missing(refused.code),
    }
}

/// Somewhere within so many metres of the corner where everybody meets.
pub fn place(dice: &mut Dice, metres: usize) -> Value {
    // A hundred-thousandth of a degree is about a metre.
    let mut off = |base: f64| {
        let off = i32::try_from(dice.one_of(0..2 * metres)).expect("small");
        base + f64::from(off - i32::try_from(metres).expect("small")) / 100_000.0
    };
    json!({ "lat": off(CORNER.0), "lng": off(CORNER.1) })
}

/// The corner where everybody meets.
pub const CORNER: (f64, f64) = (40.7580, -73.9855);

/// A field of a JSON object, which must be there.
fn field<T: DeserializeOwned>(value: &Value, name: &str) -> T {
    serde_json::from_value(value[name].clone())
        .unwrap_or_else(|error| panic!("field {name} of {value}: {error}"))
}

/// A field that is a text.
pub fn text(value: &Value, name: &str) -> String {
    field(value, name)
}

/// A field that is an id.
pub fn id<T: FromStr<Err: Debug>>(value: &Value, name: &str) -> T {
    field::<String>(value, name).parse().expect("an id")
}

/// A field that is an id, or nothing.
pub fn maybe_id<T: FromStr<Err: Debug>>(value: &Value, name: &str) -> Option<T> {
    value[name].as_str().map(|text| text.parse().expect("an id"))
}

/// A booking as an answer shows it.
pub fn as_booking(value: &Value) -> BookingAtEnd {
    let count = |status: &str| {
        let offers = value["offers"].as_array().into_iter().flatten();
        offers.filter(|made| made["status"] == status).map(|_| 1).sum()
    };
    BookingAtEnd {
        status: field(value, "status"),
        driver: maybe_id(value, "driver_id"),
        trip: maybe_id(value, "trip_id"),
        changes: count("REASSIGNED"),
        lapses: count("LAPSED"),
    }
}

/// A trip as an answer shows it.
pub fn as_trip(value: &Value) -> TripAtEnd {
    TripAtEnd {
        booking: id(value, "booking_id"),
        driver: id(value, "driver_id"),
        status: field(value, "status"),
        path: value["transitions"].as_array().map_or_else(Vec::new, |steps| {
            steps.iter().map(|step| (field(step, "to"), field(step, "at_ms"))).collect()
        }),
        reassigned: value["transitions"].as_array().and_then(|steps| steps.last()).is_some_and(
            |last| is_reassigned(field(last, "by"), last["reason"].as_str().unwrap_or_default()),
        ),
    }
}

/// Milliseconds of the run.
pub fn ms() -> u64 {
    u64::try_from(outside::now().as_millis()).expect("a short run")
}

/// Milliseconds since 1970, by a right clock.
pub fn now_ms() -> u64 {
    let now = outside::EPOCH + outside::now();
    u64::try_from(now.as_millis()).expect("this century")
}
