//! A driver: says where he is, gets offers, answers them, and carries his rider. Every other one
//! holds a WebSocket to some node, the rest ask over HTTP.

use crate::city::{City, Manners, as_trip, id, maybe_id, ms, now_ms, place, settled, text};
use crate::cluster::http;
use crate::outside;
use crate::phone::{NO_ANSWER, Party, Phone, Refused};
use futures_util::{SinkExt, StreamExt};
use proto::{BookingId, DriverId, OfferId, TripId};
use serde_json::{Value, json};
use sim::history::{Shown, Step, What};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use turmoil::net::TcpStream;

/// How often a driver's phone says where he is, and asks for offers if it has no socket.
const PING_EVERY: Duration = Duration::from_millis(500);
/// How long a socket may take to open.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// A socket on which nothing came for so long is given up: whoever sent pings should have got some
/// sign of life.
const SILENT_MAX: Duration = Duration::from_secs(4);
/// The pause before another node is tried.
const REOPEN_AFTER: Duration = Duration::from_millis(300);
/// Of a hundred offers so many are declined, if nobody declined that booking before.
const DECLINED: u32 = 30;
/// In a storm fewer, and some are not answered.
const DECLINED_IN_STORM: u32 = 12;
const IGNORED_IN_STORM: u32 = 8;
/// In one of so many storms drivers take their time, and also whatever they are offered on the way: only
/// so can it be seen that somebody believes them free. Not in all: storms that once found something would
/// be others.
const GREEDY_IN: u64 = 5;
/// Where bookings may change to a better driver they need time for it, in milliseconds.
const ON_HIS_WAY_MS: Range<u64> = 500..3_500;
/// Where a driver may take his next ride while on one, he needs time for it, in milliseconds, and looks so
/// often what he is offered.
const ABOARD_MS: Range<u64> = 500..3_500;
const LOOKS_EVERY: Duration = Duration::from_millis(300);
/// Of a hundred that he took as his next so many he calls off before their time has come.
const UNTAKEN: u32 = 10;
/// Of a hundred trips in a storm so many are called off by their driver.
const CALLED_OFF: u32 = 8;

/// What a driver has said yes to.
enum Taken {
    /// A trip, at once.
    Trip(BookingId, TripId),
    /// Whoever comes next, when the ride that he is on has ended.
    Next(OfferId, BookingId),
}

/// A driver at work.
struct Driver {
    city: Rc<City>,
    phone: Phone,
    me: DriverId,
    /// Offers that he has answered, by their text.
    answered: BTreeSet<String>,
}

/// A driver's day.
pub async fn drive(city: Rc<City>, n: usize) {
    let mut phone = city.phone(&format!("driver {n}"));
    let body = json!({
        "name": format!("driver {n}"), "kyc_verified": true,
        "vehicle": { "type": "SEDAN", "seats": 4, "capabilities": [], "plate": format!("{n}") },
    });
    let me = settled("registering", phone.post("/v1/drivers", body).await);
    let me: DriverId = id(&me, "driver_id");
    phone.sign_in(Party::Driver(me.to_string()));
    city.note(What::DriverAcked { driver: me });
    settled("going online", phone.post(&format!("/v1/drivers/{me}/online"), json!({})).await);
    let mut driver = Driver { city, phone, me, answered: BTreeSet::new() };
    if n.is_multiple_of(2) { driver.by_socket().await } else { driver.by_asking().await }
}

impl Driver {
    fn stormy(&self) -> bool {
        self.city.manners == Manners::Stormy
    }

    async fn by_asking(&mut self) {
        let me = self.me;
        while !self.city.is_closed() {
            // Neither is asked again: a second later there is something newer to say.
            let ping = self.ping();
            let path = format!("/v1/drivers/{me}/location");
            self.phone.try_once("POST", &path, Some(&ping)).await;
            let path = format!("/v1/drivers/{me}/offers");
            let offers = self.phone.try_once("GET", &path, None).await.unwrap_or_default();
            for offer in offers["offers"].as_array().into_iter().flatten() {
                self.answer(offer).await;
            }
            sleep(PING_EVERY).await;
        }
    }

    async fn by_socket(&mut self) {
        while !self.city.is_closed() {
            let node = self.phone.door();
            if let Err(error) = self.hold_socket(node).await {
                // A node that is down, or a socket that broke with it: try another.
                tracing::info!(driver = %self.me, node, %error, "socket lost");
            }
            sleep(REOPEN_AFTER).await;
        }
    }

    /// Talks over one socket until it breaks or the day is over.
    async fn hold_socket(&mut self, node: usize) -> turmoil::Result {
        let stream = timeout(OPEN_WITHIN, TcpStream::connect(http(node))).await??;
        let url = format!("ws://{}/v1/drivers/{}/stream", http(node), self.me);
        let opening = tokio_tungstenite::client_async(url, stream);
        let (mut socket, _) = timeout(OPEN_WITHIN, opening).await??;
        let mut pings = interval(PING_EVERY);
        let mut silent = Duration::ZERO;
        while !self.city.is_closed() {
            tokio::select! {
                biased;
                message = socket.next() => {
                    silent = Duration::ZERO;
                    let Some(message) = message else { break };
                    let Message::Text(said) = message? else { continue };
                    let down: Value = serde_json::from_str(&said)?;
                    match text(&down, "type").as_str() {
                        "offer" => self.answer(&down).await,
                        "error" => assert!(self.stormy(), "a good message got {down}"),
                        _ => {}
                    }
                }
                _ = pings.tick() => {
                    silent += PING_EVERY;
                    if silent > SILENT_MAX {
                        return Err("it is silent".into());
                    }
                    let mut ping = self.ping();
                    ping["type"] = json!("ping");
                    socket.send(Message::text(ping.to_string())).await?;
                }
            }
        }
        Ok(())
    }

    fn ping(&mut self) -> Value {
        let mut ping = place(self.phone.dice(), 300);
        ping["ts"] = json!(now_ms());
        ping
    }

    async fn answer(&mut self, offer: &Value) {
        if !self.answered.insert(text(offer, "offer_id")) {
            return;
        }
        let stormy = self.stormy();
        let Self { city, phone, me: driver, .. } = self;
        let (offer, booking, driver) = (id(offer, "offer_id"), id(offer, "booking_id"), *driver);
        city.note(What::OfferSeen { offer, booking, driver });
        let thinks = phone.dice().ms(if stormy { 50..900 } else { 100..1_500 });
        sleep(thinks).await;
        if stormy && phone.dice().percent(IGNORED_IN_STORM) {
            return;
        }
        let declined = if stormy { DECLINED_IN_STORM } else { DECLINED };
        if phone.dice().percent(declined) && city.may_decline(booking) {
            let declined = phone.post(&format!("/v1/offers/{offer}/decline"), json!({})).await;
            in_time("declining", declined);
            return;
        }
        let taken = accept(city, phone, driver, (offer, booking)).await;
        let mut taken: VecDeque<Taken> = taken.into_iter().collect();
        while let Some(one) = taken.pop_front() {
            let trip = match one {
                Taken::Trip(booking, trip) => Some((booking, trip)),
                Taken::Next(offer, booking) => self.come_to(offer, booking).await,
            };
            if let Some((booking, trip)) = trip {
                taken.extend(self.carry_one(booking, trip).await);
            }
        }
    }

    /// Waits for the trip of a booking that he took as his next; nothing if nothing comes of it.
    async fn come_to(&mut self, offer: OfferId, booking: BookingId) -> Option<(BookingId, TripId)> {
        let Self { city, phone, me: driver, .. } = self;
        let path = format!("/v1/drivers/{driver}");
        loop {
            let me = phone.get(&path).await.ok()?;
            let (now, next) =
                (maybe_id(&me, "current_booking_id"), maybe_id(&me, "next_booking_id"));
            if ![now, next].contains(&Some(booking)) {
                return None;
            }
            let trip = maybe_id::<TripId>(&me, "current_trip_id");
            if let Some(trip) = trip.filter(|_| now == Some(booking)) {
                city.note(What::AcceptAcked { offer, booking, trip, driver: *driver });
                city.nexts.set(city.nexts.get() + 1);
                return Some((booking, trip));
            }
            sleep(LOOKS_EVERY).await;
        }
    }

    /// Carries one rider; gives what a greedy driver accepted on the way, and whom he takes next. His rider
    /// may have called off meanwhile, and then that was his by right.
    async fn carry_one(&mut self, booking: BookingId, trip: TripId) -> Vec<Taken> {
        let stormy = self.stormy();
        let Self { city, phone, me: driver, answered } = self;
        let driver = *driver;
        // Not once the world is mended: the booking that goes on in its place would have its own time to
        // wait and to be carried in, and whether all comes to rest could not be judged.
        if stormy && !city.is_closing() && phone.dice().percent(CALLED_OFF) {
            city.note(What::CancelAsked { booking });
            let path = format!("/v1/trips/{trip}/cancel");
            if in_time("calling off", phone.post(&path, json!({})).await).is_some() {
                city.note(What::CancelAcked { booking });
            }
            return Vec::new();
        }
        let mut more = Vec::new();
        let greedy = stormy && city.seed.is_multiple_of(GREEDY_IN);
        for step in [Step::Arrive, Step::Start, Step::End] {
            let hurries = stormy && (!greedy || city.is_closing());
            let on_his_way = step == Step::Arrive && city.plan.changes && !city.is_closing();
            let takes = match (on_his_way, hurries) {
                (true, _) => ON_HIS_WAY_MS,
                (false, true) => 50..900,
                (false, false) => 300..2_000,
            };
            let aboard = step == Step::End && city.plan.nexts && !city.is_closing();
            let takes = phone.dice().ms(if aboard { ABOARD_MS } else { takes });
            let there = outside::now() + takes;
            while aboard && outside::now() + LOOKS_EVERY < there && !city.is_closing() {
                sleep(LOOKS_EVERY).await;
                more.extend(take_more(city, phone, driver, answered).await);
            }
            let hurries = aboard && city.is_closing();
            let left = if hurries { LOOKS_EVERY } else { there.saturating_sub(outside::now()) };
            sleep(left).await;
            if greedy {
                more.extend(take_more(city, phone, driver, answered).await);
            }
            city.note(What::StepAsked { trip, driver, step });
            let path = format!("/v1/trips/{trip}/{}", step.as_str());
            let asked_ms = ms();
            let moved = phone.post(&path, json!({})).await;
            let Some(moved) = in_time("moving a trip", moved) else { return more };
            city.shown(Some(Shown::trip(asked_ms, trip, &as_trip(&moved))));
            city.note(What::StepAcked { trip, driver, step });
        }
        more
    }
}

/// Accepts whatever the driver is offered while he is on a trip. Unless he may take his next ride there must
/// be nothing while he is.
async fn take_more(
    city: &City,
    phone: &mut Phone,
    driver: DriverId,
    answered: &mut BTreeSet<String>,
) -> Vec<Taken> {
    let path = format!("/v1/drivers/{driver}/offers");
    let offers = phone.try_once("GET", &path, None).await.unwrap_or_default();
    let mut more = Vec::new();
    for offer in offers["offers"].as_array().into_iter().flatten() {
        if !answered.insert(text(offer, "offer_id")) {
            continue;
        }
        let (offer, booking) = (id(offer, "offer_id"), id(offer, "booking_id"));
        city.note(What::OfferSeen { offer, booking, driver });
        let taken = accept(city, phone, driver, (offer, booking)).await;
        if matches!(taken, Some(Taken::Next(..))) && phone.dice().percent(UNTAKEN) {
            // What has become a trip meanwhile is called off as one.
            let declined = phone.post(&format!("/v1/offers/{offer}/decline"), json!({})).await;
            let fine = declined.as_ref().err().is_none_or(|no| no.code == "OFFER_ALREADY_ACCEPTED");
            assert!(fine || in_time("calling a next ride off", declined).is_none());
        }
        more.extend(taken);
    }
    more
}

/// Says yes; nothing if it was too late.
async fn accept(
    city: &City,
    phone: &mut Phone,
    driver: DriverId,
    (offer, booking): (OfferId, BookingId),
) -> Option<Taken> {
    let yes = json!({ "offer_id": offer.to_string() });
    let said = phone.post("/v1/trips/accept", yes).await;
    // Busy is who says yes to a next ride that is his no more; others are shown nothing while they are.
    if city.plan.nexts && said.as_ref().is_err_and(|no| no.code == "DRIVER_BUSY") {
        return None;
    }
    let said = in_time("accepting", said)?;
    if text(&said, "status") == "PROMISED" {
        return Some(Taken::Next(offer, booking));
    }
    let trip = id(&said, "trip_id");
    city.note(What::AcceptAcked { offer, booking, trip, driver });
    Some(Taken::Trip(booking, trip))
}

/// The answer to what may come too late; nothing if it did, or if there never was one.
fn in_time(doing: &str, answer: Result<Value, Refused>) -> Option<Value> {
    const LATE: &[&str] =
        &["OFFER_EXPIRED", "OFFER_TAKEN", "BOOKING_ENDED", "TRIP_CANCELLED", NO_ANSWER];
    match answer {
        Ok(answer) => Some(answer),
        Err(refused) if LATE.contains(&refused.code.as_str()) => None,
        Err(refused) => panic!("{doing} was refused: {refused:?}"),
    }
}
