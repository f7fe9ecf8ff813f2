//! A driver: says where he is, gets offers, answers them, and carries his rider. Every other one
//! holds a WebSocket to some node, the rest ask over HTTP.

use crate::city::{City, id, place, settled, text};
use crate::cluster::{NODES, http};
use crate::outside;
use crate::phone::{Party, Phone, Refused};
use futures_util::{SinkExt, StreamExt};
use proto::{DriverId, TripId};
use serde_json::{Value, json};
use sim::history::{Step, What};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use turmoil::net::TcpStream;

/// How often a driver's phone says where he is, and asks for offers if it has no socket.
const PING_EVERY: Duration = Duration::from_millis(500);
/// How long a socket may take to open.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// The pause before another node is tried.
const REOPEN_AFTER: Duration = Duration::from_millis(300);
/// Of a hundred offers so many are declined, if nobody declined that booking before.
const DECLINED: u32 = 30;

/// A driver at work.
struct Driver {
    city: Rc<City>,
    phone: Phone,
    me: DriverId,
    /// Offers that he has answered, by their text.
    answered: BTreeSet<String>,
}

/// A driver's day.
pub(crate) async fn drive(city: Rc<City>, n: usize) {
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
    async fn by_asking(&mut self) {
        let me = self.me;
        while !self.city.is_closed() {
            let ping = self.ping();
            let path = format!("/v1/drivers/{me}/location");
            settled("pinging", self.phone.post(&path, ping).await);
            let offers = self.phone.get(&format!("/v1/drivers/{me}/offers")).await;
            for offer in settled("asking", offers)["offers"].as_array().into_iter().flatten() {
                self.answer(offer).await;
            }
            sleep(PING_EVERY).await;
        }
    }

    async fn by_socket(&mut self) {
        while !self.city.is_closed() {
            let node = self.phone.dice().one_of(0..NODES);
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
        while !self.city.is_closed() {
            tokio::select! {
                biased;
                message = socket.next() => {
                    let Some(message) = message else { break };
                    let Message::Text(said) = message? else { continue };
                    let down: Value = serde_json::from_str(&said)?;
                    match text(&down, "type").as_str() {
                        "offer" => self.answer(&down).await,
                        "error" => panic!("a good message got {down}"),
                        _ => {}
                    }
                }
                _ = pings.tick() => {
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
        let now = outside::EPOCH + outside::now();
        ping["ts"] = json!(u64::try_from(now.as_millis()).expect("this century"));
        ping
    }

    async fn answer(&mut self, offer: &Value) {
        if !self.answered.insert(text(offer, "offer_id")) {
            return;
        }
        let Self { city, phone, me: driver, .. } = self;
        let (offer, booking, driver) = (id(offer, "offer_id"), id(offer, "booking_id"), *driver);
        city.note(What::OfferSeen { offer, booking, driver });
        let thinks = phone.dice().ms(100..1_500);
        sleep(thinks).await;
        if phone.dice().percent(DECLINED) && city.may_decline(booking) {
            let declined = phone.post(&format!("/v1/offers/{offer}/decline"), json!({})).await;
            in_time("declining", declined);
            return;
        }
        let yes = json!({ "offer_id": offer.to_string() });
        let Some(trip) = in_time("accepting", phone.post("/v1/trips/accept", yes).await) else {
            return;
        };
        let trip: TripId = id(&trip, "trip_id");
        city.note(What::AcceptAcked { offer, booking, trip, driver });
        for step in [Step::Arrive, Step::Start, Step::End] {
            let takes = phone.dice().ms(300..2_000);
            sleep(takes).await;
            city.note(What::StepAsked { trip, driver, step });
            let path = format!("/v1/trips/{trip}/{}", step.as_str());
            settled("moving a trip", phone.post(&path, json!({})).await);
            city.note(What::StepAcked { trip, driver, step });
        }
    }
}

/// The answer to what may come too late; nothing if it did.
fn in_time(doing: &str, answer: Result<Value, Refused>) -> Option<Value> {
    const LATE: &[&str] = &["OFFER_EXPIRED", "OFFER_TAKEN", "BOOKING_ENDED"];
    match answer {
        Ok(answer) => Some(answer),
        Err(refused) if LATE.contains(&refused.code.as_str()) => None,
        Err(refused) => panic!("{doing} was refused: {refused:?}"),
    }
}
